#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/log/position.h"
#include "core/log/segment.h"

namespace hermes {

class Log;

/// Where in one segment which sequences and times are, in steps of 64 KiB. Times are in no order within a segment: each publisher has its
/// clock, so a step keeps the latest one.
///
/// An index is a hint: a reader that uses it checks that a whole frame stands there.
class SegmentIndex {
 public:
  struct Step {
    uint64_t offset;     ///< of its first frame
    uint64_t sequence;   ///< of that frame
    uint64_t latest_ns;  ///< the latest timestamp of a message from here to the next step
  };
  enum class Check : uint8_t { kLengths, kEverything };

  /// Walks on from where the last call stopped, to the end of what is committed. With kEverything, messages that are not whole are not
  /// believed, and damage is stepped over; else the walk ends there.
  Status extend(const Segment& segment, uint32_t max_payload, Check check);
  /// Reads the file that store() wrote. kCorrupt if it is not one of this segment as it is now.
  Status load(const Log& log, const Segment& segment);
  Status store(const Log& log, const Segment& segment) const;
  static std::string path(const std::string& folder, uint64_t number);

  /// The last step that begins with `sequence` or before; null if there is none.
  const Step* before(uint64_t sequence) const noexcept;
  /// The first step with a message stamped `timestamp_ns` or later, else the last one; null if there is none.
  const Step* before_time(uint64_t timestamp_ns) const noexcept;
  uint64_t latest_ns() const noexcept;
  /// Whether it covers the whole segment, up to its padding or edge.
  bool is_complete() const noexcept { return complete_; }
  uint64_t segment() const noexcept { return at_.segment; }

 private:
  std::vector<Step> steps_;
  Position at_;        // the walk goes on here
  uint64_t last_ = 0;  // offset of the last frame; 0 if there is none
  bool complete_ = false;
};

/// The indexes of one Log. Those of sealed segments are kept in files beside them, and made by the first process that needs them; that of the
/// active one is kept in memory.
///
/// Thread safety: all methods may be called from any thread.
class SegmentIndexes {
 public:
  explicit SegmentIndexes(const Log& log) : log_(log) {}
  // The mutex is not held while an index is made: that takes up to a second, and others may be event loops.

  /// The latest timestamp of a message in sealed segment `number`; all ones if the segment can't be looked through to its end (a claim
  /// stands in the way). kBehindRetention if it was removed.
  Status latest_of(uint64_t number, uint64_t* latest_ns);
  /// A place in the segment at or before `sequence`, or before the first message stamped `timestamp_ns` or later, from where to walk.
  Status place_before(const Segment& segment, uint64_t sequence, Position* out) {
    return place(segment, false, sequence, out);
  }
  Status place_before_time(const Segment& segment, uint64_t timestamp_ns, Position* out) {
    return place(segment, true, timestamp_ns, out);
  }

 private:
  Status place(const Segment& segment, bool by_time, uint64_t wanted, Position* out);
  Status bring(const Segment& segment, std::shared_ptr<const SegmentIndex>* out);
  Status bring_sealed(const Segment& segment, std::shared_ptr<const SegmentIndex>* out);
  Status bring_active(const Segment& segment, std::shared_ptr<const SegmentIndex>* out);

  const Log& log_;
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<const SegmentIndex>>
      sealed_;  // a few, made when their segments were full, and everything in them checked
  std::shared_ptr<const SegmentIndex> active_;  // of the newest segment when it was asked for last
  std::map<uint64_t, uint64_t> latest_;         // of sealed segments
};

}  // namespace hermes
