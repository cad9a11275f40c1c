#include "core/log/log.h"

#include <cerrno>
#include <cstring>

#include "core/log/preparer.h"
#include "core/log/syncer.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kLookAtControlNs = 100'000'000;

}  // namespace

Status Log::open(const std::string& folder, const TopicSettings* create, const LogOptions& options,
                 std::shared_ptr<Log>* out) {
  auto log = std::make_shared<Log>();
  log->folder_ = folder;
  log->options_ = options;
  const bool make = create != nullptr;
  Status status = Control::open(folder, make, options.timeout_ms, &log->control_);
  if (status.code == Code::kNotFound && make) {
    status = Control::create(folder, *create, options.timeout_ms);
    if (status.ok()) status = Control::open(folder, make, options.timeout_ms, &log->control_);
  }
  if (status.ok()) {
    status = LockFile::open(folder + "/locks", &log->locks_);
    if (status.code == Code::kNotFound && !make) status = Status::success();
  }
  if (status.ok()) *out = std::move(log);
  return status;
}

Log::~Log() = default;

Status Log::sync_locks(LockFile** out) {
  *out = &locks_;
  return locks_.is_open() ? Status::success()
                          : Status::error(Code::kNotFound, folder_ + "/locks was lost before this topic was opened");
}

Status Log::segment(uint64_t number, std::shared_ptr<Segment>* out) {
  const std::lock_guard<std::mutex> guard(mutex_);
  std::weak_ptr<Segment>& known = segments_[number];
  *out = known.lock();
  if (*out != nullptr) return Status::success();
  Status status = Segment::open(folder_, number, control(), MappedFile::Access::kReadWrite, out);
  if (status.code == Code::kNotFound && number <= active()) status = Segment::missing(folder_, number);
  status = explained(std::move(status));
  if (status.ok()) known = *out;
  std::erase_if(segments_, [&](const auto& entry) { return entry.second.expired(); });
  return status;
}

void Log::forget(uint64_t number) {
  const std::lock_guard<std::mutex> guard(mutex_);
  segments_.erase(number);
}

Status Log::deleted() {
  return Status::error(
      Code::kTopicDeleted,
      "the topic was deleted while it was open here. Nothing more comes of it, and nothing can be published");
}

bool Log::is_gone() const noexcept {
  // Acquire: who deletes the topic stores this before it renames the folder. So who finds a file missing, or another one, finds the reason here.
  const uint32_t seen = control().deleted.load(std::memory_order_acquire);
  if (seen != kDeleting) return seen == kDeleted;
  // It is about to, has just done so, or was killed or stopped on the way.
  FileIdentity there;
  const Status status = FileIdentity::of(folder_ + "/control", &there);
  return status.code == Code::kNotFound || (status.ok() && !there.is_same_file(control_.identity()));
}

Status Log::check_control() {
  if (is_deleted()) return deleted();
  const uint64_t now = monotonic_ns();
  // Relaxed: two threads that look at once do no harm.
  if (!is_cut_off() && now - looked_ns_.load(std::memory_order_relaxed) >= kLookAtControlNs) {
    looked_ns_.store(now, std::memory_order_relaxed);
    FileIdentity there;
    // While the name is free, no new process has come; those that are there continue together.
    const Status status = FileIdentity::of(folder_ + "/control", &there);
    if (is_gone()) return deleted();
    if (status.ok() && !there.is_same_file(control_.identity())) cut_off_.store(true, std::memory_order_relaxed);
  }
  if (!is_cut_off()) return Status::success();
  return Status::error(
      Code::kCorrupt, "the control file of " + folder_ +
                          " was lost and made again while the topic is open here, so nothing "
                          "more is seen through the old one. Close this subscriber and make a new one at its position");
}

bool Log::is_plausible(const Position& at) const noexcept {
  return at.segment >= first() && at.segment <= active() && at.offset >= kSegmentHeaderBytes &&
         at.offset <= control().segment_bytes && at.offset % kFrameAlign == 0 && at.sequence != 0;
}

Position Log::known() const noexcept {
  Position furthest = {first(), kSegmentHeaderBytes, 0};
  for (const PositionRecord* record : {&control().checkpoint, &control().synced}) {
    Position at;
    // At the same place, too: one that is noted has its sequence.
    if (load_position(*record, &at) && is_plausible(at) && !(at < furthest)) furthest = at;
  }
  return furthest;
}

bool Log::is_hole(const Segment& segment, uint64_t offset) const noexcept {
  // Acquire, in both: what they vouch for was committed before, and all of a segment is claimed before the next one is put in use. So the word
  // is looked at after them.
  const bool left = segment.number() < active();
  const Position upto = left ? Position{} : known();
  const bool lost =
      left || upto.segment > segment.number() || (upto.segment == segment.number() && upto.offset > offset);
  return lost && segment.step(offset).kind == Step::Kind::kEmpty && (left || is_as_left());
}

bool Log::is_as_left() const noexcept {
  uint64_t boot_id[2];
  read_boot_id(boot_id);
  FileIdentity then;
  return control().boot_id[0].load(std::memory_order_relaxed) == boot_id[0] &&
         control().boot_id[1].load(std::memory_order_relaxed) == boot_id[1] && load_identity(control(), &then) &&
         then == identity();
}

