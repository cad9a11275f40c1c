#pragma once

#include <thread>

#include "core/platform/clock.h"
#include "core/platform/pause.h"
#include "core/ring/ring_eventcount.h"

// What a waiting participant does between two attempts. A strategy has
//   bool wait(const RingEventcount&)   called after a failed attempt; false gives up
//   void reset()                 called after a successful one
// An object serves one waiter at a time and keeps no memory of its own.

namespace hermes {

/// Tries again at once. Lowest latency; costs a core.
class SpinIdle {
 public:
  bool wait(const RingEventcount&) noexcept {
    cpu_pause();
    return true;
  }
  void reset() noexcept {}
};

/// Lets other threads run between attempts.
class YieldIdle {
 public:
  bool wait(const RingEventcount&) noexcept {
    std::this_thread::yield();
    return true;
  }
  void reset() noexcept {}
};

/// Spins `spins` times, then sleeps until rung, `sleep_ns` at a time. REQUIRES: a ring created with
/// `parking`; on another ring no participant wakes sleepers, and each sleep lasts its full time.
class ParkIdle {
 public:
  explicit ParkIdle(uint32_t spins = 2000, uint64_t sleep_ns = 10'000'000) noexcept
      : spins_(spins), sleep_ns_(sleep_ns) {}

  bool wait(const RingEventcount& eventcount) noexcept {
    if (round_ < spins_) {
      ++round_;
      cpu_pause();
      return true;
    }
    if (!armed_) {
      // Announce, then return for one more look at the ring: the pair of the fence in
      // RingEventcount::notify.
      seen_ = eventcount.event->load(std::memory_order_acquire);
      eventcount.waiting->store(1, std::memory_order_seq_cst);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      armed_ = true;
      return true;
    }
    (void)futex_wait(eventcount.event, seen_, sleep_ns_);
    armed_ = false;
    return true;
  }
  void reset() noexcept {
    round_ = 0;
    armed_ = false;
  }

 private:
  uint32_t spins_;
  uint64_t sleep_ns_;
  uint32_t round_ = 0;
  uint32_t seen_ = 0;
  bool armed_ = false;
};

/// Gives up after `timeout_ns` of waiting for one success.
template <class Inner>
class DeadlineIdle {
 public:
  DeadlineIdle(Inner inner, uint64_t timeout_ns) noexcept : inner_(inner), timeout_ns_(timeout_ns) {}

  bool wait(const RingEventcount& eventcount) noexcept {
    const uint64_t now = monotonic_ns();
    if (since_ == 0) since_ = now;
    if (now - since_ >= timeout_ns_) return false;
    return inner_.wait(eventcount);
  }
  void reset() noexcept {
    since_ = 0;
    inner_.reset();
  }

 private:
  Inner inner_;
  uint64_t timeout_ns_;
  uint64_t since_ = 0;
};

/// Calls `probe()` from time to time, so that a wait ends when the other side died. See
/// RingFile::probe.
template <class Inner, class Probe>
class WatchingIdle {
 public:
  WatchingIdle(Inner inner, Probe probe, uint64_t every_ns = 10'000'000) noexcept
      : inner_(inner), probe_(probe), every_ns_(every_ns) {}

  bool wait(const RingEventcount& eventcount) noexcept {
    const uint64_t now = monotonic_ns();
    if (last_ == 0) last_ = now;
    if (now - last_ >= every_ns_) {
      last_ = now;
      probe_();
    }
    return inner_.wait(eventcount);
  }
  void reset() noexcept {
    last_ = 0;
    inner_.reset();
  }

 private:
  Inner inner_;
  Probe probe_;
  uint64_t every_ns_;
  uint64_t last_ = 0;
};

}  // namespace hermes
