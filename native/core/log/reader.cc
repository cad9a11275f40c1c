#include "core/log/reader.h"

#include <algorithm>

#include "core/log/resync.h"

namespace hermes {
namespace {

constexpr uint64_t kReadAhead = uint64_t{4} << 20;
constexpr uint64_t kLookAgain = uint64_t{1} << 20;

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
