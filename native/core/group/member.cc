#include "core/group/member.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/log/crash_point.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// A refused caller tries again, and not on a thread that others need.
constexpr uint32_t kOpenTimeoutMs = 20;
/// How old the member's idea of the group's rules may be.
constexpr uint64_t kRulesNs = 200'000'000;

}  // namespace

uint32_t bucket_of_key(const void* key, size_t bytes) noexcept { return crc32(0, key, bytes) % kBuckets; }

Member::Member(std::shared_ptr<Group> group, LockFile lock, uint32_t slot)
    : group_(std::move(group)),
      lock_(std::move(lock)),
      slot_(slot),
      fresh_(group_->shared_log()),
      again_(group_->shared_log()) {}

Member::~Member() { close(); }

Status Member::join(std::shared_ptr<Group> group, const MemberOptions& options, std::unique_ptr<Member>* out) {
  if (!group->log().writable()) {
    return Status::error(Code::kAccessDenied, "this process may not write to " + group->log().folder() +
                                                  ", and a member wakes others there");
  }
  LockFile lock;
  Status status = group->open_lock(&lock);
  if (!status.ok()) return status;
  GroupBlock& b = group->block();
  // Here, and not in the first claim, which may be on an event loop. (Where that fails, the claim says so.)
  (void)Reader(group->shared_log(), MappedFile::Access::kReadWrite)
      .prepare_sequence(group->kind() == GroupKind::kDurable ? b.floor.load() & kSequenceMask : b.next.load());
  MembershipLock membership(*group);
  status = membership.acquire(kOpenTimeoutMs);
  if (!status.ok()) return status;
  uint32_t slot = 0;
  // A slot whose lock is free has no owner, whatever it says.
  for (;; ++slot) {
    if (slot == kMemberSlots) return Status::error(Code::kLimit, "all 256 members of the group are there");
    status = lock.try_lock(kMemberByte + slot, LockFile::Mode::kExclusive);
    if (status.ok()) break;
    if (status.code != Code::kBusy) return status;
  }
  MemberSlot& mine = b.slots[slot];
  // What a dead one held. (If it was killed while it claimed, that is found missing.)
  if (group->return_all_of(slot) > 0) group->wake();
  uint64_t turn = b.turn.load(std::memory_order_relaxed);
  if (unpack_turn(turn).owner == slot + 1)
    b.turn.compare_exchange_strong(turn, pack(Turn{0, unpack_turn(turn).ticket + 1}), std::memory_order_seq_cst);
  uint64_t floor = b.floor.load(std::memory_order_relaxed);
  if (owner_of(floor) == slot + 1)
    b.floor.compare_exchange_strong(floor, owned_floor(0, floor), std::memory_order_seq_cst);
  crash_point("group:joining");

  std::unique_ptr<Member> member(new Member(std::move(group), std::move(lock), slot));
  member->rules_ = member->group_->rules();
  member->rules_ns_ = monotonic_ns();
  member->lease_ns_ = options.lease_ns != 0 ? options.lease_ns : uint64_t{member->rules_.lease_ms} * 1'000'000;
  member->cuts_seen_ = b.totals.cut.load(std::memory_order_relaxed);
  mine.pid.store(static_cast<uint32_t>(::getpid()), std::memory_order_relaxed);
  mine.taken_ns.store(realtime_ns(), std::memory_order_relaxed);
  mine.generation.fetch_add(1, std::memory_order_relaxed);
  mine.in_flight.store(0, std::memory_order_relaxed);
  mine.claimed.store(0, std::memory_order_relaxed);
  mine.settled.store(0, std::memory_order_relaxed);
  uint64_t name[kMemberNameBytes / 8] = {};
  std::memcpy(name, options.name.data(), std::min<size_t>(options.name.size(), kMemberNameBytes));
  for (uint32_t i = 0; i < kMemberNameBytes / 8; ++i) mine.name[i].store(name[i], std::memory_order_relaxed);
  member->renew();
  if (options.beat != nullptr) {
    member->beat_ = options.beat;
    auto lease = std::make_shared<LeaseKeeper::Lease>();
    lease->owner = member->group_;
    lease->word = &mine.lease_ns;
    lease->lease_ns = member->lease_ns_;
    lease->beat = options.beat;
    status = LeaseKeeper::shared().add(lease);
    if (!status.ok()) return status;
    member->lease_ = std::move(lease);
  }
  // Release: who finds it taken finds the lock held and the lease begun.
  mine.state.store(1, std::memory_order_release);
  *out = std::move(member);
  return status;
}

