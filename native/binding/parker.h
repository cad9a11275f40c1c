#pragma once

#include <memory>

#include "core/log/waiter.h"

namespace hermes::binding {

/// The waits of a subscriber, one at a time; the process's SleeperPool sleeps for it.
///
/// Thread safety: all on one thread; `done` runs on the pool's.
class Parker {
 public:
  explicit Parker(std::shared_ptr<Log> log) : log_(std::move(log)) {}
  /// Ends a wait under way, which is still reported.
  ~Parker() { end(); }

  /// Has `done` called once there's news at `at` of `segment`. kLimit if the process has no thread that could sleep for it; `done` is
  /// not called then. REQUIRES: no other wait is under way.
  Status wait(std::shared_ptr<Segment> segment, const Position& at, uint64_t timeout_ns, LogSleeper::Done done) {
    const auto sleeper = std::make_shared<LogSleeper>(log_, std::move(segment), at, timeout_ns, std::move(done));
    sleeper_ = sleeper;
    return SleeperPool::shared().add(sleeper);
  }
  /// Ends the wait under way, if there is one, soon.
  void cancel() {
    if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().cancel(*sleeper);
  }

 private:
  void end() {
    if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().remove(*sleeper);
  }

  const std::shared_ptr<Log> log_;
  std::weak_ptr<LogSleeper> sleeper_;  // the newest; the pool's while it lasts
};

}  // namespace hermes::binding
