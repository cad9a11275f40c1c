#include "core/log/waiter.h"

#include <time.h>

#include <algorithm>

#include "core/log/bells.h"
#include "core/log/repair.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

// A dead publisher's claim wakes no one, so sleepers look up now and then.
constexpr uint64_t kLookUpNs = 200'000'000;
constexpr uint64_t kControlLooksPerSecond = 1000;
// Where sleepers can't be woken (no right to write, no membarrier): a millisecond's delay at most.
constexpr uint64_t kPollNs = 1'000'000;
constexpr uint64_t kLongestNs = uint64_t{1} << 60;

/// LogSleepers of this process.
std::atomic<uint64_t> sleepers{0};

}  // namespace

uint64_t next_look_up(uint64_t now_ns) noexcept { return ((now_ns + kLookUpNs / 2) / kLookUpNs + 1) * kLookUpNs; }

uint64_t control_look_ns(uint64_t sleepers) noexcept {
  return std::max(kLookUpNs, sleepers * 1'000'000'000 / kControlLooksPerSecond);
}

void wake_sleepers(const Log& log) noexcept {
  if (!log.writable()) return;
  // Odd becomes even, and even goes on to the next even number. Release: who parks after this sees what made us ring.
  std::atomic<uint32_t>& parked = log.control().parked;
  uint32_t seen = parked.load(std::memory_order_relaxed);
  // (In a deleted topic it stays odd, so that publishers learn of that.)
  while (!parked.compare_exchange_weak(seen, (seen | 1) + (log.is_deleted() ? 2 : 1), std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
  }
  ring_bells(log.control());
  futex_wake_all(&parked);
}

bool has_news(const Log& log, const Segment* segment, const Position& at) noexcept {
  if (segment == nullptr) return log.active() != 0;
  const Step step = segment->step(at.offset);
  switch (step.kind) {
    case Step::Kind::kEmpty:
      return log.is_hole(*segment, at.offset);
    // A claim in a segment that retention has removed is never repaired: its waiters must get an error.
    case Step::Kind::kClaim:
      return at.segment < log.first();
    case Step::Kind::kPadding:
    case Step::Kind::kSegmentEnd:
      return log.active() > at.segment;
    default:
      return true;
  }
}

LogSleeper::LogSleeper(std::shared_ptr<Log> log, std::shared_ptr<Segment> segment, const Position& at,
                       uint64_t timeout_ns, Done done)
    : log_(std::move(log)),
      segment_(std::move(segment)),
      at_(at),
      deadline_ns_(monotonic_ns() + std::min(timeout_ns, kLongestNs)),
      done_(std::move(done)) {
  sleepers.fetch_add(1, std::memory_order_relaxed);
}

LogSleeper::~LogSleeper() { sleepers.fetch_sub(1, std::memory_order_relaxed); }

bool LogSleeper::is_over(uint64_t now_ns) {
  news_ = has_news(*log_, segment_.get(), at_);
  if (!news_ && now_ns >= look_at_control_ns_) {
    look_at_control_ns_ = now_ns + control_look_ns(sleepers.load(std::memory_order_relaxed));
    news_ = !log_->check_control().ok();
  }
  return news_ || now_ns >= deadline_ns_;
}

Nap LogSleeper::lie_down(uint64_t now_ns) {
  const Step step = segment_ == nullptr ? Step{Step::Kind::kEmpty} : segment_->step(at_.offset);
  if (step.kind == Step::Kind::kClaim && log_->writable()) {
    // Seen twice, a look-up apart: perhaps its owner is dead. If it can't be repaired now, the next look tries again.
    RepairOutcome outcome;
    if (claim_ == step.word) (void)repair_claim(*log_, at_, &outcome);
    claim_ = step.word;
  }
  if (!log_->writable()) return {nullptr, 0, std::min(now_ns + kPollNs, deadline_ns_), false};
  // Acquire: pairs with the release in nudge(). After the barrier that follows either we see a commit, or its publisher sees `parked`.
  // See Appender::commit.
  std::atomic<uint32_t>& parked = log_->control().parked;
  const uint32_t ticket = parked.fetch_or(1, std::memory_order_acq_rel) | 1;
  return {&parked, ticket, std::min(next_look_up(now_ns), deadline_ns_), true};
}

void LogSleeper::nudge() { wake_sleepers(*log_); }

void LogSleeper::finish() { done_(news_); }

bool Waiter::wait(const std::shared_ptr<Segment>& segment, const Position& at, uint64_t timeout_ns) {
  LogSleeper sleeper(log_, segment, at, timeout_ns, nullptr);
  for (;;) {
    uint64_t now = monotonic_ns();
    if (sleeper.is_over(now) || cancelled_.load(std::memory_order_acquire)) return sleeper.news();
    const Nap nap = sleeper.lie_down(now);
    const bool can_sleep = nap.word != nullptr && heavy_barrier();
    now = monotonic_ns();
    if (sleeper.is_over(now)) return sleeper.news();
    if (can_sleep && !cancelled_.load(std::memory_order_acquire)) {
      (void)futex_wait(nap.word, nap.expected, nap.until_ns - std::min(now, nap.until_ns));
    } else {
      const timespec pause = {0, static_cast<long>(kPollNs)};
      ::nanosleep(&pause, nullptr);
    }
  }
}

void Waiter::cancel() noexcept {
  // Release: the sleeper that wakes sees it. Waking the others of this topic as well does no harm.
  cancelled_.store(true, std::memory_order_release);
  wake_sleepers(*log_);
}

}  // namespace hermes
