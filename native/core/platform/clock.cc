#include "core/platform/clock.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace hermes {
namespace {

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

/// Measures the counter's rate once per process, over two milliseconds.
double measure_ns_per_tick() noexcept {
  const uint64_t ns0 = monotonic_ns();
  const uint64_t ticks0 = read_ticks();
  uint64_t ns1 = ns0;
  while (ns1 - ns0 < 2'000'000) ns1 = monotonic_ns();
  const uint64_t ticks = read_ticks() - ticks0;
  return ticks == 0 ? 0 : static_cast<double>(ns1 - ns0) / static_cast<double>(ticks);
}

}  // namespace

uint64_t realtime_ns() noexcept { return read_ns(CLOCK_REALTIME); }
uint64_t monotonic_ns() noexcept { return read_ns(CLOCK_MONOTONIC); }

FastClock::FastClock() noexcept {
  static const double rate = ticks_are_constant() ? measure_ns_per_tick() : 0;
  ns_per_tick_ = rate;
  if (rate > 0) window_ticks_ = static_cast<uint64_t>(1'000'000 / rate);
}

uint64_t FastClock::now_ns() noexcept {
  const uint64_t ticks = read_ticks();
  // Unsigned: a counter that went back (another virtual machine, a suspend) is out of the window as well.
  const uint64_t elapsed = ticks - base_ticks_;
  if (elapsed >= window_ticks_) return resynchronise(ticks);
  return base_ns_ + static_cast<uint64_t>(static_cast<double>(elapsed) * ns_per_tick_);
}

uint64_t FastClock::resynchronise(uint64_t ticks) noexcept {
  base_ticks_ = ticks;
  base_ns_ = realtime_ns();
  // The extrapolation may have run ahead by the rate's error (nanoseconds): don't let that show as a step back.
  if (base_ns_ < last_ns_ && last_ns_ - base_ns_ < 10'000) base_ns_ = last_ns_;
  last_ns_ = base_ns_;
  return base_ns_;
}

}  // namespace hermes
