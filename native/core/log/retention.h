#pragma once

#include "core/log/log.h"

namespace hermes {

/// Removes whole segments, oldest first, that exceed the topic's retention by bytes or age. Never the active one.
/// Readers that have a removed segment mapped read it to its end.
Status apply_retention(Log& log);

}  // namespace hermes
