#include "core/group/log_cursor.h"

#include <algorithm>

namespace hermes {
namespace {

/// So many frames are walked over rather than looked up.
constexpr uint64_t kWalk = 64;

}  // namespace

bool is_plausible_frame(const Reader& reader, const Step& step) noexcept {
  const FrameFields fields = fields_of(step, *reader.segment()->frame(reader.position().offset));
  return is_this_version(step) && fields.sequence == reader.position().sequence &&
         (fields.type != FrameType::kData || fields.payload_len <= reader.log().control().max_payload);
}

Status LogCursor::go_to(const Group& group, uint64_t sequence, const Place* place, const Place* before) {
  Status status = find(group, sequence, place, before);
  if (!status.ok() || reader_.segment() == nullptr) return status;
  // Behind the last frame of a segment: the sequence has its frame in the next one, once that is in use.
  const Step::Kind kind = reader_.segment()->step(reader_.position().offset).kind;
  if (kind != Step::Kind::kPadding && kind != Step::Kind::kSegmentEnd) return status;
  status = reader_.next_segment();
  return status.code == Code::kNotFound ? Status::success() : status;
}

Status LogCursor::find(const Group& group, uint64_t sequence, const Place* place, const Place* before) {
  const bool placed = reader_.segment() != nullptr;
  const uint64_t here = reader_.position().sequence;
  if (placed && here == sequence) return Status::success();
  if (placed && here < sequence && sequence - here <= kWalk) {
    const Status status = walk_to(sequence);
    if (status.ok()) return status;
  }
  if (place != nullptr && place->offset != 0 && jump(group, sequence, *place).ok()) return Status::success();
  if (before != nullptr && before->offset != 0 && jump(group, sequence - 1, *before).ok() && walk_to(sequence).ok())
    return Status::success();
  return reader_.seek_sequence(sequence);
}

Status LogCursor::jump(const Group& group, uint64_t sequence, const Place& place) {
  // What was noted in another lap is of another message.
  if (place.lap != (group.lap(sequence) & 0x3FF)) return Status::error(Code::kNotFound, "not noted");
  const uint64_t segment = segment_of(place, reader_.log().active());
  return reader_.seek_place({segment, place.offset, sequence});
}

Status LogCursor::walk_to(uint64_t sequence) {
  const Status elsewhere = Status::error(Code::kNotFound, "not here");
  for (uint64_t steps = 0; steps <= 2 * kWalk; ++steps) {
    const Position at = reader_.position();
    Status status = reader_.read_ahead(at.offset);
    if (!status.ok()) return status;
    const Step step = reader_.segment()->step(at.offset);
    switch (step.kind) {
      case Step::Kind::kData:
      case Step::Kind::kVoid:
        if (!is_plausible_frame(reader_, step)) return elsewhere;
        if (at.sequence + std::max<uint64_t>(step.count, 1) > sequence)
          return at.sequence <= sequence ? status : elsewhere;
        reader_.set_position(at.offset + step.span, at.sequence + step.count);
        break;
      case Step::Kind::kPadding:
      case Step::Kind::kSegmentEnd:
        if (at.sequence == sequence) return status;
        status = reader_.next_segment();
        if (!status.ok()) return status;
        break;
      default:
        return at.sequence == sequence ? status : elsewhere;
    }
  }
  return elsewhere;
}

}  // namespace hermes
