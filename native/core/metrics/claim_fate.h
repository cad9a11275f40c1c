#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"

namespace hermes {

/// What became of a claim whose publisher is gone.
enum class ClaimFate : uint8_t {
  kCommitted,  ///< its message, or batch, is in the log; or was, in a segment that is gone
  kVoid,       ///< it was not committed and never will be
};

/// Looks at the place of a claim (see claim_note() in core/log/layout.h), in the topic's `folder`, without opening the topic.
/// REQUIRES: the publisher that made the claim is gone.
Status fate_of_claim(const std::string& folder, uint64_t place, ClaimFate* out);

}  // namespace hermes
