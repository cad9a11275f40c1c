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

  /// Makes pages present and writable, so that the first store doesn't fault. REQUIRES: their blocks are allocated.
  /// `offset` and `bytes` are multiples of 4,096.
  Status populate(uint64_t offset, uint64_t bytes) noexcept;

  std::byte* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }
  void unmap() noexcept;

 private:
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace hermes
