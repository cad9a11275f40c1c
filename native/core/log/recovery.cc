#include "core/log/recovery.h"

#include <algorithm>
#include <cstring>

#include "core/log/base_sequence.h"
#include "core/log/claim_check.h"
#include "core/log/crash_point.h"
#include "core/log/cuts.h"
#include "core/log/quarantine.h"
#include "core/log/repair.h"
#include "core/log/resync.h"
#include "core/log/rewrite.h"
#include "core/log/segment_bounds.h"

namespace hermes {
namespace {

/// Neither empty, nor a claim, nor committed.
constexpr uint64_t kDamageMark = 0xDDDDDDDDDDDDDDDD;

class Recovery {
 public:
  Recovery(Log& log, bool everything, RecoveryReport* report)
      : log_(log), control_(log.control()), report_(*report), everything_(everything) {}

  Status run(uint32_t timeout_ms) {
    uint64_t boot_id[2];
    read_boot_id(boot_id);
    report_.rebooted = control_.boot_id[0].load(std::memory_order_relaxed) != boot_id[0] ||
                       control_.boot_id[1].load(std::memory_order_relaxed) != boot_id[1];
    find_out_where();
    // A syncer raises the mark that is lowered here: one that closed meanwhile may have left a sync under way.
    LockFile locks;
    Status status = log_.open_lock(&locks);
    if (!status.ok()) return status;
    ScopedLock syncing(&locks, kSyncByte);
    status = syncing.acquire(timeout_ms);
    if (!status.ok()) return status;
    sync_failed_ = load_sync_failure(control_) != 0;
    SegmentBounds bounds;
    status = find_bounds(log_, origin_, &report_.damage, &bounds);
    if (!status.ok()) return status;
    if (bounds.doubtful) everything_ = true;
    if (bounds.fresh)
      report_.rebooted = false;  // its control file names no boot yet, and there is nothing that one could have lost
    const bool in_order = control_.closed_in_order.load(std::memory_order_acquire) != 0;
    if (sync_failed_ || (!bounds.fresh && (origin_.after_cut || everything_ || !in_order))) {
      report_.ran = true;
      count_recovery(control_);
      // A process killed from here on has not left the topic in order.
      control_.closed_in_order.store(0, std::memory_order_release);
      status = check_everything();
      if (status.ok()) status = make_durable();
      if (!status.ok()) return status;
      // What did not reach the disk may have been read and noted, and its sequences are given out again.
      if (origin_.after_cut || sync_failed_) note_end(end_.sequence);
    }
    // No publisher is at work: the owner of a marked slot has died, and has left nothing any more.
    for (ParticipantSlot& slot : control_.slots) slot.state.store(0, std::memory_order_relaxed);
    store_identity(control_, log_.identity());
    for (int i = 0; i < 2; ++i) control_.boot_id[i].store(boot_id[i], std::memory_order_relaxed);
    control_.closed_in_order.store(0, std::memory_order_release);
    return status;
  }

 private:
  /// Memory is as the publishers left it only in the same boot, and only in the very files that they had open, on the same mounting of the
  /// same disk: what these files held at any other time is on any other one.
  void find_out_where() {
    const FileIdentity& now = log_.identity();
    FileIdentity then;
    // Copied file by file, and so each at another time: even what was synced long ago may be missing in what was copied before it was written.
    origin_.copied = !load_identity(control_, &then) || then.inode != now.inode || then.born_ns != now.born_ns;
    origin_.moved = origin_.copied || !(then == now);
    origin_.after_cut = report_.rebooted || origin_.moved;
    if (origin_.copied) everything_ = true;
  }

