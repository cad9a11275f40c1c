#include "core/log/retention.h"

#include <cerrno>
#include <cstdio>

#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint32_t kPatienceMs = 100;

/// Whether all messages of segment `number` are older than `age_ns`. The next segment's first message is the witness.
bool is_too_old(const Log& log, uint64_t number, uint64_t age_ns) {
  uint64_t base = 0;
  uint64_t first_ns = 0;
  if (!Segment::peek(log.folder(), number + 1, &base, &first_ns).ok() || first_ns == 0) return false;
  const uint64_t now = realtime_ns();
  return now > first_ns && now - first_ns > age_ns;
}

}  // namespace

Status apply_retention(Log& log) {
  ControlBlock& control = log.control();
  const auto [bytes, age_ns] = load_retention(control);
  if ((bytes == 0 && age_ns == 0) || log.active() == 0) return Status::success();

  LockFile locks;
  Status status = log.open_lock(&locks);
  if (!status.ok()) return status;
  ScopedLock lock(&locks, kRecoveryByte);
  status = lock.acquire(kPatienceMs);
  if (!status.ok()) return status;

  uint64_t first = log.first();
  const uint64_t active = log.active();
  // Everything below `active` is at stake: make sure that it's a segment in use, not a flipped bit.
  uint64_t base = 0;
  uint64_t first_ns = 0;
  status = Segment::peek(log.folder(), active, &base, &first_ns);
  if (!status.ok() || base == 0) return status;
  while (first < active) {
    const bool too_many = bytes != 0 && (active - first + 1) * control.segment_bytes > bytes;
    if (!too_many && (age_ns == 0 || !is_too_old(log, first, age_ns))) break;
    // `first` is raised before the name goes: a reader that finds no file looks here for the reason.
    raise_to(control.first, first + 1);
    const std::string path = Segment::path(log.folder(), first);
    if (std::remove(path.c_str()) != 0 && errno != ENOENT) return Status::from_errno(errno, "remove " + path);
    const std::string index = path.substr(0, path.size() - 3) + "idx";
    if (std::remove(index.c_str()) != 0 && errno != ENOENT) return Status::from_errno(errno, "remove " + index);
    ++first;
  }
  return status;
}

}  // namespace hermes
