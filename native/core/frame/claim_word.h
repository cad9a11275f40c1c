#pragma once

#include <cstdint>
#include <optional>

#include "core/frame/frame_layout.h"

namespace hermes {

// The claim word: what the first 8 bytes of a frame hold between claim and commit.
//
// A publisher puts it there with one compare-and-swap from zero and so owns `span_bytes` bytes from
// this place on, and `count` sequences. It names the owner, so that others can find out whether the
// owner is still alive, and the length, so that they can step over the claim before it is
// committed.
//
//   bits  0..7   tag 0xC1. The magic begins with 0x48, so a claim never looks like a committed
//   frame. bits  8..17  participant slot, 0..1023 bits 18..33  count of sequences, 0..65535. 0 =
//   padding: the claim takes no sequence. bits 34..60  span in units of 8 bytes, 4..134217727: 32
//   bytes to 1 GiB less 8 bytes, and so anything that fits into a segment. bits 61..63  zero

inline constexpr std::uint64_t kClaimTag = 0xC1;
inline constexpr std::uint32_t kMaxClaimParticipant = (1u << 10) - 1;
inline constexpr std::uint32_t kMaxClaimCount = (1u << 16) - 1;
inline constexpr std::uint32_t kClaimSpanBit = 34;
inline constexpr std::uint32_t kClaimSpanBits = 27;
inline constexpr std::uint64_t kMaxClaimSpanBytes = ((std::uint64_t{1} << kClaimSpanBits) - 1) * kFrameAlign;

struct Claim {
  std::uint32_t participant = 0;
  std::uint32_t count = 0;
  std::uint64_t span_bytes = 0;

  friend constexpr bool operator==(const Claim&, const Claim&) = default;
};

// True if the claim can be written down, and every one of its sequences has room for a frame.
[[nodiscard]] constexpr bool is_valid(const Claim& claim) noexcept {
  return claim.participant <= kMaxClaimParticipant && claim.count <= kMaxClaimCount &&
         claim.span_bytes % kFrameAlign == 0 && claim.span_bytes >= kFrameHeaderBytes &&
         claim.span_bytes <= kMaxClaimSpanBytes && claim.span_bytes >= std::uint64_t{claim.count} * kFrameHeaderBytes;
}

// REQUIRES: is_valid(claim). Checked where limits are set (topic options), not here, on the hot
// path.
[[nodiscard]] constexpr std::uint64_t make_claim_word(const Claim& claim) noexcept {
  return kClaimTag | std::uint64_t{claim.participant} << 8 | std::uint64_t{claim.count} << 18 |
         claim.span_bytes / kFrameAlign << kClaimSpanBit;
}

// The claim that a word read from a log stands for, or nothing if it is no valid claim. The word
// may be hostile: the caller still checks that the span ends inside the segment.
[[nodiscard]] constexpr std::optional<Claim> parse_claim_word(std::uint64_t word) noexcept {
  if ((word & 0xFF) != kClaimTag) return std::nullopt;
  // No mask for the span: bits 61 and up make it too large to be valid.
  const Claim claim{static_cast<std::uint32_t>(word >> 8) & kMaxClaimParticipant,
                    static_cast<std::uint32_t>(word >> 18) & kMaxClaimCount, (word >> kClaimSpanBit) * kFrameAlign};
  if (!is_valid(claim)) return std::nullopt;
  return claim;
}

}  // namespace hermes
