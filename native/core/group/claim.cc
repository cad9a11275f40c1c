// How a member comes by messages: new ones from `next`, and those that were returned.

#include <algorithm>
#include <cstring>

#include "core/group/member.h"
#include "core/log/crash_point.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Others were faster so often: the call ends, and the next one goes on.
constexpr int kTries = 1000;
/// How long a message that is not whole is left alone before a member looks again.
constexpr uint64_t kDamageDelayNs = 1'000'000'000;

}  // namespace

/// Makes `word` the entry of a sequence that was taken from `next`. False if a member has found it missing meanwhile: it is not ours then.
bool Member::fill(uint64_t sequence, uint64_t place, uint64_t word) noexcept {
  GroupEntry& entry = group_->entry(sequence);
  const uint32_t lap = group_->lap(sequence);
  entry.place.store(place, std::memory_order_relaxed);
  uint64_t seen = entry.word.load(std::memory_order_relaxed);
  // What the lap before has left, or nothing yet. Anything else is another one's doing, or damage: that may be replaced only as long as `floor` says
  // that the word which was seen is not of a later lap.
  if (seen != settled_word((lap - 1) & kLapMask) && seen != 0) [[unlikely]] {
    if (belongs(seen, lap) || group_->block().floor.load(std::memory_order_acquire) > sequence) return false;
  }
  // Release: who sees the word sees the place.
  return entry.word.compare_exchange_strong(seen, word, std::memory_order_seq_cst);
}

/// Voids settle themselves.
void Member::fill_voids(const Stretch& stretch) noexcept {
  uint32_t data = 0;
  bool any = false;
  for (uint64_t s = stretch.next; s < stretch.end; ++s) {
    if (data < stretch.count && stretch.found[data].sequence == s) {
      ++data;
      continue;
    }
    const uint32_t lap = group_->lap(s);
    any = fill(s, pack(Place{0, 0, lap, 0}), settled_word(lap)) || any;
  }
  if (any) group_->raise_floor_if_settled();
}

/// What follows `next` in the log, up to `limit` (a sequence) and to the end of its segment. REQUIRES: fresh_ is at `next`.
Status Member::look_from(uint64_t next, uint64_t limit, uint64_t most, uint64_t room, Stretch* stretch) {
  Reader& reader = fresh_.reader();
  stretch->next = stretch->end = next;
  stretch->count = 0;
  stretch->stop = ClaimStop::kEmpty;
  uint64_t used = 0;
  for (;;) {
    if (reader.segment() == nullptr) return Status::success();
    const Position at = reader.position();
    Status status = reader.read_ahead(at.offset);
    if (!status.ok()) return status;
    const Segment& segment = *reader.segment();
    const Step step = segment.step(at.offset);
    switch (step.kind) {
      case Step::Kind::kEmpty:
        if (stretch->end == next && reader.log().is_hole(segment, at.offset)) stretch->stop = ClaimStop::kDamage;
        return status;
      case Step::Kind::kClaim:
        return status;
      case Step::Kind::kDamage:
        stretch->stop = ClaimStop::kDamage;
        return status;
      case Step::Kind::kPadding:
      case Step::Kind::kSegmentEnd:
        stretch->stop = ClaimStop::kLimit;
        if (stretch->end > next) return status;
        status = reader.next_segment();
        stretch->stop = ClaimStop::kEmpty;
        if (status.code == Code::kNotFound) return Status::success();
        if (!status.ok()) return status;
        break;
      case Step::Kind::kVoid: {
        const uint64_t end = at.sequence + step.count;
        // Its count is gone by, so it is checked.
        if (!segment.is_whole(at.offset, step, at.sequence, reader.log().control().max_payload)) {
          stretch->stop = ClaimStop::kDamage;
          return status;
        }
        if (end > limit) {
          stretch->end = std::max(stretch->end, limit);
          stretch->stop = ClaimStop::kWindowFull;
          return status;
        }
        stretch->end = std::max(stretch->end, end);
        reader.set_position(at.offset + step.span, end);
        break;
      }
      case Step::Kind::kData:
        stretch->stop = !is_plausible_frame(reader, step) ? ClaimStop::kDamage
                        : at.sequence >= limit            ? ClaimStop::kWindowFull
                        : stretch->count == most          ? ClaimStop::kLimit
                        : used + step.span > room         ? ClaimStop::kRoom
                                                          : ClaimStop::kEmpty;
        stretch->needed = step.span;
        if (stretch->stop != ClaimStop::kEmpty) return status;
        stretch->found[stretch->count++] = {at.sequence, at.offset, step.span};
        used += step.span;
        stretch->end = at.sequence + 1;
        reader.set_position(at.offset + step.span, at.sequence + 1);
        break;
    }
  }
}

