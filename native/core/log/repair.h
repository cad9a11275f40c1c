#pragma once

#include "core/log/log.h"

namespace hermes {

enum class RepairOutcome : uint8_t {
  kNothing,   ///< no claim stands there (any more)
  kAlive,     ///< its owner lives: wait
  kRepaired,  ///< its owner is dead; the space is void now
};

/// Turns the claim at `at` into a void frame if its owner is dead. `at.sequence` is the claim's first sequence.
/// Liveness is the owner's lock on its slot, so a stopped or slow publisher is never robbed.
Status repair_claim(Log& log, const Position& at, RepairOutcome* outcome);

/// Commits the claim that `step` describes as void (as padding if it takes no sequence).
/// REQUIRES: the recovery lock is held and the owner is dead.
Status commit_as_void(Segment& segment, uint64_t offset, const Step& step, uint64_t sequence, VoidReason reason);

/// Voids all claims of `slot` that were left behind its previous owner's death.
/// REQUIRES: the recovery lock and the slot's lock are held, and nothing was claimed under the latter yet.
Status void_stale_claims(Log& log, uint32_t slot);

}  // namespace hermes