void Member::close() noexcept {
  if (closed_) return;
  closed_ = true;
  if (guard_.in_child()) return;
  if (lease_ != nullptr) LeaseKeeper::shared().remove(lease_);
  GroupBlock& b = group_->block();
  bool changed = group_->return_all_of(slot_) > 0;
  crash_point("group:closing");
  uint64_t turn = b.turn.load(std::memory_order_relaxed);
  if (unpack_turn(turn).owner == slot_ + 1) {
    changed =
        b.turn.compare_exchange_strong(turn, pack(Turn{0, unpack_turn(turn).ticket}), std::memory_order_seq_cst) ||
        changed;
  }
  uint64_t floor = b.floor.load(std::memory_order_relaxed);
  while (owner_of(floor) == slot_ + 1 &&
         !b.floor.compare_exchange_weak(floor, owned_floor(0, floor), std::memory_order_seq_cst)) {
  }
  slot().in_flight.store(0, std::memory_order_relaxed);
  // Release: who takes the slot finds nothing of ours. The lock goes last.
  slot().state.store(0, std::memory_order_release);
  lock_.close();
  // Those who stand by, too.
  if (changed || group_->takes_turns() || group_->kind() == GroupKind::kDurable) group_->wake();
}

void Member::renew() noexcept {
  const uint64_t now = monotonic_ns();
  if (beat_ != nullptr) beat_->turned_ns.store(now, std::memory_order_relaxed);
  slot().lease_ns.store(now + lease_ns_, std::memory_order_relaxed);
}

Status Member::begin(uint64_t now_ns) {
  if (closed_) return Status::error(Code::kClosed, "the member is closed");
  if (guard_.in_child())
    return Status::error(Code::kForked, "this member belongs to the parent process; join the group again here");
  // A member that claims does not hang.
  slot().lease_ns.store(now_ns + lease_ns_, std::memory_order_relaxed);
  Status status = group_->check(now_ns);
  if (!status.ok()) return status;
  const uint64_t cuts = group_->block().totals.cut.load(std::memory_order_relaxed);
  if (cuts != cuts_seen_) [[unlikely]] {
    cuts_seen_ = cuts;
    return Status::error(
        Code::kPositionLost,
        "the topic has lost messages that the group had come to (a power cut, or damage): the group goes on at its "
        "present end, and messages with those sequences are new ones");
  }
  if (now_ns - rules_ns_ >= kRulesNs) {
    rules_ = group_->rules();
    rules_ns_ = now_ns;
  }
  return status;
}

uint32_t Member::next_number() noexcept {
  // Kept in the slot, so that no owner of it repeats what one before has used.
  const uint32_t number = (slot().claims.load(std::memory_order_relaxed) + 1) & kClaimNumberMask;
  slot().claims.store(number, std::memory_order_relaxed);
  return number;
}

Status Member::claim(const ClaimBuffer& out, ClaimResult* result) {
  *result = {};
  const uint64_t now = monotonic_ns();
  Status status = begin(now);
  if (!status.ok()) return status;
  if (group_->kind() == GroupKind::kDurable) {
    return Status::error(Code::kUnsupported,
                         "a durable subscription hands nothing out: read on from where it is committed, then commit");
  }
  (void)group_->look(now);
  ClaimBuffer bounded = out;
  bounded.limit = std::min(out.limit, kMaxClaim);
  if (bounded.limit == 0) return status;
  Progress progress{bounded, *result, next_number()};
  switch (group_->kind()) {
    case GroupKind::kShared:
      status = claim_again(&progress, now);
      if (status.ok() && progress.left() > 0 && result->stop == ClaimStop::kLimit) status = claim_new(&progress);
      break;
    case GroupKind::kExclusive:
      if (!hold_turn()) {
        result->stop = ClaimStop::kStandby;
        return status;
      }
      status = claim_again(&progress, now);
      if (status.ok() && progress.left() > 0 && result->stop == ClaimStop::kLimit) status = claim_new(&progress);
      break;
    case GroupKind::kKeyed:
      if (!take_turn(now)) {
        result->stop = ClaimStop::kBusy;
        return status;
      }
      status = claim_keyed(&progress, now);
      break;
    case GroupKind::kDurable:
      break;
  }
  if (group_->takes_turns()) {
    // Sequentially consistent, after the entries were exchanged: a member that took the turn before this finds our claims when it looks at the entries, or we
    // find it gone.
    if (group_->block().turn.load(std::memory_order_seq_cst) != turn_) [[unlikely]] {
      give_back(&progress);
      result->stop = group_->kind() == GroupKind::kKeyed ? ClaimStop::kBusy : ClaimStop::kStandby;
      turn_ = 0;
    } else if (group_->kind() == GroupKind::kKeyed) {
      end_turn();
    }
  }
  if (result->count > 0) {
    // What was got is handed over; what kept us from more comes again.
    status = Status::success();
    if (result->stop == ClaimStop::kRoom || result->stop == ClaimStop::kDamage) result->stop = ClaimStop::kLimit;
    in_flight_ += result->count;
    slot().in_flight.store(in_flight_, std::memory_order_relaxed);
    slot().claimed.store(slot().claimed.load(std::memory_order_relaxed) + result->count, std::memory_order_relaxed);
    crash_point("group:handed-over");
  }
  return status;
}

