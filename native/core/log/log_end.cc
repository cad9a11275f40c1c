#include "core/log/log_end.h"

namespace hermes {

// An end that was seen is a boundary between frames for as long as the log only grows: what is committed is never changed by who publishes, reads
// or repairs a claim. Recovery alone changes it. It may cut the log in front of the end that was seen, so that other frames, with other
// boundaries, are written over it; or put one void over it. It counts itself in the control file before it changes anything (Recovery::run), so:
//
// - The count is read before the walk. If it is the one that belongs to `seen_`, no recovery had begun by then that `seen_` does not know of.
// - It is read again after the walk. A publisher publishes after a recovery only after it was counted: the lock under which recovery works is handed
//   on in between. So if the walk has met anything of his, the second look sees the count, and the walk is made again from the checkpoint.
//
// A walk that met a recovery at its work, and no new frames yet, ends at `seen_` or before: at a place where the log did end a moment before.
Status LogEnd::find(Log& log, Position* out) {
  const std::atomic<uint64_t>& count = log.control().recoveries;
  uint64_t recoveries = count.load(std::memory_order_acquire);
  for (;;) {
    if (recoveries != recoveries_) seen_ = {};
    Position end;
    Status status = log.end_from(seen_, &end);
    // The walk's loads come before this one.
    std::atomic_thread_fence(std::memory_order_acquire);
    const uint64_t now = count.load(std::memory_order_acquire);
    recoveries_ = recoveries;
    if (now != recoveries) {
      recoveries = now;
      continue;
    }
    if (status.ok()) {
      seen_ = end;
      *out = end;
    }
    return status;
  }
}

}  // namespace hermes
