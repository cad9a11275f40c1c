#pragma once

#include <cstdint>

#include "core/log/layout.h"

namespace hermes {

/// The wall clock, and the clock that goes on evenly from the start of the machine, also while it sleeps; read at one moment.
struct TwoClocks {
  uint64_t realtime_ns = 0;
  uint64_t boottime_ns = 0;
};

/// False if this thread was held up so much that the two don't belong together.
[[nodiscard]] bool read_two_clocks(TwoClocks* out) noexcept;

/// What to make of times that were noted before the wall clock was set ahead: nothing has grown older by that.
struct ClockStep {
  uint64_t ahead_ns = 0;  ///< by so much the clock was set ahead; 0 = it was not
  uint64_t at_ns = 0;     ///< just after that, by the clock as it was set

  /// The time `ns` of a segment's header by the clock as it is now: never later than the step.
  [[nodiscard]] uint64_t corrected(uint64_t ns) const noexcept;
};

/// Compares the clocks with what was noted in the control file, and notes them there. A clock that was set while no process looked is told, too, if
/// the machine was not restarted since: after a restart the wall clock is believed. What is damaged counts as a step that has just been made.
/// REQUIRES: the recovery lock is held.
[[nodiscard]] ClockStep look_for_clock_step(ControlBlock& control, const TwoClocks& now) noexcept;

}  // namespace hermes
