#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/log/log.h"

namespace hermes {

/// Messages of one producer that follow each other in the log, with timestamps that count up by
/// one.
struct ProducerRun {
  uint64_t first_number;  ///< the timestamp of the first
  uint64_t sequence;      ///< of the first
  uint32_t count;
};

/// What the log says of one producer slot (see "What the broker remembers" in
/// docs/wire-protocol.md).
struct ProducerTrace {
  uint64_t since = 0;             ///< frames before this sequence belong to the slot's former owner
  uint64_t last_number = 0;       ///< the highest timestamp; 0 = none
  std::vector<ProducerRun> runs;  ///< the newest ones, oldest first
};

/// By slot.
using ProducerTraces = std::map<uint16_t, ProducerTrace>;

/// Walks the log from the lowest `since` to its end and fills in the traces that it is given. Looks
/// at headers only.
Status trace_producers(std::shared_ptr<Log> log, ProducerTraces* traces);

}  // namespace hermes
