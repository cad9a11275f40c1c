#include "core/log/base_sequence.h"

#include "core/log/reader.h"
#include "core/log/resync.h"

namespace hermes {
namespace {

/// The messages that can be read in a segment that begins with `sequence`, behind damage, lost pages and claims, too.
uint64_t count_messages(const Segment& segment, uint64_t sequence, uint32_t max_payload) noexcept {
  constexpr uint32_t kFramesAtOnce = 4096;
  Position at = {segment.number(), kSegmentHeaderBytes, sequence};
  uint64_t messages = 0;
  for (;;) {
    const Scan found = scan(segment, at.offset, at.sequence, kFramesAtOnce, max_payload, true);
    messages += found.messages;
    at.offset = found.end;
    at.sequence = found.sequence;
    if (found.stop == ScanStop::kLimit) continue;
    if (found.stop == ScanStop::kSegmentEnd) return messages;
    const Step step = segment.step(at.offset);
    if (step.kind == Step::Kind::kClaim && at.offset + step.span < segment.bytes()) {
      at.offset += step.span;
      at.sequence += step.count;
    } else if (!find_next_frame(segment, at, ~uint64_t{0}, max_payload, &at)) {
      return messages;
    }
  }
}

/// Whether the chain that begins with `from` at its offset can come to `known`: each sequence takes up a header at least, and what takes up room is a
/// sequence, unless it is the padding at the segment's end.
bool leads_up_to(const Segment& segment, const Position& from, const Position& known) noexcept {
  if (known.offset < from.offset || known.sequence < from.sequence) return false;
  const uint64_t sequences = known.sequence - from.sequence;
  const bool is_padding = known.offset == segment.bytes();
  return sequences <= (known.offset - from.offset) / kFrameHeaderBytes &&
         (sequences != 0 || known.offset == from.offset || is_padding);
}

/// The beginning of a segment whose base sequence was unknown says nothing.
bool is_about(const Position& known, const Segment& segment) noexcept {
  return known.segment == segment.number() && known.sequence != 0;
}

/// The claims that the segment begins with.
struct FirstClaims {
  uint64_t end = kSegmentHeaderBytes;
  uint64_t count = 0;
};

FirstClaims first_claims(const Segment& segment) noexcept {
  FirstClaims claims;
  for (Step step = segment.step(claims.end); step.kind == Step::Kind::kClaim; step = segment.step(claims.end)) {
    claims.end += step.span;
    claims.count += step.count;
  }
  return claims;
}

/// The base sequence with which the chain comes to `known`, by the lengths and counts alone; 0 if it does not come there.
uint64_t base_that_leads_to(const Segment& segment, const Position& known) noexcept {
  uint64_t offset = kSegmentHeaderBytes;
  uint64_t count = 0;
  while (offset < known.offset) {
    const Step step = segment.step(offset);
    if (step.kind == Step::Kind::kSegmentEnd && known.offset == segment.bytes()) break;
    if (step.span == 0) return 0;
    offset += step.span;
    count += step.count;
  }
  const bool there = offset == known.offset || known.offset == segment.bytes();
  return there && known.sequence > count ? known.sequence - count : 0;
}

/// What is known of a segment besides what stands in it.
struct Landmarks {
  Position known;           // a position that the log was seen to have; says nothing if that lies in another segment
  uint64_t next_begin = 0;  // the sequence with which the next segment begins; 0 if that is unknown, or there is none
};

/// Where the segment ends, by the beginning of the next one; about no segment if that is unknown.
Position end_of(const Segment& segment, const Landmarks& landmarks) noexcept {
  if (landmarks.next_begin == 0) return {};
  return {segment.number(), segment.bytes(), landmarks.next_begin};
}

/// Whether there are no other frames than claims up to `known`.
bool is_claimed_up_to(const Segment& segment, const Position& known) noexcept {
  const uint64_t end = first_claims(segment).end;
  return end == known.offset || (known.offset == segment.bytes() && known.offset - end < kFrameHeaderBytes);
}

bool can_begin_with(const Segment& segment, uint64_t base, const Landmarks& landmarks) noexcept {
  return can_reach(segment, base, landmarks.known) && can_reach(segment, base, end_of(segment, landmarks));
}

bool can_go_on_from(const Segment& segment, const Position& at, const Landmarks& landmarks) noexcept {
  for (const Position& mark : {landmarks.known, end_of(segment, landmarks)}) {
    if (is_about(mark, segment) && !leads_up_to(segment, at, mark)) return false;
  }
  return true;
}

uint64_t judge(const Segment& segment, const Landmarks& landmarks, uint32_t max_payload) noexcept {
  const uint64_t stored = segment.header().base_sequence.load(std::memory_order_acquire);
  const Position& known = landmarks.known;
  if (is_about(known, segment) && known.offset == kSegmentHeaderBytes) return known.sequence;
  FirstFrame first;
  const bool has_frame = find_first_frame(segment, max_payload, &first);
  if (has_frame && stored == first.base) return stored;
  uint64_t told = 0;
  for (const Position& mark : {known, end_of(segment, landmarks)}) {
    // Where there are claims only, nothing but what is known can contradict the word.
    if (told == 0 && is_about(mark, segment) && (has_frame || is_claimed_up_to(segment, mark)))
      told = base_that_leads_to(segment, mark);
  }
  if (!has_frame) return told != 0 ? told : stored;
  if (stored == 0) return first.base;
  const bool frame_fits =
      can_begin_with(segment, first.base, landmarks) && can_go_on_from(segment, first.next, landmarks);
  if (can_begin_with(segment, stored, landmarks) != frame_fits) return frame_fits ? first.base : stored;
  if (told == stored || told == first.base) return told;
  // A frame says nothing for itself, but where the next one follows it the two do.
  const uint64_t span = segment.step(first.next.offset).span;
  const bool followed = span != 0 && is_whole(segment, first.next, span, max_payload);
  const uint64_t itself = first.is_message && !followed ? 1 : 0;
  const uint64_t by_frame = count_messages(segment, first.base, max_payload) - itself;
  return count_messages(segment, stored, max_payload) > by_frame ? stored : first.base;
}

/// How many segments behind one are asked how they begin, where each says two things.
constexpr uint32_t kMostAsked = 8;

uint64_t judge(Log& log, const Segment& segment, const Position& known, uint32_t asks) {
  const uint32_t max_payload = log.control().max_payload;
  Landmarks landmarks = {known, 0};
  FirstFrame first;
  const bool is_clear = find_first_frame(segment, max_payload, &first) &&
                        first.base == segment.header().base_sequence.load(std::memory_order_acquire);
  std::shared_ptr<Segment> next;
  // One that can't be opened tells nothing here; who comes to it says so.
  if (!is_clear && asks > 0 && segment.number() < log.active() && log.segment(segment.number() + 1, &next).ok())
    landmarks.next_begin = judge(log, *next, known, asks - 1);
  return judge(segment, landmarks, max_payload);
}

}  // namespace

bool find_first_frame(const Segment& segment, uint32_t max_payload, FirstFrame* found) noexcept {
  const auto [offset, claimed] = first_claims(segment);
  const Step step = segment.step(offset);
  if (step.span == 0) return false;
  const uint64_t sequence = segment.frame(offset)->sequence;
  if (sequence <= claimed || !is_whole(segment, {segment.number(), offset, sequence}, step.span, max_payload))
    return false;
  *found = {sequence - claimed,
            {segment.number(), offset + step.span, sequence + step.count},
            step.kind == Step::Kind::kData};
  return true;
}

bool can_reach(const Segment& segment, uint64_t base, const Position& known) noexcept {
  return !is_about(known, segment) || leads_up_to(segment, {segment.number(), kSegmentHeaderBytes, base}, known);
}

uint64_t judge_base(Log& log, const Segment& segment, const Position& known) {
  return judge(log, segment, known, kMostAsked);
}

Status mend_base(Log& log, Segment& segment, uint64_t expected, const Position& known) {
  const uint32_t max_payload = log.control().max_payload;
  std::atomic<uint64_t>& base = segment.header().base_sequence;
  const uint64_t stored = base.load(std::memory_order_acquire);
  const uint64_t judged = judge_base(log, segment, known);
  uint64_t right = expected;
  if (expected == 0) {
    right = judged;
  } else if (judged != expected && stored != expected) {
    FirstFrame first;
    // Without a whole first frame there is only the word: it is wrong unless messages further on follow it, and not the segment before.
    if (find_first_frame(segment, max_payload, &first)
            ? first.base != expected
            : count_messages(segment, stored, max_payload) > count_messages(segment, expected, max_payload))
      right = 0;
  }
  if (right == 0) {
    return Status::error(Code::kCorrupt, Segment::path(log.folder(), segment.number()) + " begins with sequence " +
                                             std::to_string(judged) + ", not " + std::to_string(expected));
  }
  if (right != stored) base.store(right, std::memory_order_release);
  return Status::success();
}

}  // namespace hermes
