#include "core/platform/executor.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "core/platform/clock.h"
#include "core/platform/thread.h"

namespace hermes {
namespace {

/// Few: they keep each other from the processor and the disk. Several: one that waits for a slow disk holds up no other topic.
constexpr uint32_t kPreparers = 4;
constexpr uint32_t kSyncers = 6;
/// Somewhat more than it takes to wake a thread, to wake an event loop, and to publish.
constexpr uint64_t kAwakeNs = 100'000;
/// Between two attempts to get a further thread from a kernel that has refused one.
constexpr uint64_t kRefusedNs = 10'000'000;

/// The executor of this process, made when first asked for. Never destroyed, so that no thread outlives what it works with.
Executor& of_this_process(std::atomic<Executor*>& known, const char* name, uint32_t max_threads, uint64_t awake_ns) {
  Executor* there = known.load(std::memory_order_acquire);
  if (there != nullptr && !there->is_of_parent()) return *there;
  auto* const made = new Executor(name, max_threads, awake_ns);
  if (known.compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return *made;
  delete made;
  return *there;
}

}  // namespace

Executor& Executor::preparing() {
  static std::atomic<Executor*> known{nullptr};
  return of_this_process(known, "hermes-prepare", kPreparers, 0);
}

Executor& Executor::syncing() {
  static std::atomic<Executor*> known{nullptr};
  return of_this_process(known, "hermes-sync", kSyncers, kAwakeNs);
}

pid_t Executor::own_pid() noexcept { return ::getpid(); }
bool Executor::is_of_parent() const noexcept { return pid_ != own_pid(); }

Executor::~Executor() {
  if (is_of_parent()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  stop_ = true;
  wanted_.notify_all();
  due_.notify_all();
  finished_.wait(lock, [&] { return threads_ == 0; });
}

uint32_t Executor::threads() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return threads_;
}

void Executor::main(void* self) { static_cast<Executor*>(self)->work(); }

/// REQUIRES: the mutex.
Status Executor::start_one() {
  const uint64_t now = monotonic_ns();
  // Without any thread it is tried each time: the caller is about to do the work itself.
  if (threads_ != 0 && refused_ns_ != 0 && now - refused_ns_ < kRefusedNs) return Status::error(Code::kLimit, "");
  Status status = start_thread(name_, &Executor::main, this);
  if (status.ok()) ++threads_;
  refused_ns_ = status.ok() ? 0 : now;
  return status;
}

/// Makes sure that a thread takes the queued work, and that a thread keeps the time. REQUIRES: the mutex.
void Executor::attend() {
  const size_t work = ready_.size() + (timed_.empty() || keeper_ ? 0 : 1);
  if (work <= (spinner_ ? 1u : 0u)) return;
  if (idle_ > 0) {
    wanted_.notify_one();
  } else if (keeper_ && !ready_.empty()) {
    due_.notify_one();
  } else if (threads_ < max_threads_) {
    // If there is none to be had, those there are do it when they can.
    (void)start_one();
  }
}

/// REQUIRES: the mutex; the job is neither in line nor timed.
void Executor::enqueue(Job& job) {
  job.in_line_ = ready_.insert(ready_.end(), &job);
  job.queued_ = true;
  waiting_jobs_.store(static_cast<uint32_t>(ready_.size()), std::memory_order_relaxed);
}

/// REQUIRES: the mutex; the job is neither in line nor timed.
void Executor::set_timer(Job& job, uint64_t when_ns) {
  job.in_time_ = timed_.emplace(when_ns, &job);
  job.timed_ = true;
  // Earlier than what the keeper sleeps for: have it look again.
  if (job.in_time_ == timed_.begin()) due_.notify_one();
}

/// Puts in line what is due. REQUIRES: the mutex.
void Executor::take_due() {
  const uint64_t now = timed_.empty() ? 0 : monotonic_ns();
  while (!timed_.empty() && timed_.begin()->first <= now) {
    Job& job = *timed_.begin()->second;
    timed_.erase(timed_.begin());
    job.timed_ = false;
    enqueue(job);
  }
}

void Executor::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    take_due();
    if (ready_.empty()) {
      if (stop_) break;
      await(lock);
      continue;
    }
    Job& job = *ready_.front();
    ready_.pop_front();
    waiting_jobs_.store(static_cast<uint32_t>(ready_.size()), std::memory_order_relaxed);
    job.queued_ = false;
    job.running_ = true;
    attend();
    lock.unlock();
    job.run_();
    lock.lock();
    job.running_ = false;
    if (job.cancelled_) {
      finished_.notify_all();  // the job may be gone as soon as the mutex is free
      continue;
    }
    const uint64_t again = job.again_ns_;
    job.again_ns_ = Job::kNever;
    if (again == 0) {
      enqueue(job);
    } else if (again != Job::kNever) {
      set_timer(job, again);
    }
  }
  --threads_;
  finished_.notify_all();
}

/// Waits for work, or for its time. A caller that awaits one sync before the next asks again within microseconds; if that's what the last one
/// did, one thread stays awake for as long as being woken costs.
void Executor::await(std::unique_lock<std::mutex>& lock) {
  const uint64_t begun = monotonic_ns();
  if (rested_ns_ < awake_ns_ && !spinner_) {
    spinner_ = true;
    lock.unlock();
    // Relaxed: only a hint. What was asked is read under the mutex.
    while (waiting_jobs_.load(std::memory_order_relaxed) == 0 && monotonic_ns() - begun < awake_ns_) ::sched_yield();
    lock.lock();
    spinner_ = false;
    if (!ready_.empty() || stop_) {
      rested_ns_ = monotonic_ns() - begun;
      return;
    }
  }
  if (timed_.empty() || keeper_) {
    ++idle_;
    wanted_.wait(lock);
    --idle_;
  } else {
    keeper_ = true;
    const uint64_t first = timed_.begin()->first;
    const uint64_t now = monotonic_ns();
    if (first > now) due_.wait_for(lock, std::chrono::nanoseconds(std::min<uint64_t>(first - now, 3'600'000'000'000)));
    keeper_ = false;
  }
  rested_ns_ = monotonic_ns() - begun;
}

Status Job::submit_at(uint64_t when_ns) {
  if (executor_.is_of_parent()) return Status::error(Code::kForked, "this topic was opened by the parent process");
  const std::lock_guard<std::mutex> guard(executor_.mutex_);
  if (cancelled_ || queued_) return Status::success();
  if (running_) {
    again_ns_ = std::min(again_ns_, when_ns);
    return Status::success();
  }
  if (timed_) {
    if (when_ns >= in_time_->first) return Status::success();
    executor_.timed_.erase(in_time_);
    timed_ = false;
  }
  if (executor_.threads_ == 0) {
    Status status = executor_.start_one();
    if (!status.ok()) return status;
  }
  if (when_ns == 0) {
    executor_.enqueue(*this);
  } else {
    executor_.set_timer(*this, when_ns);
  }
  executor_.attend();
  return Status::success();
}

void Job::cancel() {
  if (executor_.is_of_parent()) return;
  std::unique_lock<std::mutex> lock(executor_.mutex_);
  cancelled_ = true;
  if (queued_) {
    executor_.ready_.erase(in_line_);
    executor_.waiting_jobs_.store(static_cast<uint32_t>(executor_.ready_.size()), std::memory_order_relaxed);
    queued_ = false;
  }
  if (timed_) {
    executor_.timed_.erase(in_time_);
    timed_ = false;
  }
  executor_.finished_.wait(lock, [&] { return !running_; });
}

}  // namespace hermes
