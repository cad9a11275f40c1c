#pragma once

#include <functional>
#include <memory>

#include "core/platform/sleeper.h"
#include "core/ring/ring_eventcount.h"
#include "core/ring/ring_file.h"

namespace hermes::binding {

/// The waits of one participant of a ring, one at a time; the process's SleeperPool sleeps for it. While it sleeps, the kernel is asked
/// every 10 ms whether the others live: marking a dead one wakes the sleepers.
///
/// Thread safety: all on one thread; `done` runs on the pool's.
class RingParker {
 public:
  using Done = std::function<void()>;

  explicit RingParker(std::shared_ptr<RingFile> file) : file_(std::move(file)) {}
  /// Ends a wait under way, which is still reported. The file is not used any more then.
  ~RingParker();

  /// Has `done` called once `eventcount` does not hold `seen` any more, or after `timeout_ns`. kLimit if the process has no thread that could
  /// sleep for it; `done` is not called then. REQUIRES: no other wait is under way.
  Status wait(RingEventcount eventcount, uint32_t seen, uint64_t timeout_ns, Done done);
  /// Ends the wait under way, if there is one, soon.
  void cancel();

 private:
  std::shared_ptr<RingFile> file_;
  std::weak_ptr<Sleeper> sleeper_;  // the newest; the pool's while it lasts
};

}  // namespace hermes::binding
