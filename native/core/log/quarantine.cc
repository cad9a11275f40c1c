#include "core/log/quarantine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hermes {
namespace {

Status write_file(const std::string& path, uint32_t mode, const void* bytes, size_t count) {
  File file;
  std::string temporary;
  Status status = File::create_temporary(path, mode, &file, &temporary);
  if (!status.ok()) return status;
  status = file.write_at(0, bytes, count);
  if (status.ok()) status = file.sync_data();
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    status = Status::from_errno(errno, "name " + path);
  if (!status.ok()) std::remove(temporary.c_str());
  return status;
}

/// Whether the file has just this content.
bool holds(const std::string& path, const std::byte* bytes, uint64_t count) {
  File file;
  uint64_t size = 0;
  if (!File::open(path, false, &file).ok() || !file.size(&size).ok() || size != count) return false;
  std::byte block[4096];
  for (uint64_t at = 0; at < count; at += sizeof block) {
    const size_t part = std::min<uint64_t>(sizeof block, count - at);
    if (!file.read_at(at, block, part).ok() || std::memcmp(block, bytes + at, part) != 0) return false;
  }
  return true;
}

/// Makes the folder, and finds a name in it that's free or holds `bytes` already.
Status find_place(const Log& log, const Damage& damage, const std::byte* bytes, std::string* stem) {
  const std::string folder = log.folder() + "/quarantine";
  // The right to enter goes with the right to read.
  const uint32_t mode = log.file_mode() | (log.file_mode() & 0444) >> 2;
  if (::mkdir(folder.c_str(), mode) == 0) {
    // Whatever the umask and the maker's group, as all that is made here. One that was there is left as its owner wants it.
    const File made(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat above;
    if (::stat(log.folder().c_str(), &above) != 0 || !made.is_open())
      return Status::from_errno(errno, "open " + folder);
    inherit_ownership(made.fd(), folder);
    if (::fchmod(made.fd(), mode | (above.st_mode & S_ISGID)) != 0)
      return Status::from_errno(errno, "set the mode of " + folder);
    // Its name must be on the disk before what is set aside is not in the segment any more.
    Status status = sync_directory(log.folder());
    if (!status.ok()) return status;
  } else if (errno != EEXIST) {
    return Status::from_errno(errno, "make " + folder);
  }
  char name[64];
  std::snprintf(name, sizeof name, "/%010llu-%llu", static_cast<unsigned long long>(damage.segment),
                static_cast<unsigned long long>(damage.offset));
  // What was set aside before stays: after a crash in the middle of a repair, these bytes are no longer the first ones.
  *stem = folder + name;
  for (int n = 2; ::access((*stem + ".bin").c_str(), F_OK) == 0; ++n) {
    if (bytes != nullptr && holds(*stem + ".bin", bytes, damage.bytes)) break;
    *stem = folder + name + "-" + std::to_string(n);
  }
  return Status::success();
}

Status write_report(const Log& log, const Damage& damage, const std::string& stem) {
  const std::string report =
      "{\"segment\":" + std::to_string(damage.segment) + ",\"offset\":" + std::to_string(damage.offset) +
      ",\"bytes\":" + std::to_string(damage.bytes) + ",\"firstSequence\":" + std::to_string(damage.first_sequence) +
      ",\"count\":" + std::to_string(damage.count) + ",\"reason\":\"" + damage.reason + "\"}\n";
  Status status = write_file(stem + ".json", log.file_mode(), report.data(), report.size());
  if (status.ok()) status = sync_directory(log.folder() + "/quarantine");
  return status;
}

}  // namespace

Status quarantine(const Log& log, const Segment& segment, Damage* damage) {
  const std::byte* const bytes = segment.data() + damage->offset;
  std::string stem;
  Status status = find_place(log, *damage, bytes, &stem);
  if (!status.ok()) return status;
  damage->file = stem + ".bin";
  status = write_file(damage->file, log.file_mode(), bytes, damage->bytes);
  if (status.ok()) status = write_report(log, *damage, stem);
  return status;
}

Status quarantine_segment(const Log& log, Damage* damage) {
  std::string stem;
  Status status = find_place(log, *damage, nullptr, &stem);
  if (!status.ok()) return status;
  damage->file = stem + ".bin";
  const std::string path = Segment::path(log.folder(), damage->segment);
  if (std::rename(path.c_str(), damage->file.c_str()) != 0) return Status::from_errno(errno, "set aside " + path);
  status = write_report(log, *damage, stem);
  if (status.ok()) status = sync_directory(log.folder());
  return status;
}

}  // namespace hermes
