#include "core/log/retention.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/log/clock_step.h"
#include "core/log/group_floors.h"

namespace hermes {
namespace {

constexpr uint32_t kOpenTimeoutMs = 100;

/// Ages by the clock of this host, and by what is known of how that was set.
struct Now {
  uint64_t ns = 0;
  ClockStep step;
};

/// The times in a segment's header by the clock as it is now.
Status read_times(const Log& log, uint64_t number, const Now& now, SegmentTimes* out) {
  Status status = Segment::read_times(log.folder(), number, log.control(), out);
  out->created_ns = now.step.corrected(out->created_ns);
  if (out->used_since_ns != 0) out->used_since_ns = now.step.corrected(out->used_since_ns);
  return status;
}

/// When segment `number` was full, as the headers of later segments tell; 0 if that is not known. The stamps of the messages
/// are not asked: they come from publishers' clocks, also of other hosts, and would have to be checked one by one.
uint64_t full_since(const Log& log, uint64_t number, const Now& now) {
  for (uint64_t later = number + 1; later <= log.active(); ++later) {
    SegmentTimes times;
    if (!read_times(log, later, now, &times).ok()) return 0;
    if (times.used_since_ns != 0 && times.used_since_ns <= now.ns) return times.used_since_ns;
    // A time to come was noted by a clock that was ahead, none by an older release. Then the next one is the witness: it was made
    // when this one was in use.
    if (later > number + 1 && times.created_ns <= now.ns) return times.created_ns;
  }
  return 0;
}

/// Whether all messages of segment `number` are older than `age_ns`, by the clock of this host.
bool is_too_old(const Log& log, uint64_t number, uint64_t age_ns, const Now& now) {
  uint64_t since = full_since(log, number, now);
  if (since == 0) return false;
  // It was not full before it was in use, nor before its successor was made. That bounds what a clock notes that was behind for a while.
  for (uint64_t at = number; at <= number + 1; ++at) {
    SegmentTimes times;
    if (!read_times(log, at, now, &times).ok()) return false;
    for (const uint64_t bound : {times.created_ns, at == number ? times.used_since_ns : 0}) {
      if (bound <= now.ns) since = std::max(since, bound);
    }
  }
  return now.ns - since > age_ns;
}

}  // namespace

Status apply_retention(Log& log) {
  ControlBlock& control = log.control();
  const auto [bytes, age_ns, wait_bytes] = load_retention(control);
  if ((bytes == 0 && age_ns == 0) || log.active() == 0) return Status::success();

  LockFile locks;
  Status status = log.open_lock(&locks);
  if (!status.ok()) return status;
  ScopedLock lock(&locks, kRecoveryByte);
  status = lock.acquire(kOpenTimeoutMs);
  if (!status.ok()) return status;
  // The names may be those of a later topic: who deletes one holds this lock while he tells.
  if (log.is_gone()) return Log::deleted();

  TwoClocks clocks;
  // Held up in between, a look at two clocks tells nothing: age comes again in a second.
  const bool ages = age_ns != 0 && read_two_clocks(&clocks);
  const Now now = ages ? Now{clocks.realtime_ns, look_for_clock_step(control, clocks)} : Now{};
  uint64_t first = log.first();
  const uint64_t active = log.active();
  // Everything below `active` is at stake: make sure that it's a segment in use, not a flipped bit.
  uint64_t base = 0;
  uint64_t first_ns = 0;
  status = Segment::peek(log.folder(), active, &base, &first_ns);
  if (status.code == Code::kNotFound) status = Segment::missing(log.folder(), active);
  if (!status.ok() || base == 0) return status;
  // What groups have settled; looked at once there is something to remove.
  uint64_t settled = 0;
  while (first < active) {
    const bool too_many = bytes != 0 && (active - first + 1) * control.segment_bytes > bytes;
    if (!too_many && (!ages || !is_too_old(log, first, age_ns, now))) break;
    if (wait_bytes != 0 && (active - first + 1) * control.segment_bytes <= wait_bytes) {
      if (settled == 0) settled = lowest_group_floor(log.folder(), control.topic_id);
      status = Segment::peek(log.folder(), first + 1, &base, &first_ns);
      if (!status.ok() || base == 0 || base > settled) break;
    }
    // `first` is raised before the name goes: a reader that finds no file looks here for the reason.
    raise_to(control.first, first + 1);
    const std::string path = Segment::path(log.folder(), first);
    if (std::remove(path.c_str()) != 0 && errno != ENOENT) return Status::from_errno(errno, "remove " + path);
    const std::string index = SegmentIndex::path(log.folder(), first);
    if (std::remove(index.c_str()) != 0 && errno != ENOENT) return Status::from_errno(errno, "remove " + index);
    ++first;
  }
  return status;
}

}  // namespace hermes
