#include "core/group/lease_keeper.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "core/log/control.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

namespace hermes {
namespace {

/// A lease is looked at so often while it lasts: a loop that turns at least that often never loses it.
constexpr uint64_t kLooks = 4;
constexpr uint64_t kLongestNs = 5'000'000'000;

}  // namespace

pid_t LeaseKeeper::own_pid() noexcept { return ::getpid(); }

LeaseKeeper& LeaseKeeper::shared() {
  static std::atomic<LeaseKeeper*> known{nullptr};
  LeaseKeeper* there = known.load(std::memory_order_acquire);
  if (there != nullptr && there->pid_ == own_pid()) return *there;
  // Never destroyed, so that its thread can't outlive it.
  auto* const made = new LeaseKeeper;
  if (known.compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return *made;
  delete made;
  return *there;
}

Status LeaseKeeper::add(std::shared_ptr<Lease> lease) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!running_) {
    const Status status = start_thread("hermes-lease", &LeaseKeeper::main, this);
    if (!status.ok()) return status;
    running_ = true;
  }
  lease->due_ns = 0;
  leases_.push_back(std::move(lease));
  changed_.notify_all();
  return Status::success();
}

void LeaseKeeper::remove(const std::shared_ptr<Lease>& lease) {
  if (pid_ != own_pid()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  std::erase(leases_, lease);
}

uint32_t LeaseKeeper::leases() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return static_cast<uint32_t>(leases_.size());
}

void LeaseKeeper::main(void* self) { static_cast<LeaseKeeper*>(self)->work(); }

void LeaseKeeper::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    const uint64_t now = monotonic_ns();
    uint64_t next = now + kLongestNs;
    for (const auto& lease : leases_) {
      if (now >= lease->due_ns) {
        // The member itself may just have begun a later one.
        const uint64_t turned = lease->beat->turned_ns.load(std::memory_order_relaxed);
        if (turned != 0) raise_to(*lease->word, turned + lease->lease_ns);
        lease->due_ns = now + std::min(lease->lease_ns / kLooks, kLongestNs);
        // Under the mutex, so that no loop is asked any more after remove().
        if (lease->beat->ask) lease->beat->ask();
      }
      next = std::min(next, lease->due_ns);
    }
    if (leases_.empty()) {
      changed_.wait(lock);
    } else {
      // (The wall clock may be set back: a wait for a time of it could be long.)
      const uint64_t later = monotonic_ns();
      if (next > later) changed_.wait_for(lock, std::chrono::nanoseconds(next - later));
    }
  }
}

}  // namespace hermes
