#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "core/log/log.h"
#include "core/platform/sleeper.h"

namespace hermes {

/// Whether a reader at `at` of `segment` has something to do: a frame, damage, or a next segment. `segment` is null before the
/// topic has one.
[[nodiscard]] bool has_news(const Log& log, const Segment* segment, const Position& at) noexcept;

/// When who lies down at `now_ns` looks up: in 100 to 300 ms, and at the same moments as all others. So one thread looks after all its sleepers at
/// once, a few times per second, and not after each of them at another time.
[[nodiscard]] uint64_t next_look_up(uint64_t now_ns) noexcept;

/// How long one of `sleepers` in a process leaves the name of its topic's control file alone: all together look at a thousand per second at most.
[[nodiscard]] uint64_t control_look_ns(uint64_t sleepers) noexcept;

/// Wakes all who sleep for news of the topic, in all processes.
void wake_sleepers(const Log& log) noexcept;

/// A wait for news at a position, for a SleeperPool to take care of. A publisher that finds no sleeper pays one load for this, and wakes
/// sleepers with one system call otherwise. Repairs the claim of a dead publisher that stands at the position.
class LogSleeper final : public Sleeper {
 public:
  using Done = std::function<void(bool news)>;

  /// `done` is told whether there is news, or `timeout_ns` went by, or the wait was cancelled.
  LogSleeper(std::shared_ptr<Log> log, std::shared_ptr<Segment> segment, const Position& at, uint64_t timeout_ns,
             Done done);
  ~LogSleeper() override;

  bool is_over(uint64_t now_ns) override;
  Nap lie_down(uint64_t now_ns) override;
  void nudge() override;
  void finish() override;
  bool news() const noexcept { return news_; }
  uint64_t deadline_ns() const noexcept { return deadline_ns_; }

 private:
  const std::shared_ptr<Log> log_;
  const std::shared_ptr<Segment> segment_;
  const Position at_;
  const uint64_t deadline_ns_;
  const Done done_;
  uint64_t look_at_control_ns_ = 0;
  uint64_t claim_ = 0;  // seen at the position when we last looked
  bool news_ = false;
};

/// Sleeps for news in the calling thread.
///
/// Thread safety: wait() by one thread at a time; prepare() and cancel() by any.
class Waiter {
 public:
  explicit Waiter(std::shared_ptr<Log> log) : log_(std::move(log)) {}

  /// Forgets earlier calls of cancel(). To be called before a wait is handed to its thread, so that no later cancel is lost.
  void prepare() noexcept { cancelled_.store(false, std::memory_order_relaxed); }
  /// Returns true once there is news (also that the topic's control file was replaced: see Log::check_control), false after `timeout_ns` or cancel(). Repairs the claim of a dead publisher that stands at the position.
  bool wait(const std::shared_ptr<Segment>& segment, const Position& at, uint64_t timeout_ns);
  void cancel() noexcept;

 private:
  std::shared_ptr<Log> log_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace hermes
