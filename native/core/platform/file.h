#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "core/status.h"

namespace hermes {

/// Which file this is: in the life of one boot, no copy of it and no later file of the same number has the same one, and another mounting of
/// the same disk tells itself, too. 0 where the system does not tell.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t born_ns = 0;  ///< when the file was made, ns since 1970: no copy can take that over
  uint64_t mount = 0;    ///< never given out again in this boot since Linux 6.8; before, perhaps after an unmounting

  friend bool operator==(const FileIdentity& a, const FileIdentity& b) noexcept {
    return a.device == b.device && a.inode == b.inode && a.born_ns == b.born_ns && a.mount == b.mount;
  }
  /// Whether both are one file while one of them is held open, however it was reached.
  bool is_same_file(const FileIdentity& other) const noexcept { return device == other.device && inode == other.inode; }
  /// Of the file that has this name now. kNotFound if there is none.
  static Status of(const std::string& path, FileIdentity* out);
  /// The same, of a path that is relative to an open folder: the kernel has fewer names to look up.
  static Status of(int folder, const std::string& path, FileIdentity* out);
};

/// An open file descriptor, closed on destruction. Opened close-on-exec, so that a spawned program holds no locks.
class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(); }

  /// Opens an existing file, for writing too if `writable`.
  static Status open(const std::string& path, bool writable, File* out);
  /// Makes a temporary file in the folder of `path`, with `mode` whatever the umask, and the folder's group; `publish` gives it the name.
  static Status create_temporary(const std::string& path, uint32_t mode, File* out, std::string* temporary);
  /// Links `temporary` to `path` if that name is free and removes `temporary`. `*won` tells whether this call made the name.
  static Status publish(const std::string& temporary, const std::string& path, bool* won);

  /// Opens a folder, to sync the names in it.
  static Status open_folder(const std::string& path, File* out);

  Status size(uint64_t* bytes) const;
  Status identity(FileIdentity* out) const;
  Status mode(uint32_t* mode) const;  ///< permission bits
  Status resize(uint64_t bytes) const;
  /// Reserves disk blocks, so that later stores through a mapping can't fail for want of room (SIGBUS).
  Status allocate(uint64_t offset, uint64_t bytes) const;
  Status read_at(uint64_t offset, void* into, size_t bytes) const;  ///< short files are kCorrupt
  Status write_at(uint64_t offset, const void* from, size_t bytes) const;
  /// A failure is final for what was written before it: the kernel tells it once per open file, and then takes the lost pages for clean.
  Status sync_data() const;
  /// The same for the names in a folder.
  Status sync_names() const;
  /// Whether the file lives in memory (tmpfs): there's no block to reserve, only pages.
  bool in_memory() const noexcept;
  /// The first offset at or after `offset` that may hold data, or the file's size if there is none.
  uint64_t next_data(uint64_t offset) const noexcept;

  /// Where the next hole begins at or behind `offset`: the file's size if there is none, or the file system can't tell.
  uint64_t next_hole(uint64_t offset) const noexcept;

  int fd() const noexcept { return fd_; }
  bool is_open() const noexcept { return fd_ >= 0; }
  void close() noexcept;

 private:
  int fd_ = -1;
};

/// Gives what was just made in a folder the folder's group, as far as this process may, and its owner too if it is root's process: who
/// shares the folder must be able to use the file, whichever process made it.
void inherit_ownership(int fd, const std::string& path);
/// Makes the names in a folder durable.
Status sync_directory(const std::string& path);
/// Bytes that an unprivileged process may still allocate on the file system of `path`, and its whole size.
Status disk_room(const std::string& path, uint64_t* free, uint64_t* total);

}  // namespace hermes
