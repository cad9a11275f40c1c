#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/frame/claim_word.h"
#include "core/frame/frame.h"
#include "core/log/layout.h"
#include "core/platform/mapped_file.h"

namespace hermes {

/// What stands at a boundary of the chain of frames.
struct Step {
  enum class Kind : uint8_t { kEmpty, kClaim, kData, kPadding, kVoid, kSegmentEnd, kDamage };
  Kind kind;
  uint64_t span = 0;   ///< bytes to the next boundary; 0 for kEmpty, kSegmentEnd and kDamage
  uint64_t count = 0;  ///< sequences used up
  uint64_t word = 0;   ///< the first eight bytes as they were seen
};

/// The header of a committed frame. Its first word is taken as it was seen: others may be trying to claim it, in vain, at this moment.
inline FrameFields fields_of(const Step& step, const FrameHeader& header) noexcept {
  return {static_cast<FrameType>(step.word >> 40 & 0xFF), static_cast<uint16_t>(step.word >> 48), header.sequence,
          header.timestamp_ns, header.payload_len};
}
inline bool is_this_version(const Step& step) noexcept { return (step.word >> 32 & 0xFF) == kFrameVersion; }

/// What a segment's header says about the topic that it belongs to.
struct SegmentIdentity {
  TopicId topic_id;
  uint64_t segment_bytes;
};

/// What a segment's header says about when it was in use, in nanoseconds since 1970 by the clocks of the processes that wrote it.
struct SegmentTimes {
  uint64_t created_ns = 0;     ///< the file was made, perhaps long before it came into use
  uint64_t used_since_ns = 0;  ///< the segment before it was full; 0 = not known
};

/// Numbers of the segments that have a file, ascending. A folder that can't be read is an error, and not an empty one.
Status list_segments(const std::string& folder, std::vector<uint64_t>* numbers);

/// One mapped segment file.
///
/// Thread safety: any number of threads and processes. Invariant: `ready` never exceeds what is allocated on disk, and a
/// publisher stores nothing at or beyond it, so that no store can fail for want of room.
class Segment {
 public:
  /// Makes the file unless it exists.
  static Status create(const std::string& folder, uint64_t number, const ControlBlock& control, uint32_t mode);
  /// Maps and checks it. kBehindRetention if retention has removed it.
  static Status open(const std::string& folder, uint64_t number, const ControlBlock& control, MappedFile::Access access,
                     std::shared_ptr<Segment>* out);
  /// Reads the base sequence and the first frame's timestamp without mapping; 0 where there is none yet.
  static Status peek(const std::string& folder, uint64_t number, uint64_t* base_sequence, uint64_t* first_timestamp_ns);
  /// Reads the times in the header, without mapping. kCorrupt if the header can't be relied on.
  static Status read_times(const std::string& folder, uint64_t number, const ControlBlock& control, SegmentTimes* out);
  /// Reads a header without knowing the topic. kCorrupt or kVersionMismatch if it can't be relied on.
  static Status identify(const File& file, const std::string& path, SegmentIdentity* out);
  static std::string path(const std::string& folder, uint64_t number);
  /// The error for a segment that the topic counts as in use, and that has no file.
  static Status missing(const std::string& folder, uint64_t number);

  uint64_t number() const noexcept { return number_; }
  uint64_t bytes() const noexcept { return map_.bytes(); }
  std::byte* data() const noexcept { return map_.data(); }
  SegmentHeader& header() const noexcept { return *reinterpret_cast<SegmentHeader*>(map_.data()); }
  FrameHeader* frame(uint64_t offset) const noexcept { return reinterpret_cast<FrameHeader*>(map_.data() + offset); }
  std::atomic_ref<uint64_t> word(uint64_t offset) const noexcept {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(map_.data() + offset));
  }

  /// Notes when the segment came into use, unless another publisher has done so. To be called before its base sequence is stored.
  void note_use(uint64_t now_ns) noexcept;

  /// Looks at the boundary `offset`. Lengths are checked against the segment, contents are not.
  Step step(uint64_t offset) const noexcept;

  /// Whether nothing but zeros stands in [from, to). Others may be writing there: what they write meanwhile may be seen or not.
  [[nodiscard]] bool is_zero(uint64_t from, uint64_t to) const noexcept;
  /// Whether the frame that `step` found at `offset` is whole and has this sequence.
  [[nodiscard]] bool is_whole(uint64_t offset, const Step& step, uint64_t sequence,
                              uint32_t max_payload) const noexcept;
  /// Notes that a committed frame begins at `offset`, with this sequence: publishers that join find the end faster.
  void note_tail(uint64_t offset, uint64_t sequence) noexcept {
    const uint64_t base = header().base_sequence.load(std::memory_order_relaxed);
    header().tail_hint.store(offset / kFrameAlign << 32 | (sequence - base), std::memory_order_relaxed);
  }
  /// The noted boundary, if it lies behind `after` and what stands there is the frame that the note speaks of. A note that
  /// outlived its frame (a power cut, a flipped bit) is so found out: a publisher must not claim at a position that is no boundary.
  [[nodiscard]] bool find_noted_tail(uint64_t after, uint64_t* offset, uint64_t* sequence) const noexcept;

  /// Says where writing begins in a segment that others have filled up to `offset`. Without effect once prepared.
  void prepared_up_to(uint64_t offset) noexcept;
  /// Allocates and faults in [ready, limit) and raises `ready` to `limit`. One thread at a time.
  /// With `large_pages`, in larger pages where the file system has them: see MappedFile.
  Status prepare(uint64_t limit, bool large_pages = false);
  uint64_t ready() const noexcept { return ready_.load(std::memory_order_acquire); }
  /// Closed if the segment is mapped for reading: a subscriber keeps no descriptor for it. See look().
  const File& file() const noexcept { return file_; }
  /// A descriptor to ask with where the file has data, opened anew if there is none. Closed if the file has no name any more: everything may be
  /// data then, as it says itself.
  File look() const;
  const MappedFile& map() const noexcept { return map_; }

 private:
  uint64_t number_ = 0;
  std::string path_;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  File file_;
  MappedFile map_;
  std::atomic<uint64_t> ready_{0};
};

inline Step Segment::step(uint64_t offset) const noexcept {
  using Kind = Step::Kind;
  const uint64_t left = bytes() - offset;
  if (left < kFrameHeaderBytes) return {Kind::kSegmentEnd};
  // Acquire: pairs with the release of the committing publisher, so that the header and payload behind the magic are seen.
  const uint64_t word = this->word(offset).load(std::memory_order_acquire);
  if (word == 0) return {Kind::kEmpty};
  if (is_committed(word)) {
    const FrameHeader* header = frame(offset);
    const uint64_t span = frame_span(header->payload_len);
    if (span > left) return {Kind::kDamage, 0, 0, word};
    switch (static_cast<FrameType>(word >> 40 & 0xFF)) {
      case FrameType::kData:
        return {Kind::kData, span, 1, word};
      case FrameType::kPadding:
        if (span != left) break;
        return {Kind::kPadding, span, 0, word};
      case FrameType::kVoid: {
        uint32_t count = 1;
        if (header->payload_len >= sizeof(VoidBody)) std::memcpy(&count, header + 1, sizeof count);
        return {Kind::kVoid, span, count, word};
      }
    }
    return {Kind::kDamage, 0, 0, word};
  }
  const std::optional<Claim> claim = parse_claim_word(word);
  if (claim && claim->span_bytes <= left) return {Kind::kClaim, claim->span_bytes, claim->count, word};
  return {Kind::kDamage, 0, 0, word};
}

}  // namespace hermes
