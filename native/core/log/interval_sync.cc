#include "core/log/interval_sync.h"

#include <chrono>

#include "core/log/log.h"
#include "core/log/repair.h"
#include "core/log/syncer.h"

namespace hermes {

IntervalSync::IntervalSync(std::shared_ptr<Log> log, uint32_t interval_ms, Failed failed)
    : log_(std::move(log)), shared_(std::make_shared<Shared>()) {
  shared_->failed = std::move(failed);
  thread_ = std::thread([this, interval_ms] { run(interval_ms); });
}

IntervalSync::~IntervalSync() {
  {
    const std::lock_guard<std::mutex> guard(shared_->mutex);
    shared_->ended = true;
  }
  shared_->changed.notify_all();
  thread_.join();
}

void IntervalSync::Shared::fail(const Status& status) {
  const std::lock_guard<std::mutex> guard(mutex);
  if (ended) return;
  ended = true;
  // Under the mutex: once the destructor has had it, nobody is told any more.
  failed(status);
}

void IntervalSync::run(uint32_t interval_ms) {
  const std::chrono::milliseconds interval(interval_ms);
  Shared& shared = *shared_;
  std::unique_lock<std::mutex> lock(shared.mutex);
  for (auto due = std::chrono::steady_clock::now() + interval;;) {
    if (shared.changed.wait_until(lock, due, [&] { return shared.ended; })) return;
    shared.changed.wait(lock, [&] { return shared.ended || !shared.underway; });
    if (shared.ended) return;
    // Counted from before the look: what is written after it is seen by the next one, in time.
    due = std::chrono::steady_clock::now() + interval;
    lock.unlock();
    const Status status = look();
    if (!status.ok()) shared.fail(status);
    lock.lock();
  }
}

Status IntervalSync::look() {
  if (log_->active() == 0) return Status::success();
  Position synced;
  if (!load_position(log_->control().synced, &synced)) synced = {};
  Position end;
  Status status = log_->committed_from(synced, &end);
  if (!status.ok()) return status;
  if (synced.sequence < end.sequence) {
    {
      const std::lock_guard<std::mutex> guard(shared_->mutex);
      shared_->underway = true;
    }
    log_->syncer().request(end.sequence, [shared = shared_](const Status& done, const Position&) {
      if (!done.ok()) shared->fail(done);
      {
        const std::lock_guard<std::mutex> guard(shared->mutex);
        shared->underway = false;
      }
      shared->changed.notify_all();
    });
  }
  // Nobody waits for what stands behind a dead publisher's claim, so nobody else might repair it.
  std::shared_ptr<Segment> segment;
  status = log_->segment(end.segment, &segment);
  if (!status.ok()) return status;
  const bool claim = segment->step(end.offset).kind == Step::Kind::kClaim;
  const bool still = claim && end == stuck_;
  stuck_ = claim ? end : Position{};
  RepairOutcome outcome;
  return still ? repair_claim(*log_, end, &outcome) : status;
}

}  // namespace hermes
