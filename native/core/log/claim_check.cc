#include "core/log/claim_check.h"

#include <algorithm>

#include "core/log/resync.h"

namespace hermes {
namespace {

/// Whether a publisher of this topic can claim so much for so many messages.
bool can_be_made(const Claim& claim, uint64_t left, const ControlBlock& control) noexcept {
  if (claim.participant >= kSlots || claim.span_bytes > left) return false;
  if (claim.count == 0) return claim.span_bytes == left;  // padding: the rest of the segment
  return claim.span_bytes <= claim.count * frame_span(control.max_payload);
}

bool can_be_made(const Segment& segment, uint64_t offset, const Step& step, const ControlBlock& control) noexcept {
  const std::optional<Claim> claim = parse_claim_word(step.word);
  return claim && can_be_made(*claim, segment.bytes() - offset, control);
}

/// Whether the log may end at `offset`, where nothing stands: then nothing stands behind it either. `most` is how far the claim before it can have
/// reached; damage that made it shorter leaves what follows it behind zeros.
bool is_end(const Segment& segment, uint64_t offset, uint64_t most) noexcept {
  if (segment.is_zero(offset, std::min(most + kFrameHeaderBytes, segment.bytes()))) return true;
  // Publishers that are at work have begun here.
  return segment.step(offset).kind != Step::Kind::kEmpty;
}

/// Whether the chain goes on at `next`, or ends there.
bool goes_on(const Segment& segment, const Position& next, const ControlBlock& control, bool as_left,
             uint64_t most) noexcept {
  const Step step = segment.step(next.offset);
  switch (step.kind) {
    case Step::Kind::kSegmentEnd:
      return true;
    case Step::Kind::kClaim:
      return can_be_made(segment, next.offset, step, control);
    // Only the newest segment ends in empty space, and only if no page of it can have been lost.
    case Step::Kind::kEmpty:
      return as_left && segment.number() >= control.active.load(std::memory_order_acquire) &&
             is_end(segment, next.offset, most);
    case Step::Kind::kDamage:
      return false;
    default:
      return is_whole(segment, next, step.span, control.max_payload);
  }
}

}  // namespace

ClaimVerdict judge_claim(const Segment& segment, const Position& at, const Step& step, const ControlBlock& control,
                         bool as_left) noexcept {
  const Position behind = {at.segment, at.offset + step.span, at.sequence + step.count};
  const uint64_t most = at.offset + step.count * frame_span(control.max_payload);
  if (!can_be_made(segment, at.offset, step, control) || !goes_on(segment, behind, control, as_left, most))
    return ClaimVerdict::kDamage;
  // A batch that was not committed holds whole frames of its own. Any other one would be lost with it.
  bool holds_frames = false;
  Position seen = {at.segment, at.offset, at.sequence - (step.count == 0 ? 1 : 0)};
  while (find_frame_between(segment, seen, behind.offset, control.max_payload, &seen)) {
    if (seen.sequence >= behind.sequence) return ClaimVerdict::kDamage;
    holds_frames = true;
  }
  // A publisher that died has left its slot marked; one that closes leaves no claim. After a power cut the marks may be older than the claim.
  const uint32_t slot = parse_claim_word(step.word)->participant;
  if (as_left && control.slots[slot].state.load(std::memory_order_acquire) != 0) return ClaimVerdict::kDead;
  if (as_left && holds_frames) return ClaimVerdict::kDamage;
  return holds_frames || !segment.is_zero(at.offset + 8, behind.offset) ? ClaimVerdict::kUncertain
                                                                        : ClaimVerdict::kDead;
}

}  // namespace hermes
