#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hermes {

/// When names in a folder changed last, and which folder it is.
struct FolderChange {
  int64_t ns = -1;  ///< of its inode: no copy takes that over. -1: there is no such folder
  uint64_t inode = 0;
  bool is_recent = false;  ///< so recent that a later change may leave the time as it is
  bool is_there() const noexcept { return ns >= 0; }
  bool is_same(const FolderChange& before) const noexcept {
    return ns == before.ns && inode == before.inode && !is_recent && !before.is_recent;
  }
};

/// @param folder what `path` is relative to
FolderChange change_of(int folder, const std::string& path);

/// Names in a folder that end in `ending`, without it, and that topics and groups can have. In order; empty without such a folder.
std::vector<std::string> names_in(const std::string& folder, const std::string& ending);

}  // namespace hermes
