#include "core/log/syncer.h"

#include <time.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/log/crash_point.h"
#include "core/log/log.h"
#include "core/log/repair.h"
#include "core/log/waiter.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

constexpr uint64_t kSyncTimeoutNs = 60'000'000'000;
/// How long a waiter sleeps at most before it looks whether the syncing process has died: the kernel then releases the lock, but wakes no waiter.
constexpr uint64_t kLookAgainNs = 1'000'000;
/// Between two looks at a claim that stands in the way: a live publisher commits within moments.
constexpr uint64_t kSoonNs = 20'000;
constexpr uint64_t kLaterNs = 1'000'000;
constexpr uint32_t kSoonAttempts = 100;
constexpr uint64_t kAtOnceNs = 1;
/// How long a topic that is being closed waits for another participant's sync: it may be an event loop that closes it. A caller that can wait has done so before.
constexpr uint64_t kLastSyncTimeoutNs = 20'000'000;

}  // namespace

Syncer::~Syncer() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
  }
  job_.cancel();
  // What was asked and can be done is done; the rest is told that it won't be.
  const std::lock_guard<std::mutex> guard(at_it_);
  const uint64_t deadline = monotonic_ns() + kLastSyncTimeoutNs;
  while (serve() == kAtOnceNs && monotonic_ns() < deadline) {
  }
  answer(Status::error(Code::kClosed, "the topic was closed before a message was synced"), {}, true);
}

void Syncer::request(uint64_t sequence, Callback callback) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    requests_.push_back({sequence, std::move(callback)});
  }
  const Status status = job_.submit();
  if (status.ok()) return;
  // Without a thread: here and now, or not at all.
  const std::lock_guard<std::mutex> guard(at_it_);
  if (status.code == Code::kLimit) (void)serve();
  collect();
  answer(status, {}, true);
}

/// A turn on a thread of the pool.
void Syncer::turn() {
  std::unique_lock<std::mutex> turn(at_it_, std::try_to_lock);
  if (!turn.owns_lock()) {
    (void)job_.submit_at(monotonic_ns() + kLaterNs);
  } else if (const uint64_t pause_ns = serve(); pause_ns != 0) {
    (void)job_.submit_at(monotonic_ns() + pause_ns);
  }
}

/// Syncs for all who have asked, and answers those who have got it; or all, if it failed. Returns 0, or in how many ns to come again.
/// REQUIRES: at_it_.
uint64_t Syncer::serve() {
  collect();
  uint64_t furthest = 0;
  for (const Request& request : serving_) furthest = std::max(furthest, request.sequence);
  if (furthest == 0) return 0;
  Position synced;
  Retry retry = retry_;
  retry.needed = false;
  const Status status = attempt(furthest, &synced, &retry);
  answer(status, synced, !status.ok());
  retry_ = retry.needed ? retry : Retry{};
  if (!retry.needed) return 0;
  return retry.busy ? kAtOnceNs : retry.attempts < kSoonAttempts ? kSoonNs : kLaterNs;
}

/// Takes up what was asked since. REQUIRES: at_it_.
void Syncer::collect() {
  const std::lock_guard<std::mutex> guard(mutex_);
  serving_.insert(serving_.end(), std::make_move_iterator(requests_.begin()), std::make_move_iterator(requests_.end()));
  requests_.clear();
}

/// Answers those being served whose messages are before `synced`: they are safe; and the others, if they are meant too, `status`.
/// REQUIRES: at_it_.
void Syncer::answer(const Status& status, const Position& synced, bool others) {
  std::vector<Request> waiting;
  waiting.swap(serving_);
  for (Request& request : waiting) {
    if (request.sequence <= synced.sequence) {
      request.callback(Status::success(), synced);
    } else if (others) {
      request.callback(status, synced);
    } else {
      serving_.push_back(std::move(request));
    }
  }
}

Status Syncer::sync_now(uint64_t sequence, Position* synced) {
  Retry retry;
  for (;;) {
    {
      const std::lock_guard<std::mutex> guard(at_it_);
      retry.needed = false;
      Status status = attempt(sequence, synced, &retry);
      if (!status.ok() || !retry.needed) return status;
    }
    const timespec pause = {0, static_cast<long>(retry.attempts < kSoonAttempts ? kSoonNs : kLaterNs)};
    if (!retry.busy) ::nanosleep(&pause, nullptr);
  }
}

/// Syncs once, if that is needed and possible now; `retry` says if it is to be tried again. REQUIRES: at_it_.
Status Syncer::attempt(uint64_t sequence, Position* synced, Retry* retry) {
  LockFile* locks = nullptr;
  Status status = log_.sync_locks(&locks);
  if (status.ok()) status = sync_or_wait(*locks, sequence, synced, retry);
  if (!status.ok() || retry->needed || synced->sequence >= sequence) return status;
  // A claim of another publisher lies before our message. A live one commits within moments, a dead one is repaired.
  status = check_coming(*synced, sequence);
  if (!status.ok()) return status;
  RepairOutcome outcome;
  status = repair_claim(log_, *synced, &outcome);
  if (status.code == Code::kBehindRetention) status = Status::success();  // the end is elsewhere by now: look again
  retry->needed = true;
  ++retry->attempts;
  return status;
}

