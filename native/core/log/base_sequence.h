#pragma once

#include "core/log/log.h"

namespace hermes {

/// What the first whole frame of a segment says about how that begins.
struct FirstFrame {
  uint64_t base = 0;
  Position next;  // behind it
  bool is_message = false;
};

/// The segment's first frame, or the first one behind claims, if that is whole. Alone it proves nothing: a stray frame may stand there.
[[nodiscard]] bool find_first_frame(const Segment& segment, uint32_t max_payload, FirstFrame* found) noexcept;

/// Whether a segment that begins with `base` can reach `known`, a position that the log was seen to have. True if that lies in another segment.
[[nodiscard]] bool can_reach(const Segment& segment, uint64_t base, const Position& known) noexcept;

/// The sequence with which a segment of `log` begins, by its own witness: its header's word (which no CRC covers) and its first frame. Where
/// the two differ, that one is believed which can reach `known` and the beginning of the next segment, or whose chain does exactly by its lengths and counts; if both can, or neither, the one under which more other messages can be read; and
/// the frame if there are as many. 0: it can't tell.
///
/// Reads the whole segment where the two differ, and nothing but its beginning otherwise.
[[nodiscard]] uint64_t judge_base(Log& log, const Segment& segment, const Position& known);

/// Makes sure that a segment's base sequence is right, and stores it. `expected` is how the segment before ends, and counts for more than what
/// the segment itself says; 0 if that was not looked at. kCorrupt if the segment's messages belong elsewhere.
Status mend_base(Log& log, Segment& segment, uint64_t expected, const Position& known);

}  // namespace hermes
