#include "core/log/interval_sync.h"

#include <algorithm>

#include "core/log/log.h"
#include "core/log/repair.h"
#include "core/log/syncer.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Between two looks at whether a sync that takes longer than the interval has ended.
constexpr uint64_t kAgainNs = 1'000'000;

}  // namespace

IntervalSync::IntervalSync(std::shared_ptr<Log> log, uint32_t interval_ms, Failed failed)
    : log_(std::move(log)),
      interval_ns_(uint64_t{interval_ms} * 1'000'000),
      shared_(std::make_shared<Shared>()),
      job_(Executor::syncing(), [this] { turn(); }) {
  shared_->failed = std::move(failed);
  const Status status = job_.submit_at(monotonic_ns() + interval_ns_);
  if (!status.ok()) shared_->fail(status);
}

IntervalSync::~IntervalSync() {
  {
    const std::lock_guard<std::mutex> guard(shared_->mutex);
    shared_->ended = true;
  }
  job_.cancel();
}

void IntervalSync::Shared::fail(const Status& status) {
  const std::lock_guard<std::mutex> guard(mutex);
  if (ended) return;
  ended = true;
  // Under the mutex: once the destructor has had it, no callback runs any more.
  failed(status);
}

void IntervalSync::turn() {
  // Counted from before the look: what is written after it is seen by the next one, in time.
  const uint64_t due = monotonic_ns() + interval_ns_;
  bool underway = false;
  {
    const std::lock_guard<std::mutex> guard(shared_->mutex);
    if (shared_->ended) return;
    underway = shared_->underway;
  }
  if (underway) {
    // That sync ends some time; not long after, the next look is due.
    (void)job_.submit_at(std::min(due, monotonic_ns() + kAgainNs));
    return;
  }
  const Status status = look();
  if (status.ok()) {
    (void)job_.submit_at(due);
  } else {
    shared_->fail(status);
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
      const std::lock_guard<std::mutex> guard(shared->mutex);
      shared->underway = false;
    });
  }
  // It may be that no reader waits for what stands behind a dead publisher's claim, and no other process repairs it.
  std::shared_ptr<Segment> segment;
  status = log_->segment(end.segment, &segment);
  if (status.code == Code::kBehindRetention)
    return Status::success();  // removed since: the next look finds another end
  if (!status.ok()) return status;
  const bool claim = segment->step(end.offset).kind == Step::Kind::kClaim;
  const bool still = claim && end == stuck_;
  stuck_ = claim ? end : Position{};
  RepairOutcome outcome;
  if (still) status = repair_claim(*log_, end, &outcome);
  return status.code == Code::kBehindRetention ? Status::success() : status;
}

}  // namespace hermes
