#include "core/platform/sleeper.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/platform/clock.h"
#include "core/platform/thread.h"

namespace hermes {
namespace {

/// With 127 sleepers each, enough for a thousand before any is looked at by the clock.
constexpr uint32_t kThreads = 8;
/// Between two looks at sleepers that no process can wake, or for whom there is no room in the system call.
constexpr uint64_t kLookNs = 1'000'000;
/// Looking takes one part in so many of a processor at most.
constexpr uint64_t kLookShare = 40;
constexpr uint64_t kForeverNs = 3'600'000'000'000;

}  // namespace

/// A thread and the sleepers whom it takes care of.
struct SleeperPool::Crew {
  SleeperPool* pool = nullptr;
  std::atomic<uint32_t> wake_word{0};  // what the thread sleeps on besides
  // The pool's mutex guards these:
  std::vector<std::shared_ptr<Sleeper>> newcomers;
  uint32_t load = 0;
  std::shared_ptr<Sleeper> lone;     // the thread sleeps on this one's word, and not on the wake word
  std::atomic<bool> cancels{false};  // some of them were cancelled
  // The thread's own, and of the same length. What is looked at in each pass lies together: a look at thousands must not take long.
  std::vector<std::shared_ptr<Sleeper>> sleepers;
  std::vector<Nap> naps;
  std::vector<Watched> watched;
};

pid_t SleeperPool::own_pid() noexcept { return ::getpid(); }

SleeperPool& SleeperPool::shared() {
  static std::atomic<SleeperPool*> known{nullptr};
  SleeperPool* there = known.load(std::memory_order_acquire);
  if (there != nullptr && there->pid_ == own_pid()) return *there;
  // Never destroyed, so that its threads can't outlive it.
  auto* const made = new SleeperPool(kThreads, can_wait_any());
  if (known.compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return *made;
  delete made;
  return *there;
}

SleeperPool::SleeperPool(uint32_t max_threads, bool wait_any)
    : max_threads_(max_threads), capacity_(wait_any ? kMaxWatched - 1 : 1) {}

SleeperPool::~SleeperPool() {
  if (pid_ != own_pid()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  stop_ = true;
  for (const auto& crew : crews_) wake(*crew);
  finished_.wait(lock, [&] { return ended_ == crews_.size(); });
}

uint32_t SleeperPool::threads() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return static_cast<uint32_t>(crews_.size());
}

/// The thread that takes a newcomer: one with room, a new one, or the last one if there's no room anywhere. REQUIRES: the mutex.
SleeperPool::Crew* SleeperPool::choose(Status* status) {
  for (const auto& crew : crews_) {
    if (crew->load < capacity_) return crew.get();
  }
  if (crews_.size() < max_threads_) {
    auto crew = std::make_unique<Crew>();
    crew->pool = this;
    *status = start_thread("hermes-wait", &SleeperPool::main, crew.get());
    if (status->ok()) crews_.push_back(std::move(crew));
  }
  if (crews_.empty()) return nullptr;
  *status = Status::success();
  return crews_.back().get();
}

Status SleeperPool::add(std::shared_ptr<Sleeper> sleeper) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Status status;
  Crew* const crew = choose(&status);
  if (crew == nullptr) return status;
  sleeper->crew_ = crew;
  ++crew->load;
  crew->newcomers.push_back(std::move(sleeper));
  wake(*crew);
  return status;
}

/// REQUIRES: the mutex.
void SleeperPool::wake(Crew& crew) {
  // Release: the thread that sees it sees the newcomers and what was cancelled.
  crew.wake_word.fetch_add(1, std::memory_order_release);
  if (crew.lone != nullptr) {
    crew.lone->nudge();
  } else {
    futex_wake_all(&crew.wake_word);
  }
}

void SleeperPool::cancel(Sleeper& sleeper) {
  if (pid_ != own_pid()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  if (sleeper.finished_ || sleeper.crew_ == nullptr) return;
  sleeper.cancelled_.store(true, std::memory_order_release);
  Crew& crew = *static_cast<Crew*>(sleeper.crew_);
  crew.cancels.store(true, std::memory_order_release);
  wake(crew);
}

void SleeperPool::remove(Sleeper& sleeper) {
  if (pid_ != own_pid()) return;
  cancel(sleeper);
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return sleeper.finished_ || sleeper.crew_ == nullptr; });
}

void SleeperPool::main(void* crew) { static_cast<Crew*>(crew)->pool->work(*static_cast<Crew*>(crew)); }

