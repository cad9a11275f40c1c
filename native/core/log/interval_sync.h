#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/log/position.h"
#include "core/status.h"

namespace hermes {

class Log;

/// Has a topic synced again and again, so that what is written is on stable storage some time later though nobody waits for it.
/// A thread looks once per interval; if there is nothing new, that costs a few loads and no system call.
///
/// Thread safety: made and destroyed by one thread. `failed` is called on a thread of its own or the syncer's, once at most.
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
    std::condition_variable changed;
    bool underway = false;
    bool ended = false;
    Failed failed;
    void fail(const Status& status);
  };
  void run(uint32_t interval_ms);
  Status look();

  const std::shared_ptr<Log> log_;
  const std::shared_ptr<Shared> shared_;
  Position stuck_;  // where a claim stood at the last look
  std::thread thread_;
};

}  // namespace hermes
