#include "core/metrics/folder_change.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/metrics/book.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// The clock of a file system ticks so slowly that what happened within this time of a change may have left no trace.
constexpr int64_t kTickNs = 50'000'000;

}  // namespace

FolderChange change_of(int folder, const std::string& path) {
  struct stat info;
  if (::fstatat(folder, path.c_str(), &info, 0) != 0) return {};
  const int64_t ns = static_cast<int64_t>(info.st_ctim.tv_sec) * 1'000'000'000 + info.st_ctim.tv_nsec;
  return {ns, info.st_ino, static_cast<int64_t>(realtime_ns()) - ns < kTickNs};
}

std::vector<std::string> names_in(const std::string& folder, const std::string& ending) {
  std::vector<std::string> names;
  DIR* const dir = ::opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* const entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.size() <= ending.size() || !name.ends_with(ending) || name.find(".tmp") != std::string::npos) continue;
    const std::string bare = name.substr(0, name.size() - ending.size());
    if (is_series_name(bare.data(), bare.size())) names.push_back(bare);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace hermes
