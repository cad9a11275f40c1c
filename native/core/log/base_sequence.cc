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
    if (step.span == 0) return 0;
    offset += step.span;
    count += step.count;
  }
  return offset == known.offset && known.sequence > count ? known.sequence - count : 0;
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

uint64_t judge_base(const Segment& segment, const Position& known, uint32_t max_payload) noexcept {
  const uint64_t stored = segment.header().base_sequence.load(std::memory_order_acquire);
  if (is_about(known, segment) && known.offset == kSegmentHeaderBytes) return known.sequence;
  FirstFrame first;
  const uint64_t told = is_about(known, segment) ? base_that_leads_to(segment, known) : 0;
  // Where there are claims only, nothing but what is known can contradict the word.
  if (!find_first_frame(segment, max_payload, &first))
    return told != 0 && first_claims(segment).end == known.offset ? told : stored;
  if (stored == first.base || stored == 0) return first.base;
  const bool frame_fits =
      can_reach(segment, first.base, known) && (!is_about(known, segment) || leads_up_to(segment, first.next, known));
  if (can_reach(segment, stored, known) != frame_fits) return frame_fits ? first.base : stored;
  if (told == stored || told == first.base) return told;
  // A frame says nothing for itself, but where the next one follows it the two do.
  const uint64_t span = segment.step(first.next.offset).span;
  const bool followed = span != 0 && is_whole(segment, first.next, span, max_payload);
  const uint64_t itself = first.is_message && !followed ? 1 : 0;
  const uint64_t by_frame = count_messages(segment, first.base, max_payload) - itself;
  return count_messages(segment, stored, max_payload) > by_frame ? stored : first.base;
}

Status mend_base(const std::string& folder, Segment& segment, uint64_t expected, const Position& known,
                 uint32_t max_payload) {
  std::atomic<uint64_t>& base = segment.header().base_sequence;
  const uint64_t stored = base.load(std::memory_order_acquire);
  const uint64_t judged = judge_base(segment, known, max_payload);
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
    return Status::error(Code::kCorrupt, Segment::path(folder, segment.number()) + " begins with sequence " +
                                             std::to_string(judged) + ", not " + std::to_string(expected));
  }
  if (right != stored) base.store(right, std::memory_order_release);
  return Status::success();
}

}  // namespace hermes
