#pragma once

#include "core/log/position.h"
#include "core/log/segment.h"

namespace hermes {

/// Whether a whole frame stands at `at`: valid length, CRC and the very sequence that is expected there.
[[nodiscard]] bool is_whole(const Segment& segment, const Position& at, uint64_t span, uint32_t max_payload) noexcept;

/// Looks behind `at` for the next whole frame that begins before `end` and has a later sequence. Sequences must be possible for the room
/// between, so that bytes which merely look like a frame are not taken for one easily.
[[nodiscard]] bool find_frame_between(const Segment& segment, const Position& at, uint64_t end, uint32_t max_payload,
                                      Position* found) noexcept;

/// Looks behind damage at `at` for the next frame of the segment that is whole and has a later sequence, `last_sequence` at
/// most.
[[nodiscard]] bool find_next_frame(const Segment& segment, const Position& at, uint64_t last_sequence,
                                   uint32_t max_payload, Position* found) noexcept;

}  // namespace hermes
