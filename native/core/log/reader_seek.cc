// Where a reader goes: the place of a sequence, or of a time.

#include <algorithm>

#include "core/log/reader.h"
#include "core/log/resync.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kNever = ~uint64_t{0};

}  // namespace

/// The last segment in use that begins at or before `sequence`; the first one if none does.
Status Reader::find_segment(uint64_t sequence, uint64_t* number) {
  uint64_t low = std::max<uint64_t>(log_->first(), 1);
  uint64_t high = log_->active();
  if (high == 0) return Status::error(Code::kNotFound, "the topic is empty");
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2;
    uint64_t base = 0;
    uint64_t first_ns = 0;
    Status status = Segment::peek(log_->folder(), middle, &base, &first_ns);
    if ((status.code == Code::kNotFound || base == 0) && middle < log_->first()) {
      low = log_->first();  // retention went on meanwhile
      high = std::max(low, high);
      continue;
    }
    if (status.code == Code::kNotFound) status = Segment::missing(log_->folder(), middle);
    if (!status.ok()) return log_->explained(std::move(status));
    if (base != 0 && base <= sequence) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  *number = low;
  return Status::success();
}

/// The first segment that may hold a message stamped `timestamp_ns` or later; the active one if no sealed one does. Not by bisecting:
/// publishers have clocks of their own, so times are in no order. kTimedOut if there are more to look at when the monotonic clock says `until_ns`.
Status Reader::find_segment_of_time(uint64_t timestamp_ns, uint64_t until_ns, uint64_t* number) {
  uint64_t at = std::max<uint64_t>(log_->first(), 1);
  if (log_->active() == 0) return Status::error(Code::kNotFound, "the topic is empty");
  for (bool first = true; at < log_->active(); first = false) {
    if (!first && until_ns != kNever && monotonic_ns() >= until_ns)
      return Status::error(Code::kTimedOut, "more segments are to be looked at");
    uint64_t latest_ns = 0;
    Status status = log_->indexes().latest_of(at, &latest_ns);
    if (status.code == Code::kBehindRetention) {
      at = std::max(at, log_->first());
      continue;
    }
    if (!status.ok()) return status;
    if (latest_ns >= timestamp_ns) break;
    ++at;
  }
  *number = at;
  return Status::success();
}

/// Steps over frames until `arrived` says that the one at the position is it; `at_end` decides if the log ends before that.
template <typename Arrived, typename AtEnd>
Status Reader::walk(Arrived arrived, AtEnd at_end) {
  for (;;) {
    Status status = read_ahead(position_.offset);
    if (!status.ok()) return status;
    const Step step = segment_->step(position_.offset);
    switch (step.kind) {
      case Step::Kind::kData:
      case Step::Kind::kVoid:
        if (arrived(step)) return Status::success();
        set_position(position_.offset + step.span, position_.sequence + step.count);
        break;
      case Step::Kind::kEmpty:
      case Step::Kind::kClaim:
        return at_end();
      case Step::Kind::kPadding:
      case Step::Kind::kSegmentEnd:
        status = next_segment();
        if (status.code == Code::kNotFound) return at_end();
        if (!status.ok()) return status;
        break;
      case Step::Kind::kDamage:
        return Status::error(Code::kCorrupt, "damage at offset " + std::to_string(position_.offset) + " of " +
                                                 Segment::path(log_->folder(), position_.segment));
    }
  }
}

