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

}  // namespace

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
