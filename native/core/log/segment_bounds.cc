#include "core/log/segment_bounds.h"

#include <dirent.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/log/base_sequence.h"
#include "core/log/quarantine.h"

namespace hermes {
namespace {

/// Removes the temporary files of segments whose maker died.
void remove_half_made(const Log& log) {
  // A publisher that has just closed may still have its next segment made.
  LockFile locks;
  if (!log.open_lock(&locks).ok() || !locks.try_lock(kPrepareByte, LockFile::Mode::kExclusive).ok()) return;
  const std::string& folder = log.folder();
  DIR* directory = ::opendir(folder.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = ::readdir(directory)) {
    if (std::strstr(entry->d_name, ".seg.tmp-") != nullptr) std::remove((folder + "/" + entry->d_name).c_str());
  }
  ::closedir(directory);
}

class BoundsSearch {
 public:
  BoundsSearch(Log& log, const LogOrigin& origin, std::vector<Damage>* damage, SegmentBounds* bounds)
      : log_(log), control_(log.control()), origin_(origin), damage_(*damage), bounds_(*bounds) {}

  Status find() {
    std::vector<uint64_t> numbers;
    Status listed = list_segments(log_.folder(), &numbers);
    if (!listed.ok()) return listed;
    remove_half_made(log_);
    uint64_t newest = 0;
    for (const uint64_t number : numbers) {
      uint64_t base = 0;
      uint64_t timestamp = 0;
      Status status = Segment::peek(log_.folder(), number, &base, &timestamp);
      if (status.code == Code::kCorrupt) continue;  // truncated: opening it says so, if it is needed
      if (!status.ok()) return status;
      if (base != 0) newest = number;
    }
    const uint64_t believed = log_.active();
    // In use by all that we know, and yet without a base sequence: it is found again from the segment before. After a power
    // cut, though, a segment whose base never reached the disk holds nothing that was promised to be there: unless it begins with a whole frame,
    // which is in one sector with the base, and was stored later. Then the base is damaged.
    if (believed > newest && std::binary_search(numbers.begin(), numbers.end(), believed) && newest != 0 &&
        (!origin_.after_cut || can_tell_its_base(believed))) {
      newest = believed;
      bounds_.doubtful = true;
    }
    // Retention has left one that has lost its base sequence alone.
    if (newest == 0 && believed > 1 && std::binary_search(numbers.begin(), numbers.end(), believed) &&
        can_tell_its_base(believed))
      newest = believed;
    if (newest == 0) return make_first(numbers);
    Position synced;
    if (!origin_.copied && believed > newest && load_position(control_.synced, &synced) && synced.segment > newest &&
        synced.segment <= believed) {
      return missing_segment(log_, newest + 1);
    }
    Status status = find_first(numbers, newest);
    if (!status.ok()) return status;
    for (const uint64_t number : numbers) {
      if (number <= newest) continue;
      status = set_aside_unless_blank(number);
      if (!status.ok()) return status;
    }
    if (origin_.after_cut && believed > newest) control_.active.store(newest, std::memory_order_release);
    raise_to(control_.active, newest);
    if (log_.active() != newest) return missing_segment(log_, newest + 1);
    if (believed != newest) control_.closed_in_order.store(0, std::memory_order_release);
    std::shared_ptr<Segment> segment;
    status = log_.segment(newest, &segment);
    if (!status.ok()) return status;
    const uint64_t base = segment->header().base_sequence.load(std::memory_order_acquire);
    FirstFrame first;
    // A publisher must not start from a wrong number.
    if ((find_first_frame(*segment, control_.max_payload, &first) && base != first.base) ||
        (!origin_.after_cut && !can_reach(*segment, base, log_.known())))
      bounds_.doubtful = true;
    return status;
  }

 private:
  /// Whether the base sequence that a segment has lost follows from its first frame, or from what is known.
  bool can_tell_its_base(uint64_t number) {
    std::shared_ptr<Segment> segment;
    const Position known = origin_.after_cut ? Position{} : log_.known();
    return log_.segment(number, &segment).ok() && judge_base(log_, *segment, known) != 0;
  }