/// Takes from `next` what comes there, `most` messages and `room` bytes of frames at most. What was taken is ours to fill in, voids are filled in.
Status Member::take_new(uint64_t most, uint64_t room, Stretch* stretch) {
  std::atomic<uint64_t>& word = group_->block().next;
  for (int tries = 0; tries < kTries; ++tries) {
    uint64_t floor = 0;
    uint64_t next = 0;
    *stretch = {};
    if (!group_->load_span(&floor, &next)) return group_damaged(group_->path());
    if (next - floor >= group_->window()) {
      // Unless a member died before it could raise it.
      group_->raise_floor_if_settled();
      if (!group_->load_span(&floor, &next)) return group_damaged(group_->path());
    }
    stretch->next = stretch->end = next;
    if (next - floor >= group_->window()) {
      stretch->stop = ClaimStop::kWindowFull;
      return Status::success();
    }
    const uint64_t synced = group_->handed_out_before();
    if (next >= synced) {
      stretch->stop = ClaimStop::kEmpty;
      return Status::success();
    }
    const Place before = unpack_place(group_->entry(next - 1).place.load(std::memory_order_relaxed));
    Status status = fresh_.go_to(*group_, next, nullptr, &before);
    const Position begin = fresh_.reader().position();
    const uint64_t limit = std::min(floor + group_->window(), synced);
    if (status.ok()) status = look_from(next, limit, std::min<uint64_t>(most, kMaxClaim), room, stretch);
    if (stretch->stop == ClaimStop::kWindowFull && limit == synced) stretch->stop = ClaimStop::kEmpty;
    if (status.code == Code::kBehindRetention) {
      status = pass_removed(next, floor);
      if (!status.ok()) return status;
      continue;
    }
    // Behind the log's end: there's nothing yet. (A log that was cut is found out by Group::check.)
    if (status.code == Code::kNotFound || status.code == Code::kOutOfRange) {
      stretch->stop = ClaimStop::kEmpty;
      return Status::success();
    }
    if (!status.ok()) return status;
    if (stretch->end == next) return status;
    crash_point("group:claiming");
    uint64_t expected = next;
    // Sequentially consistent for the sake of who looks in his turn. Release: who sees it raised sees what the log has up to there.
    if (word.compare_exchange_strong(expected, stretch->end, std::memory_order_seq_cst)) {
      crash_point("group:claimed");
      if (stretch->end - stretch->next > stretch->count) fill_voids(*stretch);
      return status;
    }
    if (fresh_.reader().position().segment == begin.segment) fresh_.reader().set_position(begin.offset, begin.sequence);
  }
  stretch->end = stretch->next;
  stretch->count = 0;
  stretch->stop = ClaimStop::kBusy;
  return Status::success();
}

