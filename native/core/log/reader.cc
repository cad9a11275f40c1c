#include "core/log/reader.h"

#include <algorithm>

#include "core/log/resync.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kReadAhead = uint64_t{4} << 20;
constexpr uint64_t kLookAgain = uint64_t{1} << 20;
constexpr uint64_t kNever = ~uint64_t{0};

}  // namespace

Scan scan(const Segment& segment, uint64_t from, uint64_t sequence, uint32_t limit, uint32_t max_payload,
          bool verify) noexcept {
  Scan result;
  result.end = from;
  result.sequence = sequence;
  while (result.messages < limit) {
    const Step step = segment.step(result.end);
    switch (step.kind) {
      case Step::Kind::kEmpty:
        result.stop = ScanStop::kEmpty;
        return result;
      case Step::Kind::kClaim:
        result.stop = ScanStop::kClaim;
        return result;
      case Step::Kind::kDamage:
        result.stop = ScanStop::kDamage;
        return result;
      case Step::Kind::kSegmentEnd:
        result.stop = ScanStop::kSegmentEnd;
        return result;
      default:
        break;
    }
    const FrameHeader* header = segment.frame(result.end);
    const FrameFields fields = fields_of(step, *header);
    const bool sound = is_this_version(step) && fields.sequence == result.sequence &&
                       (fields.type != FrameType::kData || fields.payload_len <= max_payload) &&
                       (!verify || frame_crc(fields, reinterpret_cast<const std::byte*>(header + 1)) == header->crc32);
    if (!sound) {
      result.stop = ScanStop::kDamage;
      return result;
    }
    if (step.kind == Step::Kind::kPadding) {
      result.stop = ScanStop::kSegmentEnd;
      return result;
    }
    result.end += step.span;
    result.sequence += step.count;
    if (step.kind == Step::Kind::kData) {
      ++result.messages;
      result.timestamp_ns = fields.timestamp_ns;
    }
  }
  result.stop = ScanStop::kLimit;
  return result;
}

Status Reader::enter(uint64_t number) {
  if (segment_ != nullptr && segment_->number() == number) {
    position_ = {number, kSegmentHeaderBytes, segment_->header().base_sequence.load(std::memory_order_acquire)};
    next_read_ahead_ = 0;
    return Status::success();
  }
  std::shared_ptr<Segment> segment;
  Status status = access_ == MappedFile::Access::kReadWrite
                      ? log_->segment(number, &segment)
                      : Segment::open(log_->folder(), number, log_->control(), access_, &segment);
  // One in use can only be gone because retention removed it: else it is lost, and never "not there yet".
  if (status.code == Code::kNotFound && number <= log_->active()) status = Segment::missing(log_->folder(), number);
  if (!status.ok()) return log_->explained(std::move(status));
  // Acquire: pairs with the release of the one that put the segment in use.
  const uint64_t base = segment->header().base_sequence.load(std::memory_order_acquire);
  if (base == 0 && number < log_->first()) {
    // A file of an old name, made by a preparer that was behind, which is about to remove it.
    return Status::error(Code::kBehindRetention, "retention has removed segment " + std::to_string(number));
  }
  if (base == 0) return Status::error(Code::kNotFound, "the segment is not in use yet");
  segment_ = std::move(segment);
  position_ = {number, kSegmentHeaderBytes, base};
  next_read_ahead_ = 0;
  return status;
}

/// Enters `number`, or the first one left if retention has just removed it.
Status Reader::enter_first(uint64_t number) {
  for (;;) {
    Status status = enter(number);
    if (status.code != Code::kBehindRetention) return status;
    number = log_->first();
  }
}

Status Reader::seek_earliest() {
  awaited_ns_ = 0;
  return enter_first(std::max<uint64_t>(log_->first(), 1));
}

