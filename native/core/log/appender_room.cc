// Where an appender appends: the end of the log when it is opened, room for the next frames, and the way into the next segment.
#include <time.h>

#include <algorithm>

#include "core/log/appender.h"
#include "core/log/crash_point.h"
#include "core/log/preparer.h"

namespace hermes {
namespace {

constexpr int kLooks = 10;                           // a millisecond apart, at a word that something stands behind
constexpr uint64_t kSmallRest = uint64_t{64} << 10;  // below this, ask the preparer no more often than at the end

}  // namespace

Status Appender::find_end(bool alone) {
  // What is known of the end, learnt before it is looked for: it only moves on.
  const Position known = log_->known();
  std::shared_ptr<Segment> segment;
  const uint64_t number = log_->active();
  Status status = log_->segment(number, &segment);
  if (!status.ok()) return status;
  // Acquire: pairs with the release of the one that put the segment in use.
  const uint64_t base = segment->header().base_sequence.load(std::memory_order_acquire);
  if (base == 0) return Status::error(Code::kCorrupt, Segment::path(log_->folder(), number) + " has no base sequence");
  uint64_t noted = 0;
  uint64_t noted_sequence = 0;
  (void)segment->find_noted_tail(0, &noted, &noted_sequence);
  enter(std::move(segment), kSegmentHeaderBytes, base);
  // Walk to the end now, so that the first message doesn't pay for it.
  for (;;) {
    const Step step = segment_->step(offset_);
    if (step.kind == Step::Kind::kSegmentEnd) break;
    if (step.kind == Step::Kind::kEmpty) {
      bool followed = false;
      status = is_followed(&followed);
      if (!status.ok()) return status;
      if (!followed) break;
      continue;
    }
    // A wrong length here would lead us to a place that is not the end. There's little to check behind the noted tail.
    const bool frame = step.kind == Step::Kind::kData || step.kind == Step::Kind::kVoid;
    if (frame && offset_ >= noted && !segment_->is_whole(offset_, step, next_sequence_, max_payload_)) return damaged();
    // The first publisher goes all the way: a page of zeros in it would stop every reader that comes the same way, and what it is about to publish
    // would never be seen. Others find what the first one found good, and may take the short way.
    const bool walks = alone && frame;
    if (walks && segment_->frame(offset_)->sequence != next_sequence_) return damaged();
    // A whole frame begins at the noted tail, so a length that leads over it is wrong: it may lead into the empty space behind the end.
    if (walks && offset_ < noted && offset_ + step.span > noted) return damaged();
    // No other publisher is at work, and recovery has made void what the dead had claimed: this was no publisher's.
    if (alone && step.kind == Step::Kind::kClaim) return damaged();
    if (walks) {
      offset_ += step.span;
      next_sequence_ += step.count;
    } else if (step_over(step) != Code::kOk) {
      return last_error_;
    }
  }
  // An end before what is known is none: a page was lost. An append there would use sequences again, and no reader that is further
  // would ever see it.
  if (known.segment > number || (known.segment == number && offset_ < known.offset) || offset_ < noted)
    return damaged();
  segment_->prepared_up_to(offset_);
  log_->preparer().want(segment_, offset_, offset_, next_sequence_, slot_);
  return status;
}

/// Whether the empty word at offset_ has been claimed meanwhile. kCorrupt if it has not and something stands behind it all the same: everybody
/// claims at the end of the chain, so then it's not the end, but a page that was lost.
Status Appender::is_followed(bool* followed) {
  *followed = false;
  if (segment_->is_zero(offset_ + kFrameAlign, segment_->bytes())) return Status::success();
  // Nothing orders a publisher's payload behind its claim for one who looks at the payload first: give the claim time to be seen.
  for (int look = 0; look < kLooks; ++look) {
    *followed = segment_->step(offset_).kind != Step::Kind::kEmpty;
    if (*followed) return Status::success();
    const timespec pause = {0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return damaged();
}

Status Appender::damaged() const {
  return Status::error(
      Code::kCorrupt,
      "damage at offset " + std::to_string(offset_) + " of " + Segment::path(log_->folder(), segment_->number()) +
          ". Close all publishers of the topic: the next one to open it mends that, as hermes repair does");
}

void Appender::enter(std::shared_ptr<Segment> segment, uint64_t offset, uint64_t sequence) noexcept {
  if (segment_ != nullptr) log_->preparer().retire(std::move(segment_));
  segment_ = std::move(segment);
  base_ = segment_->data();
  segment_note_ = claim_note(segment_->number(), 0);
  move_to(offset, sequence);
  limit_ = 0;
}

/// Goes on where this appender has not published what is before.
void Appender::move_to(uint64_t offset, uint64_t sequence) noexcept {
  others_bytes_ += offset - offset_;
  others_sequences_ += sequence - next_sequence_;
  offset_ = offset;
  next_sequence_ = sequence;
}

/// Moves past what another publisher put where we wanted to claim.
Code Appender::step_over(const Step& step) noexcept {
  // A long way to go? Some boundary that others have noted is nearer to the end.
  uint64_t noted = 0;
  uint64_t sequence = 0;
  if (segment_->find_noted_tail(offset_ + step.span, &noted, &sequence)) {
    move_to(noted, sequence);
    return Code::kOk;
  }
  switch (step.kind) {
    case Step::Kind::kData:
    case Step::Kind::kVoid:
    case Step::Kind::kClaim:
      move_to(offset_ + step.span, next_sequence_ + step.count);
      return Code::kOk;
    case Step::Kind::kPadding:
      move_to(segment_->bytes(), next_sequence_);
      return Code::kOk;
    case Step::Kind::kEmpty:
    case Step::Kind::kSegmentEnd:
      return Code::kOk;
    case Step::Kind::kDamage:
      break;
  }
  return fail(Status::error(Code::kCorrupt, "damage at offset " + std::to_string(offset_) + " of " +
                                                Segment::path(log_->folder(), segment_->number())));
}

/// Sees to it that a frame of `span` bytes may be written at offset_: waits for the preparer, or moves to the next segment.
Code Appender::make_room(uint64_t span) noexcept {
  if (closed_) return Code::kClosed;
  if (log_->is_deleted()) return fail(Log::deleted());
  under_pressure_ = false;
  for (;;) {
    const uint64_t left = segment_->bytes() - offset_;
    Code code = Code::kOk;
    if (left < kFrameHeaderBytes) {
      code = next_segment();
      if (code != Code::kOk) return code;
      continue;
    }
    // What others have put here is stepped over first: they may be in the next segment already, and then no thread prepares
    // this one any more.
    const Step step = segment_->step(offset_);
    if (step.kind != Step::Kind::kEmpty) {
      code = step_over(step);
      if (code != Code::kOk) return code;
      continue;
    }
    // The word behind the frame must be allocated too: readers and publishers look at it, and on tmpfs even a look at a
    // hole takes a page.
    const uint64_t need =
        span > left ? offset_ + kFrameHeaderBytes : std::min(offset_ + span + kFrameAlign, segment_->bytes());
    log_->preparer().want(segment_, offset_, need, next_sequence_, slot_);
    if (need > segment_->ready()) {
      count_up(cell_->waits);
      Status status = log_->preparer().wait_ready(*segment_, need);
      // Others have filled the segment meanwhile, and retention may have removed its successor: the chain tells where to go.
      if (status.code == Code::kBehindRetention && segment_->step(offset_).kind != Step::Kind::kEmpty) continue;
      if (!status.ok()) return fail(std::move(status));
      if (need > segment_->ready()) continue;  // another appender of this Log has moved on
    }
    if (span > left) {
      code = pad();
      if (code != Code::kOk) return code;
      continue;
    }
    const uint64_t ready = segment_->ready();
    const uint64_t usable = ready == segment_->bytes() ? ready : ready - kFrameAlign;
    // Ask again when half of what is prepared is used up.
    const uint64_t rest = usable - offset_;
    limit_ = rest < kSmallRest ? usable : std::max(offset_ + span, offset_ + rest / 2);
    under_pressure_ = log_->preparer().is_behind(*segment_, offset_);
    return Code::kOk;
  }
}

/// Fills the rest of the segment. On return either that is done, or another publisher was faster and offset_ has moved.
/// REQUIRES: room for the padding's header is prepared.
Code Appender::pad() noexcept {
  const uint64_t span = segment_->bytes() - offset_;
  const std::atomic_ref<uint64_t> word = segment_->word(offset_);
  uint64_t empty = 0;
  claiming_->store(segment_note_ | offset_ / kFrameAlign, std::memory_order_relaxed);  // as in claim()
  if (!word.compare_exchange_strong(empty, make_claim_word({slot_, 0, span}), std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
    return step_over(segment_->step(offset_));
  }
  crash_point("pad:claimed");
  FrameFields fields;
  fields.type = FrameType::kPadding;
  fields.sequence = next_sequence_;
  fields.timestamp_ns = clock_.now_ns();
  fields.payload_len = static_cast<uint32_t>(span - kFrameHeaderBytes);
  const uint64_t commit = stamp(*segment_->frame(offset_), fields, nullptr);
  // Release: readers that see the magic see the header.
  word.store(commit, std::memory_order_release);
  crash_point("pad:committed");
  claiming_->store(0, std::memory_order_release);
  move_to(segment_->bytes(), next_sequence_);
  return Code::kOk;
}

/// Goes to the newest segment, when others are there already. They may have rotated more than once while this publisher was
/// stopped, and retention may have removed what lies between.
Code Appender::catch_up(uint64_t active) noexcept {
  std::shared_ptr<Segment> segment;
  Status status = log_->segment(active, &segment);
  if (status.code == Code::kBehindRetention) return Code::kOk;  // removed meanwhile: called again
  if (!status.ok()) return fail(std::move(status));
  // Acquire: pairs with the release of the one that put the segment in use.
  const uint64_t base = segment->header().base_sequence.load(std::memory_order_acquire);
  if (base < next_sequence_) {
    return fail(Status::error(Code::kCorrupt, Segment::path(log_->folder(), active) + " begins with sequence " +
                                                  std::to_string(base) + ", but " + std::to_string(next_sequence_) +
                                                  " is the next one"));
  }
  enter(std::move(segment), kSegmentHeaderBytes, base);
  return Code::kOk;
}

Code Appender::next_segment() noexcept {
  const uint64_t active = log_->active();
  if (active > segment_->number() + 1) return catch_up(active);
  std::shared_ptr<Segment> next;
  log_->preparer().want(segment_, segment_->bytes(), segment_->bytes(), next_sequence_, slot_);
  Status status = log_->preparer().wait_next(*segment_, &next);
  if (log_->active() > segment_->number() + 1) return Code::kOk;  // others went on meanwhile: called again
  if (!status.ok()) return fail(std::move(status));
  next->note_use(realtime_ns());
  std::atomic<uint64_t>& base = next->header().base_sequence;
  uint64_t unused = 0;
  // All publishers that rotate have walked the same chain and store the same value. Release: readers that see it find the file whole.
  if (!base.compare_exchange_strong(unused, next_sequence_, std::memory_order_acq_rel) && unused != next_sequence_) {
    return fail(Status::error(Code::kCorrupt, Segment::path(log_->folder(), next->number()) + " begins with sequence " +
                                                  std::to_string(unused) + ", not " + std::to_string(next_sequence_)));
  }
  crash_point("rotate:based");
  raise_to(control_->active, next->number());
  crash_point("rotate:active");
  const uint64_t sequence = next_sequence_;
  enter(std::move(next), kSegmentHeaderBytes, sequence);
  return Code::kOk;
}

}  // namespace hermes
