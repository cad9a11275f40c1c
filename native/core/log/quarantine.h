#pragma once

#include "core/log/recovery.h"

namespace hermes {

/// Copies the bytes that `damage` describes to the topic's `quarantine` folder, with a report beside them, durably, and sets
/// `damage->file`. Repeating it writes the same file again; other bytes get a file of another name. REQUIRES: the recovery lock.
Status quarantine(const Log& log, const Segment& segment, Damage* damage);

/// Moves the whole file of segment `damage->segment` there. REQUIRES: the segment is not in use.
Status quarantine_segment(const Log& log, Damage* damage);

}  // namespace hermes
