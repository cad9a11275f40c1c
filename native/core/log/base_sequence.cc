#include "core/log/base_sequence.h"

#include "core/log/reader.h"
#include "core/log/resync.h"

namespace hermes {
namespace {

/// The messages that can be read in a segment that begins with `sequence`, behind damage too.
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
    if (found.stop != ScanStop::kDamage || !find_next_frame(segment, at, ~uint64_t{0}, max_payload, &at))
      return messages;
  }
}

}  // namespace

bool has_first_frame(const Segment& segment, uint64_t* sequence, uint32_t max_payload) noexcept {
  const Step step = segment.step(kSegmentHeaderBytes);
  if (step.span == 0 || step.kind == Step::Kind::kClaim) return false;
  *sequence = segment.frame(kSegmentHeaderBytes)->sequence;
  return is_whole(segment, {segment.number(), kSegmentHeaderBytes, *sequence}, step.span, max_payload);
}

uint64_t judge_base(const Segment& segment, uint32_t max_payload) noexcept {
  const uint64_t stored = segment.header().base_sequence.load(std::memory_order_acquire);
  uint64_t first = 0;
  if (!has_first_frame(segment, &first, max_payload)) return stored;
  if (stored == first || stored == 0) return first;
  return count_messages(segment, stored, max_payload) > count_messages(segment, first, max_payload) ? stored : first;
}

Status mend_base(const std::string& folder, Segment& segment, uint64_t expected, uint32_t max_payload) {
  std::atomic<uint64_t>& base = segment.header().base_sequence;
  const uint64_t stored = base.load(std::memory_order_acquire);
  const uint64_t judged = judge_base(segment, max_payload);
  uint64_t right = expected;
  if (expected == 0) {
    right = judged;
  } else if (judged != expected && stored != expected) {
    uint64_t first = 0;
    const bool known = has_first_frame(segment, &first, max_payload);
    // Without a whole first frame, a word that says otherwise than the segment before is only wrong if nothing is there.
    const bool blank = segment.step(kSegmentHeaderBytes).kind == Step::Kind::kEmpty || stored == 0;
    if (known ? first != expected : !blank) right = 0;
  }
  if (right == 0) {
    return Status::error(Code::kCorrupt, Segment::path(folder, segment.number()) + " begins with sequence " +
                                             std::to_string(judged) + ", not " + std::to_string(expected));
  }
  if (right != stored) base.store(right, std::memory_order_release);
  return Status::success();
}

}  // namespace hermes