  /// What is known to be whole. After a power cut only what was synced is: memory that looked committed may not have reached the disk. After a
  /// failed sync, too: what was not written may be gone from memory any moment.
  Position trusted() {
    Position at;
    const PositionRecord& record = origin_.after_cut || sync_failed_ ? control_.synced : control_.checkpoint;
    if (everything_ || !load_position(record, &at) || !log_.is_plausible(at))
      return {log_.first(), kSegmentHeaderBytes, 0};
    // The way there, without a look at the contents: a page of zeros in it would count as the log's end for every later walk.
    std::shared_ptr<Segment> segment;
    if (log_.segment(at.segment, &segment).ok() && leads_to(*segment, at)) return at;
    // Its beginning may be damaged, too: where the segment before ends says how it begins.
    const bool has_one_before = at.segment > log_.first() && log_.segment(at.segment - 1, &segment).ok();
    return {has_one_before ? at.segment - 1 : at.segment, kSegmentHeaderBytes, 0};
  }

  static bool leads_to(const Segment& segment, const Position& to) {
    uint64_t offset = kSegmentHeaderBytes;
    uint64_t sequence = segment.header().base_sequence.load(std::memory_order_acquire);
    while (offset < to.offset) {
      const Step step = segment.step(offset);
      if (step.kind == Step::Kind::kPadding || step.kind == Step::Kind::kSegmentEnd)
        return to.offset == segment.bytes() && sequence == to.sequence;
      if (step.kind != Step::Kind::kData && step.kind != Step::Kind::kVoid) return false;
      offset += step.span;
      sequence += step.count;
    }
    return offset == to.offset && sequence == to.sequence;
  }

  Status check_everything() {
    Position at = trusted();
    // The end can't lie before this. (In a copy it can: the control file may have been copied last.)
    if (!origin_.copied && !origin_.after_cut && !sync_failed_) known_end_ = log_.known();
    Position synced;
    if (!origin_.copied && load_position(control_.synced, &synced) && log_.is_plausible(synced) && known_end_ < synced)
      known_end_ = synced;
    for (;;) {
      std::shared_ptr<Segment> segment;
      Status status = log_.segment(at.segment, &segment);
      if (status.code == Code::kNotFound) return missing_segment(log_, at.segment);
      if (status.ok() && at.offset == kSegmentHeaderBytes) status = mend_base(log_, *segment, at.sequence, known_end_);
      if (!status.ok()) return status;
      if (at.sequence == 0) at.sequence = segment->header().base_sequence.load(std::memory_order_acquire);
      const Position begin = {at.segment, kSegmentHeaderBytes,
                              segment->header().base_sequence.load(std::memory_order_acquire)};
      const size_t damages = report_.damage.size();
      status = check_segment(*segment, &at);
      // What was mended must not come back broken in a part that is not checked any more.
      if (status.ok() && report_.damage.size() != damages) {
        status = segment->file().sync_data();
        if (!status.ok()) {
          lower_synced(begin);
          status = log_.fail_sync(status);
        }
      }
      if (!status.ok()) return status;
      // What was cut off is not there any more, and its sequences are given out again. The mark goes first: it vouches for them.
      if (at.segment == log_.active()) lower_synced(at);
      // Everything up to here is whole; a crash from now on need not look at it again.
      store_position(control_.checkpoint, at);
      crash_point("recover:checkpoint");
      if (at.segment == log_.active()) {
        end_ = at;
        return status;
      }
      at = {at.segment + 1, kSegmentHeaderBytes, at.sequence};
    }
  }

  void lower_synced(const Position& to) {
    Position synced;
    if (!load_position(control_.synced, &synced) || !(to < synced)) return;
    store_position(control_.synced, to);
    crash_point("recover:lowered");
  }

  /// Tells groups, and others that keep positions, that the log ends at `sequence` now: on the disk before that is given out again.
  void note_end(uint64_t sequence) {
    note_cut(control_, sequence);
    log_.write_control_through();
    crash_point("recover:noted");
  }

