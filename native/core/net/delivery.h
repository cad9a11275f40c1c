#pragma once

#include <cstdint>
#include <memory>

#include "core/log/reader.h"
#include "core/net/connection.h"

namespace hermes {

/// What a DELIVER is for.
struct Delivery {
  uint32_t channel = 0;
  uint32_t epoch = 0;
  uint64_t next_sequence = 0;  ///< that the topic's next message will get, as far as is known
  uint32_t most_messages = 0;
  uint64_t most_bytes = 0;  ///< of frames
};

/// Looks for a run of whole frames at `from` of the segment, where `sequence` is expected, within the limits of `delivery`; checksums are left to the client.
/// A result that does not end behind `from` says that there is none, or that what comes is for who knows all rules.
[[nodiscard]] Scan find_run(const Segment& segment, uint64_t from, uint64_t sequence, const Delivery& delivery,
                            uint32_t max_payload) noexcept;

/// Writes the run as one DELIVER: its head, and the frames straight from where they lie, if they are not few. `hold` as in Connection::write.
/// REQUIRES: the run is not empty.
TransferResult deliver(Connection& connection, const std::shared_ptr<Segment>& segment, uint64_t from,
                       uint64_t sequence, const Scan& run, const Delivery& delivery, bool hold);

}  // namespace hermes
