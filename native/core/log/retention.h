#pragma once

#include "core/log/log.h"

namespace hermes {

/// Removes whole segments, oldest first, that exceed the topic's retention by bytes or age. Never the active one. A segment's age counts from
/// when it was full, as the segment after it notes by the clock of the process that rotated; what can't be relied on removes nothing.
/// Readers that have a removed segment mapped read it to its end.
Status apply_retention(Log& log);

}  // namespace hermes