/// Whether the mark covers `sequence`. A mark is never beyond what this topic's appenders found as its end (Appender::find_end), so it can't
/// vouch for a sequence that was given out again.
bool Syncer::is_synced(uint64_t sequence, Position* synced) const {
  return load_position(log_.control().synced, synced) && log_.is_plausible(*synced) && synced->sequence >= sequence;
}

/// Syncs as the only one, or waits a moment for another to have synced up to `sequence`.
Status Syncer::sync_or_wait(LockFile& locks, uint64_t sequence, Position* synced, Retry* retry) {
  std::atomic<uint32_t>& generation = log_.control().sync_generation;
  const uint32_t seen = generation.load(std::memory_order_acquire);
  retry->busy = false;
  if (is_synced(sequence, synced)) return Status::success();
  Status status = locks.try_lock(kSyncByte, LockFile::Mode::kExclusive);
  if (status.code == Code::kBusy) {
    const uint64_t now = monotonic_ns();
    if (busy_since_ns_ == 0) busy_since_ns_ = now;
    if (now - busy_since_ns_ >= kSyncTimeoutNs) {
      busy_since_ns_ = 0;
      return Status::error(Code::kTimedOut, "another participant has been syncing for a minute");
    }
    (void)futex_wait(&generation, seen, kLookAgainNs);
    retry->needed = true;
    retry->busy = true;
    return Status::success();
  }
  busy_since_ns_ = 0;
  if (!status.ok()) return status;
  // Another one may have synced for us just before.
  if (!is_synced(sequence, synced)) status = sync_once(synced);
  locks.unlock(kSyncByte);
  // After the unlocking, so that a woken waiter finds the lock free. Release: with the new generation comes the new watermark.
  generation.fetch_add(1, std::memory_order_release);
  futex_wake_all(&generation);
  // Who waits for messages may wait for those that are synced: it has announced itself and looks once more, or is seen here.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if ((log_.control().parked.load(std::memory_order_relaxed) & 1) != 0) wake_sleepers(log_);
  return status;
}

/// Whether `sequence`, beyond the end of the chain at `end`, can still become safe.
Status Syncer::check_coming(const Position& end, uint64_t sequence) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (stop_) return Status::error(Code::kClosed, "the topic was closed before a message was synced");
  }
  std::shared_ptr<Segment> segment;
  Status status = log_.segment(end.segment, &segment);
  if (status.code == Code::kBehindRetention) return Status::success();  // the end is elsewhere by now: look again
  if (!status.ok()) return status;
  const Step::Kind kind = segment->step(end.offset).kind;
  if (kind == Step::Kind::kDamage || (kind == Step::Kind::kEmpty && log_.is_hole(*segment, end.offset))) {
    return Status::error(Code::kCorrupt, "damage at offset " + std::to_string(end.offset) + " of " +
                                             Segment::path(log_.folder(), end.segment));
  }
  const bool full = kind == Step::Kind::kPadding || kind == Step::Kind::kSegmentEnd;
  if (kind == Step::Kind::kEmpty || (full && log_.active() <= end.segment)) {
    return Status::error(Code::kOutOfRange, "sequence " + std::to_string(sequence - 1) +
                                                " does not exist yet; the next one will be " +
                                                std::to_string(end.sequence));
  }
  return status;
}

/// REQUIRES: the sync lock is held.
Status Syncer::sync_once(Position* synced) {
  // Under the lock: who found a failure before us noted it before it gave the lock back.
  Status status = log_.check_sync();
  if (!status.ok()) return status;
  Position from;
  if (!load_position(log_.control().synced, &from) || !log_.is_plausible(from))
    from = {log_.first(), kSegmentHeaderBytes, 0};
  Position upto;
  status = log_.committed_from(from, &upto);
  if (!status.ok()) return status;
  if (from.offset == kSegmentHeaderBytes || from.segment < upto.segment) {
    // Files that came into use since the last sync. The process that made one syncs its name, too, but may have died between the two.
    File folder;
    status = File::open_folder(log_.folder(), &folder);
    if (!status.ok()) return status;
    status = folder.sync_names();
    if (!status.ok()) return log_.fail_sync(status);
  }
  for (uint64_t number = std::max(from.segment, log_.first()); number <= upto.segment; ++number) {
    std::shared_ptr<Segment> segment;
    status = log_.segment(number, &segment);
    if (status.code == Code::kBehindRetention) continue;  // removed meanwhile
    if (!status.ok()) return status;
    status = segment->file().sync_data();
    if (!status.ok()) return log_.fail_sync(status);
  }
  crash_point("sync:synced");
  // Once more: what a process without our locks has noted meanwhile must not be undone.
  status = log_.check_sync();
  if (!status.ok()) return status;
  store_position(log_.control().synced, upto);
  *synced = upto;
  return status;
}

}  // namespace hermes
