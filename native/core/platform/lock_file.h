#pragma once

#include <cstdint>
#include <string>

#include "core/platform/file.h"

namespace hermes {

/// Liveness by kernel-released locks: open-file-description locks on single bytes of a file. The kernel gives a lock back when
/// the last descriptor of its holder is closed, so also when the holder is killed; it can't be taken from one that is only slow.
///
/// Two LockFile objects exclude each other even within one process, so threads are participants like processes. A single
/// object is one participant: its calls don't conflict with each other.
class LockFile {
 public:
  enum class Mode : uint8_t { kShared, kExclusive };

  static Status open(const std::string& path, LockFile* out);
  /// Another participant on the same file, under whatever name it has now, if any.
  static Status open_again(const LockFile& other, const std::string& path, LockFile* out);

  /// As try_lock() below, on a file that is open already: the lock lasts until the last descriptor and the last mapping made of it are gone.
  static Status try_lock(const File& file, uint64_t byte, Mode mode);
  /// Takes or converts the lock on `byte` at once, or returns kBusy.
  Status try_lock(uint64_t byte, Mode mode);
  /// As try_lock, waiting up to `timeout_ms`; then kTimedOut.
  Status lock(uint64_t byte, Mode mode, uint32_t timeout_ms);
  void unlock(uint64_t byte) noexcept;
  /// Whether another participant holds `byte` in a way that would refuse an exclusive lock. Takes nothing.
  Status is_held(uint64_t byte, bool* held) const;

  const File& file() const noexcept { return file_; }
  bool is_open() const noexcept { return file_.is_open(); }
  void close() noexcept { file_.close(); }

 private:
  File file_;
};

/// Holds one byte for the length of a scope.
class ScopedLock {
 public:
  explicit ScopedLock(LockFile* file, uint64_t byte) : file_(file), byte_(byte) {}
  ScopedLock(const ScopedLock&) = delete;
  ScopedLock& operator=(const ScopedLock&) = delete;
  ~ScopedLock() {
    if (held_) file_->unlock(byte_);
  }
  /// At once, or kBusy.
  Status try_acquire() {
    Status status = file_->try_lock(byte_, LockFile::Mode::kExclusive);
    held_ = status.ok();
    return status;
  }
  Status acquire(uint32_t timeout_ms) {
    Status status = file_->lock(byte_, LockFile::Mode::kExclusive, timeout_ms);
    held_ = status.ok();
    return status;
  }

 private:
  LockFile* file_;
  uint64_t byte_;
  bool held_ = false;
};

}  // namespace hermes
