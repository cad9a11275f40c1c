#include "core/platform/mapped_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; older headers do not name it
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace hermes {

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Status MappedFile::map(const File& file, uint64_t bytes, Access access, MappedFile* out) {
  const int protection = access == Access::kReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* address = ::mmap(nullptr, bytes, protection, MAP_SHARED, file.fd(), 0);
  if (address == MAP_FAILED) return Status::from_errno(errno, "map the file");
  out->unmap();
  out->data_ = static_cast<std::byte*>(address);
  out->bytes_ = bytes;
  return Status::success();
}

Status MappedFile::populate(uint64_t offset, uint64_t bytes) noexcept {
  int result;
  do {
    result = ::madvise(data_ + offset, bytes, MADV_POPULATE_WRITE);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Status::success();
  if (errno == EINVAL) return Status::error(Code::kUnsupported, "this kernel has no MADV_POPULATE_WRITE");
  // EFAULT: a store here would raise SIGBUS. With blocks allocated, or in memory, the cause is want of room.
  return Status::from_errno(errno == EFAULT ? ENOSPC : errno, "populate the mapping");
}

void MappedFile::prefer_large_pages(uint64_t offset, uint64_t bytes) noexcept {
  constexpr uint64_t kLargest = uint64_t{2} << 20;
  // A large page that lies only partly in what is advised is not made. What is there already stays as it is.
  const uint64_t begin = offset / kLargest * kLargest;
  const uint64_t end = std::min((offset + bytes + kLargest - 1) / kLargest * kLargest, bytes_);
  // Only a wish, so the answer is not looked at.
  (void)::madvise(data_ + begin, end - begin, MADV_HUGEPAGE);
}

Status MappedFile::populate_for_reading(uint64_t offset, uint64_t bytes) const noexcept {
  int result;
  do {
    result = ::madvise(data_ + offset, bytes, MADV_POPULATE_READ);
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno == EINVAL) return Status::success();
  // EFAULT: a load here would raise SIGBUS: the disk can't be read, or the file was truncated.
  return Status::from_errno(errno == EFAULT ? EIO : errno, "read the file");
}

Status MappedFile::sync() const noexcept {
  int result;
  do {
    result = ::msync(data_, bytes_, MS_SYNC);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? Status::success() : Status::from_errno(errno, "sync the mapping to disk");
}

bool can_populate() noexcept {
  constexpr uint64_t kPage = 4096;
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  const bool can = ::madvise(page, kPage, MADV_POPULATE_WRITE) == 0;
  ::munmap(page, kPage);
  return can;
}

void MappedFile::unmap() noexcept {
  if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
}

}  // namespace hermes
