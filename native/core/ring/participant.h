#pragma once

#include <cstdint>

#include "core/ring/ring_layout.h"

// Participant entries: which are attached to a ring, closed or dead.
//
// Thread safety: every function may be called from any thread or process.
// Invariants: an entry's generation grows with each attach, and only `attached` may become `closed`
// or `dead`. So a verdict about one generation can't hit the next.

namespace hermes {

enum class ParticipantState : uint32_t { kVacant = 0, kAttached = 1, kClosed = 2, kDead = 3 };

/// The entries of an SPSC ring.
enum class RingRole : uint32_t { kProducer = 0, kConsumer = 1 };

constexpr ParticipantState state_of(uint32_t entry) noexcept { return static_cast<ParticipantState>(entry & 3u); }
constexpr uint32_t with_state(uint32_t entry, ParticipantState state) noexcept {
  return (entry & ~3u) | static_cast<uint32_t>(state);
}
constexpr uint32_t next_attached(uint32_t entry) noexcept { return with_state(entry + 4, ParticipantState::kAttached); }

/// Attaches to a free entry. `*before` receives what the entry was.
inline bool attach_entry(RingWord& entry, uint32_t* before) noexcept {
  uint32_t seen = entry.load(std::memory_order_acquire);
  while (state_of(seen) != ParticipantState::kAttached) {
    // Acquire: what the predecessor did. Release: our attachment is visible before any claim that
    // follows.
    if (entry.compare_exchange_weak(seen, next_attached(seen), std::memory_order_acq_rel, std::memory_order_acquire)) {
      *before = seen;
      return true;
    }
  }
  return false;
}

/// Attaches in place of the present owner. REQUIRES: the caller holds the kernel's lock of this
/// entry, or knows otherwise that the predecessor is gone. Returns what the entry was.
inline uint32_t take_entry(RingWord& entry) noexcept {
  uint32_t seen = entry.load(std::memory_order_acquire);
  while (
      !entry.compare_exchange_weak(seen, next_attached(seen), std::memory_order_acq_rel, std::memory_order_acquire)) {
  }
  return seen;
}

/// Ends the attachment in an orderly way. Release: everything this participant did is seen by who
/// sees `closed`.
inline void close_entry(RingWord& entry) noexcept {
  uint32_t seen = entry.load(std::memory_order_relaxed);
  if (state_of(seen) != ParticipantState::kAttached) return;
  (void)entry.compare_exchange_strong(seen, with_state(seen, ParticipantState::kClosed), std::memory_order_release,
                                      std::memory_order_relaxed);
}

/// Declares dead the participant that `seen` was read of. Does nothing if the entry moved on since.
inline bool mark_dead(RingWord& entry, uint32_t seen) noexcept {
  if (state_of(seen) != ParticipantState::kAttached) return false;
  return entry.compare_exchange_strong(seen, with_state(seen, ParticipantState::kDead), std::memory_order_acq_rel,
                                       std::memory_order_relaxed);
}

/// What the state of the other side means to a party that can't go on.
inline RingOp verdict_on(const RingWord& peer, RingOp otherwise) noexcept {
  switch (state_of(peer.load(std::memory_order_acquire))) {
    case ParticipantState::kClosed:
      return RingOp::kClosed;
    case ParticipantState::kDead:
      return RingOp::kDead;
    default:
      return otherwise;
  }
}

}  // namespace hermes