Status Reader::seek_sequence(uint64_t sequence) {
  awaited_ns_ = 0;
  uint64_t number = 0;
  Status status = find_segment(sequence, &number);
  if (status.ok()) status = enter_first(number);
  if (!status.ok()) return status;
  if (sequence < position_.sequence) {
    return Status::error(Code::kBehindRetention, "sequence " + std::to_string(sequence) +
                                                     " was removed by retention; the first one left is " +
                                                     std::to_string(position_.sequence));
  }
  status = log_->indexes().place_before(*segment_, sequence, &position_);
  if (!status.ok()) return status;
  const auto arrived = [&](const Step& step) {
    return position_.sequence + std::max<uint64_t>(step.count, 1) > sequence;
  };
  const auto at_end = [&] {
    if (position_.sequence == sequence) return Status::success();
    return Status::error(Code::kOutOfRange, "sequence " + std::to_string(sequence) +
                                                " does not exist yet; the next one will be " +
                                                std::to_string(position_.sequence));
  };
  do {
    status = walk(arrived, at_end);
  } while (is_damaged(status) && position_.sequence <= sequence && pass_damage_before(sequence, &status));
  return status;
}

/// Whether a walk has ended at damage of the segment.
bool Reader::is_damaged(const Status& status) const noexcept {
  return status.code == Code::kCorrupt && segment_->step(position_.offset).kind == Step::Kind::kDamage;
}

/// The position is at damage, and the sequence is looked for behind it. Goes to the next frame that is whole, or to the
/// noted tail. If the message itself is in the damage, stays there: the reader is told, or passes it. False: the search
/// has ended, as the status says.
bool Reader::pass_damage_before(uint64_t sequence, Status* status) {
  Position next = position_;
  const bool found = find_next_frame(*segment_, position_, ~uint64_t{0}, log_->control().max_payload, &next);
  const bool sealed = position_.segment < log_->active();
  // (Of a sealed segment that has no more, all the rest is in the damage: the sequence is before the next one begins.)
  if (!found && !sealed && !segment_->find_noted_tail(position_.offset, &next.offset, &next.sequence)) return false;
  if (next.sequence <= sequence && (found || !sealed)) {
    position_ = next;
    return true;
  }
  set_position(position_.offset, sequence);
  *status = Status::success();
  return false;
}

Status Reader::seek_place(const Position& at) {
  const Status elsewhere = Status::error(Code::kNotFound, "the frame is elsewhere");
  if (!log_->is_plausible(at)) return elsewhere;
  const Reader before = *this;
  Status status = enter(at.segment);
  if (status.ok()) status = read_ahead(at.offset);
  if (status.ok()) {
    const Step step = segment_->step(at.offset);
    const bool frame = step.kind == Step::Kind::kData || step.kind == Step::Kind::kVoid;
    if (!frame || !segment_->is_whole(at.offset, step, at.sequence, log_->control().max_payload)) status = elsewhere;
  }
  if (!status.ok()) {
    *this = before;
    return elsewhere;
  }
  awaited_ns_ = 0;
  position_ = at;
  return status;
}

Status Reader::seek_time(uint64_t timestamp_ns) {
  for (;;) {
    awaited_ns_ = 0;
    uint64_t number = 0;
    Status status = find_segment_of_time(timestamp_ns, kNever, &number);
    // Before the topic's first segment there is nothing to go to, but its first messages may be earlier.
    if (status.code == Code::kNotFound) awaited_ns_ = timestamp_ns;
    if (status.ok()) status = enter_first(number);
    if (status.ok()) status = log_->indexes().place_before_time(*segment_, timestamp_ns, &position_);
    if (!status.ok()) return status;
    awaited_ns_ = timestamp_ns;
    if (timestamp_ns != 0) status = walk_to_awaited();
    if (status.code != Code::kBehindRetention)
      return status;  // else retention overtook us: what is left is looked through again
  }
}

