#include "core/platform/file_view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace hermes {
namespace {

// From linux/magic.h, which some C libraries come without.
constexpr long kHugePages = 0x958458f6;

static_assert(MADV_NORMAL == 0 && MADV_DONTNEED == FileView::kMaxAdvice);

Status map_failed(int err, const char* doing) {
  // Too many mappings at once, or no addresses left.
  if (err == ENOMEM) {
    return {Code::kIoFailed, err,
            std::string(doing) + ": the process has as many mappings as it may; unmap what is no longer needed"};
  }
  if (err == ENODEV) return {Code::kUnsupported, err, std::string(doing) + ": this file can't be mapped"};
  return Status::from_errno(err, doing);
}

Status check_range(int fd, uint64_t offset, uint64_t bytes) {
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    const int err = errno;
    if (err == EBADF) return {Code::kInvalidArgument, err, "there is no open file " + std::to_string(fd)};
    return Status::from_errno(err, "stat");
  }
  if (!S_ISREG(info.st_mode)) return Status::error(Code::kInvalidArgument, "only regular files can be mapped");
  struct statfs place;
  if (::fstatfs(fd, &place) == 0 && static_cast<long>(place.f_type) == kHugePages) {
    return Status::error(Code::kUnsupported, "files of huge pages can't be mapped");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  if (bytes == 0 || offset > size || bytes > size - offset) {
    return Status::error(Code::kInvalidArgument, std::to_string(bytes) + " bytes from offset " +
                                                     std::to_string(offset) +
                                                     " are not all within the file, which has " + std::to_string(size));
  }
  return Status::success();
}

/// A store into a hole of a full disk is a SIGBUS: holes are filled first. There is no cheap way to
/// tell that there are none: the count of blocks includes some that hold no data, and looking for
/// holes moves the descriptor's position.
Status fill_holes(int fd, uint64_t offset, uint64_t bytes) {
  int result;
  do {
    result = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  // EBADF: not open for writing, which the mapping reports better. EOPNOTSUPP: docs/mmap.md says
  // what follows.
  if (result == 0 || errno == EOPNOTSUPP || errno == EBADF) return Status::success();
  return Status::from_errno(errno, "allocate disk space for the mapping");
}

}  // namespace

uint64_t FileView::page_size() noexcept {
  static const auto size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

FileView::~FileView() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Status FileView::map(int fd, uint64_t offset, uint64_t bytes, Stores stores, Populate populate) {
  if (offset % page_size() != 0) {
    return Status::error(Code::kInvalidArgument, "the offset must be a multiple of the page size, " +
                                                     std::to_string(page_size()) + ", and is " +
                                                     std::to_string(offset));
  }
  Status status = check_range(fd, offset, bytes);
  if (!status.ok()) return status;
  const bool shared = stores == Stores::kReachTheFile;
  if (shared) {
    status = fill_holes(fd, offset, bytes);
    if (!status.ok()) return status;
  }
  // Private pages are mapped for reading first: populating writable ones would copy them all.
  const int protection = shared ? PROT_READ | PROT_WRITE : PROT_READ;
  const int flags =
      (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE) | (populate == Populate::kYes ? MAP_POPULATE : 0);
  void* address = ::mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return map_failed(errno, "map the file");
  if (!shared && ::mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) {
    status = map_failed(errno, "make the mapping safe to write");
    ::munmap(address, bytes);
    return status;
  }
  data_ = static_cast<std::byte*>(address);
  bytes_ = bytes;
  return status;
}

Status FileView::advise(uint64_t offset, uint64_t bytes, int advice) noexcept {
  if (!is_advice(advice)) return Status::error(Code::kInvalidArgument, "there is no such advice");
  if (offset % page_size() != 0) {
    return Status::error(Code::kInvalidArgument, "advice can only be given from the beginning of a page on");
  }
  if (bytes == 0 || released_) return Status::success();
  if (::madvise(data_ + offset, bytes, advice) != 0) return Status::from_errno(errno, "advise");
  return Status::success();
}

Status FileView::sync(uint64_t offset, uint64_t bytes, bool blocking, bool invalidate) noexcept {
  if (bytes == 0 || released_) return Status::success();
  const uint64_t before = offset % page_size();
  const int flags = (blocking ? MS_SYNC : MS_ASYNC) | (invalidate ? MS_INVALIDATE : 0);
  if (::msync(data_ + offset - before, bytes + before, flags) == 0) return Status::success();
  // EBUSY: pages of the stretch are locked in memory (mlock), and were to be invalidated.
  if (errno == EBUSY) return {Code::kBusy, EBUSY, "the pages are locked in memory and can't be invalidated"};
  return Status::from_errno(errno, "sync the mapping");
}

Status FileView::count_resident(uint64_t offset, uint64_t bytes, uint64_t* absent, uint64_t* present) noexcept {
  *absent = 0;
  *present = 0;
  if (bytes == 0 || released_) return Status::success();
  const uint64_t page = page_size();
  const uint64_t begin = offset / page * page;
  const uint64_t pages = (offset + bytes - begin + page - 1) / page;
  unsigned char marks[4096];
  for (uint64_t done = 0; done < pages;) {
    const uint64_t count = std::min<uint64_t>(pages - done, sizeof marks);
    if (::mincore(data_ + begin + done * page, count * page, marks) != 0) {
      if (errno == EAGAIN) continue;
      return Status::from_errno(errno, "ask which pages are in memory");
    }
    const auto here =
        static_cast<uint64_t>(std::count_if(marks, marks + count, [](unsigned char mark) { return (mark & 1) != 0; }));
    *present += here;
    *absent += count - here;
    done += count;
  }
  return Status::success();
}

Status FileView::release() noexcept {
  if (released_ || data_ == nullptr) return Status::success();
  // In one step, so that no other mapping gets these addresses in between.
  constexpr int kFlags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (::mmap(data_, bytes_, PROT_READ | PROT_WRITE, kFlags, -1, 0) == MAP_FAILED)
    return map_failed(errno, "unmap the file");
  released_ = true;
  return Status::success();
}

}  // namespace hermes
