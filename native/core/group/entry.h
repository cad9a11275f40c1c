#pragma once

#include <cstdint>

#include "core/group/layout.h"
#include "core/log/position.h"

namespace hermes {

// The two words of an entry: see docs/group-format.md. The first one says which member has the message of a sequence, and is only ever changed by a
// compare-and-swap of the whole of it; the second one says where the message stands.
//
//   first   bits 0–2 state · 3–10 member · 11–18 deliveries · 19–34 lap · 35–63 number of the claim, or due tick
//   second  bits 0–26 offset / 8 · 27–43 segment · 44–53 lap · 54–63 bucket

enum class EntryState : uint8_t { kEmpty = 0, kClaimed = 1, kSettled = 2, kReturned = 3, kDelayed = 4 };

inline constexpr uint32_t kClaimNumberMask = (1u << 29) - 1;
inline constexpr uint64_t kLapMask = 0xFFFF;

struct EntryWord {
  EntryState state = EntryState::kEmpty;
  uint32_t member = 0;
  uint32_t deliveries = 0;  ///< so far, the present one included
  uint32_t lap = 0;
  uint32_t number = 0;  ///< of the claim if claimed, due tick if delayed

  friend bool operator==(const EntryWord&, const EntryWord&) = default;
};

[[nodiscard]] constexpr uint64_t pack(const EntryWord& e) noexcept {
  return static_cast<uint64_t>(e.state) | uint64_t{e.member & 0xFF} << 3 | uint64_t{e.deliveries & 0xFF} << 11 |
         uint64_t{e.lap & 0xFFFF} << 19 | uint64_t{e.number & kClaimNumberMask} << 35;
}

[[nodiscard]] constexpr EntryWord unpack(uint64_t word) noexcept {
  return {static_cast<EntryState>(word & 7), static_cast<uint32_t>(word >> 3 & 0xFF),
          static_cast<uint32_t>(word >> 11 & 0xFF), static_cast<uint32_t>(word >> 19 & 0xFFFF),
          static_cast<uint32_t>(word >> 35)};
}

/// Who settles writes nothing but state and lap: so the word that a lap leaves behind is known without having been read.
[[nodiscard]] constexpr uint64_t settled_word(uint32_t lap) noexcept {
  return pack({EntryState::kSettled, 0, 0, lap, 0});
}

[[nodiscard]] constexpr uint32_t lap_of(uint64_t word) noexcept { return static_cast<uint32_t>(word >> 19 & kLapMask); }
[[nodiscard]] constexpr EntryState state_of(uint64_t word) noexcept { return static_cast<EntryState>(word & 7); }

/// Whether the word was written for a sequence of this lap, and is a word at all.
[[nodiscard]] constexpr bool belongs(uint64_t word, uint32_t lap) noexcept {
  return lap_of(word) == lap && (word & 7) >= static_cast<uint64_t>(EntryState::kClaimed) &&
         (word & 7) <= static_cast<uint64_t>(EntryState::kDelayed);
}

/// Time in due ticks of 16 ms; never 0. `when_ns` is monotonic.
[[nodiscard]] constexpr uint32_t tick_of(uint64_t when_ns) noexcept {
  const auto tick = static_cast<uint32_t>(when_ns / 16'000'000) & kClaimNumberMask;
  return tick == 0 ? 1 : tick;
}
/// Whether the tick `due` has come at tick `now`: of delays up to 49 days.
[[nodiscard]] constexpr bool is_due(uint32_t due, uint32_t now) noexcept {
  return ((now - due) & kClaimNumberMask) < (1u << 28);
}

/// The longest delay that a due tick tells from the past.
inline constexpr uint64_t kLongestDelayNs = uint64_t{45} * 86'400 * 1'000'000'000;

struct Place {
  uint64_t segment = 0;  ///< lowest 17 bits of its number
  uint64_t offset = 0;   ///< 0 = not known
  uint32_t lap = 0;      ///< lowest 10 bits
  uint32_t bucket = 0;
};

[[nodiscard]] constexpr uint64_t pack(const Place& p) noexcept {
  return (p.offset / 8 & 0x7FF'FFFF) | (p.segment & 0x1'FFFF) << 27 | uint64_t{p.lap & 0x3FF} << 44 |
         uint64_t{p.bucket & 0x3FF} << 54;
}
[[nodiscard]] constexpr Place unpack_place(uint64_t word) noexcept {
  return {word >> 27 & 0x1'FFFF, (word & 0x7FF'FFFF) * 8, static_cast<uint32_t>(word >> 44 & 0x3FF),
          static_cast<uint32_t>(word >> 54)};
}
/// Whether the entry was given to a sequence that comes whole laps behind the one of `lap`: that one was settled then. Both words say so: one wrong bit does not.
[[nodiscard]] constexpr bool is_overwritten(uint64_t word, uint64_t place, uint32_t lap) noexcept {
  const uint32_t later = lap_of(word);
  const uint32_t ahead = (later - lap) & kLapMask;
  return belongs(word, later) && ahead != 0 && ahead <= kLapMask / 2 && place != 0 &&
         unpack_place(place).lap == (later & 0x3FF);
}
/// The segment of which `place` tells the lowest bits, at or before `active`.
[[nodiscard]] constexpr uint64_t segment_of(const Place& place, uint64_t active) noexcept {
  const uint64_t behind = (active - place.segment) & 0x1'FFFF;
  return behind >= active ? 0 : active - behind;
}

/// Owner and ticket of the right to claim, where only one may: see `turn` in docs/group-format.md.
struct Turn {
  uint32_t owner = 0;  ///< slot + 1; 0 = none
  uint64_t ticket = 0;
};
[[nodiscard]] constexpr uint64_t pack(const Turn& t) noexcept { return (t.owner & 0x1FF) | t.ticket << 9; }
[[nodiscard]] constexpr Turn unpack_turn(uint64_t word) noexcept {
  return {static_cast<uint32_t>(word & 0x1FF), word >> 9};
}

/// Floor of a durable subscription: the sequence, and the member that may move it.
[[nodiscard]] constexpr uint64_t owned_floor(uint32_t owner, uint64_t sequence) noexcept {
  return (sequence & kSequenceMask) | uint64_t{owner} << 54;
}
[[nodiscard]] constexpr uint32_t owner_of(uint64_t floor) noexcept { return static_cast<uint32_t>(floor >> 54); }

}  // namespace hermes
