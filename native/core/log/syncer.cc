#include "core/log/syncer.h"

#include <time.h>

#include <algorithm>

#include "core/log/log.h"
#include "core/log/repair.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

constexpr uint32_t kSyncPatienceMs = 60'000;

}  // namespace

Syncer::~Syncer() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
  }
  wanted_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Syncer::request(uint64_t sequence, Callback callback) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    requests_.push_back({sequence, std::move(callback)});
  }
  wanted_.notify_one();
}

void Syncer::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [&] { return stop_ || !requests_.empty(); });
    if (requests_.empty()) return;  // stopping, and nobody waits any more
    std::vector<Request> batch;
    batch.swap(requests_);
    lock.unlock();
    uint64_t furthest = 0;
    for (const Request& request : batch) furthest = std::max(furthest, request.sequence);
    Position synced;
    const Status status = sync_now(furthest, &synced);
    for (const Request& request : batch) request.callback(status, synced);
    lock.lock();
  }
}

Status Syncer::sync_now(uint64_t sequence, Position* synced) {
  LockFile locks;
  Status status = log_.open_lock(&locks);
  for (uint32_t attempt = 0; status.ok(); ++attempt) {
    if (load_position(log_.control().synced, synced) && synced->sequence >= sequence) return status;
    {
      ScopedLock lock(&locks, kSyncByte);
      status = lock.acquire(kSyncPatienceMs);
      if (!status.ok()) return status;
      // Somebody may have synced for us while we waited.
      if (load_position(log_.control().synced, synced) && synced->sequence >= sequence) return status;
      status = sync_once(synced);
    }
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
  Status status = log_.committed(&upto);
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
  log_.control().sync_generation.fetch_add(1, std::memory_order_release);
  futex_wake_all(&log_.control().sync_generation);
  *synced = upto;
  return status;
}

}  // namespace hermes
