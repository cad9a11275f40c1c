#pragma once

#include "core/platform/futex.h"
#include "core/ring/ring_layout.h"

namespace hermes {

/// Where a participant sleeps, and what those who wake it look at.
struct RingEventcount {
  RingWord* waiting;
  RingWord* event;

  /// Called after publishing, on rings that allow parking. The fence pairs with the sleeper's:
  /// either it sees what was published, or this load sees the sleeper.
  void notify() const noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (waiting->load(std::memory_order_relaxed) != 0) [[unlikely]]
      wake();
  }

  void wake() const noexcept {
    waiting->store(0, std::memory_order_relaxed);
    // Release: who wakes by the event's change sees what was published before it.
    event->fetch_add(1, std::memory_order_release);
    futex_wake_all(event);
  }
};

}  // namespace hermes
