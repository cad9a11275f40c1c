#pragma once

#include <vector>

#include "core/log/recovery.h"

namespace hermes {

/// What a look at one whole segment found.
struct SegmentReport {
  uint64_t number = 0;
  uint64_t first_sequence = 0;  ///< 0: the segment is prepared and not in use
  uint64_t next_sequence = 0;   ///< expected of the next segment
  uint64_t messages = 0;
  uint64_t voids = 0;          ///< sequences that hold no message
  uint64_t bytes = 0;          ///< in frames
  bool sealed = false;         ///< ends in padding or at its edge; the active one doesn't
  std::vector<Damage> damage;  ///< `file` is empty: nothing is copied
};

/// Checks every committed frame of a segment: lengths, types, sequences and CRCs. Changes nothing; publishers may go on
/// meanwhile. Goes on behind damage. kIoFailed if the disk can't be read.
///
/// Thread safety: any number of segments at the same time.
Status verify_segment(const Log& log, uint64_t number, SegmentReport* report);

}  // namespace hermes
