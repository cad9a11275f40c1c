#pragma once

#include <string>
#include <vector>

#include "core/log/log.h"

namespace hermes {

/// Something that recovery found and set aside. Nothing is ever deleted: the bytes are in `file`.
struct Damage {
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t first_sequence = 0;
  uint64_t count = 0;  ///< sequences that became void; 0 for a torn tail, whose sequences are given out again
  std::string reason;
  std::string file;  ///< in the topic's `quarantine` folder
};

struct RecoveryReport {
  bool ran = false;          ///< false: the last publisher had closed in order
  bool rebooted = false;     ///< the machine was restarted since
  uint64_t frames = 0;       ///< checked
  uint64_t bytes = 0;        ///< checked
  uint64_t dead_claims = 0;  ///< turned into void frames
  std::vector<Damage> damage;
};

/// Makes the topic fit for publishing: creates the first segment, or, after a crash, checks everything since the last known
/// good position and repairs what is broken, as docs/log-format.md says. A crash in the middle is harmless.
/// REQUIRES: the recovery lock is held, and the publishers' lock exclusively.
/// `everything`: checks from the first segment on, whatever is believed to be good. kTimedOut, and nothing was done, if another process's sync does
/// not end within `timeout_ms`.
Status recover(Log& log, bool everything, RecoveryReport* report, uint32_t timeout_ms = 60'000);

}  // namespace hermes
