#include "core/log/clock_step.h"

#include <algorithm>

#include "core/log/control.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kSalt = 0x48524D5350415245;
constexpr uint64_t kMostApartNs = 100'000'000;
/// What moves the two clocks apart by less is their rate: a time service slews the wall clock, by 0.1 % at most for long.
constexpr uint64_t kLeastStepNs = 10'000'000'000;
constexpr uint64_t kMostSlew = 1000;  // the part of the time gone by
/// Written again when it has moved by so much, or after so long: not each second.
constexpr uint64_t kNoteNs = 1'000'000'000;
constexpr uint64_t kNoteEveryNs = 1'000'000'000'000;

/// The control file's record, as plain words.
struct Noted {
  uint64_t boot = 0;
  uint64_t offset_ns = 0;  // the wall clock less the even one, modulo 2^64
  uint64_t looked_ns = 0;  // by the even one
  uint64_t ahead_ns = 0;   // modulo 2^64: less than 0 after a step back
  uint64_t at_ns = 0;

  uint64_t check() const noexcept { return boot ^ offset_ns ^ looked_ns ^ ahead_ns ^ at_ns ^ kSalt; }
};

/// False if the record is damaged, or its writer was killed at it.
bool load(const ClockRecord& record, Noted* out) noexcept {
  // Acquire: pairs with the release in store().
  const uint64_t check = record.check.load(std::memory_order_acquire);
  *out = {record.boot.load(std::memory_order_relaxed), record.offset_ns.load(std::memory_order_relaxed),
          record.looked_ns.load(std::memory_order_relaxed), record.ahead_ns.load(std::memory_order_relaxed),
          record.at_ns.load(std::memory_order_relaxed)};
  return check == out->check();
}

void store(ClockRecord& record, const Noted& noted) noexcept {
  record.check.store(0, std::memory_order_relaxed);
  record.boot.store(noted.boot, std::memory_order_relaxed);
  record.offset_ns.store(noted.offset_ns, std::memory_order_relaxed);
  record.looked_ns.store(noted.looked_ns, std::memory_order_relaxed);
  record.ahead_ns.store(noted.ahead_ns, std::memory_order_relaxed);
  record.at_ns.store(noted.at_ns, std::memory_order_relaxed);
  // Release: who sees the check sees the words.
  record.check.store(noted.check(), std::memory_order_release);
}

bool is_blank(const ClockRecord& record) noexcept {
  return record.boot.load(std::memory_order_relaxed) == 0 && record.check.load(std::memory_order_relaxed) == 0;
}

}  // namespace

bool read_two_clocks(TwoClocks* out) noexcept {
  uint64_t least = ~uint64_t{0};
  for (int attempt = 0; attempt < 8 && least > kMostApartNs / 100; ++attempt) {
    const uint64_t before = boottime_ns();
    const uint64_t real = realtime_ns();
    const uint64_t apart = boottime_ns() - before;
    if (apart >= least) continue;
    least = apart;
    *out = {real, before};
  }
  return least <= kMostApartNs;
}

uint64_t ClockStep::corrected(uint64_t ns) const noexcept {
  if (ahead_ns == 0 || ns >= at_ns) return ns;
  return at_ns - ns <= ahead_ns ? at_ns : ns + ahead_ns;
}

ClockStep look_for_clock_step(ControlBlock& control, const TwoClocks& now) noexcept {
  uint64_t boot_id[2];
  read_boot_id(boot_id);
  const Noted fresh = {boot_id[0] ^ boot_id[1], now.realtime_ns - now.boottime_ns, now.boottime_ns, 0, 0};
  Noted noted = fresh;
  Noted seen;
  const bool whole = load(control.clock, &seen);
  if (whole) {
    noted.ahead_ns = seen.ahead_ns;
    noted.at_ns = seen.at_ns;
    // Signed: the difference of two numbers modulo 2^64.
    const auto moved = static_cast<int64_t>(noted.offset_ns - seen.offset_ns);
    const uint64_t by = moved < 0 ? 0 - static_cast<uint64_t>(moved) : static_cast<uint64_t>(moved);
    const uint64_t gone = noted.looked_ns - std::min(seen.looked_ns, noted.looked_ns);
    const bool same_boot = seen.boot == fresh.boot;
    if (same_boot && by >= kLeastStepNs + gone / kMostSlew) {
      const auto before = static_cast<int64_t>(seen.ahead_ns);
      if (moved > 0) {
        noted.ahead_ns = static_cast<uint64_t>(std::max(before, int64_t{0})) + by;
        noted.at_ns = now.realtime_ns;
      } else {
        // Set back, perhaps to what it was: times that were noted before are by so much less behind.
        noted.ahead_ns = seen.ahead_ns - by;
        noted.at_ns = seen.at_ns - std::min(by, seen.at_ns);
      }
    } else if (same_boot && by < kNoteNs && gone < kNoteEveryNs) {
      noted = seen;
    }
  } else if (!is_blank(control.clock)) {
    noted.ahead_ns = noted.at_ns = now.realtime_ns;
  }
  if (!whole || noted.check() != seen.check()) store(control.clock, noted);
  if (static_cast<int64_t>(noted.ahead_ns) <= 0) return {};
  return {noted.ahead_ns, noted.at_ns};
}

}  // namespace hermes
