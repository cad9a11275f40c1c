#pragma once

#include <memory>
#include <string>

#include "core/platform/lock_file.h"
#include "core/platform/mapped_file.h"
#include "core/ring/participant.h"
#include "core/ring/ring_layout.h"

namespace hermes {

/// A ring in a file, for several processes. Put the file on a memory file system (/dev/shm): a ring
/// is volatile by nature. Byte `i` of the file is the lock of participant `i`, held while it is
/// attached and dropped by the kernel when it dies.
///
/// Thread safety: one RingFile is at most one participant, used by one thread at a time; `probe`
/// may be called by any thread. A thread that wants to be a participant of its own opens the file
/// again.
///
/// Lifetime: views of `memory()` must not outlive the RingFile.
class RingFile {
 public:
  RingFile() = default;
  RingFile(const RingFile&) = delete;
  RingFile& operator=(const RingFile&) = delete;
  ~RingFile() { close(); }

  /// Opens the ring at `path`; makes it first if there is none. An existing ring must agree with
  /// `shape` and the tag in `options`, otherwise kConfigMismatch. `shape.capacity` 0 accepts any,
  /// and doesn't create: kNotFound. `file_mode` is that of a new file, whatever the umask.
  Status open(const std::string& path, const RingShape& shape, const RingOptions& options = {},
              uint32_t file_mode = 0600);
  /// Opens whatever sound ring there is. The caller checks its kind, item size and tag.
  Status open_any(const std::string& path);

  /// Becomes the producer or the consumer of an SPSC ring: kExclusiveHeld if a living process is
  /// it. Call `adopt` on the view afterwards.
  Status attach(RingRole role);
  /// Becomes a participant of an MPMC ring. Call `adopt(*entry, *unclean)` on the view afterwards.
  Status join(uint32_t* entry, bool* unclean);

  /// Finds attached participants whose lock is free and marks them dead. Returns how many it found.
  uint32_t probe() noexcept;

  /// Closes the attachment in an orderly way and unmaps (see `mapping`). Idempotent.
  void close() noexcept;

  void* memory() const noexcept { return mapped_ == nullptr ? nullptr : mapped_->data(); }
  size_t bytes() const noexcept { return mapped_ == nullptr ? 0 : mapped_->bytes(); }
  /// A share of the mapping: who holds it may look at `memory()` beyond `close`.
  std::shared_ptr<MappedFile> mapping() const noexcept { return mapped_; }
  bool attached() const noexcept { return mine_ != kNobody; }

 private:
  static constexpr uint32_t kNobody = ~0u;

  RingLayout* layout() const noexcept { return reinterpret_cast<RingLayout*>(mapped_->data()); }
  Status create(const std::string& path, const RingShape& shape, const RingOptions& options, uint32_t file_mode);
  Status map(const std::string& path, MappedFile* mapped);
  Status adopt(const std::string& path, MappedFile mapped);
  Status check_name() const;
  Status take(uint32_t entry, uint32_t* before);

  std::shared_ptr<MappedFile> mapped_;  // null while closed
  LockFile lock_;
  std::string path_;
  FileIdentity identity_;  // of the mapped file
  uint32_t mine_ = kNobody;
};

/// The error that a refused create or attach means to a caller above the core.
Status describe(RingStatus status, const std::string& what);

}  // namespace hermes
