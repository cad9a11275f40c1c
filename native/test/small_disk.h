#pragma once

// Small file systems of their own for tests that fill them. Where the test may not mount one, `why_not` says so.

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "log_fixture.h"

namespace hermes::test {

/// A small file system of its own, unmounted at the end.
class SmallDisk {
 public:
  enum class Kind { kTmpfs, kExt4 };

  /// An ext4 is an image in `images`, or in a folder of its own.
  SmallDisk(Kind kind, uint64_t megabytes, const std::string& images = "") {
    if (kind == Kind::kTmpfs) {
      const std::string size = "size=" + std::to_string(megabytes) + "m";
      mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
      if (!mounted_) why_not = std::string("can't mount a tmpfs: ") + std::strerror(errno);
      return;
    }
    image_ = (images.empty() ? images_.path() : images) + "/image";
    const std::string command = "truncate -s " + std::to_string(megabytes) + "M " + image_ +
                                " && mkfs.ext4 -q -m 0 -b 4096 -O ^has_journal " + image_;
    mounted_ = run(command) && mount();
    if (!mounted_) why_not = "can't make and mount an ext4 image";
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  bool is_mounted() const { return mounted_; }
  std::string path() const { return folder_.path(); }
  std::string why_not;

  /// Takes the ext4 out of the system and puts it in again: nothing is left of it but what its image holds.
  bool remount() {
    mounted_ = ::umount(folder_.path().c_str()) == 0 && mount();
    return mounted_;
  }

  /// Takes room until `left` bytes are free.
  void fill_up(uint64_t left) {
    uint64_t free = 0;
    uint64_t total = 0;
    ASSERT_TRUE(disk_room(path(), &free, &total).ok());
    File file;
    std::string name;
    ASSERT_TRUE(File::create_temporary(path() + "/ballast", 0600, &file, &name).ok());
    ballast_.push_back(name);
    uint64_t size = 0;
    while (free > left) {
      const uint64_t part = std::min<uint64_t>(free - left, 1 << 20) / 4096 * 4096;
      if (part == 0 || !file.allocate(size, part).ok()) break;
      size += part;
      ASSERT_TRUE(disk_room(path(), &free, &total).ok());
    }
  }
  void give_room_back() {
    for (const std::string& name : ballast_) std::remove(name.c_str());
    ballast_.clear();
  }

 private:
  static bool run(const std::string& command) {
    return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
  }
  bool mount() { return run("mount -o loop " + image_ + " " + folder_.path()); }

  Folder folder_;
  Folder images_;
  std::string image_;
  bool mounted_ = false;
  std::vector<std::string> ballast_;
};

}  // namespace hermes::test
