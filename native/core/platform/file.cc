#include "core/platform/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>

namespace hermes {

namespace {

/// The kernel's struct statx, as of Linux 6.8: older headers lack the mount's id.
struct KernelStatx {
  struct Time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
  };
  uint32_t mask;
  uint32_t block_bytes;
  uint64_t attributes;
  uint32_t links, user, group;
  uint16_t mode, reserved0;
  uint64_t inode, bytes, blocks, attributes_mask;
  Time accessed, born, changed, modified;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mount;
  uint64_t reserved1[13];
};
static_assert(sizeof(KernelStatx) == 256 && offsetof(KernelStatx, inode) == 32 && offsetof(KernelStatx, mount) == 144);

constexpr uint32_t kStatxInode = 0x100;
constexpr uint32_t kStatxBorn = 0x800;
constexpr uint32_t kStatxMount = 0x1000;        // Linux 5.8
constexpr uint32_t kStatxUniqueMount = 0x4000;  // Linux 6.8

/// Of the file at `path`, from the folder `at`; of the open file `at` itself if `path` is empty.
Status identify(int at, const std::string& path, FileIdentity* out) {
  *out = {};
#ifdef SYS_statx
  KernelStatx info = {};
  if (::syscall(SYS_statx, at, path.c_str(), AT_EMPTY_PATH, kStatxInode | kStatxBorn | kStatxMount | kStatxUniqueMount,
                &info) == 0) {
    out->device = makedev(info.dev_major, info.dev_minor);
    out->inode = info.inode;
    if ((info.mask & kStatxBorn) != 0)
      out->born_ns = static_cast<uint64_t>(info.born.seconds) * 1'000'000'000 + info.born.nanoseconds;
    if ((info.mask & (kStatxMount | kStatxUniqueMount)) != 0) out->mount = info.mount;
    return Status::success();
  }
#endif
  // An older kernel, or a sandbox that does not know the call.
  struct stat plain;
  if (::fstatat(at, path.c_str(), &plain, AT_EMPTY_PATH) != 0)
    return Status::from_errno(errno, path.empty() ? "stat" : "stat " + path);
  out->device = plain.st_dev;
  out->inode = plain.st_ino;
  return Status::success();
}

/// The kernel ends a process with SIGXFSZ that makes a file larger than it may (ulimit -f).
Status check_size_limit(uint64_t bytes) {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur)
    return Status::success();
  return {Code::kLimit, EFBIG,
          "a file of this process may have " + std::to_string(limit.rlim_cur) +
              " bytes at most (ulimit -f, LimitFSIZE=), and is to have " + std::to_string(bytes) +
              ". Raise the limit, or make the topic with smaller segments (segmentBytes)"};
}

}  // namespace

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void File::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Status File::open(const std::string& path, bool writable, File* out) {
  // Not waiting: a pipe in place of a file would have this wait for the opening of its other end. For files it means nothing.
  const int fd = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    struct stat link;
    // A folder, a socket, links in a circle, a link that leads nowhere: that one is no file that is missing, for none can be made there.
    const bool is_other = error == EISDIR || error == ENXIO || error == ENODEV || error == ELOOP ||
                          (error == ENOENT && ::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode));
    return is_other ? Status::error(Code::kCorrupt, path + " is not a file")
                    : Status::from_errno(error, "open " + path);
  }
  File file(fd);
  struct stat info;
  if (::fstat(fd, &info) != 0) return Status::from_errno(errno, "stat " + path);
  if (!S_ISREG(info.st_mode)) return Status::error(Code::kCorrupt, path + " is not a file");
  *out = std::move(file);
  return Status::success();
}

Status File::open_folder(const std::string& path, File* out) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Status::from_errno(errno, "open " + path);
  *out = File(fd);
  return Status::success();
}

Status File::create_temporary(const std::string& path, uint32_t mode, File* out, std::string* temporary) {
  static std::atomic<uint32_t> counter{0};
  char suffix[48];
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::snprintf(suffix, sizeof suffix, ".tmp-%d-%u", static_cast<int>(::getpid()),
                  counter.fetch_add(1, std::memory_order_relaxed));
    *temporary = path + suffix;
    const int fd = ::open(temporary->c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0) {
      // Before the mode: a change of the owner takes special bits away.
      inherit_ownership(fd, *temporary);
      // The mode that was asked for, whatever the umask: a topic shared with a group must be so in every file.
      if (::fchmod(fd, mode) != 0) {
        const int err = errno;
        ::close(fd);
        ::unlink(temporary->c_str());
        return Status::from_errno(err, "set the mode of " + *temporary);
      }
      *out = File(fd);
      return Status::success();
    }
    // A namesake is a leftover of a dead process of another PID namespace or an earlier boot: try the next name.
    if (errno != EEXIST) return Status::from_errno(errno, "create " + *temporary);
  }
  return Status::from_errno(EEXIST, "create " + *temporary);
}

