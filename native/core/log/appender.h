#pragma once

#include <memory>
#include <span>
#include <string>

#include "core/log/log.h"
#include "core/log/membership.h"
#include "core/metrics/layout.h"
#include "core/platform/clock.h"

namespace hermes {

struct RecoveryReport;

/// What the frames of a batch carry besides their payloads.
struct BatchStamp {
  uint16_t flags = 0;
  uint64_t first_timestamp_ns = 0;  ///< 0 = now
  uint64_t timestamp_step_ns = 0;   ///< from one frame to the next
};

/// Appends messages to a topic: a publisher's native half.
///
/// Thread safety: one thread at a time. Any number of appenders, in any processes, append to one topic together.
///
/// Invariants: [offset_, …) of segment_ is a boundary of the chain or behind its end; every store goes below segment_->ready(); a
/// claim of ours is committed before the call that made it returns.
///
/// Hot path: `append` and `append_batch` make no allocation, take no lock and make no system call, except once
/// per stretch of prepared room (a megabyte or more), when the preparer is told to go on.
class Appender {
 public:
  struct Options {
    bool exclusive = false;
    uint32_t recovery_timeout_ms = 60'000;  ///< how long to wait for another's recovery, or sync; then kTimedOut
  };

  /// Takes a slot, recovers the topic if there is no other publisher and the last one died. `report` may be null.
  static Status open(std::shared_ptr<Log> log, const Options& options, std::unique_ptr<Appender>* out,
                     RecoveryReport* report);
  ~Appender();
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  /// Appends one message. On success last_sequence() and last_timestamp_ns() tell what it got.
  [[nodiscard]] Code append(const std::byte* payload, uint32_t length) noexcept;

  /// Appends `count` messages that become visible together, with dense sequences and one timestamp. `frames` holds whole
  /// frames back to back, `bytes` long, of which only `payload_len`, the payload and its zero padding need be filled.
  /// kInvalidArgument if the lengths do not add up or count is not 1 to 65,535.
  /// REQUIRES: `frames` does not change during the call.
  [[nodiscard]] Code append_batch(const std::byte* frames, uint64_t bytes, uint32_t count) noexcept {
    return append_batch(frames, bytes, count, BatchStamp{});
  }
  /// As above, with flags and timestamps of the caller's choice.
  [[nodiscard]] Code append_batch(const std::byte* frames, uint64_t bytes, uint32_t count,
                                  const BatchStamp& stamp) noexcept;

  /// Sequence and time of the newest message of the last successful call; 0 before the first.
  uint64_t last_sequence() const noexcept { return last_sequence_; }
  uint64_t last_timestamp_ns() const noexcept { return last_timestamp_ns_; }
  /// True after an append that used up room faster than it is prepared: better wait a moment than stall in the next one.
  bool under_pressure() const noexcept { return under_pressure_; }
  /// Whether room is prepared again.
  bool has_room();
  /// What the last kDiskFull, kIoFailed or kCorrupt was about.
  const Status& last_error() const noexcept { return last_error_; }

  uint32_t slot() const noexcept { return slot_; }
  bool is_closed() const noexcept { return closed_; }
  Log& log() const noexcept { return *log_; }  ///< REQUIRES: not closed
  uint32_t max_payload() const noexcept { return max_payload_; }

  /// From now on counts in this cell of the place's metrics file, which must be there until the next call. Null: in one of its own.
  /// REQUIRES: nothing was published yet, or nothing more will be.
  void count_in(NarrowCell* cell) noexcept { cell_ = cell != nullptr ? cell : &uncounted_; }

  /// Takes what closing needs to note that the topic was left in order, without waiting. False if another participant has it for a moment, or
  /// was stopped while it had.
  bool prepare_to_close();
  /// Gives the slot back. Idempotent; afterwards appends return kClosed. Waits up to `timeout_ms` for what prepare_to_close() takes.
  Status close(uint32_t timeout_ms = kCloseTimeoutMs);

 private:
  /// Without the lock by then, the next one has a little more to check.
  static constexpr uint32_t kCloseTimeoutMs = 100;
  explicit Appender(std::shared_ptr<Log> log);
  Status join(const Options& options, RecoveryReport* report);
  Status find_end(bool alone);
  Status is_followed(bool* followed);
  Status damaged() const;
  [[nodiscard]] Code claim(uint64_t span, uint32_t count) noexcept;
  [[nodiscard]] Code step_over(const Step& step) noexcept;
  [[nodiscard]] Code make_room(uint64_t span) noexcept;
  [[nodiscard]] Code pad() noexcept;
  [[nodiscard]] Code next_segment() noexcept;
  [[nodiscard]] Code catch_up(uint64_t active) noexcept;
  [[nodiscard]] Code fail(Status status) noexcept;
  [[nodiscard]] Code commit(std::byte* frame, uint64_t word, uint64_t span, uint32_t count,
                            uint64_t timestamp) noexcept;
  [[nodiscard]] Code wake(uint32_t parked) noexcept;
  void count(uint64_t end, uint64_t next_sequence) noexcept;
  void note_progress() noexcept;
  void move_to(uint64_t offset, uint64_t sequence) noexcept;
  void enter(std::shared_ptr<Segment> segment, uint64_t offset, uint64_t sequence) noexcept;

  // The hot words, together.
  std::byte* base_ = nullptr;                  // of the segment
  uint64_t offset_ = 0;                        // where the next claim is tried
  uint64_t next_sequence_ = 0;                 // that it would get
  uint64_t limit_ = 0;                         // up to here there's nothing to think about; 0 once closed
  std::atomic<uint64_t>* claiming_ = nullptr;  // where our slot notes what we claim
  uint64_t segment_note_ = 0;                  // claim_note() of the segment's beginning
  ControlBlock* control_ = nullptr;
  uint64_t last_sequence_ = 0;
  uint64_t last_timestamp_ns_ = 0;
  // What others have put before next_sequence_ and offset_: without it they say how much this appender has published. So no total is kept, and
  // counting a message takes no more than its stores.
  uint64_t others_sequences_ = 0;
  uint64_t others_bytes_ = 0;
  NarrowCell* cell_ = &uncounted_;
  uint64_t record_at_ = offsetof(NarrowCell, records);  // in the cell: the record that was written last
  uint32_t max_payload_ = 0;
  uint32_t slot_ = kSlots;
  bool exclusive_ = false;
  bool fence_ = false;  // the kernel offers no heavy barriers: fence after each commit
  bool under_pressure_ = false;
  bool closed_ = false;
  FastClock clock_;

  std::shared_ptr<Log> log_;
  std::shared_ptr<Segment> segment_;
  Membership membership_;
  Status last_error_;
  NarrowCell uncounted_ = {};
};

}  // namespace hermes
