#pragma once

#include "core/log/segment.h"

namespace hermes {

/// The sequence of the segment's first frame, if that is whole. Alone it proves nothing: a stray frame may stand there.
[[nodiscard]] bool has_first_frame(const Segment& segment, uint64_t* sequence, uint32_t max_payload) noexcept;

/// The sequence with which a segment begins, by its own witness: its header's word (which no CRC covers) and its first frame. Where the two
/// differ, that one is believed under which more messages can be read, and the frame if there are as many. 0: it can't tell.
///
/// Reads the whole segment where the two differ, and nothing but its beginning otherwise.
[[nodiscard]] uint64_t judge_base(const Segment& segment, uint32_t max_payload) noexcept;

/// Makes sure that a segment's base sequence is right, and stores it. `expected` is how the segment before ends, and counts for more than what
/// the segment itself says; 0 if that was not looked at. kCorrupt if neither word nor frame agrees with it.
Status mend_base(const std::string& folder, Segment& segment, uint64_t expected, uint32_t max_payload);

}  // namespace hermes
