#pragma once

#include "core/log/recovery.h"

namespace hermes {

enum class RepairOutcome : uint8_t {
  kNothing,   ///< no claim stands there (any more)
  kAlive,     ///< its owner lives: wait
  kRepaired,  ///< its owner is dead; the space is void now
};

/// Turns the claim at `at` into a void frame if its owner is dead. `at.sequence` is the claim's first sequence. kCorrupt if it's damage that
/// looks like a claim (of a live publisher: see ClaimWatch): a recovery mends that. What may have been sound messages is copied to `quarantine` first.
/// Liveness is the owner's lock on its slot, so a stopped or slow publisher is never robbed.
Status repair_claim(Log& log, const Position& at, RepairOutcome* outcome);

/// Commits the claim that `step` describes as void (as padding if it takes no sequence).
/// REQUIRES: the recovery lock is held and the owner is dead.
Status commit_as_void(Segment& segment, uint64_t offset, const Step& step, uint64_t sequence, VoidReason reason);

/// Copies what an uncertain claim covers to `quarantine`; tells `report` of it if there is one. REQUIRES: the recovery lock is held.
Status copy_uncertain_claim(const Log& log, const Segment& segment, const Position& at, const Step& step,
                            RecoveryReport* report);

/// Voids all claims of `slot` that were left behind its previous owner's death.
/// REQUIRES: the recovery lock and the slot's lock are held, and nothing was claimed under the latter yet.
Status void_stale_claims(Log& log, uint32_t slot);

}  // namespace hermes
