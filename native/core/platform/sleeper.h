#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/platform/futex.h"
#include "core/status.h"

namespace hermes {

/// For what, and how long at most, a Sleeper may be left alone.
struct Nap {
  const std::atomic<uint32_t>* word = nullptr;  ///< null: no process can wake it
  uint32_t expected = 0;
  uint64_t until_ns = 0;       ///< of the monotonic clock
  bool needs_barrier = false;  ///< announced by a store that must be seen before is_over() looks again
};

/// One wait, of which a SleeperPool takes care.
class Sleeper {
 public:
  Sleeper() = default;
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  virtual ~Sleeper() = default;

 protected:
  friend class SleeperPool;
  /// Whether the wait is over.
  virtual bool is_over(uint64_t now_ns) = 0;
  /// Announces the sleep; is_over() is asked once more before it begins.
  virtual Nap lie_down(uint64_t now_ns) = 0;
  /// Changes the word or wakes who sleeps on it, so that the wait is looked at again within 10 ms at the latest.
  virtual void nudge() = 0;
  /// Told once, on a thread of the pool, when the wait is over or cancelled.
  virtual void finish() = 0;

 private:
  bool finished_ = false;  // guarded by the pool's mutex
  std::atomic<bool> cancelled_{false};
  void* crew_ = nullptr;
};

/// A few threads that sleep for all who wait in a process: each for up to 127 of them, in one system call (futex_waitv). Beyond the last
/// thread's 127, and on kernels without that call beyond one per thread, sleepers are looked at every millisecond.
///
/// Thread safety: all methods may be called from any thread. A forked child gets a pool of its own.
class SleeperPool {
 public:
  /// `wait_any`: whether the system call may be used.
  SleeperPool(uint32_t max_threads, bool wait_any);
  /// Ends the threads. REQUIRES: no sleeper is left. The process's own pool is never destroyed.
  ~SleeperPool();
  SleeperPool(const SleeperPool&) = delete;
  SleeperPool& operator=(const SleeperPool&) = delete;

  /// The pool of this process.
  static SleeperPool& shared();

  /// Takes care of `sleeper` until it has finished. kLimit if there is no thread to be had.
  Status add(std::shared_ptr<Sleeper> sleeper);
  /// Has `sleeper` finish soon.
  void cancel(Sleeper& sleeper);
  /// The same, and waits for it: the pool knows nothing of it any more. Not to be called by a sleeper.
  void remove(Sleeper& sleeper);

  uint32_t threads() const;

 private:
  struct Crew;
  static void main(void* crew);
  void work(Crew& crew);
  void sleep(Crew& crew, uint32_t seen, uint64_t begun_ns);
  static void close_ranks(Crew& crew);
  Crew* choose(Status* status);
  void wake(Crew& crew);

  const uint32_t max_threads_;
  const uint32_t capacity_;
  const pid_t pid_ = own_pid();
  static pid_t own_pid() noexcept;

  mutable std::mutex mutex_;
  std::condition_variable finished_;
  std::vector<std::unique_ptr<Crew>> crews_;
  uint32_t ended_ = 0;
  bool stop_ = false;
};

}  // namespace hermes
