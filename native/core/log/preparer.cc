#include "core/log/preparer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "core/log/log.h"
#include "core/log/retention.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kChunk = uint64_t{4} << 20;
constexpr uint64_t kMaxLookahead = uint64_t{32} << 20;
/// Appenders that have used up less than this need no large pages.
constexpr uint64_t kLargePagesFrom = uint64_t{8} << 20;
constexpr uint64_t kLargePage = uint64_t{2} << 20;
/// Nor has a topic of which something was synced so recently.
constexpr uint64_t kSyncedRecentlyNs = 2'000'000'000;
constexpr uint64_t kCheckpointEvery = uint64_t{16} << 20;
constexpr uint64_t kMaxDefaultLowWater = uint64_t{64} << 20;
constexpr uint64_t kHousekeepingNs = 1'000'000'000;
/// How long an appender waits for a thread to begin before it does a piece of the work itself.
constexpr auto kPreparedTimeout = std::chrono::milliseconds(2);
/// How long it waits while nothing gets done at all.
constexpr uint64_t kStuckNs = 10'000'000'000;
/// Two makers of one segment would both be right: no reason to wait long for one that was stopped.
constexpr uint32_t kMakerTimeoutMs = 100;

}  // namespace

void Preparer::want(const std::shared_ptr<Segment>& segment, uint64_t offset, uint64_t need, uint64_t sequence,
                    uint32_t slot) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (segment_ == nullptr || segment->number() > segment_->number()) {
    segment_ = segment;
    next_.reset();
    offset_ = 0;
    need_ = 0;
    prepared_.notify_all();  // waiters for room in an older segment need not wait
  }
  if (segment->number() == segment_->number()) {
    // An appender that uses up room quickly asks often: run further ahead of it.
    if (offset > offset_ && offset - offset_ >= lookahead_ / 4) lookahead_ = std::min(lookahead_ * 2, kMaxLookahead);
    offset_ = std::max(offset_, offset);
    need_ = std::max(need_, need);
  }
  wanted_at_ = {segment->number(), offset, sequence};
  wanted_slot_ = slot;
  error_ = Status::success();
  pending_ = true;
  alone_ = !job_.submit().ok();
}

/// Waits for what `done` tells, and does a piece of the work itself when no thread comes to.
template <typename Done>
Status Preparer::wait(std::unique_lock<std::mutex>& lock, Done done) {
  uint64_t progress = progress_;
  uint64_t since = monotonic_ns();
  bool waited = false;
  while (!done()) {
    if (!error_.ok()) return error_;
    if (!working_ && (alone_ || waited) && step(lock)) continue;
    if (done() || !error_.ok()) continue;
    waited = prepared_.wait_for(lock, kPreparedTimeout) == std::cv_status::timeout || waited;
    const uint64_t now = monotonic_ns();
    if (progress != progress_) {
      progress = progress_;
      since = now;
    } else if (now - since > kStuckNs) {
      return Status::error(Code::kTimedOut, "no room for messages got prepared in " + log_.folder() +
                                                " for 10 s: its disk does not answer. Nothing was published");
    }
  }
  // What this appender has not done itself is still to be done ahead of the next messages.
  if (waited && pending_) alone_ = !job_.submit().ok();
  return Status::success();
}

Status Preparer::wait_ready(const Segment& segment, uint64_t limit) {
  std::unique_lock<std::mutex> lock(mutex_);
  return wait(lock, [&] { return segment.ready() >= limit || segment_->number() > segment.number(); });
}

Status Preparer::wait_next(const Segment& segment, std::shared_ptr<Segment>* next) {
  const uint64_t number = segment.number() + 1;
  std::unique_lock<std::mutex> lock(mutex_);
  const auto found = [&]() -> std::shared_ptr<Segment> {
    if (next_ != nullptr && next_->number() == number) return next_;
    // Another appender of this Log has moved on already.
    if (segment_->number() == number) return segment_;
    return nullptr;
  };
  Status status = wait(lock, [&] { return found() != nullptr || segment_->number() > number; });
  *next = found();
  return status;
}

