#include "core/log/waiter.h"

#include <time.h>

#include <algorithm>

#include "core/log/repair.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

// A dead publisher's claim rings no bell, so sleepers look up now and then.
constexpr uint64_t kLookUpNs = 200'000'000;
// Where sleepers can't be woken (no right to write, no membarrier): a millisecond's delay at most.
constexpr long kPollNs = 1'000'000;

}  // namespace

bool has_news(const Log& log, const Segment* segment, const Position& at) noexcept {
  if (segment == nullptr) return log.active() != 0;
  const Step step = segment->step(at.offset);
  switch (step.kind) {
    case Step::Kind::kEmpty:
    case Step::Kind::kClaim: return false;
    case Step::Kind::kPadding:
    case Step::Kind::kSegmentEnd: return log.active() > at.segment;
    default: return true;
  }
}

bool Waiter::wait(const std::shared_ptr<Segment>& segment, const Position& at, uint64_t timeout_ns) {
  const uint64_t deadline = monotonic_ns() + timeout_ns;
  std::atomic<uint32_t>& parked = log_->control().parked;
  uint64_t claim = 0;  // seen at the position when we last looked
  for (;;) {
    if (has_news(*log_, segment.get(), at)) return true;
    const uint64_t now = monotonic_ns();
    if (now >= deadline || cancelled_.load(std::memory_order_acquire)) return false;
    const Step step = segment == nullptr ? Step{Step::Kind::kEmpty} : segment->step(at.offset);
    if (step.kind == Step::Kind::kClaim && log_->writable()) {
      // Seen twice, a look-up apart: perhaps its owner is dead. If the repair fails, the next look tries again.
      RepairOutcome outcome;
      if (claim == step.word && repair_claim(*log_, at, &outcome).ok() && outcome == RepairOutcome::kRepaired) continue;
      claim = step.word;
    }
    bool can_sleep = log_->writable();
    uint32_t ticket = 0;
    if (can_sleep) {
      // Acquire: pairs with the release in cancel().
      ticket = parked.fetch_or(1, std::memory_order_acq_rel) | 1;
      // After this fence either we see a commit, or its publisher sees `parked`. See Appender::commit.
      can_sleep = heavy_barrier();
      if (has_news(*log_, segment.get(), at)) return true;
    }
    if (can_sleep && !cancelled_.load(std::memory_order_acquire)) {
      (void)futex_wait(&parked, ticket, std::min(kLookUpNs, deadline - now));
    } else {
      const timespec pause = {0, kPollNs};
      ::nanosleep(&pause, nullptr);
    }
  }
}

void Waiter::cancel() noexcept {
  // Release: the sleeper that wakes sees it. Waking the others of this topic as well does no harm.
  cancelled_.store(true, std::memory_order_release);
  if (!log_->writable()) return;
  // Odd becomes even, and even goes on to the next even number. Release: who parks after this sees `cancelled_`.
  std::atomic<uint32_t>& parked = log_->control().parked;
  uint32_t seen = parked.load(std::memory_order_relaxed);
  while (!parked.compare_exchange_weak(seen, (seen | 1) + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  futex_wake_all(&parked);
}

}  // namespace hermes
