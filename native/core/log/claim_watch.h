#pragma once

#include <cstdint>
#include <mutex>

#include "core/log/layout.h"
#include "core/log/position.h"

namespace hermes {

/// Tells damage that names the slot of a live publisher from a claim of that publisher. A publisher has one claim at a time, and notes in its
/// slot how much it has committed: while that number grows, a claim which stays where it is can't be its own.
///
/// Thread safety: all methods may be called from any thread.
class ClaimWatch {
 public:
  /// Whether the claim word `word` at `at`, which names the live owner of `slot`, is known to be none of his. To be asked again and again: it
  /// takes two looks, kBaselineNs apart at least, and some 4 KiB that the owner has published between them. Of an owner that publishes nothing
  /// it's never known.
  bool is_refuted(const Position& at, uint64_t word, const ParticipantSlot& slot, uint64_t now_ns);

 private:
  std::mutex mutex_;
  // All waiters wait for the first claim in the log: one is enough.
  Position at_;
  uint64_t word_ = 0;
  uint64_t taken_ns_ = 0;
  uint64_t since_ns_ = 0;
  uint64_t messages_ = 0;
  bool has_baseline_ = false;
};

}  // namespace hermes
