#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "core/log/position.h"
#include "core/log/segment.h"
#include "core/platform/executor.h"

namespace hermes {

class Log;

/// Runs ahead of the appenders of one Log, on the threads that all topics of the process share: allocates and faults in the next stretch of
/// the segment and the next segment, unmaps the ones left behind, advances the checkpoint and applies retention. First-touch stores through
/// a fresh mapping cost hundreds of nanoseconds; behind the preparer they cost a few.
///
/// An appender that has to wait does a piece of this itself when no thread is free to: publishing is slower then, and goes on.
///
/// Thread safety: all methods may be called from any thread.
class Preparer {
 public:
  explicit Preparer(Log& log) : log_(log), job_(Executor::preparing(), [this] { turn(); }) {}
  ~Preparer() { job_.cancel(); }

  /// Says that the appender in `slot` stands at `offset` of `segment`, next sequence `sequence`, and has committed all its claims; what lies
  /// ahead of it is then prepared: up to `need`, where it has to wait for that, and some way beyond. Clears an earlier error.
  void want(const std::shared_ptr<Segment>& segment, uint64_t offset, uint64_t need, uint64_t sequence, uint32_t slot);
  /// Waits until `segment` is prepared up to `limit`, or an appender of this Log has moved on to a later segment, after which
  /// no appender needs room in this one. kTimedOut if nothing at all gets prepared for 10 s. Call want() first, with `limit` as the need.
  Status wait_ready(const Segment& segment, uint64_t limit);
  /// Waits for the successor of `segment`, as long; null if an appender of this Log is further on already. Call want() first.
  Status wait_next(const Segment& segment, std::shared_ptr<Segment>* next);
  /// True if the room ahead of `offset` is being prepared but is not there yet.
  bool is_behind(const Segment& segment, uint64_t offset);
  /// Takes over the last reference to a segment, so that the slow unmapping is not done by the appender.
  void retire(std::shared_ptr<Segment> segment);

 private:
  void turn();
  bool step(std::unique_lock<std::mutex>& lock);
  bool prepare_to(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Segment>& segment, uint64_t limit);
  template <typename Done>
  Status wait(std::unique_lock<std::mutex>& lock, Done done);
  void tidy(std::unique_lock<std::mutex>& lock);
  bool is_for_large_pages();
  Status prepare_chunk(Segment& segment, uint64_t limit, bool large_pages);
  Status make_next(uint64_t number, std::shared_ptr<Segment>* out);
  Status check_room(uint64_t bytes);

  Log& log_;
  std::mutex mutex_;
  std::condition_variable prepared_;
  std::shared_ptr<Segment> segment_;  // the newest that an appender asked for
  std::shared_ptr<Segment> next_;
  uint64_t offset_ = 0;
  uint64_t need_ = 0;  // up to where an appender waits for room
  uint64_t lookahead_ = uint64_t{1} << 20;
  uint64_t since_checkpoint_ = 0;
  uint32_t sync_generation_ = 0;
  uint64_t synced_ns_ = 0;  // when the generation was seen to change
  Position wanted_at_;
  uint32_t wanted_slot_ = 0;
  Status error_;
  std::vector<std::shared_ptr<Segment>> retired_;
  uint64_t tidied_ns_ = 0;  // when retention by age was last applied
  uint64_t progress_ = 0;   // pieces done
  bool pending_ = false;
  bool working_ = false;  // a thread does a piece: one at a time
  bool alone_ = false;    // the process has no thread for this
  Job job_;               // last: ends before what it works with
};

}  // namespace hermes
