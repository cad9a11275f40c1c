#include "core/platform/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace hermes {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);

// From linux/membarrier.h, which older toolchains lack.
constexpr int kGlobalExpedited = 1 << 1;
constexpr int kRegisterGlobalExpedited = 1 << 2;

// Since Linux 5.16, with one number on all architectures; older headers lack it and struct futex_waitv.
constexpr long kSysFutexWaitv = 449;
struct WaitvEntry {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
constexpr uint32_t kWaitv32Bits = 2;

}  // namespace

bool can_wait_any() noexcept {
  // No words at all: the system call says EINVAL where it is there, and ENOSYS or EPERM where not.
  return ::syscall(kSysFutexWaitv, nullptr, 0, 0, nullptr, CLOCK_MONOTONIC) != 0 && errno == EINVAL;
}

void futex_wait_any(const Watched* watched, uint32_t count, uint64_t until_ns) noexcept {
  WaitvEntry entries[kMaxWatched];
  for (uint32_t i = 0; i < count; ++i) {
    entries[i] = {watched[i].expected, reinterpret_cast<uintptr_t>(watched[i].word), kWaitv32Bits, 0};
  }
  const timespec until = {static_cast<time_t>(until_ns / 1'000'000'000), static_cast<long>(until_ns % 1'000'000'000)};
  const long result = ::syscall(kSysFutexWaitv, entries, count, 0, &until, CLOCK_MONOTONIC);
  if (result >= 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT) return;
  // Something that must not happen. Not a reason to spin.
  const timespec pause = {0, 1'000'000};
  ::nanosleep(&pause, nullptr);
}

WaitResult futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, uint64_t timeout_ns) noexcept {
  const timespec timeout = {static_cast<time_t>(timeout_ns / 1'000'000'000),
                            static_cast<long>(timeout_ns % 1'000'000'000)};
  const long result = ::syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
  return result != 0 && errno == ETIMEDOUT ? WaitResult::kTimedOut : WaitResult::kWoken;
}

void futex_wake_all(const std::atomic<uint32_t>* word) noexcept {
  ::syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool register_for_heavy_barriers() noexcept {
  static const bool registered = ::syscall(SYS_membarrier, kRegisterGlobalExpedited, 0, 0) == 0;
  return registered;
}

bool heavy_barrier() noexcept { return ::syscall(SYS_membarrier, kGlobalExpedited, 0, 0) == 0; }

}  // namespace hermes