  /// The oldest segment is where the unbroken row of files begins that ends with the newest. A crash may have left some that
  /// retention had given up, or `first` is damaged: nothing is removed on its word, retention comes again.
  Status find_first(const std::vector<uint64_t>& numbers, uint64_t newest) {
    uint64_t oldest = newest;
    for (auto at = std::lower_bound(numbers.begin(), numbers.end(), newest);
         at != numbers.begin() && *(at - 1) == oldest - 1; --at) {
      uint64_t base = 0;
      uint64_t timestamp = 0;
      Status status = Segment::peek(log_.folder(), *(at - 1), &base, &timestamp);
      // Made by one who was overtaken, after retention had removed the segment of that number, and who died before it took it away again.
      if (status.ok() && base == 0 && timestamp == 0 && *(at - 1) < log_.first()) {
        status = set_aside_if_blank(*(at - 1));
        if (!status.ok()) return status;
        break;
      }
      --oldest;
    }
    const uint64_t believed = log_.first();
    if (believed != 0 && believed < oldest && numbers.front() < oldest) return missing_segment(log_, oldest - 1);
    control_.first.store(oldest, std::memory_order_release);
    return Status::success();
  }

  Status set_aside_if_blank(uint64_t number) {
    std::shared_ptr<Segment> segment;
    Status status = log_.segment(number, &segment);
    if (!status.ok() || !segment->is_zero(kSegmentHeaderBytes, segment->bytes())) return status;
    segment.reset();
    Damage damage = {number, 0, control_.segment_bytes, 0, 0, "an empty segment before the oldest one", ""};
    status = quarantine_segment(log_, &damage);
    if (status.ok()) damage_.push_back(std::move(damage));
    return status;
  }

  /// A segment that is not in use yet must be empty behind its header: publishers take what's not zero for claims and frames.
  Status set_aside_unless_blank(uint64_t number) {
    std::shared_ptr<Segment> segment;
    Status status = log_.segment(number, &segment);
    if (status.ok() && segment->is_zero(kSegmentHeaderBytes, segment->bytes())) return status;
    if (!status.ok() && status.code != Code::kCorrupt) return status;
    Damage damage = {number, 0, control_.segment_bytes,
                     0,      0, status.ok() ? "a segment whose beginning never reached the disk" : status.context,
                     ""};
    segment.reset();
    status = quarantine_segment(log_, &damage);
    if (status.ok()) damage_.push_back(std::move(damage));
    return status;
  }

  Status make_first(const std::vector<uint64_t>& numbers) {
    if (log_.active() > 1 || (!numbers.empty() && numbers.front() != 1)) {
      return Status::error(Code::kCorrupt,
                           "the segments of " + log_.folder() + " are missing or have lost their headers");
    }
    bounds_.fresh = true;
    // Its segments were taken away while a process may have it open.
    if (log_.active() != 0) count_recovery(control_);
    Status status = Segment::create(log_.folder(), 1, control_, log_.file_mode());
    std::shared_ptr<Segment> segment;
    if (status.ok()) status = log_.segment(1, &segment);
    if (!status.ok()) return status;
    segment->header().base_sequence.store(1, std::memory_order_release);
    // A file that was there, with something in it, has lost its base sequence: it has to be checked like any other.
    if (!segment->is_zero(kSegmentHeaderBytes, segment->bytes())) {
      bounds_.fresh = false;
      bounds_.doubtful = true;
    }
    raise_to(control_.first, 1);
    raise_to(control_.active, 1);
    store_position(control_.checkpoint, {1, kSegmentHeaderBytes, 1});
    return status;
  }

  Log& log_;
  ControlBlock& control_;
  const LogOrigin& origin_;
  std::vector<Damage>& damage_;
  SegmentBounds& bounds_;
};

}  // namespace

Status find_bounds(Log& log, const LogOrigin& origin, std::vector<Damage>* damage, SegmentBounds* bounds) {
  return BoundsSearch(log, origin, damage, bounds).find();
}

Status missing_segment(const Log& log, uint64_t number) {
  return Status::error(
      Code::kCorrupt,
      Segment::path(log.folder(), number) +
          " is missing. Bring it back; or, to go on without it, move all older segments of the topic away "
          "(or all newer ones, with the control file)");
}

}  // namespace hermes
