#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/log/position.h"
#include "core/platform/file.h"
#include "core/platform/lock_file.h"
#include "core/status.h"

namespace hermes {

class Log;

/// Brings a topic's messages to stable storage. One sync serves all who wait, in every process: whoever gets the sync lock
/// syncs everything committed so far and raises the shared watermark; the others find it raised.
///
/// Thread safety: all methods may be called from any thread. The callback runs on the syncer's thread.
class Syncer {
 public:
  /// Told after each sync: everything before `synced.sequence` is safe; or the error, and then nothing new is.
  using Callback = std::function<void(const Status&, const Position& synced)>;

  explicit Syncer(Log& log) : log_(log) {}
  ~Syncer();

  /// Asks for a sync that covers everything before `sequence`; the callback is called once. kOutOfRange if there is no such
  /// message yet, kClosed if the syncer was destroyed while it waited for another publisher's claim.
  void request(uint64_t sequence, Callback callback);
  /// Syncs in the calling thread until everything before `sequence` is safe.
  Status sync_now(uint64_t sequence, Position* synced);

 private:
  struct Request {
    uint64_t sequence;
    Callback callback;
  };
  void run();
  void await_request(std::unique_lock<std::mutex>& lock);
  Status sync_with(LockFile& locks, uint64_t sequence, Position* synced);
  Status sync_or_wait(LockFile& locks, uint64_t sequence, Position* synced);
  Status sync_once(Position* synced);
  Status check_coming(const Position& end, uint64_t sequence);

  Log& log_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::vector<Request> requests_;
  std::atomic<bool> asked_{false};  // changes with requests_ and stop_, to be looked at without the mutex
  uint64_t rested_ns_ = ~uint64_t{0};  // how long the thread had nothing to do before the last request
  bool stop_ = false;
  Status failed_;  // a failed sync is final: the kernel may have dropped the pages that it could not write
  std::thread thread_;
};

}  // namespace hermes