  /// Makes good a sync that failed: only what is written anew from here on is known to be on the disk, and until then nothing counts as synced. A
  /// place that was brought here from elsewhere is synced, too, so that it need not be checked as a whole each time that it goes to and fro.
  Status make_durable() {
    if (!sync_failed_ && (!origin_.moved || report_.rebooted)) return Status::success();
    Position from;
    if (!load_position(control_.synced, &from) || !log_.is_plausible(from))
      from = {log_.first(), kSegmentHeaderBytes, 0};
    Status status = sync_failed_ ? write_anew(log_, from, &end_) : write_out(log_, from, end_);
    if (!status.ok()) return status;
    store_position(control_.checkpoint, end_);
    store_position(control_.synced, end_);
    crash_point("recover:written-anew");
    if (sync_failed_) clear_sync_failure(control_);
    return status;
  }

  /// Checks one segment from `at` on; leaves `at` at the end of its chain.
  Status check_segment(Segment& segment, Position* at) {
    const bool newest = segment.number() == log_.active();
    for (;;) {
      const Step step = segment.step(at->offset);
      switch (step.kind) {
        case Step::Kind::kSegmentEnd:
          return Status::success();
        case Step::Kind::kPadding:
          if (!is_whole(segment, *at, step)) break;
          at->offset = segment.bytes();
          return Status::success();
        case Step::Kind::kData:
        case Step::Kind::kVoid:
          if (!is_whole(segment, *at, step)) break;
          ++report_.frames;
          report_.bytes += step.span;
          at->offset += step.span;
          at->sequence += step.count;
          continue;
        case Step::Kind::kClaim: {
          // No publisher is at work now, so its owner is dead, if it ever had one.
          const ClaimVerdict verdict = judge_claim(segment, *at, step, control_, !origin_.after_cut && !sync_failed_);
          if (verdict == ClaimVerdict::kDamage) break;
          Status status;
          if (verdict == ClaimVerdict::kUncertain) status = copy_uncertain_claim(log_, segment, *at, step, &report_);
          if (status.ok()) status = commit_as_void(segment, at->offset, step, at->sequence, VoidReason::kDeadPublisher);
          if (!status.ok()) return status;
          ++report_.dead_claims;
          crash_point("recover:void");
          continue;
        }
        case Step::Kind::kEmpty:
          // After a mere crash of processes memory is as they left it, and the chain ends at the first empty word, unless that lies before
          // what is known (then a page was lost) or something follows (Appender::find_end looks, and has everything checked).
          if (newest && !origin_.after_cut && !sync_failed_ && !everything_ && !(*at < known_end_))
            return Status::success();
          break;
        case Step::Kind::kDamage:
          break;
      }
      bool ended = false;
      Status status = mend(segment, at, newest, &ended);
      if (!status.ok() || ended) return status;
    }
  }

  bool is_whole(const Segment& segment, const Position& at, const Step& step) const {
    return hermes::is_whole(segment, at, step.span, control_.max_payload);
  }

  /// The sequence with which a segment begins; all ones if neither its base sequence nor its first frame reached the disk.
  Status begin_of(uint64_t number, uint64_t* sequence) {
    std::shared_ptr<Segment> segment;
    Status status = log_.segment(number, &segment);
    if (!status.ok()) return status;
    *sequence = judge_base(log_, *segment, known_end_);
    if (*sequence == 0) *sequence = ~uint64_t{0};
    return status;
  }

  /// Sets the damage at `at` aside. Either a void frame replaces it and `at` stays for it to be walked over, or the log ends here.
  Status mend(Segment& segment, Position* at, bool newest, bool* ended) {
    uint64_t last = ~uint64_t{0};
    if (!newest) {
      Status status = begin_of(segment.number() + 1, &last);
      if (!status.ok()) return status;
      if (last < at->sequence) {
        return Status::error(Code::kCorrupt, Segment::path(log_.folder(), segment.number() + 1) +
                                                 " begins with sequence " + std::to_string(last) + ", but " +
                                                 std::to_string(at->sequence) + " is the next one");
      }
    }
    Position next;
    bool found = find_next_frame(segment, *at, last, control_.max_payload, &next);
    if (!found && newest && is_lost_before_known_end(*at)) {
      // Nothing is left of what was there, but it was, and its sequences are not given out again.
      next = known_end_;
      found = true;
    }
    if (!found && newest) {
      *ended = true;
      return cut_tail(segment, *at);
    }
    // Where the next segment can't tell how it begins, what is missing is counted there, at its first whole frame.
    if (!found) next = {segment.number(), segment.bytes(), last == ~uint64_t{0} ? at->sequence : last};
    return replace(segment, *at, next);
  }

