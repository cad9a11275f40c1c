#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace hermes {

/// A stretch of any file as memory for code that can't be trusted with it: whatever is read from it
/// or stored to it, the process lives. So every page is readable and writable, and one that must
/// not reach the file is a private copy.
///
/// What can't be prevented: another process that makes the file shorter afterwards (touching the
/// lost pages is a SIGBUS), and a read error of the disk.
///
/// Thread safety: one thread at a time, except that the memory itself may be touched from any.
/// Invariants: [data, data + bytes) is mapped from map() to destruction; after release() to zeros
/// instead of the file.
class FileView {
 public:
  enum class Stores : uint8_t { kPrivate, kReachTheFile };
  enum class Populate : uint8_t { kNo, kYes };

  /// How the kernel is told what to expect; the numbers are those of madvise(2).
  static constexpr int kMaxAdvice = 4;
  static bool is_advice(int advice) noexcept { return advice >= 0 && advice <= kMaxAdvice; }
  static uint64_t page_size() noexcept;

  FileView() = default;
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;
  ~FileView();

  /// Maps `bytes` of the open file `fd` from `offset` on. kInvalidArgument unless the offset is a
  /// multiple of the page size and the stretch lies within a regular file. For stores that reach
  /// the file, holes are given disk blocks first (kDiskFull), where the file system can do so. The
  /// descriptor may be closed afterwards.
  Status map(int fd, uint64_t offset, uint64_t bytes, Stores stores, Populate populate);

  /// REQUIRES for all three: offset + bytes lie within the view.
  /// `offset` must be a multiple of the page size.
  Status advise(uint64_t offset, uint64_t bytes, int advice) noexcept;
  /// Writes changed pages to the file: before it returns if `blocking`, else soon.
  Status sync(uint64_t offset, uint64_t bytes, bool blocking, bool invalidate) noexcept;
  /// Counts the pages that are in memory and those that aren't.
  Status count_resident(uint64_t offset, uint64_t bytes, uint64_t* absent, uint64_t* present) noexcept;

  /// Lets go of the file. The addresses stay, as zeros, since a reader may still be using them:
  /// they are given back on destruction. Idempotent.
  Status release() noexcept;

  std::byte* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }
  bool is_released() const noexcept { return released_; }

 private:
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool released_ = false;
};

}  // namespace hermes
