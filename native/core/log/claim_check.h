#pragma once

#include "core/log/layout.h"
#include "core/log/position.h"
#include "core/log/segment.h"

namespace hermes {

/// What a claim word is, whose owner does not live.
enum class ClaimVerdict : uint8_t {
  kDead,       ///< a dead publisher's: its space becomes void
  kUncertain,  ///< may be one, or damage: its space becomes void when its bytes have been copied
  kDamage,     ///< no publisher made it: it says nothing about what follows
};

/// Judges the claim that `step` found at `at`. Eight damaged bytes may look like a claim of any length over sound messages. So it is believed
/// only if a publisher can have made it, the chain goes on right behind it, and nothing within it belongs to others.
/// `as_left`: memory is as the publishers left it, so a claim may be the last thing there is, and the slots tell who died.
/// REQUIRES: the recovery lock is held.
[[nodiscard]] ClaimVerdict judge_claim(const Segment& segment, const Position& at, const Step& step,
                                       const ControlBlock& control, bool as_left) noexcept;

}  // namespace hermes
