#pragma once

#include "core/log/reader.h"

namespace hermes {

/// Scans for a reader that keeps up with its publishers. Such a one looks at the next frame's first word over and over while a
/// publisher is about to write it, so that each message costs the two processors an exchange of that cache line, and both get
/// slower. In a dense stream this one pauses at the end of what is there and looks again, so that the publisher gets a few
/// messages ahead; between two processes that nearly doubles the rate. A message is held up by a microsecond or two then, and
/// by nothing if they come further apart, as in a round trip.
///
/// Thread safety: one thread at a time.
class StreamReader {
 public:
  /// As hermes::scan().
  [[nodiscard]] Scan scan(const Segment& segment, uint64_t from, uint64_t sequence, uint32_t limit,
                          uint32_t max_payload, bool verify) noexcept;

 private:
  bool is_dense(const Scan& found) noexcept;

  uint64_t last_ns_ = 0;  // when the last message was written
  uint32_t dense_ = 0;    // how many scans in a row found a dense stream
};

}  // namespace hermes