  /// Whether the damage at `at` reaches up to the end that is known.
  bool is_lost_before_known_end(const Position& at) const {
    return known_end_.segment == at.segment && known_end_.offset >= at.offset + kFrameHeaderBytes &&
           known_end_.sequence > at.sequence &&
           known_end_.sequence - at.sequence <= (known_end_.offset - at.offset) / kFrameHeaderBytes;
  }

  Status replace(Segment& segment, const Position& at, const Position& next) {
    const uint64_t span = next.offset - at.offset;
    const uint64_t count = next.sequence - at.sequence;
    const bool blank = span <= kFrameHeaderBytes || segment.is_zero(at.offset, next.offset);
    Damage damage = {segment.number(),
                     at.offset,
                     span,
                     at.sequence,
                     count,
                     blank ? "the bytes never reached the disk" : "the bytes are not a valid frame",
                     ""};
    Status status = quarantine(log_, segment, &damage);
    if (!status.ok()) return status;
    crash_point("recover:quarantined");
    status = segment.file().allocate(at.offset, span);
    if (!status.ok()) return status;
    // The first word goes first: a crash between here and the commit leaves damage again, never a half-believed frame, and
    // never a zero, which would end the log here.
    segment.word(at.offset).store(kDamageMark, std::memory_order_relaxed);
    crash_point("recover:marked");
    const Step step = {Step::Kind::kDamage, span, count, 0};
    status = commit_as_void(segment, at.offset, step, at.sequence, VoidReason::kDamaged);
    if (status.ok()) report_.damage.push_back(std::move(damage));
    crash_point("recover:replaced");
    return status;
  }

  /// Ends the log at `at`: everything behind becomes zero again, as publishers rely on.
  Status cut_tail(Segment& segment, const Position& at) {
    uint64_t end = segment.bytes();
    while (end > at.offset && segment.is_zero(end - 4096, end)) end -= 4096;
    end = std::max(end, at.offset);
    if (end == at.offset || segment.is_zero(at.offset, end)) return Status::success();
    Damage damage = {segment.number(), at.offset, end - at.offset, at.sequence, 0, "a torn tail", ""};
    Status status = quarantine(log_, segment, &damage);
    if (!status.ok()) return status;
    crash_point("recover:tail-quarantined");
    // Before the first byte goes: the mark must not vouch for what is cut off.
    lower_synced(at);
    note_end(at.sequence);
    // From the back, so that the first word, which tells the next recovery of the rest, goes last. Where that is empty, too, it's made to tell.
    if (segment.word(at.offset).load(std::memory_order_relaxed) == 0)
      segment.word(at.offset).store(kDamageMark, std::memory_order_release);
    const uint64_t behind_first = at.offset + sizeof(uint64_t);
    for (uint64_t offset = end; offset > behind_first;) {
      const uint64_t from = std::max(behind_first, (offset - 1) / 4096 * 4096);
      if (!segment.is_zero(from, offset)) std::memset(segment.data() + from, 0, offset - from);
      offset = from;
      crash_point("recover:cutting");
    }
    crash_point("recover:cut");
    // Release: who sees it gone sees all the rest gone.
    segment.word(at.offset).store(0, std::memory_order_release);
    report_.damage.push_back(std::move(damage));
    return status;
  }

  Log& log_;
  ControlBlock& control_;
  RecoveryReport& report_;
  bool everything_;
  LogOrigin origin_;
  bool sync_failed_ = false;
  Position known_end_;  // the log was so long at least
  Position end_;
};

}  // namespace

Status recover(Log& log, bool everything, RecoveryReport* report, uint32_t timeout_ms) {
  return Recovery(log, everything, report).run(timeout_ms);
}

}  // namespace hermes