Status File::publish(const std::string& temporary, const std::string& path, bool* won) {
  *won = true;
  if (::link(temporary.c_str(), path.c_str()) != 0) {
    const int err = errno;
    *won = false;
    ::unlink(temporary.c_str());
    if (err != EEXIST) return Status::from_errno(err, "name " + path);
    return Status::success();
  }
  ::unlink(temporary.c_str());
  return Status::success();
}

Status File::size(uint64_t* bytes) const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return Status::from_errno(errno, "stat");
  *bytes = static_cast<uint64_t>(info.st_size);
  return Status::success();
}

Status File::identity(FileIdentity* out) const { return identify(fd_, "", out); }

Status FileIdentity::of(const std::string& path, FileIdentity* out) { return identify(AT_FDCWD, path, out); }
Status FileIdentity::of(int folder, const std::string& path, FileIdentity* out) { return identify(folder, path, out); }

void inherit_ownership(int fd, const std::string& path) {
  struct stat made;
  struct stat folder;
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  if (::fstat(fd, &made) != 0 || ::stat(parent.c_str(), &folder) != 0) return;
  const uid_t owner = ::geteuid() == 0 ? folder.st_uid : made.st_uid;
  if (made.st_uid == owner && made.st_gid == folder.st_gid) return;
  // Refused if this process is not in that group: then its creator and those that the mode admits may use it.
  if (::fchown(fd, owner == made.st_uid ? static_cast<uid_t>(-1) : owner, folder.st_gid) != 0) return;
}

Status File::mode(uint32_t* mode) const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return Status::from_errno(errno, "stat");
  *mode = static_cast<uint32_t>(info.st_mode) & 0777;
  return Status::success();
}

bool File::in_memory() const noexcept {
  struct statfs info;
  return ::fstatfs(fd_, &info) == 0 && info.f_type == TMPFS_MAGIC;
}

uint64_t File::next_data(uint64_t offset) const noexcept {
  const off_t found = ::lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return static_cast<uint64_t>(found);
  uint64_t bytes = offset;
  // ENXIO: no data up to the end. Anything else: the file system can't tell, so everything may be data.
  if (errno == ENXIO && size(&bytes).ok()) return bytes;
  return offset;
}

uint64_t File::next_hole(uint64_t offset) const noexcept {
  const off_t found = ::lseek(fd_, static_cast<off_t>(offset), SEEK_HOLE);
  if (found >= 0) return static_cast<uint64_t>(found);
  uint64_t bytes = ~uint64_t{0};
  (void)size(&bytes);
  return bytes;
}

Status File::resize(uint64_t bytes) const {
  Status allowed = check_size_limit(bytes);
  if (!allowed.ok()) return allowed;
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return Status::from_errno(errno, "resize");
  return Status::success();
}

Status File::allocate(uint64_t offset, uint64_t bytes) const {
  Status allowed = check_size_limit(offset + bytes);
  if (!allowed.ok()) return allowed;
  // Not posix_fallocate: where the file system can't allocate, that one reads and writes back a byte of each block, and so
  // undoes what another process stores there meanwhile.
  int result;
  do {
    result = ::fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Status::success();
  if (errno == EOPNOTSUPP) {
    return Status::error(Code::kUnsupported,
                         "this file system can't allocate space ahead; use ext4, xfs, btrfs or tmpfs");
  }
  return Status::from_errno(errno, "allocate disk space");
}

Status File::read_at(uint64_t offset, void* into, size_t bytes) const {
  auto* cursor = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd_, cursor, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::from_errno(errno, "read");
    if (got == 0) return Status::error(Code::kCorrupt, "the file ends too early");
    cursor += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return Status::success();
}

Status File::write_at(uint64_t offset, const void* from, size_t bytes) const {
  Status allowed = check_size_limit(offset + bytes);
  if (!allowed.ok()) return allowed;
  const auto* cursor = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, cursor, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, "write");
    cursor += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<size_t>(put);
  }
  return Status::success();
}

Status File::sync_data() const {
  int result;
  do {
    result = ::fdatasync(fd_);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return Status::from_errno(errno, "sync to disk");
  return Status::success();
}

Status File::sync_names() const {
  int result;
  do {
    result = ::fsync(fd_);
  } while (result != 0 && errno == EINTR);
  // tmpfs and some network file systems can't sync a folder and need not.
  if (result != 0 && errno != EINVAL) return Status::from_errno(errno, "sync a folder to disk");
  return Status::success();
}

Status sync_directory(const std::string& path) {
  File folder;
  Status status = File::open_folder(path, &folder);
  return status.ok() ? folder.sync_names() : status;
}

Status disk_room(const std::string& path, uint64_t* free, uint64_t* total) {
  struct statvfs info;
  if (::statvfs(path.c_str(), &info) != 0) return Status::from_errno(errno, "statvfs " + path);
  *free = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  *total = static_cast<uint64_t>(info.f_blocks) * info.f_frsize;
  return Status::success();
}

}  // namespace hermes
