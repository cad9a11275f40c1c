#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "core/log/position.h"
#include "core/platform/executor.h"
#include "core/status.h"

namespace hermes {

class Log;

/// Has a topic synced again and again, so that what is written is on stable storage some time later even if no caller waits for it.
/// A thread that all topics of the process share looks once per interval; if there is nothing new, that costs a few loads and no system call.
///
/// Thread safety: made and destroyed by one thread. `failed` is called on a thread of the pool, once at most, or in the constructor: kLimit if
/// the process gets no thread for this.
class IntervalSync {
 public:
  using Failed = std::function<void(const Status&)>;

  /// A sync of all that is committed begins `interval_ms` after it was committed at the latest; if one is under way then, when that
  /// ends. `failed` is told what keeps it from that, and nothing is synced any more.
  IntervalSync(std::shared_ptr<Log> log, uint32_t interval_ms, Failed failed);
  /// Ends it. A sync that is under way goes on, but whether it fails is not told any more.
  ~IntervalSync();
  IntervalSync(const IntervalSync&) = delete;
  IntervalSync& operator=(const IntervalSync&) = delete;

 private:
  /// What the syncer's callback needs, which may come when this object is gone.
  struct Shared {
    std::mutex mutex;
    bool underway = false;
    bool ended = false;
    Failed failed;
    void fail(const Status& status);
  };
  void turn();
  Status look();

  const std::shared_ptr<Log> log_;
  const uint64_t interval_ns_;
  const std::shared_ptr<Shared> shared_;
  Position stuck_;  // where a claim stood at the last look
  Job job_;         // last: ends before what it works with
};

}  // namespace hermes
