#include "core/log/appender.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/log/crash_point.h"
#include "core/log/preparer.h"
#include "core/log/recovery.h"
#include "core/log/repair.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

constexpr uint64_t kHintEvery = 4096;                // bytes between two updates of the tail hint
constexpr int kLooks = 10;                           // a millisecond apart, at a word that something stands behind
constexpr uint64_t kSmallRest = uint64_t{64} << 10;  // below this, ask the preparer no more often than at the end

/// A batch may lie anywhere in a buffer from a network, so its headers need not be aligned.
uint32_t payload_len_at(const std::byte* frame) noexcept {
  uint32_t length;
  std::memcpy(&length, frame + offsetof(FrameHeader, payload_len), sizeof length);
  return length;
}

}  // namespace

Appender::Appender(std::shared_ptr<Log> log) : control_(&log->control()), log_(std::move(log)) {
  max_payload_ = control_->max_payload;
  fence_ = !register_for_heavy_barriers();
}

Appender::~Appender() { (void)close(); }

Status Appender::open(std::shared_ptr<Log> log, const Options& options, std::unique_ptr<Appender>* out,
                      RecoveryReport* report) {
  if (!log->writable()) {
    return Status::error(Code::kAccessDenied, "this process may not write to " + log->folder());
  }
  std::unique_ptr<Appender> appender(new Appender(std::move(log)));
  appender->exclusive_ = options.exclusive;
  Status status = appender->join(options, report);
  if (status.ok()) *out = std::move(appender);
  return status;
}

Status Appender::join(const Options& options, RecoveryReport* report) {
  RecoveryReport unread;
  if (report == nullptr) report = &unread;
  Status status = log_->open_lock(&locks_);
  if (!status.ok()) return status;
  LockFile gate;
  status = log_->open_lock(&gate);
  if (!status.ok()) return status;
  ScopedLock recovery(&gate, kRecoveryByte);
  status = recovery.acquire(options.recovery_timeout_ms);
  if (!status.ok()) return status;

  status = locks_.try_lock(kPublishersByte, LockFile::Mode::kExclusive);
  const bool alone = status.ok();
  if (alone) {
    status = recover(*log_, false, report, options.recovery_timeout_ms);
    if (!status.ok()) return status;
  } else if (status.code != Code::kBusy) {
    return status;
  } else if (options.exclusive) {
    return Status::error(Code::kExclusiveHeld, "the topic has other publishers; an exclusive one must be the only one");
  }
  if (!options.exclusive) {
    status = locks_.try_lock(kPublishersByte, LockFile::Mode::kShared);
    if (status.code == Code::kBusy) {
      return Status::error(Code::kExclusiveHeld, "another publisher holds the topic exclusively");
    }
    if (!status.ok()) return status;
  }
  status = take_slot(alone);
  if (status.ok()) status = find_end(alone);
  if (status.code == Code::kCorrupt && alone) {
    // Damage that arose where everything had been found good. Nobody else publishes: the recovery lock keeps others out.
    status = recover(*log_, true, report, options.recovery_timeout_ms);
    if (status.ok()) status = find_end(alone);
  }
  return status;
}

/// REQUIRES: the recovery lock is held.
Status Appender::take_slot(bool alone) {
  for (uint32_t n = 0; n < kSlots; ++n) {
    Status status = locks_.try_lock(kSlotByte + n, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy) continue;
    if (!status.ok()) return status;
    ParticipantSlot& slot = control_->slots[n];
    // Taken, but unlocked: its owner died. If we're alone, recovery has dealt with what it left.
    if (!alone && slot.state.load(std::memory_order_relaxed) != 0) {
      status = void_stale_claims(*log_, n);
      if (!status.ok()) return status;
    }
    slot.pid.store(static_cast<uint32_t>(::getpid()), std::memory_order_relaxed);
    slot.taken_ns.store(realtime_ns(), std::memory_order_relaxed);
    slot.messages.store(0, std::memory_order_relaxed);
    slot.bytes.store(0, std::memory_order_relaxed);
    // Only now that the claims of the one before are void: until then his note vouches for them.
    slot.claiming.store(0, std::memory_order_relaxed);
    slot.notes.store(slot.taken_ns.load(std::memory_order_relaxed) ^ kNotesSalt, std::memory_order_relaxed);
    slot.state.store(1, std::memory_order_release);
    claiming_ = &slot.claiming;
    slot_ = n;
    return status;
  }
  return Status::error(Code::kTooManyPublishers,
                       "the topic has " + std::to_string(kSlots) + " publishers already, as many as it can have");
}

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
    // Nobody else publishes, and recovery has made void what the dead had claimed: this was no publisher's.
    if (alone && step.kind == Step::Kind::kClaim) return damaged();
    if (walks) {
      offset_ += step.span;
      next_sequence_ += step.count;
    } else if (step_over(step) != Code::kOk) {
      return last_error_;
    }
  }
  // An end before what is known is none: a page was lost. Whoever appended there would give sequences out again, and no reader that is further
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
  offset_ = offset;
  next_sequence_ = sequence;
  limit_ = 0;
}

