#include "core/log/resync.h"

#include <algorithm>

namespace hermes {
namespace {

bool is_frame_at(const Segment& segment, uint64_t offset, uint64_t least, uint64_t most, uint32_t max_payload,
                 Position* found) noexcept {
  const Step step = segment.step(offset);
  if (step.kind != Step::Kind::kData && step.kind != Step::Kind::kVoid) return false;
  const uint64_t sequence = segment.frame(offset)->sequence;
  if (sequence < least || sequence > most) return false;
  *found = {segment.number(), offset, sequence};
  return is_whole(segment, *found, step.span, max_payload);
}

bool search(const Segment& segment, const Position& at, uint64_t end, uint64_t last_sequence, uint32_t max_payload,
            Position* found) noexcept {
  const uint64_t last_offset = std::min(end, segment.bytes()) - kFrameHeaderBytes;
  const File file = segment.look();
  for (uint64_t offset = at.offset + kFrameHeaderBytes; offset <= last_offset; offset += kFrameAlign) {
    if (offset % 4096 == 0) {
      // Skip what the file has no data for.
      offset = std::max(offset, file.next_data(offset) / 4096 * 4096);
      if (offset > last_offset) return false;
    }
    const uint64_t most = std::min(last_sequence, at.sequence + (offset - at.offset) / kFrameHeaderBytes);
    if (is_frame_at(segment, offset, at.sequence + 1, most, max_payload, found)) return true;
  }
  return false;
}

}  // namespace

bool is_whole(const Segment& segment, const Position& at, uint64_t span, uint32_t max_payload) noexcept {
  FrameView view;
  DecodeLimits limits;
  limits.max_payload = max_payload;
  limits.log_types = true;
  const std::span<const std::byte> bytes(segment.data() + at.offset, span);
  return decode_frame(bytes, limits, view) == FrameStatus::kOk && view.sequence == at.sequence;
}

bool find_frame_between(const Segment& segment, const Position& at, uint64_t end, uint32_t max_payload,
                        Position* found) noexcept {
  Position next;
  if (!search(segment, at, end, ~uint64_t{0}, max_payload, &next)) return false;
  *found = next;
  return true;
}

bool find_next_frame(const Segment& segment, const Position& at, uint64_t last_sequence, uint32_t max_payload,
                     Position* found) noexcept {
  // First where the damaged frame says that it ends: its payload may hold bytes that look like frames. A claim's word is not asked: damage that
  // looks like one may cover whole frames.
  const Step step = segment.step(at.offset);
  if (step.span != 0 && step.kind != Step::Kind::kClaim && step.count > 0 && at.offset + step.span < segment.bytes() &&
      is_frame_at(segment, at.offset + step.span, at.sequence + step.count, at.sequence + step.count, max_payload,
                  found)) {
    return true;
  }
  return search(segment, at, segment.bytes(), last_sequence, max_payload, found);
}

}  // namespace hermes
