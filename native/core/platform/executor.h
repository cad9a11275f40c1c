#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>

#include "core/status.h"

namespace hermes {

class Job;

/// A few threads that do the background work of a whole process, however many topics it has open. Threads are started when there is work
/// for them and stay; work waits in line where there are not enough.
///
/// Jobs must not sleep for long: who waits for something has itself run again later (Job::submit_at).
///
/// Thread safety: all methods may be called from any thread. A forked child has none of the threads: it gets executors of its own, and what
/// its parent's jobs would do there is refused.
class Executor {
 public:
  /// `awake_ns`: how long a thread stays awake for the next piece of work where the last one came sooner than that; 0 sleeps at once.
  Executor(const char* name, uint32_t max_threads, uint64_t awake_ns)
      : name_(name), max_threads_(max_threads), awake_ns_(awake_ns) {}
  /// Ends the threads. REQUIRES: no job is left. The process's own executors are never destroyed: at its exit their threads just stop.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// For allocating and faulting in what lies ahead of the publishers of this process, and for retention.
  static Executor& preparing();
  /// For syncing. Apart from the other, so that slow disks do not delay preparing.
  static Executor& syncing();

  uint32_t threads() const;
  /// Of a process whose forked child this is: its threads are not here.
  bool is_of_parent() const noexcept;

 private:
  friend class Job;
  static void main(void* self);
  void work();
  void await(std::unique_lock<std::mutex>& lock);
  void take_due();
  void enqueue(Job& job);
  void set_timer(Job& job, uint64_t when_ns);
  void attend();
  Status start_one();

  const char* const name_;
  const uint32_t max_threads_;
  const uint64_t awake_ns_;
  const pid_t pid_ = own_pid();
  static pid_t own_pid() noexcept;

  mutable std::mutex mutex_;
  std::condition_variable wanted_;    // work, or the need for a timekeeper
  std::condition_variable due_;       // the one who keeps the time sleeps here
  std::condition_variable finished_;  // a run whose end a caller waits for
  std::list<Job*> ready_;
  std::multimap<uint64_t, Job*> timed_;
  std::atomic<uint32_t> waiting_jobs_{0};  // as ready_.size(), to be looked at without the mutex
  uint32_t threads_ = 0;
  uint32_t idle_ = 0;     // asleep on wanted_
  bool keeper_ = false;   // one sleeps on due_
  bool spinner_ = false;  // one is awake and looks for work
  uint64_t rested_ns_ = ~uint64_t{0};
  uint64_t refused_ns_ = 0;  // when the kernel last gave no thread
  bool stop_ = false;
};

/// A piece of work that is run when asked, by one thread at a time.
///
/// Thread safety: all methods may be called from any thread; submit() also by the work itself.
class Job {
 public:
  Job(Executor& executor, std::function<void()> run) : executor_(executor), run_(std::move(run)) {}
  ~Job() { cancel(); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Runs the work soon; once more if it is running now. kLimit if the process has no thread for it and gets none, kForked in a child.
  Status submit() { return submit_at(0); }
  /// The same at a time of the monotonic clock, or earlier if so asked before.
  Status submit_at(uint64_t when_ns);
  /// Forgets what was asked, waits for the end of a run under way, and takes nothing more. Not to be called by the work itself.
  void cancel();

 private:
  friend class Executor;
  static constexpr uint64_t kNever = ~uint64_t{0};

  Executor& executor_;
  const std::function<void()> run_;
  // The executor's mutex guards the rest.
  bool queued_ = false;
  bool timed_ = false;
  bool running_ = false;
  bool cancelled_ = false;
  uint64_t again_ns_ = kNever;  // asked for while it runs
  std::list<Job*>::iterator in_line_;
  std::multimap<uint64_t, Job*>::iterator in_time_;
};

}  // namespace hermes