Status Reader::seek_latest() {
  awaited_ns_ = 0;
  Status status = enter(std::max<uint64_t>(log_->active(), 1));
  for (;;) {
    // Rotation and retention went on meanwhile: the end is further on.
    while (status.code == Code::kBehindRetention) status = enter(std::max<uint64_t>(log_->active(), 1));
    if (!status.ok()) return status;
    (void)segment_->find_noted_tail(position_.offset, &position_.offset, &position_.sequence);
    Scan walked;
    do {
      walked = scan(*segment_, position_.offset, position_.sequence, 65'536, log_->control().max_payload, false);
      set_position(walked.end, walked.sequence);
    } while (walked.stop == ScanStop::kLimit);
    if (walked.stop != ScanStop::kSegmentEnd) return status;
    status = next_segment();
    if (status.code == Code::kNotFound) return Status::success();
  }
}

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
    bool found = timestamp_ns == 0;
    if (!found) {
      status = walk([&](const Step& step) { return found = is_awaited(step); }, [] { return Status::success(); });
    }
    if (found) awaited_ns_ = 0;
    if (status.code != Code::kBehindRetention)
      return status;  // else retention overtook us: what is left is looked through again
  }
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

/// Whether the frame at the position is the message that is awaited. One that is not whole can't be told by its stamp.
bool Reader::is_awaited(const Step& step) const noexcept {
  return step.kind == Step::Kind::kData && segment_->frame(position_.offset)->timestamp_ns >= awaited_ns_ &&
         segment_->is_whole(position_.offset, step, position_.sequence, log_->control().max_payload);
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
    if (is_awaited(step)) {
      awaited_ns_ = 0;
      *stop = ScanStop::kLimit;
      return status;
    }
    set_position(position_.offset + step.span, position_.sequence + step.count);
  }
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

Status Reader::read_ahead_now(uint64_t offset) {
  if (segment_ == nullptr) return Status::success();
  uint64_t written = segment_->bytes();
  if (position_.segment >= log_->active()) {
    written = (segment_->header().tail_hint.load(std::memory_order_relaxed) >> 32) * kFrameAlign;
  }
  if (offset >= std::min(written, segment_->bytes())) {
    next_read_ahead_ = offset + kLookAgain;
    return Status::success();
  }
  const uint64_t from = offset / 4096 * 4096;
  const uint64_t to = std::min({from + kReadAhead, (written + 4095) / 4096 * 4096, segment_->bytes()});
  // What is written from now on will be in memory, so a reader that follows closely need not ask for every few messages.
  next_read_ahead_ = std::max(to, offset + kLookAgain);
  return segment_->map().populate_for_reading(from, to - from);
}

Status Reader::skip_damage() {
  if (segment_ == nullptr) return Status::error(Code::kNotFound, "the topic is empty");
  const uint32_t max_payload = log_->control().max_payload;
  Position next;
  if (find_next_frame(*segment_, position_, ~uint64_t{0}, max_payload, &next)) {
    position_ = next;
    return Status::success();
  }
  if (log_->active() <= position_.segment)
    return Status::error(Code::kNotFound, "nothing whole follows the damage yet");
  return enter(position_.segment + 1);
}

Status Reader::next_segment() {
  const uint64_t expected = position_.sequence;
  if (segment_ == nullptr) {
    const uint64_t awaited = awaited_ns_;
    Status status = seek_earliest();
    awaited_ns_ = awaited;
    return status;
  }
  if (log_->active() <= position_.segment) return Status::error(Code::kNotFound, "the next segment is not in use yet");
  const uint64_t number = position_.segment + 1;
  Status status = enter(number);
  if (status.code == Code::kNotFound) {
    // It's in use: the file is there, as enter() finds out else.
    return Status::error(Code::kCorrupt, Segment::path(log_->folder(), number) + " has lost its base sequence");
  }
  if (status.ok() && position_.sequence != expected) {
    return Status::error(Code::kCorrupt, "segment " + std::to_string(position_.segment) + " begins with sequence " +
                                             std::to_string(position_.sequence) + ", not " + std::to_string(expected));
  }
  return status;
}

}  // namespace hermes