/// Retention has removed what `next` points at: all of that is settled as lost, a window's worth at a time.
Status Member::pass_removed(uint64_t next, uint64_t floor) {
  Status status = again_.reader().seek_earliest();
  if (!status.ok()) return status;
  const uint64_t first = again_.sequence();
  if (first <= next) return status;
  const uint64_t end = std::min(first, floor + group_->window());
  uint64_t expected = next;
  if (!group_->block().next.compare_exchange_strong(expected, end, std::memory_order_seq_cst)) return status;
  uint64_t lost = 0;
  for (uint64_t s = next; s < end; ++s) {
    const uint32_t lap = group_->lap(s);
    lost += fill(s, pack(Place{0, 0, lap, 0}), settled_word(lap)) ? 1 : 0;
  }
  group_->block().totals.lost.fetch_add(lost, std::memory_order_relaxed);
  group_->raise_floor_if_settled();
  return status;
}

Status Member::claim_new(Progress* progress) {
  Stretch stretch;
  ClaimResult& result = progress->result;
  // Again after voids alone.
  do {
    Status status = take_new(progress->left(), progress->room(), &stretch);
    if (!status.ok()) return status;
  } while (stretch.count == 0 && stretch.end > stretch.next && stretch.stop != ClaimStop::kWindowFull);
  result.stop = stretch.stop;
  result.needed = stretch.needed;
  result.sequence = stretch.end;
  if (stretch.count == 0) return Status::success();
  // The segment may be the one before the cursor's only if nothing was taken.
  const Segment& segment = *fresh_.reader().segment();
  for (uint32_t i = 0; i < stretch.count; ++i) {
    const Found& found = stretch.found[i];
    const uint32_t lap = group_->lap(found.sequence);
    const uint64_t place = pack(Place{segment.number(), found.offset, lap, 0});
    if (fill(found.sequence, place, pack({EntryState::kClaimed, slot_, 1, lap, progress->number}))) {
      copy_out(segment, found.offset, found.span, found.sequence, 1, 0, progress);
    }
    if (i == stretch.count / 2) crash_point("group:filling");
  }
  return Status::success();
}

/// Copies the frame of a message that is ours now, and checks the copy, which no longer changes.
void Member::copy_out(const Segment& segment, uint64_t offset, uint64_t span, uint64_t sequence, uint32_t deliveries,
                      uint32_t bucket, Progress* progress) noexcept {
  ClaimResult& result = progress->result;
  std::byte* const copy = progress->out.frames + result.bytes;
  std::memcpy(copy, segment.data() + offset, span);
  FrameHeader header;
  std::memcpy(&header, copy, sizeof header);
  const bool whole = header.magic == kFrameMagic && header.type == static_cast<uint8_t>(FrameType::kData) &&
                     header.sequence == sequence && frame_span(header.payload_len) == span &&
                     frame_crc(copy, header.payload_len) == header.crc32;
  if (!whole) [[unlikely]] {
    // Back, but not at once: else who finds it again and again does nothing else.
    const uint32_t lap = group_->lap(sequence);
    uint64_t mine = pack({EntryState::kClaimed, slot_, deliveries, lap, progress->number});
    const uint32_t due = tick_of(monotonic_ns() + kDamageDelayNs);
    if (group_->entry(sequence).word.compare_exchange_strong(
            mine, pack({EntryState::kDelayed, 0, deliveries - 1, lap, due}), std::memory_order_seq_cst)) {
      (void)group_->note_due(due);
    }
    result.stop = ClaimStop::kDamage;
    result.sequence = sequence;
    return;
  }
  progress->out.records[result.count++] = {sequence, static_cast<uint32_t>(result.bytes), deliveries, progress->number,
                                           bucket};
  result.bytes += span;
}

