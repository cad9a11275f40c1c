// Groups that keep the order of each key: one member claims at a time, and sees by the entries which member has which bucket.

#include <sched.h>

#include <algorithm>
#include <bitset>
#include <cstring>

#include "core/group/member.h"
#include "core/log/crash_point.h"
#include "core/platform/clock.h"
#include "core/platform/pause.h"

namespace hermes {
namespace {

/// Who keeps the turn for longer is stopped, or waits for a processor: it is taken from him, and what he is about to claim is not his.
constexpr uint64_t kLongTurnNs = 10'000'000;
constexpr int kSpins = 200;
/// New messages that one claim enters at most, where all of them are for others.
constexpr uint64_t kMostEntered = 4096;

}  // namespace

bool Member::take_turn(uint64_t now_ns) noexcept {
  std::atomic<uint64_t>& turn = group_->block().turn;
  for (int spin = 0; spin < kSpins; ++spin) {
    uint64_t seen = turn.load(std::memory_order_relaxed);
    const Turn other = unpack_turn(seen);
    bool free = other.owner == 0;
    if (!free && seen == busy_turn_) {
      free = now_ns - busy_since_ns_ >= kLongTurnNs;
    } else if (!free) {
      busy_turn_ = seen;
      busy_since_ns_ = now_ns;
    }
    const uint64_t wanted = pack(Turn{slot_ + 1, other.ticket + 1});
    // Sequentially consistent: after it we see what the one before had claimed, or he sees that his turn is gone.
    if (free && turn.compare_exchange_strong(seen, wanted, std::memory_order_seq_cst)) {
      turn_ = wanted;
      return true;
    }
    if (spin % 32 == 31) {
      ::sched_yield();
    } else {
      cpu_pause();
    }
  }
  return false;
}

void Member::end_turn() noexcept {
  uint64_t mine = turn_;
  // Failed: it was taken from us, which does no harm any more.
  (void)group_->block().turn.compare_exchange_strong(mine, pack(Turn{0, unpack_turn(turn_).ticket}),
                                                     std::memory_order_seq_cst);
  turn_ = 0;
}

uint32_t Member::bucket_of(const Segment& segment, uint64_t offset) const noexcept {
  const uint32_t length = segment.frame(offset)->payload_len;
  const std::byte* const payload = segment.data() + offset + kFrameHeaderBytes;
  // A payload that ends before the key does has what there is of it. (The frame lies within the segment, whatever the length says by now.)
  const uint64_t left = segment.bytes() - offset - kFrameHeaderBytes;
  const uint64_t end = std::min<uint64_t>(length, left);
  const uint64_t from = std::min<uint64_t>(rules_.key_offset, end);
  return bucket_of_key(payload + from, std::min<uint64_t>(rules_.key_bytes, end - from));
}

/// The bucket of an entry, as it was noted, or else from the message. False if only the caller could tell.
bool Member::know_bucket(uint64_t sequence, uint32_t* bucket) {
  const uint64_t word = group_->entry(sequence).place.load(std::memory_order_relaxed);
  const Place place = unpack_place(word);
  if (word != 0 && place.lap == (group_->lap(sequence) & 0x3FF)) {
    *bucket = place.bucket;
    return true;
  }
  if (rules_.key_bytes == 0) return false;
  if (!holds_message(sequence)) return false;
  const Position at = again_.reader().position();
  *bucket = bucket_of(*again_.reader().segment(), at.offset);
  group_->entry(sequence).place.store(pack(Place{at.segment, at.offset, group_->lap(sequence), *bucket}),
                                      std::memory_order_relaxed);
  return true;
}

/// Whether a message stands in the log for the sequence, and no void; and retention has not removed it. again_ is there then.
bool Member::holds_message(uint64_t sequence) {
  if (!again_.go_to(*group_, sequence, nullptr, nullptr).ok() || again_.reader().segment() == nullptr) return false;
  return again_.reader().segment()->step(again_.reader().position().offset).kind == Step::Kind::kData;
}

/// Enters new messages as returned, and never delivered: from there they are claimed in order. REQUIRES: it's our turn. `told`: their buckets, if
/// the caller has to tell them.
Status Member::enter_new(uint64_t most, const ClaimRecord* told, Stretch* stretch) {
  Status status = take_new(most, ~uint64_t{0}, stretch);
  if (!status.ok() || stretch->count == 0) return status;
  const Segment& segment = *fresh_.reader().segment();
  for (uint32_t i = 0; i < stretch->count; ++i) {
    const Found& found = stretch->found[i];
    const uint32_t lap = group_->lap(found.sequence);
    const bool is_told = told != nullptr && told[i].sequence == found.sequence;
    // (Not told: the log has changed under us. The next member that comes upon it asks again.)
    const uint32_t bucket = told == nullptr ? bucket_of(segment, found.offset)
                            : is_told       ? told[i].bucket % kBuckets
                                            : 0;
    const uint64_t place = told == nullptr || is_told ? pack(Place{segment.number(), found.offset, lap, bucket}) : 0;
    (void)fill(found.sequence, place, pack({EntryState::kReturned, 0, 0, lap, 0}));
    if (i == stretch->count / 2) crash_point("group:entering");
  }
  return status;
}

Status Member::claim_keyed(Progress* progress, uint64_t now_ns) {
  GroupBlock& b = group_->block();
  ClaimResult& result = progress->result;
  uint64_t floor = 0;
  uint64_t next = 0;
  if (!group_->load_span(&floor, &next)) return group_damaged(group_->path());
  (void)b.returned.exchange(0, std::memory_order_acq_rel);
  const uint32_t tick = tick_of(now_ns);
  const uint32_t due = b.due.load(std::memory_order_acquire);
  if (due != 0 && is_due(due, tick)) (void)b.due.exchange(0, std::memory_order_acq_rel);
  crash_point("group:noted");
  // Buckets of which an earlier message is with another member, or waits.
  std::bitset<kBuckets> held;
  uint64_t first_left = ~uint64_t{0};
  uint64_t last_left = 0;
  const auto leave = [&](uint64_t s, uint32_t bucket) {
    held.set(bucket);
    first_left = std::min(first_left, s);
    last_left = s + 1;
  };
  result.stop = ClaimStop::kLimit;
  Status status;
  const uint64_t enter_until = next + kMostEntered;
  for (uint64_t s = floor; status.ok();) {
    if (s == next) {
      if (progress->left() == 0 || next >= enter_until) break;
      // Where the caller tells the keys, voids are passed here: it is shown messages only, and enters what begins at `next`.
      Stretch stretch;
      status =
          rules_.key_bytes == 0 ? take_new(0, ~uint64_t{0}, &stretch) : enter_new(progress->left(), nullptr, &stretch);
      if (!status.ok()) break;
      if (rules_.key_bytes == 0 && stretch.end == stretch.next) {
        result.stop = ClaimStop::kNoKey;
        break;
      }
      if (stretch.end == stretch.next || stretch.next != next) {
        result.stop = stretch.stop;
        result.needed = stretch.needed;
        result.sequence = stretch.end;
        break;
      }
      next = stretch.end;
      continue;
    }
    std::atomic<uint64_t>& word = group_->entry(s).word;
    uint64_t seen = word.load(std::memory_order_seq_cst);
    const uint32_t lap = group_->lap(s);
    if (seen == settled_word(lap)) {
      ++s;
      continue;
    }
    if (!belongs(seen, lap)) {
      // Taken from `next` in a turn that is over, and not entered. (Or settled long since, and of a later lap: then `floor` has passed it.)
      if (b.floor.load(std::memory_order_acquire) <= s) {
        const uint64_t missing = pack({EntryState::kReturned, 0, 0, lap, 0});
        if (word.compare_exchange_strong(seen, missing, std::memory_order_seq_cst))
          group_->entry(s).place.store(0, std::memory_order_relaxed);
      } else {
        ++s;
      }
      continue;
    }
    const EntryWord e = unpack(seen);
    uint32_t bucket = 0;
    if (!know_bucket(s, &bucket)) {
      // All that comes after it may be of its key.
      leave(s, 0);
      last_left = next;
      bool full = false;
      // Perhaps it's none any more: a void, or removed. (Of a message of which only the caller could tell, it stays to be told.)
      const bool delayed = e.state == EntryState::kDelayed && !is_due(e.number, tick);
      const bool waits = e.state == EntryState::kReturned || (e.state == EntryState::kDelayed && !delayed);
      const bool none = waits && (rules_.key_bytes != 0 || !holds_message(s));
      if (none) status = try_again(s, seen, 0, progress, &full);
      if (word.load(std::memory_order_acquire) == settled_word(lap)) {
        ++s;
        continue;
      }
      if (delayed) (void)group_->note_due(e.number);
      result.stop = delayed                         ? ClaimStop::kEmpty
                    : none || rules_.key_bytes != 0 ? ClaimStop::kDamage
                                                    : ClaimStop::kNoKey;
      result.sequence = s;
      break;
    }
    if (e.state == EntryState::kClaimed) {
      if (e.member != slot_) held.set(bucket);
    } else if (e.state == EntryState::kSettled) {
      // (of a form that is never written: damage)
    } else if (e.state == EntryState::kDelayed && !is_due(e.number, tick)) {
      (void)group_->note_due(e.number);
      held.set(bucket);
    } else if (held.test(bucket)) {
      leave(s, bucket);
    } else {
      bool full = progress->left() == 0;
      if (!full) status = try_again(s, seen, bucket, progress, &full);
      if (full || !status.ok()) {
        if (result.count == 0 && full) result.stop = ClaimStop::kRoom;
        leave(s, bucket);
        last_left = next;
        break;
      }
      const uint64_t now = word.load(std::memory_order_acquire);
      const EntryWord after = unpack(now);
      const bool is_past = now == settled_word(lap) || !belongs(now, lap);
      if (!is_past && !(after.state == EntryState::kClaimed && after.member == slot_)) leave(s, bucket);
    }
    ++s;
  }
  if (last_left > 0) group_->note_returned(first_left, last_left);
  return status;
}

Status Member::peek(const ClaimBuffer& out, ClaimResult* result) {
  *result = {};
  Status status = begin(monotonic_ns());
  if (!status.ok()) return status;
  if (group_->kind() != GroupKind::kKeyed)
    return Status::error(Code::kUnsupported, "only a keyed group has keys to be found");
  uint64_t floor = 0;
  uint64_t next = 0;
  if (!group_->load_span(&floor, &next)) return group_damaged(group_->path());
  const auto copy = [&](const Segment& segment, uint64_t offset, uint64_t span, uint64_t sequence) {
    std::memcpy(out.frames + result->bytes, segment.data() + offset, span);
    out.records[result->count++] = {sequence, static_cast<uint32_t>(result->bytes), 0, 0, 0};
    result->bytes += span;
  };
  // First those that were entered without a bucket, by a member that died.
  for (uint64_t s = floor; s < next; ++s) {
    const uint64_t seen = group_->entry(s).word.load(std::memory_order_acquire);
    uint32_t bucket = 0;
    if (!belongs(seen, group_->lap(s)) || state_of(seen) == EntryState::kSettled || know_bucket(s, &bucket)) continue;
    // (who claims settles what is none)
    if (!holds_message(s)) continue;
    const Position at = again_.reader().position();
    const Step step = again_.reader().segment()->step(at.offset);
    result->needed = step.span;
    result->stop = step.span > out.capacity ? ClaimStop::kRoom : ClaimStop::kLimit;
    if (result->stop == ClaimStop::kLimit) copy(*again_.reader().segment(), at.offset, step.span, s);
    return status;
  }
  if (next - floor >= group_->window()) {
    result->stop = ClaimStop::kWindowFull;
    return status;
  }
  const uint64_t limit = std::min(floor + group_->window(), group_->handed_out_before());
  result->stop = ClaimStop::kEmpty;
  if (next >= limit) return status;
  const Place before = unpack_place(group_->entry(next - 1).place.load(std::memory_order_relaxed));
  status = fresh_.go_to(*group_, next, nullptr, &before);
  Stretch stretch;
  const uint64_t most = std::min(out.limit, kMaxClaim);
  if (status.ok()) status = look_from(next, limit, most, out.capacity, &stretch);
  if (status.code == Code::kBehindRetention) status = pass_removed(next, floor);
  if (status.code == Code::kNotFound || status.code == Code::kOutOfRange) {
    result->stop = ClaimStop::kEmpty;
    return Status::success();
  }
  if (!status.ok()) return status;
  result->stop = stretch.stop;
  result->needed = stretch.needed;
  result->sequence = stretch.end;
  for (uint32_t i = 0; i < stretch.count; ++i) {
    copy(*fresh_.reader().segment(), stretch.found[i].offset, stretch.found[i].span, stretch.found[i].sequence);
  }
  return status;
}

Status Member::enter(const ClaimRecord* records, uint32_t count) {
  const uint64_t now = monotonic_ns();
  Status status = begin(now);
  if (!status.ok() || count == 0) return status;
  if (group_->kind() != GroupKind::kKeyed) return Status::error(Code::kUnsupported, "only a keyed group has buckets");
  // Others may tell them too: nothing depends on us.
  if (!take_turn(now)) return status;
  uint64_t floor = 0;
  uint64_t next = 0;
  if (!group_->load_span(&floor, &next)) {
    status = group_damaged(group_->path());
  } else if (records[0].sequence == next) {
    Stretch stretch;
    status = enter_new(count, records, &stretch);
  } else if (records[0].sequence >= floor && records[0].sequence < next) {
    uint32_t bucket = 0;
    const uint64_t s = records[0].sequence;
    if (!know_bucket(s, &bucket))
      group_->entry(s).place.store(pack(Place{0, 0, group_->lap(s), records[0].bucket % kBuckets}),
                                   std::memory_order_relaxed);
  }
  end_turn();
  group_->note_returned(records[0].sequence, records[count - 1].sequence + 1);
  return status;
}

}  // namespace hermes
