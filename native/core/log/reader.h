#pragma once

#include <memory>

#include "core/log/log.h"

namespace hermes {

/// Why a scan went no further.
enum class ScanStop : uint8_t {
  kLimit,       ///< there may be more
  kEmpty,       ///< nothing more is committed yet
  kClaim,       ///< a publisher is writing here, or died while it did
  kSegmentEnd,  ///< the segment is done: the next one follows
  kDamage,      ///< the frame at `end` is not whole
};

struct Scan {
  uint32_t messages = 0;      ///< data frames in [from, end)
  uint64_t end = 0;           ///< offset behind the last frame looked at
  uint64_t sequence = 0;      ///< expected at `end`
  uint64_t timestamp_ns = 0;  ///< of the last data frame; 0 if there is none
  ScanStop stop = ScanStop::kEmpty;
};

/// Looks at committed frames of `segment` from `from` on, until `limit` messages or something else ends it. With `verify`,
/// everything that the CRC covers is checked; lengths, types and sequences always are. After it, the frames in [from, end)
/// may be read without further checks.
[[nodiscard]] Scan scan(const Segment& segment, uint64_t from, uint64_t sequence, uint32_t limit, uint32_t max_payload,
                        bool verify) noexcept;

/// A place in a topic from which messages are read: a subscriber's native half.
///
/// Thread safety: one thread at a time.
class Reader {
 public:
  /// The access says how segments are mapped. kRead: a mapping of its own, in which a stray store is caught by the hardware.
  Reader(std::shared_ptr<Log> log, MappedFile::Access access) : log_(std::move(log)), access_(access) {}

  /// Goes to the first message there is.
  Status seek_earliest();
  /// Goes behind the last committed message.
  Status seek_latest();
  /// Goes to `sequence`; kBehindRetention or kOutOfRange if there's no such place (the sequence after the last is one).
  Status seek_sequence(uint64_t sequence);
  /// Goes to where a whole frame is said to stand that begins with `at.sequence`. kNotFound, and nothing has changed, if none does (any more).
  Status seek_place(const Position& at);
  /// Goes to the first message with this timestamp or a later one, in the order of the log. If there is none yet, it goes to the end and
  /// awaits it: see pass_earlier().
  Status seek_time(uint64_t timestamp_ns);
  /// Do what the two would do first, and may take long: have the indexes of segments made. For `budget_ns`, and one segment more; `*done` tells
  /// whether the search itself is quick now. To be called on another thread, with a Reader of its own.
  Status prepare_sequence(uint64_t sequence);
  Status prepare_time(uint64_t timestamp_ns, uint64_t budget_ns, bool* done);
  /// Whether the message that the last seek_time() asked for has not come yet.
  bool awaits_time() const noexcept { return awaited_ns_ != 0; }
  /// Steps over what is committed from the position on, up to the message that is awaited (then `*stop` is kLimit), or as far as it goes
  /// within the segment. REQUIRES: there is a segment.
  Status pass_earlier(ScanStop* stop);

  /// Goes to the successor of the segment. kNotFound while it's not in use; kBehindRetention if it was removed.
  Status next_segment();
  /// Reads in what lies from `offset` on and was written a while ago, a few megabytes at a time: so that a disk that can't be read is
  /// kIoFailed here, and not a SIGBUS in scan. At the end of the log it does nothing: what is just being written is in memory.
  Status read_ahead(uint64_t offset) { return is_read(offset) ? Status::success() : read_ahead_now(offset); }
  /// Whether read_ahead() would do nothing.
  bool is_read(uint64_t offset) const noexcept { return offset < next_read_ahead_; }
  /// Goes behind damage at the position, to the next message that's whole, in this segment or the next. kNotFound if there's none yet.
  Status skip_damage();

  /// Null before the topic has its first segment.
  const std::shared_ptr<Segment>& segment() const noexcept { return segment_; }
  Position position() const noexcept { return position_; }
  void set_position(uint64_t offset, uint64_t sequence) noexcept {
    position_.offset = offset;
    position_.sequence = sequence;
  }
  Log& log() const noexcept { return *log_; }

 private:
  Status read_ahead_now(uint64_t offset);
  Status enter(uint64_t number);
  Status enter_first(uint64_t number);
  bool is_late(const Step& step) const noexcept;
  template <typename Arrived, typename AtEnd>
  Status walk(Arrived arrived, AtEnd at_end);
  bool is_damaged(const Status& status) const noexcept;
  Status walk_to_awaited();
  Status pass_damage(bool* passed);
  bool pass_damage_before(uint64_t sequence, Status* status);
  Status find_segment(uint64_t sequence, uint64_t* number);
  Status find_segment_of_time(uint64_t timestamp_ns, uint64_t until_ns, uint64_t* number);

  std::shared_ptr<Log> log_;
  MappedFile::Access access_;
  std::shared_ptr<Segment> segment_;
  Position position_;
  uint64_t next_read_ahead_ = 0;
  /// Messages stamped earlier are passed over until one comes that is not; 0 = none is awaited.
  uint64_t awaited_ns_ = 0;
};

}  // namespace hermes
