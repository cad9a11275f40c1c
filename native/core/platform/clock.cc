#include "core/platform/clock.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace hermes {
namespace {

/// Steps back of less than this are taken for the extrapolation's error.
constexpr uint64_t kGuardNs = 10'000;
/// Of the counter's rate, in fixed point: a window is a million nanoseconds, so the product has 52 bits.
constexpr uint32_t kFractionBits = 32;

uint64_t read_ns(clockid_t id) noexcept {
  timespec now;
  ::clock_gettime(id, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

#if defined(__x86_64__)
inline uint64_t read_ticks() noexcept { return __rdtsc(); }
bool ticks_are_constant() noexcept {
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1u << 8)) != 0;
}
#elif defined(__aarch64__)
inline uint64_t read_ticks() noexcept {
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
}
bool ticks_are_constant() noexcept { return true; }  // the architecture promises it
#else
inline uint64_t read_ticks() noexcept { return 0; }
bool ticks_are_constant() noexcept { return false; }
#endif

struct Reading {
  uint64_t ns;
  uint64_t ticks;
};

/// Reads clock and counter at one moment: the closest of several tries, as the thread may lose the processor between the two.
Reading read_both() noexcept {
  Reading best = {};
  uint64_t least = ~uint64_t{0};
  for (int attempt = 0; attempt < 8; ++attempt) {
    const uint64_t before = read_ticks();
    const uint64_t ns = monotonic_ns();
    const uint64_t after = read_ticks();
    if (after - before < least) {
      least = after - before;
      best = {ns, after};
    }
  }
  return best;
}

/// Measures the counter's rate once per process, over two milliseconds.
double measure_ns_per_tick() noexcept {
  const Reading first = read_both();
  while (monotonic_ns() - first.ns < 2'000'000) {
  }
  const Reading last = read_both();
  return last.ticks <= first.ticks
             ? 0
             : static_cast<double>(last.ns - first.ns) / static_cast<double>(last.ticks - first.ticks);
}

}  // namespace

uint64_t realtime_ns() noexcept { return read_ns(CLOCK_REALTIME); }
uint64_t monotonic_ns() noexcept { return read_ns(CLOCK_MONOTONIC); }
#if defined(CLOCK_BOOTTIME)
uint64_t boottime_ns() noexcept { return read_ns(CLOCK_BOOTTIME); }
#else
uint64_t boottime_ns() noexcept { return monotonic_ns(); }
#endif

FastClock::FastClock() noexcept {
  static const double rate = ticks_are_constant() ? measure_ns_per_tick() : 0;
  rate_ = static_cast<uint64_t>(rate * (uint64_t{1} << kFractionBits));
  if (rate > 0) window_ticks_ = static_cast<uint64_t>(1'000'000 / rate);
}

uint64_t FastClock::now_ns() noexcept {
  const uint64_t ticks = read_ticks();
  // Unsigned: a counter that went back (another virtual machine, a suspend) is out of the window as well.
  const uint64_t elapsed = ticks - base_ticks_;
  if (elapsed >= window_ticks_) return resynchronise();
  // What was told is remembered: the next reading of the system clock is compared with it.
  return last_ns_ = base_ns_ + (elapsed * rate_ >> kFractionBits);
}

uint64_t FastClock::resynchronise() noexcept {
  base_ns_ = realtime_ns();
  // Read after the clock: a thread that loses the processor between the two is behind until the next reading, and not ahead of it.
  base_ticks_ = read_ticks();
  // The extrapolation may have run ahead by the rate's error (a few microseconds): that must not show as a step back. A real step of
  // the system clock is larger.
  if (base_ns_ < last_ns_ && last_ns_ - base_ns_ < kGuardNs) base_ns_ = last_ns_;
  last_ns_ = base_ns_;
  return base_ns_;
}

}  // namespace hermes
