#pragma once

#include "core/log/layout.h"

namespace hermes {

// What recovery cut off. Where a recovery ends the log, sequences from there on may have been given out before, to messages that are gone. Who has
// noted something about a sequence (a group, a stored position) notes with it the number of the newest cut; what was noted before a later cut
// says nothing about sequences from that cut on.

/// Notes that the log ends at `sequence` after what may have cut its tail. REQUIRES: recovery's locks are held; to be followed by writing the
/// control file to disk before anything is published.
void note_cut(ControlBlock& control, uint64_t sequence) noexcept;

/// The number of the newest cut; 0 if there was none.
[[nodiscard]] uint64_t newest_cut(const ControlBlock& control) noexcept;

/// The lowest sequence that any cut after the one of number `since` has hit; all ones if there was none. May be lower than that where there
/// were many cuts, never higher.
[[nodiscard]] uint64_t lowest_cut_after(const ControlBlock& control, uint64_t since) noexcept;

}  // namespace hermes
