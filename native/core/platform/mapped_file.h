#pragma once

#include <cstddef>
#include <cstdint>

#include "core/platform/file.h"

namespace hermes {

/// A file seen as memory, shared with every other process that maps it. Unmapped on destruction.
/// The mapping outlives the descriptor, the name and the file's removal.
class MappedFile {
 public:
  enum class Access : uint8_t { kRead, kReadWrite };

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() { unmap(); }

  /// Maps the first `bytes` of `file`. REQUIRES: the file has at least that size (a touch beyond is a SIGBUS).
  static Status map(const File& file, uint64_t bytes, Access access, MappedFile* out);

  /// Makes pages present and writable, so that the first store doesn't fault. `offset` and `bytes` are multiples of 4,096.
  /// kDiskFull if a page can't be had (a store would be a SIGBUS); kUnsupported before Linux 5.14.
  Status populate(uint64_t offset, uint64_t bytes) noexcept;

  /// Asks for larger pages of the file system, if it has them, for what is populated from now on. They cost less to populate and
  /// to read, but the system writes each of them whole (up to 2 MiB) however little of it was changed.
  void prefer_large_pages(uint64_t offset, uint64_t bytes) noexcept;

  /// Reads pages in, so that the next load doesn't fault, and an unreadable disk is kIoFailed here and not a SIGBUS there.
  /// `offset` and `bytes` are multiples of 4,096. Before Linux 5.14 it does nothing.
  Status populate_for_reading(uint64_t offset, uint64_t bytes) const noexcept;

  /// Writes what was changed to the file and waits for the disk.
  Status sync() const noexcept;

  std::byte* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }
  void unmap() noexcept;

 private:
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// Whether this kernel can make pages present ahead of their use (Linux 5.14).
bool can_populate() noexcept;

}  // namespace hermes
