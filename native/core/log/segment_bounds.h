#pragma once

#include <vector>

#include "core/log/recovery.h"

namespace hermes {

/// What is known of a log's files before any segment is read.
struct LogOrigin {
  bool copied = false;     ///< not the files that the publishers had open
  bool moved = false;      ///< or these, but brought here from another mounting, or another disk
  bool after_cut = false;  ///< the files may hold any state since the last sync
};

struct SegmentBounds {
  bool fresh = false;     ///< there was no segment: the first one was made, and there is nothing to check
  bool doubtful = false;  ///< the words in the control file are not those of the files: check from the first segment on
};

/// Learns from the files which segments are in use, and stores the oldest and the newest one in the control file, whose words may be older, or
/// lost. Makes the first segment where there is none. A segment beyond these bounds that should be empty and is not goes to quarantine, and
/// into `damage`. kCorrupt if one within them is missing.
/// REQUIRES: the recovery lock is held, and the publishers' lock exclusively.
Status find_bounds(Log& log, const LogOrigin& origin, std::vector<Damage>* damage, SegmentBounds* bounds);

/// The error for segment `number`, whose file is gone: says what the operator can do.
[[nodiscard]] Status missing_segment(const Log& log, uint64_t number);

}  // namespace hermes
