#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/log/position.h"
#include "core/platform/executor.h"
#include "core/platform/file.h"
#include "core/platform/lock_file.h"
#include "core/status.h"

namespace hermes {

class Log;

/// Brings a topic's messages to stable storage. One sync serves all waiters, in every process: the one that gets the sync lock
/// syncs everything committed so far and raises the shared watermark; the others find it raised.
///
/// A sync that fails is final, for every participant in every process: the kernel tells each open file of an error once at most, and then takes
/// the pages that it could not write for clean, so that a later sync which succeeds proves nothing. The control file keeps the failure
/// (Log::check_sync); the holder of the sync lock looks at it before it raises the watermark, and only a recovery clears it.
///
/// The work is done on threads that all topics of the process share, and none of them waits there for what others have to do first: the
/// turn then comes again later. In a process that gets no thread the caller does it.
///
/// Thread safety: all methods may be called from any thread. The callback runs on a thread of the pool, or in request().
class Syncer {
 public:
  /// Told after each sync: everything before `synced.sequence` is safe; or the error, and then nothing new is.
  using Callback = std::function<void(const Status&, const Position& synced)>;

  explicit Syncer(Log& log) : log_(log), job_(Executor::syncing(), [this] { turn(); }) {}
  ~Syncer();

  /// Asks for a sync that covers everything before `sequence`; the callback is called once. kOutOfRange if there is no such
  /// message yet, kClosed if the syncer was destroyed while it waited for another publisher's claim. Where the process has no thread to
  /// spare it syncs at once; kLimit if what it would have to wait for is not done by then.
  void request(uint64_t sequence, Callback callback);
  /// Syncs in the calling thread until everything before `sequence` is safe.
  Status sync_now(uint64_t sequence, Position* synced);

 private:
  struct Request {
    uint64_t sequence;
    Callback callback;
  };
  /// When to try again what could not be done yet.
  struct Retry {
    bool needed = false;
    bool busy = false;      // another participant syncs
    uint32_t attempts = 0;  // behind a claim
  };
  void turn();
  uint64_t serve();
  void collect();
  void answer(const Status& status, const Position& synced, bool others);
  Status attempt(uint64_t sequence, Position* synced, Retry* retry);
  Status sync_or_wait(LockFile& locks, uint64_t sequence, Position* synced, Retry* retry);
  bool is_synced(uint64_t sequence, Position* synced) const;
  Status sync_once(Position* synced);
  Status check_coming(const Position& end, uint64_t sequence);

  Log& log_;
  std::mutex mutex_;
  std::vector<Request> requests_;
  bool stop_ = false;
  std::mutex at_it_;  // one thread of this process at a time; held before mutex_
  // What at_it_ guards:
  std::vector<Request> serving_;
  Retry retry_;  // of the requests
  uint64_t busy_since_ns_ = 0;
  Job job_;  // last: ends before what it works with
};

}  // namespace hermes
