#include "core/log/group_floors.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/group/layout.h"
#include "core/platform/file.h"

namespace hermes {
namespace {

constexpr std::string_view kExtension = ".grp";

uint64_t floor_of(const std::string& path, const TopicId& topic_id) {
  File file;
  Status status = File::open(path, false, &file);
  if (status.code == Code::kNotFound) return ~uint64_t{0};
  uint64_t magic = 0;
  TopicId id;
  uint64_t floor = 0;
  if (status.ok()) status = file.read_at(0, &magic, sizeof magic);
  if (status.ok()) status = file.read_at(offsetof(GroupBlock, topic_id), &id, sizeof id);
  if (status.ok()) status = file.read_at(offsetof(GroupBlock, floor), &floor, sizeof floor);
  if (status.code == Code::kCorrupt) return ~uint64_t{0};
  if (!status.ok()) return 1;
  return magic == kGroupMagic && id == topic_id ? floor & kSequenceMask : ~uint64_t{0};
}

}  // namespace

uint64_t lowest_group_floor(const std::string& folder, const TopicId& topic_id) {
  const std::string groups = folder + "/groups";
  DIR* const directory = ::opendir(groups.c_str());
  if (directory == nullptr) return errno == ENOENT ? ~uint64_t{0} : 1;
  uint64_t lowest = ~uint64_t{0};
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kExtension) || name.find(".tmp") != std::string_view::npos) continue;
    lowest = std::min(lowest, std::max<uint64_t>(floor_of(groups + "/" + entry->d_name, topic_id), 1));
  }
  ::closedir(directory);
  return lowest;
}

}  // namespace hermes
