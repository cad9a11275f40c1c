#include "core/log/appender.h"

#include <algorithm>
#include <cstring>

#include "core/log/bells.h"
#include "core/log/crash_point.h"
#include "core/log/preparer.h"
#include "core/platform/futex.h"

namespace hermes {
namespace {

constexpr uint64_t kHintEvery = 4096;  // bytes between two updates of the tail hint

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
  const auto begin = [this](bool alone) {
    slot_ = membership_.slot();
    claiming_ = &control_->slots[slot_].claiming;
    Status status = find_end(alone);
    others_sequences_ = next_sequence_;
    others_bytes_ = offset_;
    return status;
  };
  return membership_.join(*log_, options.exclusive, options.recovery_timeout_ms, report, begin);
}

Code Appender::fail(Status status) noexcept {
  if (claiming_ != nullptr)
    claiming_->store(0, std::memory_order_relaxed);  // what was noted last was another's, or is committed
  count_up(cell_->failures);
  last_error_ = std::move(status);
  return last_error_.code;
}

/// Gives us [offset_, offset_ + span) of the segment, and `count` sequences from next_sequence_ on.
Code Appender::claim(uint64_t span, uint32_t count) noexcept {
  // A forked child shares the slot with its parent, so it may not claim.
  if (membership_.in_child()) [[unlikely]]
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
      // No other publisher claims. Release: the claim is seen before the payload behind it, so a crash leaves no unnamed bytes.
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

/// Counts what is about to be committed from offset_ to `end`: after the claim and before the commit, with its place, so that a process that finds this
/// one dead can look whether the last of what is counted was committed. See docs/metrics-format.md.
void Appender::count(uint64_t end, uint64_t next_sequence) noexcept {
  // In turns, so that the record before stays whole.
  constexpr uint64_t kTurn = offsetof(NarrowCell, records) ^ (offsetof(NarrowCell, records) + sizeof(PublisherRecord));
  record_at_ ^= kTurn;
  auto& record = *reinterpret_cast<PublisherRecord*>(reinterpret_cast<std::byte*>(cell_) + record_at_);
  record.bytes.store(end - others_bytes_, std::memory_order_relaxed);
  record.place.store(segment_note_ | offset_ / kFrameAlign, std::memory_order_relaxed);
  crash_point("append:counting");
  // Release: who sees this number sees the two that go with it. The commit, a release as well, comes after all three.
  record.messages.store(next_sequence - others_sequences_, std::memory_order_release);
}

Code Appender::commit(std::byte* frame, uint64_t word, uint64_t span, uint32_t count, uint64_t timestamp) noexcept {
  const uint64_t before = offset_;
  const uint64_t end = before + span;
  const uint64_t sequence = next_sequence_;
  this->count(end, sequence + count);
  crash_point("append:filled");
  // Release: publishes header and payload to every reader that acquires this word.
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).store(word, std::memory_order_release);
  crash_point("append:committed");
  // Release: who sees the note gone sees the commit.
  claiming_->store(0, std::memory_order_release);
  offset_ = end;
  next_sequence_ = sequence + count;
  last_sequence_ = sequence + count - 1;
  last_timestamp_ns_ = timestamp;
  if ((before ^ end) >= kHintEvery) {
    segment_->note_tail(before, sequence);
    note_progress();
  }
  // A sleeper sets `parked`, runs a heavy barrier, and looks at the log again; so either it sees our commit, or we see
  // `parked`. The compiler must keep the order too; without heavy barriers the processor must be told.
  if (fence_) [[unlikely]] {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  const uint32_t parked = control_->parked.load(std::memory_order_relaxed);
  return (parked & 1) == 0 ? Code::kOk : wake(parked);
}

/// A reader sleeps, or the topic was deleted: then `parked` stays odd, and what was just committed will not be read.
Code Appender::wake(uint32_t parked) noexcept {
  // Acquire: pairs with tell_of_deletion(), which stores `deleted` before it makes the word odd for good.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (log_->is_deleted()) {
    limit_ = 0;
    return fail(Log::deleted());
  }
  // A new even value each time: a sleeper that is about to sleep on the old one then doesn't, even if another one parks.
  // Acquire: whoever has made it odd has armed its bell before.
  if (control_->parked.compare_exchange_strong(parked, parked + 1, std::memory_order_acq_rel)) {
    ring_bells(*control_);
    futex_wake_all(&control_->parked);
  }
  return Code::kOk;
}

/// Tells people who look at the slot how far this publisher is.
void Appender::note_progress() noexcept {
  control_->slots[slot_].messages.store(next_sequence_ - others_sequences_, std::memory_order_relaxed);
  control_->slots[slot_].bytes.store(offset_ - others_bytes_, std::memory_order_relaxed);
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
  return commit(frame, word, span, 1, fields.timestamp_ns);
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
      // Relaxed: no reader looks behind the first word before it is committed.
      std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).store(word, std::memory_order_relaxed);
    }
    at += span;
    last_timestamp = fields.timestamp_ns;
    fields.timestamp_ns += stamp_as.timestamp_step_ns;
    crash_point("batch:filling");
  }
  crash_point("batch:filled");
  return commit(first, first_word, bytes, count, last_timestamp);
}

bool Appender::has_room() {
  if (closed_) return true;
  // Looked at before it is asked for more, which forgets what made the preparer fail.
  under_pressure_ = log_->preparer().is_behind(*segment_, offset_);
  if (under_pressure_) log_->preparer().want(segment_, offset_, offset_, next_sequence_, slot_);
  return !under_pressure_;
}

bool Appender::prepare_to_close() { return closed_ || membership_.prepare_to_leave(); }

Status Appender::close(uint32_t timeout_ms) {
  if (closed_) return Status::success();
  closed_ = true;
  limit_ = 0;
  if (membership_.is_member()) note_progress();
  membership_.leave(*log_, timeout_ms);
  if (!membership_.is_member()) return Status::success();
  if (segment_ != nullptr) log_->preparer().retire(std::move(segment_));
  // Without other users the topic's threads and mappings end here, and not when this object is collected: a process that
  // removes the folder now finds no thread at work in it.
  control_ = nullptr;
  claiming_ = nullptr;
  log_.reset();
  return Status::success();
}

}  // namespace hermes