Code Appender::fail(Status status) noexcept {
  if (claiming_ != nullptr)
    claiming_->store(0, std::memory_order_relaxed);  // what was noted last was another's, or is committed
  last_error_ = std::move(status);
  return last_error_.code;
}

/// Moves past what another publisher put where we wanted to claim.
Code Appender::step_over(const Step& step) noexcept {
  // A long way to go? Some boundary that others have noted is nearer to the end.
  if (segment_->find_noted_tail(offset_ + step.span, &offset_, &next_sequence_)) return Code::kOk;
  switch (step.kind) {
    case Step::Kind::kData:
    case Step::Kind::kVoid:
    case Step::Kind::kClaim:
      offset_ += step.span;
      next_sequence_ += step.count;
      return Code::kOk;
    case Step::Kind::kPadding:
      offset_ = segment_->bytes();
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

/// Gives us [offset_, offset_ + span) of the segment, and `count` sequences from next_sequence_ on.
Code Appender::claim(uint64_t span, uint32_t count) noexcept {
  // A forked child shares the slot with its parent: two processes under one name, and no telling who died.
  if (fork_guard_.in_child()) [[unlikely]]
    return Code::kForked;
  const uint64_t mine = make_claim_word({slot_, count, span});
  for (;;) {
    if (offset_ + span > limit_) [[unlikely]] {
      const Code code = make_room(span);
      if (code != Code::kOk) return code;
    }
    const std::atomic_ref<uint64_t> word = segment_->word(offset_);
    // Relaxed: the claim releases it. Who sees the claim so sees the note, and who sees a later note sees the claim committed (see commit): a
    // word that looks like a claim of ours, while the note names another place, is none. See repair_claim().
    claiming_->store(segment_note_ | offset_ / kFrameAlign, std::memory_order_relaxed);
    if (exclusive_) {
      // Nobody else claims. Release: the claim is seen before the payload behind it, so a crash leaves no unnamed bytes.
      if (word.load(std::memory_order_relaxed) == 0) {
        word.store(mine, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_release);
        return Code::kOk;
      }
    } else {
      uint64_t empty = 0;
      // Acquire-release: orders our payload behind the claim, and shows us what the others' claims show.
      if (word.compare_exchange_strong(empty, mine, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return Code::kOk;
      }
    }
    const Code code = step_over(segment_->step(offset_));
    if (code != Code::kOk) return code;
  }
}

void Appender::commit(std::byte* frame, uint64_t word, uint64_t span, uint32_t count, uint64_t timestamp) noexcept {
  crash_point("append:filled");
  // Release: publishes header and payload to every reader that acquires this word.
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).store(word, std::memory_order_release);
  crash_point("append:committed");
  // Release: who sees the note gone sees the commit.
  claiming_->store(0, std::memory_order_release);
  const uint64_t before = offset_;
  messages_ += count;
  bytes_ += span;
  offset_ += span;
  next_sequence_ += count;
  last_sequence_ = next_sequence_ - 1;
  last_timestamp_ns_ = timestamp;
  if ((before ^ offset_) >= kHintEvery) {
    segment_->note_tail(before, next_sequence_ - count);
    note_progress();
  }
  // A sleeper sets `parked`, runs a heavy barrier, and looks at the log again; so either it sees our commit, or we see
  // `parked`. The compiler must keep the order too; without heavy barriers the processor must be told.
  if (fence_) [[unlikely]] {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  uint32_t parked = control_->parked.load(std::memory_order_relaxed);
  if ((parked & 1) != 0) [[unlikely]] {
    // A new even value each time: a sleeper that is about to sleep on the old one then doesn't, even if another one parks.
    if (control_->parked.compare_exchange_strong(parked, parked + 1, std::memory_order_relaxed)) {
      futex_wake_all(&control_->parked);
    }
  }
}

/// Tells people who look at the slot how far this publisher is.
void Appender::note_progress() noexcept {
  control_->slots[slot_].messages.store(messages_, std::memory_order_relaxed);
  control_->slots[slot_].bytes.store(bytes_, std::memory_order_relaxed);
}

Code Appender::append(const std::byte* payload, uint32_t length) noexcept {
  if (length > max_payload_) [[unlikely]]
    return Code::kPayloadTooLarge;
  const uint64_t span = frame_span(length);
  crash_point("append:before-claim");
  const Code code = claim(span, 1);
  if (code != Code::kOk) [[unlikely]]
    return code;
  crash_point("append:claimed");
  std::byte* const frame = base_ + offset_;
  FrameFields fields;
  fields.sequence = next_sequence_;
  fields.timestamp_ns = clock_.now_ns();
  fields.payload_len = length;
  const uint64_t word = stamp(*reinterpret_cast<FrameHeader*>(frame), fields, payload);
  if (length != 0) std::memcpy(frame + kFrameHeaderBytes, payload, length);  // an empty payload may have no address
  commit(frame, word, span, 1, fields.timestamp_ns);
  return Code::kOk;
}

Code Appender::append_batch(const std::byte* frames, uint64_t bytes, uint32_t count,
                            const BatchStamp& stamp_as) noexcept {
  if (closed_) return Code::kClosed;
  if (count == 0 || count > kMaxClaimCount || bytes > control_->segment_bytes / 2 || bytes > kMaxClaimSpanBytes) {
    return Code::kInvalidArgument;
  }
  // The lengths come from memory that JavaScript can write: add them up before anything is claimed.
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (sum + kFrameHeaderBytes > bytes) return Code::kInvalidArgument;
    const uint32_t length = payload_len_at(frames + sum);
    if (length > max_payload_) return Code::kPayloadTooLarge;
    sum += frame_span(length);
  }
  if (sum != bytes) return Code::kInvalidArgument;
  crash_point("batch:before-claim");
  const Code code = claim(bytes, count);
  if (code != Code::kOk) [[unlikely]]
    return code;
  crash_point("batch:claimed");

  std::byte* const first = base_ + offset_;
  FrameFields fields;
  fields.flags = stamp_as.flags;
  fields.timestamp_ns = stamp_as.first_timestamp_ns != 0 ? stamp_as.first_timestamp_ns : clock_.now_ns();
  fields.sequence = next_sequence_;
  uint64_t at = 0;
  uint64_t first_word = 0;
  uint64_t last_timestamp = fields.timestamp_ns;
  for (uint32_t i = 0; i < count && at < bytes; ++i, ++fields.sequence) {
    fields.payload_len = payload_len_at(frames + at);
    const uint64_t span = frame_span(fields.payload_len);
    if (span > bytes - at) break;  // never write outside the claim, even if the caller broke the rule above
    const std::byte* const payload = frames + at + kFrameHeaderBytes;
    std::byte* const frame = first + at;
    const uint64_t word = stamp(*reinterpret_cast<FrameHeader*>(frame), fields, payload);
    std::memcpy(frame + kFrameHeaderBytes, payload, fields.payload_len);
    if (i == 0) {
      first_word = word;
    } else {
      // Relaxed: nobody looks behind the first word before it is committed.
      std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).store(word, std::memory_order_relaxed);
    }
    at += span;
    last_timestamp = fields.timestamp_ns;
    fields.timestamp_ns += stamp_as.timestamp_step_ns;
    crash_point("batch:filling");
  }
  crash_point("batch:filled");
  commit(first, first_word, bytes, count, last_timestamp);
  return Code::kOk;
}

/// Sees to it that a frame of `span` bytes may be written at offset_: waits for the preparer, or moves to the next segment.
Code Appender::make_room(uint64_t span) noexcept {
  if (closed_) return Code::kClosed;
  under_pressure_ = false;
  for (;;) {
    const uint64_t left = segment_->bytes() - offset_;
    Code code = Code::kOk;
    if (left < kFrameHeaderBytes) {
      code = next_segment();
      if (code != Code::kOk) return code;
      continue;
    }
    // What others have put here is stepped over first: they may be in the next segment already, and then nobody prepares
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
  offset_ = segment_->bytes();
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
  // Everybody who rotates has walked the same chain and stores the same value. Release: readers that see it find the file whole.
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

bool Appender::has_room() {
  if (closed_) return true;
  // Looked at before it is asked for more, which forgets what made the preparer fail.
  under_pressure_ = log_->preparer().is_behind(*segment_, offset_);
  if (under_pressure_) log_->preparer().want(segment_, offset_, offset_, next_sequence_, slot_);
  return !under_pressure_;
}

bool Appender::prepare_to_close() {
  if (closed_ || slot_ == kSlots || fork_guard_.in_child()) return true;
  // What can't be asked for is no reason to wait.
  return locks_.try_lock(kRecoveryByte, LockFile::Mode::kExclusive).code != Code::kBusy;
}

Status Appender::close(uint32_t patience_ms) {
  if (closed_) return Status::success();
  closed_ = true;
  limit_ = 0;
  if (slot_ == kSlots || fork_guard_.in_child()) {
    locks_.close();
    return Status::success();
  }
  // By the descriptor that we have: a process that has none left must be able to give its slot back. What it holds ends with it.
  Status status = locks_.lock(kRecoveryByte, LockFile::Mode::kExclusive, patience_ms);
  note_progress();
  control_->slots[slot_].state.store(0, std::memory_order_release);
  // The last one out notes that nothing is left to recover. If a dead publisher's claim is left, that's not so.
  const bool last = status.ok() && locks_.try_lock(kPublishersByte, LockFile::Mode::kExclusive).ok();
  if (last) {
    log_->advance_checkpoint();
    if (log_->ends_cleanly()) control_->closed_in_order.store(1, std::memory_order_release);
  }
  locks_.close();
  if (segment_ != nullptr) log_->preparer().retire(std::move(segment_));
  // Without other users the topic's threads and mappings end here, and not when somebody collects this object: who removes
  // the folder now finds nobody at work in it.
  control_ = nullptr;
  claiming_ = nullptr;
  log_.reset();
  return Status::success();
}

}  // namespace hermes