/// Goes on to the message that is awaited, or to the end of what there is. Damage on the way is passed if the next whole message is stamped
/// earlier than what is awaited: then what was damaged is taken to be earlier, too. Else the message may be in the damage, and the position stays
/// there: the reader is told, or passes it.
Status Reader::walk_to_awaited() {
  std::shared_ptr<Segment> damaged;
  Position damage;
  const auto note_damage = [&] {
    if (damaged != nullptr) return;
    damaged = segment_;
    damage = position_;
  };
  bool found = false;
  const auto arrived = [&](const Step& step) {
    if (step.kind != Step::Kind::kData) return false;
    const bool late = is_late(step);
    // (checksums of what is earlier are looked at only behind damage)
    if (!late && damaged == nullptr) return false;
    if (!segment_->is_whole(position_.offset, step, position_.sequence, log_->control().max_payload)) {
      note_damage();
    } else if (late) {
      found = true;
    } else {
      damaged = nullptr;
    }
    return found;
  };
  Status status;
  for (;;) {
    status = walk(arrived, [] { return Status::success(); });
    if (!is_damaged(status)) break;
    note_damage();
    bool passed = false;
    status = pass_damage(&passed);
    if (!passed) break;
  }
  if (!status.ok()) return status;
  // What is awaited from the future can't be in what was damaged before.
  if (damaged != nullptr && (found || awaited_ns_ <= realtime_ns())) {
    segment_ = std::move(damaged);
    position_ = damage;
    next_read_ahead_ = 0;
    return status;
  }
  if (found) awaited_ns_ = 0;
  return status;
}

/// The position is at damage: goes to the next frame that is whole, or to the noted tail, or to the next segment, if there is one of these.
Status Reader::pass_damage(bool* passed) {
  *passed = true;
  Position next = position_;
  if (find_next_frame(*segment_, position_, ~uint64_t{0}, log_->control().max_payload, &next)) {
    position_ = next;
    return Status::success();
  }
  if (position_.segment < log_->active()) return enter(position_.segment + 1);
  *passed = segment_->find_noted_tail(position_.offset, &next.offset, &next.sequence);
  if (*passed) position_ = next;
  return Status::success();
}

Status Reader::prepare_sequence(uint64_t sequence) {
  uint64_t number = 0;
  Status status = find_segment(sequence, &number);
  if (status.ok()) status = enter_first(number);
  Position ignored;
  return status.ok() ? log_->indexes().place_before(*segment_, sequence, &ignored) : status;
}

Status Reader::prepare_time(uint64_t timestamp_ns, uint64_t budget_ns, bool* done) {
  uint64_t number = 0;
  Status status = find_segment_of_time(timestamp_ns, monotonic_ns() + budget_ns, &number);
  *done = status.code != Code::kTimedOut;
  if (!*done) return Status::success();
  if (status.ok()) status = enter_first(number);
  Position ignored;
  return status.ok() ? log_->indexes().place_before_time(*segment_, timestamp_ns, &ignored) : status;
}

/// Whether the frame at the position is stamped as what is awaited; it may not be whole.
bool Reader::is_late(const Step& step) const noexcept {
  return step.kind == Step::Kind::kData && segment_->frame(position_.offset)->timestamp_ns >= awaited_ns_;
}

Status Reader::pass_earlier(ScanStop* stop) {
  for (;;) {
    Status status = read_ahead(position_.offset);
    if (!status.ok()) return status;
    const Step step = segment_->step(position_.offset);
    switch (step.kind) {
      case Step::Kind::kEmpty:
        *stop = ScanStop::kEmpty;
        return status;
      case Step::Kind::kClaim:
        *stop = ScanStop::kClaim;
        return status;
      case Step::Kind::kPadding:
      case Step::Kind::kSegmentEnd:
        *stop = ScanStop::kSegmentEnd;
        return status;
      case Step::Kind::kDamage:
        *stop = ScanStop::kDamage;
        return status;
      default:
        break;
    }
    if (is_late(step)) {
      if (!segment_->is_whole(position_.offset, step, position_.sequence, log_->control().max_payload)) {
        *stop = ScanStop::kDamage;
        return status;
      }
      awaited_ns_ = 0;
      *stop = ScanStop::kLimit;
      return status;
    }
    set_position(position_.offset + step.span, position_.sequence + step.count);
  }
}

}  // namespace hermes
