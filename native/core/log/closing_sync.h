#pragma once

#include <cstdint>

#include "core/log/log.h"

namespace hermes {

/// What a reboot may leave to be checked of a topic that was closed in order. It takes a moment to check, and spares those who publish
/// little a sync whenever they close.
inline constexpr uint64_t kClosingSyncBytes = uint64_t{64} << 20;

/// Whether the publisher in `slot` had better sync before it closes, so that the first open after a reboot need not check everything:
/// no other one is open, and `least_bytes` or more were written since the last sync, to a disk. `*sequence` is then what to ask the
/// syncer for; 0 if there is nothing to do.
Status needs_closing_sync(Log& log, uint32_t slot, uint64_t least_bytes, uint64_t* sequence);

}  // namespace hermes