bool Preparer::is_behind(const Segment& segment, uint64_t offset) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (segment_ == nullptr || segment.number() != segment_->number()) return false;
  // There won't be more room for now. Who waits for it learns why when he publishes; or makes it himself.
  if (!error_.ok() || alone_) return false;
  const uint64_t ahead = segment.ready() - std::min(offset, segment.ready());
  if (segment.ready() < segment.bytes()) return ahead < (uint64_t{256} << 10);
  return ahead < (uint64_t{256} << 10) && next_ == nullptr;
}

void Preparer::retire(std::shared_ptr<Segment> segment) {
  const std::lock_guard<std::mutex> guard(mutex_);
  retired_.push_back(std::move(segment));
  // Without a thread it goes with the next piece that an appender does.
  (void)job_.submit();
}

/// One turn on a thread of the pool: a piece of work, then other topics come first.
void Preparer::turn() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (working_) return;  // an appender does it
  if (pending_ && step(lock)) {
    (void)job_.submit();
    return;
  }
  pending_ = false;
  tidy(lock);
  if (load_retention(log_.control()).age_ns == 0) return;
  const uint64_t now = monotonic_ns();
  if (tidied_ns_ == 0) tidied_ns_ = now;
  if (now - tidied_ns_ >= kHousekeepingNs) {
    tidied_ns_ = now;
    lock.unlock();
    (void)apply_retention(log_);  // tried again in a second
  }
  (void)job_.submit_at(tidied_ns_ + kHousekeepingNs);
}

/// Unmaps what was left behind.
void Preparer::tidy(std::unique_lock<std::mutex>& lock) {
  if (retired_.empty()) return;
  std::vector<std::shared_ptr<Segment>> old;
  old.swap(retired_);
  lock.unlock();
  old.clear();
  lock.lock();
}

/// Does one piece of work; false if everything wanted is prepared, or the error says why not. REQUIRES: no other thread does one.
bool Preparer::step(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<Segment> segment = segment_;
  const uint64_t target = std::max(offset_ + lookahead_, need_);
  if (alone_) tidy(lock);
  if (working_) return true;
  if (segment->ready() < std::min(target, segment->bytes())) {
    return prepare_to(lock, segment, std::min(target, segment->bytes()));
  }
  if (target <= segment->bytes()) return false;
  if (next_ == nullptr || next_->number() <= segment->number()) {
    std::shared_ptr<Segment> next;
    working_ = true;
    lock.unlock();
    Status status = make_next(segment->number() + 1, &next);
    if (status.ok())
      (void)apply_retention(log_);  // a failure here must not stop publishing; it's tried at the next segment
    lock.lock();
    working_ = false;
    ++progress_;
    prepared_.notify_all();
    if (segment_ != segment) return true;  // the appenders are further on, and want something else by now
    error_ = std::move(status);
    if (error_.ok()) next_ = std::move(next);
    return error_.ok();
  }
  const uint64_t into_next = std::min(kSegmentHeaderBytes + (target - segment->bytes()), next_->bytes());
  if (next_->ready() >= into_next) return false;
  return prepare_to(lock, next_, into_next);
}

bool Preparer::prepare_to(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Segment>& segment, uint64_t limit) {
  const std::shared_ptr<Segment> keep = segment;
  const Position at = wanted_at_;
  const uint32_t slot = wanted_slot_;
  const bool large_pages = is_for_large_pages();
  working_ = true;
  lock.unlock();
  Status status = prepare_chunk(*keep, limit, large_pages);
  if (since_checkpoint_ >= kCheckpointEvery) {
    since_checkpoint_ = 0;
    if (!log_.note_checkpoint(slot, at)) log_.advance_checkpoint();
  }
  lock.lock();
  working_ = false;
  ++progress_;
  prepared_.notify_all();
  // If a segment is not needed any more, it does not matter why it could not be prepared.
  if (keep->number() < segment_->number()) return true;
  error_ = std::move(status);
  return error_.ok();
}

