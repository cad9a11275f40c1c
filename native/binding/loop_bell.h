#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/log/waiter.h"
#include "core/platform/bell.h"

namespace hermes::binding {

class LoopBell;

/// A topic's seat for the bell of one event loop, shared by all of the topic's readers there.
///
/// Thread safety: the environment's thread.
class LoopSeat {
 public:
  LoopSeat(std::shared_ptr<LoopBell> bell, std::shared_ptr<Log> log, uint64_t tag);
  ~LoopSeat();
  LoopSeat(const LoopSeat&) = delete;
  LoopSeat& operator=(const LoopSeat&) = delete;

  /// Whether a sleep may rely on the bell: it has rung for a wait that a thread of the pool was woken from as well. So a publisher that can't ring it
  /// (of an older release, or in another network namespace) delays nobody.
  bool is_proven() const noexcept { return proven_; }
  /// Announces a sleep in the pool, which the bell is to be proven by.
  void try_out() noexcept;

 private:
  friend class LoopBell;
  bool arm() noexcept;
  void heard() noexcept;
  void missed() noexcept;

  const std::shared_ptr<LoopBell> bell_;
  const std::shared_ptr<Log> log_;
  const uint64_t tag_;
  int seat_;
  bool proven_ = false;
  uint32_t missed_ = 0;  // since it was heard last
  std::vector<std::shared_ptr<LogSleeper>> sleepers_;
};

/// Sleeps in the event loop itself for news in topics: who publishes makes a descriptor readable that the loop polls, so that one thread is woken, and
/// not first another one that wakes the loop. Dead publishers' claims and the ends of waits are looked at by a timer.
///
/// Thread safety: the environment's thread.
/// Lifetime: an environment that ends forgets the waits, and their promises.
class LoopBell : public std::enable_shared_from_this<LoopBell> {
 public:
  /// Null if this engine has no event loop of libuv's, or the process has no descriptor left.
  static std::shared_ptr<LoopBell> create(napi_env env);
  LoopBell(napi_env env, uint64_t name) : env_(env), name_(name) {}
  LoopBell(const LoopBell&) = delete;
  LoopBell& operator=(const LoopBell&) = delete;

  /// The seat in that topic; null if there is none to be had.
  std::shared_ptr<LoopSeat> seat_in(const std::shared_ptr<Log>& log);
  /// Has `sleeper` finish once there is news, in this call or in a callback of the loop, which lives as long. False: it was not taken.
  bool sleep(LoopSeat& seat, const std::shared_ptr<LogSleeper>& sleeper);
  /// Has it finish now, if it sleeps here.
  void cancel(LoopSeat& seat, const std::shared_ptr<LogSleeper>& sleeper);

 private:
  friend class LoopSeat;
  struct Handles;
  using Finished = std::vector<std::shared_ptr<LogSleeper>>;

  bool begin(std::unique_ptr<Bell> bell);
  void end() noexcept;
  void hear(Finished* finished);
  void look();
  void look_at(LoopSeat& seat, uint64_t now_ns, bool by_bell, Finished* finished);
  void set_timer(uint64_t due_ns, uint64_t now_ns);
  void settle(const Finished& finished);
  void forget(uint64_t count) noexcept;

  const napi_env env_;
  const uint64_t name_;
  std::weak_ptr<Handles> handles_;       // libuv's while they last
  std::map<uint64_t, LoopSeat*> seats_;  // by tag
  std::map<const Log*, std::weak_ptr<LoopSeat>> by_log_;
  uint64_t next_tag_ = 1;
  uint64_t sleeping_ = 0;
  uint64_t timer_due_ns_ = 0;  // 0 = not set
  uint32_t for_nothing_ = 0;   // rings without news in a row
};

}  // namespace hermes::binding
