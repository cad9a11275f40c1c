#pragma once

#include <atomic>
#include <memory>

#include "core/log/log.h"

namespace hermes {

/// Whether a reader at `at` of `segment` has something to do: a frame, damage, or a next segment. `segment` is null before the
/// topic has one.
[[nodiscard]] bool has_news(const Log& log, const Segment* segment, const Position& at) noexcept;

/// Sleeps in the kernel until there is news at a position. A publisher that finds no sleeper pays one load for this, and
/// wakes sleepers with one system call otherwise.
///
/// Thread safety: wait() by one thread at a time; prepare() and cancel() by any.
class Waiter {
 public:
  explicit Waiter(std::shared_ptr<Log> log) : log_(std::move(log)) {}

  /// Forgets earlier calls of cancel(). To be called before a wait is handed to its thread, so that no later cancel is lost.
  void prepare() noexcept { cancelled_.store(false, std::memory_order_relaxed); }
  /// Returns true once there is news, false after `timeout_ns` or cancel(). Repairs the claim of a dead publisher that stands at the position.
  bool wait(const std::shared_ptr<Segment>& segment, const Position& at, uint64_t timeout_ns);
  void cancel() noexcept;

 private:
  std::shared_ptr<Log> log_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace hermes
