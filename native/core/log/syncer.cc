#include "core/log/syncer.h"

#include <time.h>

#include <algorithm>

#include "core/log/log.h"
#include "core/log/repair.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

constexpr uint64_t kSyncPatienceNs = 60'000'000'000;
/// How long a waiter sleeps at most before it looks whether the one who syncs has died: the kernel then gives the lock back, but tells nobody.
constexpr uint64_t kLookAgainNs = 1'000'000;
/// Somewhat more than it takes to wake this thread, to wake an event loop, and to publish.
constexpr uint64_t kAwakeNs = 100'000;

}  // namespace

Syncer::~Syncer() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
    asked_.store(true, std::memory_order_relaxed);
  }
  wanted_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Syncer::request(uint64_t sequence, Callback callback) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    requests_.push_back({sequence, std::move(callback)});
    asked_.store(true, std::memory_order_relaxed);
  }
  wanted_.notify_one();
}

/// Waits for a request, or for the end. Whoever awaits one message before the next asks again within microseconds; if that's what
/// the last one did, the thread stays awake for as long as being woken costs.
void Syncer::await_request(std::unique_lock<std::mutex>& lock) {
  const uint64_t begun = monotonic_ns();
  if (requests_.empty() && !stop_ && rested_ns_ < kAwakeNs) {
    lock.unlock();
    // Relaxed: only a hint. What was asked is read under the mutex.
    while (!asked_.load(std::memory_order_relaxed) && monotonic_ns() - begun < kAwakeNs) std::this_thread::yield();
    lock.lock();
  }
  wanted_.wait(lock, [&] { return stop_ || !requests_.empty(); });
  rested_ns_ = monotonic_ns() - begun;
  asked_.store(stop_, std::memory_order_relaxed);
}

void Syncer::run() {
  LockFile locks;  // a participant of its own, which is spared opening the file for each sync
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    await_request(lock);
    if (requests_.empty()) return;  // stopping, and nobody waits any more
    std::vector<Request> batch;
    batch.swap(requests_);
    lock.unlock();
    uint64_t furthest = 0;
    for (const Request& request : batch) furthest = std::max(furthest, request.sequence);
    Position synced;
    Status status;
    if (!locks.is_open()) status = log_.open_lock(&locks);
    if (status.ok()) status = sync_with(locks, furthest, &synced);
    for (const Request& request : batch) request.callback(status, synced);
    lock.lock();
  }
}

/// Syncs as the only one, or waits for another to have synced up to `sequence`.
Status Syncer::sync_or_wait(LockFile& locks, uint64_t sequence, Position* synced) {
  std::atomic<uint32_t>& generation = log_.control().sync_generation;
  const uint64_t deadline = monotonic_ns() + kSyncPatienceNs;
  for (;;) {
    const uint32_t seen = generation.load(std::memory_order_acquire);
    if (load_position(log_.control().synced, synced) && synced->sequence >= sequence) return Status::success();
    Status status = locks.try_lock(kSyncByte, LockFile::Mode::kExclusive);
    if (status.ok()) {
      // Somebody may have synced for us just before.
      const bool served = load_position(log_.control().synced, synced) && synced->sequence >= sequence;
      if (!served) status = sync_once(synced);
      locks.unlock(kSyncByte);
      // After the unlocking, so that whoever wakes finds the lock free. Release: with the new generation comes the new watermark.
      generation.fetch_add(1, std::memory_order_release);
      futex_wake_all(&generation);
      return status;
    }
    if (status.code != Code::kBusy) return status;
    if (monotonic_ns() >= deadline) return Status::error(Code::kTimedOut, "another participant has been syncing for a minute");
    (void)futex_wait(&generation, seen, kLookAgainNs);
  }
}

Status Syncer::sync_now(uint64_t sequence, Position* synced) {
  LockFile locks;
  Status status = log_.open_lock(&locks);
  return status.ok() ? sync_with(locks, sequence, synced) : status;
}

Status Syncer::sync_with(LockFile& locks, uint64_t sequence, Position* synced) {
  Status status;
  for (uint32_t attempt = 0; status.ok(); ++attempt) {
    status = sync_or_wait(locks, sequence, synced);
    if (!status.ok() || synced->sequence >= sequence) return status;
    // A claim of another publisher lies before our message. A live one commits within moments, a dead one is repaired.
    status = check_coming(*synced, sequence);
    if (!status.ok()) return status;
    RepairOutcome outcome;
    status = repair_claim(log_, *synced, &outcome);
    const timespec pause = {0, attempt < 100 ? 20'000 : 1'000'000};
    if (status.ok() && outcome != RepairOutcome::kRepaired) ::nanosleep(&pause, nullptr);
  }
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
  if (!status.ok()) return status;
  const Step::Kind kind = segment->step(end.offset).kind;
  if (kind == Step::Kind::kDamage) {
    return Status::error(Code::kCorrupt, "damage at offset " + std::to_string(end.offset) + " of " +
                                             Segment::path(log_.folder(), end.segment));
  }
  const bool full = kind == Step::Kind::kPadding || kind == Step::Kind::kSegmentEnd;
  if (kind == Step::Kind::kEmpty || (full && log_.active() <= end.segment)) {
    return Status::error(Code::kOutOfRange, "sequence " + std::to_string(sequence - 1) + " does not exist yet; the next one will be " +
                                                std::to_string(end.sequence));
  }
  return status;
}

/// REQUIRES: the sync lock is held.
Status Syncer::sync_once(Position* synced) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!failed_.ok()) return failed_;
  }
  Position from;
  if (!load_position(log_.control().synced, &from) || !log_.is_plausible(from)) from = {log_.first(), kSegmentHeaderBytes, 0};
  Position upto;
  Status status = log_.committed_from(from, &upto);
  if (!status.ok()) return status;
  if (from.offset == kSegmentHeaderBytes || from.segment < upto.segment) {
    // Files that came into use since the last sync. Whoever made one syncs its name, too, but may have died between the two.
    status = sync_directory(log_.folder());
    if (!status.ok()) return status;
  }
  for (uint64_t number = std::max(from.segment, log_.first()); number <= upto.segment; ++number) {
    std::shared_ptr<Segment> segment;
    status = log_.segment(number, &segment);
    if (status.code == Code::kNotFound && number < log_.first()) continue;  // removed by retention meanwhile
    if (status.ok()) status = segment->file().sync_data();
    if (!status.ok()) {
      if (status.code == Code::kIoFailed) {
        const std::lock_guard<std::mutex> guard(mutex_);
        failed_ = status;
      }
      return status;
    }
  }
  store_position(log_.control().synced, upto);
  *synced = upto;
  return status;
}

}  // namespace hermes
