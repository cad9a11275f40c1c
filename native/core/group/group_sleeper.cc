#include "core/group/group_sleeper.h"

#include <algorithm>
#include <bitset>

#include "core/log/repair.h"
#include "core/log/waiter.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Members that die or hang wake no other.
constexpr uint64_t kLookUpNs = 100'000'000;
constexpr uint64_t kLongestNs = uint64_t{1} << 60;
constexpr uint64_t kTickNs = 16'000'000;

}  // namespace

GroupSleeper::GroupSleeper(std::shared_ptr<Group> group, uint32_t slot, uint64_t timeout_ns, Done done)
    : group_(std::move(group)),
      slot_(slot),
      deadline_ns_(monotonic_ns() + std::min(timeout_ns, kLongestNs)),
      done_(std::move(done)),
      cursor_(group_->shared_log()) {}

bool GroupSleeper::is_over(uint64_t now_ns) {
  (void)group_->look(now_ns);
  news_ = has_news(now_ns);
  return news_ || now_ns >= deadline_ns_;
}

bool GroupSleeper::has_news(uint64_t now_ns) {
  if (!group_->check(now_ns).ok()) return true;
  GroupBlock& b = group_->block();
  if (group_->kind() == GroupKind::kDurable) {
    const uint32_t owner = owner_of(b.floor.load(std::memory_order_acquire));
    return owner == 0 || owner == slot_ + 1;
  }
  if (group_->kind() == GroupKind::kExclusive) {
    const uint32_t owner = unpack_turn(b.turn.load(std::memory_order_acquire)).owner;
    if (owner == 0) return true;
    if (owner != slot_ + 1) return false;
  }
  uint64_t floor = 0;
  uint64_t next = 0;
  if (!group_->load_span(&floor, &next)) return true;
  const uint32_t tick = tick_of(now_ns);
  const uint32_t due = b.due.load(std::memory_order_acquire);
  const bool again = group_->has_returned() || (due != 0 && is_due(due, tick));
  if (again && (group_->kind() != GroupKind::kKeyed || has_claimable(floor, next, tick))) return true;
  if (next - floor >= group_->window() || next >= group_->handed_out_before()) return false;
  const Place before = unpack_place(group_->entry(next - 1).place.load(std::memory_order_relaxed));
  const Status status = cursor_.go_to(*group_, next, nullptr, &before);
  if (status.code == Code::kNotFound || status.code == Code::kOutOfRange) return false;
  // What is wrong, claim() tells.
  if (!status.ok()) return true;
  return hermes::has_news(group_->log(), cursor_.reader().segment().get(), cursor_.reader().position());
}

/// Of a keyed group: whether a message waits whose bucket is free, or this member's own.
bool GroupSleeper::has_claimable(uint64_t floor, uint64_t next, uint32_t tick) const {
  std::bitset<kBuckets> held;
  for (uint64_t s = floor; s < next; ++s) {
    const uint64_t word = group_->entry(s).word.load(std::memory_order_acquire);
    const uint32_t lap = group_->lap(s);
    if (word == settled_word(lap)) continue;
    const Place place = unpack_place(group_->entry(s).place.load(std::memory_order_relaxed));
    const EntryWord e = unpack(word);
    // A member that claims looks closer; not before a damaged message is due, of which nobody knows the key.
    if (!belongs(word, lap) || place.lap != (lap & 0x3FF))
      return e.state != EntryState::kDelayed || is_due(e.number, tick);
    const bool waits = e.state == EntryState::kReturned || (e.state == EntryState::kDelayed && is_due(e.number, tick));
    if (waits && !held.test(place.bucket)) return true;
    if (e.state != EntryState::kClaimed || e.member != slot_) held.set(place.bucket);
  }
  return false;
}

Nap GroupSleeper::lie_down(uint64_t now_ns) {
  uint64_t until = std::min(now_ns + kLookUpNs, deadline_ns_);
  const uint32_t due = group_->block().due.load(std::memory_order_acquire);
  if (due != 0) until = std::min(until, now_ns + ((due - tick_of(now_ns)) & kClaimNumberMask) * kTickNs);
  if (cursor_.reader().segment() != nullptr) {
    const Position at = cursor_.reader().position();
    const Step step = cursor_.reader().segment()->step(at.offset);
    if (step.kind == Step::Kind::kClaim) {
      // Seen twice, a look-up apart: perhaps its owner is dead. If it can't be repaired now, the next look tries again.
      RepairOutcome outcome;
      if (claim_ == step.word) (void)repair_claim(group_->log(), at, &outcome);
      claim_ = step.word;
    }
  }
  // As LogSleeper has it: after the barrier that follows either we see what was done, or who did it sees `parked`.
  std::atomic<uint32_t>& parked = group_->log().control().parked;
  const uint32_t ticket = parked.fetch_or(1, std::memory_order_acq_rel) | 1;
  return {&parked, ticket, until, true};
}

void GroupSleeper::nudge() { wake_sleepers(group_->log()); }

void GroupSleeper::finish() { done_(news_); }

}  // namespace hermes
