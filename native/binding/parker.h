#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/log/waiter.h"

namespace hermes::binding {

/// A thread that sleeps for a subscriber, started with its first wait.
///
/// Thread safety: `wait`, `cancel` and destruction on one thread; `done` runs on the parker's own.
class Parker {
 public:
  using Done = std::function<void(bool news)>;

  explicit Parker(std::shared_ptr<Log> log) : waiter_(std::move(log)) {}
  /// Cancels a wait under way, which is still reported, and ends the thread.
  ~Parker();

  /// Sleeps until there's news at `at` of `segment`, then calls `done`. REQUIRES: no other wait is under way.
  void wait(std::shared_ptr<Segment> segment, const Position& at, uint64_t timeout_ns, Done done);
  /// Ends the wait under way, if there is one, soon.
  void cancel() { waiter_.cancel(); }

 private:
  struct Request {
    std::shared_ptr<Segment> segment;
    Position at;
    uint64_t timeout_ns;
    Done done;
  };
  void run();

  Waiter waiter_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::unique_ptr<Request> request_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace hermes::binding
