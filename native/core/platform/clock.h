#pragma once

#include <cstdint>

namespace hermes {

uint64_t realtime_ns() noexcept;   ///< nanoseconds since 1970; may step in both directions
uint64_t monotonic_ns() noexcept;  ///< never steps; comparable between processes of one boot
uint64_t boottime_ns() noexcept;   ///< as monotonic_ns(), and goes on while the machine sleeps

/// Reads the wall clock in a few nanoseconds. Between two readings of the system clock, at most a millisecond apart, it
/// extrapolates by the processor's time-stamp counter; a step of the system clock is therefore seen within a millisecond.
/// What it tells never goes back by the extrapolation's error, only by a step of the system clock of 10 µs or more.
/// Where the counter isn't constant and synchronised between processors, it reads the system clock each time.
///
/// Thread safety: one thread at a time.
class FastClock {
 public:
  FastClock() noexcept;
  uint64_t now_ns() noexcept;

 private:
  uint64_t resynchronise() noexcept;

  uint64_t base_ticks_ = 0;
  uint64_t base_ns_ = 0;
  uint64_t last_ns_ = 0;       // what was told last
  uint64_t window_ticks_ = 0;  // how far to extrapolate; 0 = no usable counter
  uint64_t rate_ = 0;          // nanoseconds per tick, times 2^32: conversions to double and back take longer
};

}  // namespace hermes
