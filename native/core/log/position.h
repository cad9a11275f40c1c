#pragma once

#include <cstdint>

namespace hermes {

/// A boundary between two frames of a topic.
struct Position {
  uint64_t segment = 0;   ///< segment number; 0 = no position
  uint64_t offset = 0;    ///< bytes from the segment's beginning
  uint64_t sequence = 0;  ///< of the next message or void

  friend bool operator==(const Position&, const Position&) = default;
  /// Order within one topic: the order of writing.
  friend bool operator<(const Position& a, const Position& b) {
    return a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset;
  }
};

}  // namespace hermes