Status Log::check_sync() const {
  if (is_deleted()) return deleted();
  const int err = load_sync_failure(control());
  if (err == 0) return Status::success();
  const Code code = err == ENOSPC || err == EDQUOT ? Code::kDiskFull : Code::kIoFailed;
  return {code, err,
          "a sync of " + folder_ + " to disk failed: " + std::strerror(err) +
              ". What was written since the last sync that succeeded may be lost if the power fails, and no more can "
              "be synced. Close all "
              "publishers of the topic, in every process, and open it again: the first one then checks the topic and "
              "writes it to disk anew"};
}

Status Log::fail_sync(const Status& cause) {
  store_sync_failure(control(), cause.sys_errno);
  control_.write_through();
  return check_sync();
}

bool Log::ends_cleanly() {
  Position end;
  std::shared_ptr<Segment> segment;
  if (!committed(&end).ok() || !this->segment(end.segment, &segment).ok()) return false;
  const Step::Kind kind = segment->step(end.offset).kind;
  return kind == Step::Kind::kEmpty || kind == Step::Kind::kPadding || kind == Step::Kind::kSegmentEnd;
}

Status Log::committed(Position* out) { return committed_from({}, out); }

Status Log::committed_from(const Position& known, Position* out) { return walk(furthest(known), {}, out); }

Status Log::end_from(const Position& known, Position* out) { return walk(furthest(known), {.damage = true}, out); }

Position Log::furthest(const Position& known) const noexcept {
  Position at;
  if (!load_position(control().checkpoint, &at) || !is_plausible(at)) at = {first(), kSegmentHeaderBytes, 0};
  return at < known && is_plausible(known) ? known : at;
}

bool Log::pass_damage(const Segment& segment, const Step& step, Position* at) const noexcept {
  if (step.kind != Step::Kind::kDamage && !is_hole(segment, at->offset)) return false;
  if (segment.number() < active()) {
    // The next one has its own base sequence, which says how many were lost.
    *at = {segment.number() + 1, kSegmentHeaderBytes, at->sequence};
    return true;
  }
  // A note is believed only if the frame that it speaks of stands there, whole.
  return segment.find_noted_tail(at->offset, &at->offset, &at->sequence);
}

Status Log::walk(Position at, WalkOver over, Position* out) {
  if (active() == 0) return Status::error(Code::kNotFound, "the topic is empty");
  for (;;) {
    std::shared_ptr<Segment> segment;
    Status status = writable() ? this->segment(at.segment, &segment)
                               : Segment::open(folder_, at.segment, control(), MappedFile::Access::kRead, &segment);
    if (status.code == Code::kNotFound) status = Segment::missing(folder_, at.segment);
    bool removed = status.code == Code::kBehindRetention;
    if (!status.ok() && !removed) return explained(std::move(status));
    if (!removed && at.offset == kSegmentHeaderBytes) {
      // Acquire: pairs with the release of the one that put the segment in use.
      at.sequence = segment->header().base_sequence.load(std::memory_order_acquire);
      // A file of an old name, just made by a preparer that was behind: retention had removed the one before.
      removed = at.sequence == 0 && at.segment < first();
      if (at.sequence == 0 && !removed)
        return Status::error(Code::kCorrupt, Segment::path(folder_, at.segment) + " has no base sequence");
    }
    if (removed) {
      // Retention overtook the walk: all there was before `first` is committed.
      at = {first(), kSegmentHeaderBytes, 0};
      continue;
    }
    for (;;) {
      const Step step = segment->step(at.offset);
      if (step.kind == Step::Kind::kSegmentEnd || step.kind == Step::Kind::kPadding) {
        if (at.segment >= active()) {
          // The end of the segment, and no next one in use yet.
          *out = at;
          return Status::success();
        }
        at = {at.segment + 1, kSegmentHeaderBytes, at.sequence};
        break;
      }
      const bool goes_on = step.kind == Step::Kind::kData || step.kind == Step::Kind::kVoid ||
                           (over.claims && step.kind == Step::Kind::kClaim);
      if (!goes_on) {
        if (over.damage && pass_damage(*segment, step, &at)) {
          if (at.segment == segment->number()) continue;
          break;
        }
        *out = at;
        return Status::success();
      }
      at.offset += step.span;
      at.sequence += step.count;
    }
  }
}

void Log::advance_checkpoint() {
  Position now;
  Position known;
  if (!committed(&now).ok()) return;
  if (!load_position(control().checkpoint, &known) || known < now) {
    store_position(control().checkpoint, now);
  }
}

bool Log::note_checkpoint(uint32_t slot, const Position& committed) {
  for (uint32_t other = 0; other < kSlots; ++other) {
    // Acquire: one that gave its slot back has committed everything. One that takes a slot from now on claims behind `committed`;
    // one that died keeps its slot marked until its claims are dealt with.
    if (other != slot && control().slots[other].state.load(std::memory_order_acquire) != 0) return false;
  }
  Position known;
  if (!load_position(control().checkpoint, &known) || known < committed)
    store_position(control().checkpoint, committed);
  return true;
}

Preparer& Log::preparer() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (preparer_ == nullptr) preparer_ = std::make_unique<Preparer>(*this);
  return *preparer_;
}

Syncer& Log::syncer() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (syncer_ == nullptr) syncer_ = std::make_unique<Syncer>(*this);
  return *syncer_;
}

}  // namespace hermes
