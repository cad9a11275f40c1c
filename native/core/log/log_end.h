#pragma once

#include "core/log/log.h"

namespace hermes {

/// How far a topic goes, for a caller that asks again and again: each search begins where the last one ended.
///
/// Thread safety: one thread at a time.
class LogEnd {
 public:
  /// As Log::end_from().
  Status find(Log& log, Position* out);

 private:
  Position seen_;
  uint64_t recoveries_ = 0;
};

}  // namespace hermes