bool Member::hold_turn() noexcept {
  std::atomic<uint64_t>& turn = group_->block().turn;
  uint64_t seen = turn.load(std::memory_order_seq_cst);
  if (turn_ != 0 && seen == turn_) return true;
  const Turn now = unpack_turn(seen);
  if (now.owner != 0) return false;
  const uint64_t wanted = pack(Turn{slot_ + 1, now.ticket + 1});
  if (!turn.compare_exchange_strong(seen, wanted, std::memory_order_seq_cst)) return false;
  turn_ = wanted;
  return true;
}

/// Undoes what this claim has got so far.
void Member::give_back(Progress* progress) noexcept {
  ClaimResult& result = progress->result;
  const ClaimRecord* const records = progress->out.records;
  for (uint32_t i = 0; i < result.count; ++i) {
    const uint32_t lap = group_->lap(records[i].sequence);
    uint64_t mine = pack({EntryState::kClaimed, slot_, records[i].deliveries, lap, records[i].number});
    const uint64_t back = pack({EntryState::kReturned, 0, records[i].deliveries - 1, lap, 0});
    if (group_->entry(records[i].sequence).word.compare_exchange_strong(mine, back, std::memory_order_seq_cst)) {
      group_->note_returned(records[i].sequence, records[i].sequence + 1);
    }
  }
  if (result.count > 0) group_->wake();
  result.count = 0;
  result.bytes = 0;
}

uint32_t Member::settle(const ClaimRecord* records, uint32_t count, Outcome outcome, uint64_t delay_ns,
                        uint8_t* lost) noexcept {
  if (closed_ || guard_.in_child() || group_->window() == 0) {
    std::memset(lost, 1, count);
    return 0;
  }
  const bool ends = outcome == Outcome::kDone || outcome == Outcome::kRejected;
  const bool again = outcome == Outcome::kReturned || outcome == Outcome::kReleased;
  const uint64_t now = delay_ns > 0 || beat_ == nullptr ? monotonic_ns() : 0;
  if (beat_ == nullptr) slot().lease_ns.store(now + lease_ns_, std::memory_order_relaxed);
  uint32_t settled = 0;
  bool earlier = false;
  for (uint32_t i = 0; i < count; ++i) {
    const ClaimRecord& r = records[i];
    const uint32_t lap = group_->lap(r.sequence);
    uint64_t wanted = settled_word(lap);
    uint32_t due = 0;
    if (again) {
      const uint32_t deliveries = outcome == Outcome::kReleased && r.deliveries > 0 ? r.deliveries - 1 : r.deliveries;
      uint64_t delay = delay_ns;
      if (delay == kBackoff) {
        const uint64_t doubled = uint64_t{rules_.backoff_ms} << std::min(r.deliveries > 0 ? r.deliveries - 1 : 0, 31u);
        delay = std::min<uint64_t>(doubled, rules_.max_backoff_ms) * 1'000'000;
      }
      // Rounded up: never earlier than was asked for.
      if (delay > 0) due = tick_of(now + std::min(delay, kLongestDelayNs) + 15'999'999);
      wanted = pack({due != 0 ? EntryState::kDelayed : EntryState::kReturned, 0, deliveries, lap, due});
    }
    // The word that we wrote when we claimed it. If it was taken from us meanwhile it is another one, whichever member has it now: that is the fence.
    // Sequentially consistent for the sake of raise_floor(). Release: who claims it again comes after what we did with it.
    uint64_t mine = pack({EntryState::kClaimed, slot_, r.deliveries, lap, r.number});
    lost[i] = group_->entry(r.sequence).word.compare_exchange_strong(mine, wanted, std::memory_order_seq_cst) ? 0 : 1;
    if (lost[i] != 0) continue;
    ++settled;
    if (due != 0) {
      earlier = group_->note_due(due) || earlier;
    } else if (again) {
      group_->note_returned(r.sequence, r.sequence + 1);
      earlier = true;
    }
  }
  crash_point("group:settled");
  in_flight_ -= std::min(in_flight_, count);
  slot().in_flight.store(in_flight_, std::memory_order_relaxed);
  GroupTotals& totals = group_->block().totals;
  if (settled < count) totals.late.fetch_add(count - settled, std::memory_order_relaxed);
  if (ends && settled > 0) {
    slot().settled.store(slot().settled.load(std::memory_order_relaxed) + settled, std::memory_order_relaxed);
    totals.settled.fetch_add(settled, std::memory_order_relaxed);
    if (outcome == Outcome::kRejected) totals.rejected.fetch_add(settled, std::memory_order_relaxed);
    group_->raise_floor_if_settled();
    // Others may have what comes after it in its bucket.
    if (group_->kind() == GroupKind::kKeyed && group_->has_returned()) group_->wake();
  }
  if (earlier) group_->wake();
  return settled;
}