void SleeperPool::work(Crew& crew) {
  std::vector<std::shared_ptr<Sleeper>> over;
  std::vector<size_t> lying;  // in crew.sleepers
  for (;;) {
    // Acquire, and before anything is looked at: a change of the wake word from now on keeps this thread from sleeping.
    const uint32_t seen = crew.wake_word.load(std::memory_order_acquire);
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      for (auto& newcomer : crew.newcomers) crew.sleepers.push_back(std::move(newcomer));
      crew.newcomers.clear();
      if (stop_ && crew.sleepers.empty()) {
        ++ended_;
        finished_.notify_all();
        return;
      }
    }
    // A newcomer's nap is over.
    crew.naps.resize(crew.sleepers.size());
    // Acquire: a thread that sees it sees which sleepers were cancelled. A thread that sets it from now on changes the wake word after that.
    const bool cancels = crew.cancels.exchange(false, std::memory_order_acquire);
    const uint64_t now = monotonic_ns();
    lying.clear();
    bool barrier = false;
    for (size_t i = 0; i < crew.naps.size(); ++i) {
      const Nap& nap = crew.naps[i];
      const bool woken = nap.word != nullptr && nap.word->load(std::memory_order_acquire) != nap.expected;
      if (!cancels && !woken && now < nap.until_ns) continue;
      auto& sleeper = crew.sleepers[i];
      const bool cancelled = sleeper->cancelled_.load(std::memory_order_acquire);
      if (!cancelled && !woken && now < nap.until_ns) continue;
      if (cancelled || sleeper->is_over(now)) {
        over.push_back(std::move(sleeper));
        continue;
      }
      crew.naps[i] = sleeper->lie_down(now);
      barrier = barrier || crew.naps[i].needs_barrier;
      lying.push_back(i);
    }
    // One barrier for all who lie down: after it either we see what a waker did, or it sees what they announced.
    const bool ordered = !barrier || heavy_barrier();
    if (!ordered) {
      for (const size_t i : lying) {
        Nap& nap = crew.naps[i];
        if (nap.needs_barrier) nap = {nullptr, 0, std::min(nap.until_ns, now + kLookNs), false};
      }
    }
    if (!lying.empty()) {
      const uint64_t later = monotonic_ns();
      for (const size_t i : lying) {
        if (crew.sleepers[i]->is_over(later)) over.push_back(std::move(crew.sleepers[i]));
      }
    }
    if (!over.empty()) close_ranks(crew);
    for (auto& sleeper : over) {
      sleeper->finish();
      const std::lock_guard<std::mutex> guard(mutex_);
      sleeper->finished_ = true;
      --crew.load;
      // The caller that waits for this in remove() drops the last reference itself.
      if (sleeper.use_count() > 1) sleeper.reset();
      finished_.notify_all();
    }
    over.clear();
    sleep(crew, seen, now);
  }
}

/// Those who have finished leave their places to those behind them.
void SleeperPool::close_ranks(Crew& crew) {
  size_t left = 0;
  for (size_t i = 0; i < crew.sleepers.size(); ++i) {
    if (crew.sleepers[i] == nullptr) continue;
    if (left != i) {
      crew.sleepers[left] = std::move(crew.sleepers[i]);
      crew.naps[left] = crew.naps[i];
    }
    ++left;
  }
  crew.sleepers.resize(left);
  crew.naps.resize(left);
}

/// `begun_ns`: when the pass began that comes before this sleep.
void SleeperPool::sleep(Crew& crew, uint32_t seen, uint64_t begun_ns) {
  uint64_t until = begun_ns + kForeverNs;
  crew.watched.clear();
  crew.watched.push_back({&crew.wake_word, seen});
  bool all = true;
  for (const Nap& nap : crew.naps) {
    until = std::min(until, nap.until_ns);
    if (nap.word == nullptr) continue;
    if (crew.watched.size() <= capacity_) {
      crew.watched.push_back({nap.word, nap.expected});
    } else {
      all = false;
    }
  }
  const uint64_t now = monotonic_ns();
  const uint64_t look_ns = std::max(kLookNs, (now - begun_ns) * kLookShare);
  if (!all) until = std::min(until, now + look_ns);
  if (until <= now) return;
  if (capacity_ > 1) {
    futex_wait_any(crew.watched.data(), static_cast<uint32_t>(crew.watched.size()), until);
    return;
  }
  // A kernel without that system call: one word at a time.
  if (crew.watched.size() == 1) {
    (void)futex_wait(&crew.wake_word, seen, until - now);
    return;
  }
  if (!all || crew.sleepers.size() > 1) {
    const timespec pause = {0, static_cast<long>(std::min<uint64_t>(look_ns, until - now))};
    ::nanosleep(&pause, nullptr);
    return;
  }
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    // Relaxed: who rings it holds the mutex.
    if (crew.wake_word.load(std::memory_order_relaxed) != seen) return;
    crew.lone = crew.sleepers.front();
  }
  (void)futex_wait(crew.watched[1].word, crew.watched[1].expected, until - now);
  const std::lock_guard<std::mutex> guard(mutex_);
  crew.lone.reset();
}

}  // namespace hermes