/// Claims the message of an entry that was seen returned, or delayed and due. `*full`: there is no room for it.
Status Member::try_again(uint64_t sequence, uint64_t seen, uint32_t bucket, Progress* progress, bool* full) {
  std::atomic<uint64_t>& word = group_->entry(sequence).word;
  const EntryWord e = unpack(seen);
  const Place place = unpack_place(group_->entry(sequence).place.load(std::memory_order_relaxed));
  Status status = again_.go_to(*group_, sequence, &place, nullptr);
  const bool removed = status.code == Code::kBehindRetention;
  // Behind the log's end: its tail was cut, which Group::check sets right.
  if (status.code == Code::kNotFound || status.code == Code::kOutOfRange) return Status::success();
  if (!status.ok() && !removed) return status;
  const Position at = again_.reader().position();
  const Step step = removed ? Step{Step::Kind::kVoid} : again_.reader().segment()->step(at.offset);
  if (step.kind == Step::Kind::kVoid) {
    if (word.compare_exchange_strong(seen, settled_word(e.lap), std::memory_order_seq_cst)) {
      if (removed) group_->block().totals.lost.fetch_add(1, std::memory_order_relaxed);
      group_->raise_floor_if_settled();
    }
    return Status::success();
  }
  if (step.kind != Step::Kind::kData || !is_plausible_frame(again_.reader(), step)) {
    const uint32_t due = tick_of(monotonic_ns() + kDamageDelayNs);
    if (word.compare_exchange_strong(seen, pack({EntryState::kDelayed, 0, e.deliveries, e.lap, due}),
                                     std::memory_order_seq_cst))
      (void)group_->note_due(due);
    progress->result.stop = ClaimStop::kDamage;
    progress->result.sequence = sequence;
    return Status::success();
  }
  if (step.span > progress->room()) {
    *full = true;
    progress->result.needed = step.span;
    return status;
  }
  const uint32_t deliveries = std::min(e.deliveries + 1, kMaxDeliveries);
  if (!word.compare_exchange_strong(seen, pack({EntryState::kClaimed, slot_, deliveries, e.lap, progress->number}),
                                    std::memory_order_seq_cst))
    return status;
  crash_point("group:reclaimed");
  const Segment& segment = *again_.reader().segment();
  group_->entry(sequence).place.store(pack(Place{segment.number(), at.offset, e.lap, bucket}),
                                      std::memory_order_relaxed);
  if (e.deliveries > 0) group_->block().totals.redelivered.fetch_add(1, std::memory_order_relaxed);
  copy_out(segment, at.offset, step.span, sequence, deliveries, bucket, progress);
  return status;
}

Status Member::claim_again(Progress* progress, uint64_t now_ns) {
  GroupBlock& b = group_->block();
  uint64_t floor = 0;
  uint64_t next = 0;
  if (!group_->load_span(&floor, &next)) return group_damaged(group_->path());
  const uint32_t tick = tick_of(now_ns);
  const uint32_t due = b.due.load(std::memory_order_acquire);
  uint64_t from = floor;
  uint64_t to = next;
  if (due != 0 && is_due(due, tick)) {
    // Both notes are taken: all is looked through.
    (void)b.due.exchange(0, std::memory_order_acq_rel);
    (void)b.returned.exchange(0, std::memory_order_acq_rel);
  } else if (!group_->take_returned(floor, next, &from, &to)) {
    return Status::success();
  }
  crash_point("group:noted");
  for (uint64_t s = from; s < to; ++s) {
    const uint64_t seen = group_->entry(s).word.load(std::memory_order_acquire);
    if (!belongs(seen, group_->lap(s))) continue;
    const EntryWord e = unpack(seen);
    if (e.state == EntryState::kDelayed && !is_due(e.number, tick)) {
      (void)group_->note_due(e.number);
      continue;
    }
    if (e.state != EntryState::kReturned && e.state != EntryState::kDelayed) continue;
    bool full = progress->left() == 0;
    Status status;
    if (!full) status = try_again(s, seen, 0, progress, &full);
    if (!full && status.ok()) continue;
    // The rest is for the next call, or for others.
    group_->note_returned(s, to);
    if (progress->result.count == 0) progress->result.stop = ClaimStop::kRoom;
    return status;
  }
  return Status::success();
}

}  // namespace hermes