bool Member::skip(uint64_t sequence) noexcept {
  uint64_t floor = 0;
  uint64_t next = 0;
  if (closed_ || guard_.in_child() || group_->window() == 0 || !group_->load_span(&floor, &next) || sequence < floor ||
      sequence >= next)
    return false;
  std::atomic<uint64_t>& word = group_->entry(sequence).word;
  uint64_t seen = word.load(std::memory_order_acquire);
  const EntryState state = state_of(seen);
  const uint32_t lap = group_->lap(sequence);
  if (!belongs(seen, lap) || (state != EntryState::kReturned && state != EntryState::kDelayed)) return false;
  if (!word.compare_exchange_strong(seen, settled_word(lap), std::memory_order_seq_cst)) return false;
  group_->block().totals.lost.fetch_add(1, std::memory_order_relaxed);
  group_->raise_floor_if_settled();
  return true;
}

Status Member::activate() {
  Status status = begin(monotonic_ns());
  if (!status.ok()) return status;
  std::atomic<uint64_t>& floor = group_->block().floor;
  uint64_t seen = floor.load(std::memory_order_seq_cst);
  for (int look = 0;; ++look) {
    if (owner_of(seen) == slot_ + 1) return status;
    if (owner_of(seen) == 0) {
      if (floor.compare_exchange_strong(seen, owned_floor(slot_ + 1, seen), std::memory_order_seq_cst)) return status;
      continue;
    }
    if (look > 0) break;
    // It may just have died.
    (void)group_->look_now(monotonic_ns());
    seen = floor.load(std::memory_order_seq_cst);
  }
  return Status::error(Code::kExclusiveHeld, "another subscriber is active under this name");
}

/// What the former holder of a position is told.
static Status taken_over() {
  return Status::error(
      Code::kLeaseLost,
      "the position was reset, or another subscriber has taken over under this name: open it again, and "
      "it begins at the position as it is now");
}

Status Member::check_held() {
  if (closed_) return Status::error(Code::kClosed, "the member is closed");
  if (guard_.in_child()) return Status::error(Code::kForked, "this member belongs to the parent process");
  Status status = group_->check(monotonic_ns());
  if (!status.ok()) return status;
  // Acquire: who sees the position without its name sees what it was set to.
  return owner_of(group_->block().floor.load(std::memory_order_acquire)) == slot_ + 1 ? status : taken_over();
}

Status Member::commit(uint64_t sequence) {
  const uint64_t now = monotonic_ns();
  Status status = begin(now);
  if (!status.ok()) return status;
  if (sequence > known_end_.sequence) {
    // What was read once is there; how far the log goes is looked up only beyond that.
    Position end;
    status = group_->log().active() == 0 ? Status::success() : group_->log().end_from(known_end_, &end);
    if (!status.ok()) return status;
    if (end.segment != 0) known_end_ = end;
    if (sequence > std::max<uint64_t>(known_end_.sequence, 1)) {
      return Status::error(Code::kOutOfRange, "sequence " + std::to_string(sequence) +
                                                  " does not exist yet; the next one will be " +
                                                  std::to_string(std::max<uint64_t>(known_end_.sequence, 1)));
    }
  }
  std::atomic<uint64_t>& floor = group_->block().floor;
  uint64_t seen = floor.load(std::memory_order_seq_cst);
  for (;;) {
    if (owner_of(seen) != slot_ + 1) {
      return taken_over();
    }
    if (sequence < (seen & kSequenceMask)) {
      return Status::error(Code::kOutOfRange, "sequence " + std::to_string(seen & kSequenceMask) +
                                                  " is committed already; a position goes back by a reset");
    }
    if (floor.compare_exchange_strong(seen, owned_floor(slot_ + 1, sequence), std::memory_order_seq_cst)) break;
  }
  crash_point("group:committed");
  GroupTotals& totals = group_->block().totals;
  const uint64_t more = sequence - (seen & kSequenceMask);
  totals.settled.fetch_add(more, std::memory_order_relaxed);
  slot().settled.store(slot().settled.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  return status;
}

}  // namespace hermes
