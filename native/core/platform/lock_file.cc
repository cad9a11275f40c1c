#include "core/platform/lock_file.h"

#include <fcntl.h>
#include <time.h>

#include <cerrno>

#include "core/platform/clock.h"

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

namespace hermes {
namespace {

struct flock byte_range(uint64_t byte, short type) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(byte);
  range.l_len = 1;
  range.l_pid = 0;  // required by the OFD commands
  return range;
}

}  // namespace

Status LockFile::open(const std::string& path, LockFile* out) {
  Status status = File::open(path, true, &out->file_);
  // A process that may only read can take no exclusive locks, but may query their holders.
  if (status.code == Code::kAccessDenied) status = File::open(path, false, &out->file_);
  return status;
}

Status LockFile::open_again(const LockFile& other, const std::string& path, LockFile* out) {
  // A name of the file itself: that in `path` may be gone, or another file's by now.
  Status status = open("/proc/self/fd/" + std::to_string(other.file_.fd()), out);
  // Without /proc, or in a program that it is closed to (one with capabilities of its file), there is only the path.
  return status.ok() ? status : open(path, out);
}

Status LockFile::try_lock(uint64_t byte, Mode mode) { return try_lock(file_, byte, mode); }

Status LockFile::try_lock(const File& file, uint64_t byte, Mode mode) {
  struct flock range = byte_range(byte, mode == Mode::kShared ? F_RDLCK : F_WRLCK);
  if (::fcntl(file.fd(), F_OFD_SETLK, &range) == 0) return Status::success();
  if (errno == EAGAIN || errno == EACCES) {
    return Status::error(Code::kBusy, "another participant holds the lock");
  }
  return Status::from_errno(errno, "lock");
}

Status LockFile::lock(uint64_t byte, Mode mode, uint32_t timeout_ms) {
  // The kernel offers no timed wait for these locks. Polling costs little: they're held for short sections.
  const uint64_t deadline = monotonic_ns() + uint64_t{timeout_ms} * 1'000'000;
  long pause_ns = 20'000;
  for (;;) {
    Status status = try_lock(byte, mode);
    if (status.code != Code::kBusy) return status;
    if (monotonic_ns() >= deadline) {
      return Status::error(Code::kTimedOut, "another participant kept the lock for too long");
    }
    const timespec pause = {0, pause_ns};
    ::nanosleep(&pause, nullptr);
    if (pause_ns < 1'000'000) pause_ns *= 2;
  }
}

void LockFile::unlock(uint64_t byte) noexcept {
  struct flock range = byte_range(byte, F_UNLCK);
  (void)::fcntl(file_.fd(), F_OFD_SETLK, &range);
}

Status LockFile::is_held(uint64_t byte, bool* held) const {
  struct flock range = byte_range(byte, F_WRLCK);
  if (::fcntl(file_.fd(), F_OFD_GETLK, &range) != 0) return Status::from_errno(errno, "query a lock");
  *held = range.l_type != F_UNLCK;
  return Status::success();
}

}  // namespace hermes
