#include "core/platform/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; older headers do not name it
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
  // EINVAL: a kernel before 5.14. The pages then fault one by one under the writer, slower but as safe.
  if (errno == EINVAL) return Status::success();
  if (errno == EFAULT || errno == EHWPOISON) return Status::from_errno(EIO, "populate the mapping");
  return Status::from_errno(errno, "populate the mapping");
}

void MappedFile::unmap() noexcept {
  if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
}

}  // namespace hermes