/// Whether the appenders use up much, without syncs: a sync of one message in a large page writes all of that page, which
/// takes five times as long.
bool Preparer::is_for_large_pages() {
  const uint32_t generation = log_.control().sync_generation.load(std::memory_order_relaxed);
  const uint64_t now = monotonic_ns();
  if (generation != sync_generation_) {
    sync_generation_ = generation;
    synced_ns_ = now;
  }
  return lookahead_ >= kLargePagesFrom && (synced_ns_ == 0 || now - synced_ns_ > kSyncedRecentlyNs);
}

Status Preparer::prepare_chunk(Segment& segment, uint64_t limit, bool large_pages) {
  const uint64_t before = segment.ready();
  uint64_t upto = std::min(limit, before + kChunk);
  if (large_pages) upto = std::min((upto + kLargePage - 1) / kLargePage * kLargePage, segment.bytes());
  Status status = check_room(upto - before);
  if (!status.ok()) return status;
  status = segment.prepare(upto, large_pages);
  since_checkpoint_ += upto - before;
  return status;
}

Status Preparer::make_next(uint64_t number, std::shared_ptr<Segment>* out) {
  LockFile locks;
  Status status = log_.open_lock(&locks);
  if (!status.ok()) return status;
  // Only spares work: two makers would both be right, as the file gets its name by link(2).
  ScopedLock lock(&locks, kPrepareByte);
  status = lock.acquire(kMakerTimeoutMs);
  if (!status.ok() && status.code != Code::kTimedOut) return status;
  // The name of the folder may be a later topic's by now: also without the lock, of which a process that was stopped while it deleted the topic
  // may be the holder.
  if (log_.is_gone()) return Log::deleted();
  if (number > log_.active()) {
    status = check_room(std::min(kChunk, log_.control().segment_bytes));
    if (!status.ok()) return status;
    status = Segment::create(log_.folder(), number, log_.control(), log_.file_mode());
    if (!status.ok()) return status;
  }
  status = log_.segment(number, out);
  const uint64_t first = log_.first();
  // (A flipped bit in `first` may lead it anywhere, but not behind the newest segment without being found out.)
  if (status.ok() && number < first && first <= log_.active() &&
      (*out)->header().base_sequence.load(std::memory_order_acquire) == 0) {
    // Others used it up and retention removed it while we slept: what we have may be a new file of an old name.
    std::remove(Segment::path(log_.folder(), number).c_str());
    out->reset();
    return Status::error(Code::kBehindRetention, "retention has removed segment " + std::to_string(number));
  }
  return status;
}

Status Preparer::check_room(uint64_t bytes) {
  uint64_t free = 0;
  uint64_t total = 0;
  Status status = disk_room(log_.folder(), &free, &total);
  if (!status.ok()) return status;
  uint64_t low = log_.options().low_water_bytes;
  if (low == ~uint64_t{0}) low = std::min(kMaxDefaultLowWater, total / 20);
  // Hysteresis: once the alarm is on, room for as much again must be back, or publishing would stutter at the edge.
  std::atomic<uint32_t>& alarm = log_.control().disk_alarm;
  const bool alarmed = alarm.load(std::memory_order_relaxed) != 0;
  if (free >= bytes + (alarmed ? 2 * low : low)) {
    if (alarmed) alarm.store(0, std::memory_order_relaxed);
    return Status::success();
  }
  alarm.store(1, std::memory_order_relaxed);
  return Status::error(Code::kDiskFull, "the disk has " + std::to_string(free) + " bytes free of " +
                                            std::to_string(total) + ", and " + std::to_string(low) +
                                            " are to stay free (lowWaterBytes)");
}

}  // namespace hermes
