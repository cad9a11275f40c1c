#pragma once

#include <functional>
#include <memory>

#include "binding/dispatcher.h"
#include "binding/loop_bell.h"
#include "core/log/waiter.h"

namespace hermes::binding {

/// The waits of a subscriber, one at a time. Its event loop sleeps for it where that has a bell which the topic's publishers are known to ring, and the
/// process's SleeperPool otherwise.
///
/// Thread safety: the environment's thread.
class Parker {
 public:
  /// Told on the environment's thread, once.
  using Settle = std::function<void(napi_env, bool news)>;

  /// `bell`: of the environment's event loop; null if it has none.
  Parker(napi_env env, std::shared_ptr<Log> log, std::shared_ptr<Dispatcher> dispatcher, std::shared_ptr<LoopBell> bell)
      : env_(env),
        log_(std::move(log)),
        dispatcher_(std::move(dispatcher)),
        bell_(std::move(bell)),
        seat_(bell_ != nullptr ? bell_->seat_in(log_) : nullptr) {}
  /// Ends a wait under way, which is still reported.
  ~Parker() {
    const auto sleeper = sleeper_.lock();
    if (sleeper == nullptr) return;
    if (by_bell_) {
      bell_->cancel(*seat_, sleeper);
    } else {
      SleeperPool::shared().remove(*sleeper);
    }
  }

  /// Has `settle` called once there's news at `at` of `segment`, perhaps within this call. kLimit if the process has no thread that could sleep for
  /// it; `settle` is not called then. REQUIRES: no other wait is under way.
  Status wait(std::shared_ptr<Segment> segment, const Position& at, uint64_t timeout_ns, Settle settle) {
    if (seat_ != nullptr && seat_->is_proven()) {
      const auto sleeper = std::make_shared<LogSleeper>(log_, segment, at, timeout_ns,
                                                        [settle, env = env_](bool news) { settle(env, news); });
      sleeper_ = sleeper;
      by_bell_ = true;
      if (bell_->sleep(*seat_, sleeper)) return Status::success();
    }
    const auto sleeper = std::make_shared<LogSleeper>(
        log_, std::move(segment), at, timeout_ns, [settle, dispatcher = dispatcher_](bool news) {
          // The pool and the delivered work hold nothing of this object, which may be gone by then.
          dispatcher->post([settle, news](Napi::Env loop) { settle(loop, news); });
        });
    sleeper_ = sleeper;
    by_bell_ = false;
    if (seat_ != nullptr && !seat_->is_proven()) seat_->try_out();
    Status status = SleeperPool::shared().add(sleeper);
    // What is posted meanwhile is delivered on this thread, so not before.
    if (status.ok()) dispatcher_->expect();
    return status;
  }
  /// Ends the wait under way, if there is one, soon.
  void cancel() {
    const auto sleeper = sleeper_.lock();
    if (sleeper == nullptr) return;
    if (by_bell_) {
      bell_->cancel(*seat_, sleeper);
    } else {
      SleeperPool::shared().cancel(*sleeper);
    }
  }

 private:
  const napi_env env_;
  const std::shared_ptr<Log> log_;
  const std::shared_ptr<Dispatcher> dispatcher_;
  const std::shared_ptr<LoopBell> bell_;
  const std::shared_ptr<LoopSeat> seat_;
  std::weak_ptr<LogSleeper> sleeper_;  // the newest; whose it is while it lasts
  bool by_bell_ = false;
};

}  // namespace hermes::binding
