#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/group/layout.h"
#include "core/log/position.h"
#include "core/metrics/folder_change.h"
#include "core/platform/file.h"

namespace hermes {

/// What a group's file says.
struct GroupSample {
  std::string name;
  GroupKind kind = GroupKind::kShared;
  uint64_t floor = 0;
  uint64_t next = 0;
  uint64_t lag = 0;  ///< messages that are written and not settled: of voids as well
  uint64_t behind_ns =
      0;  ///< since 1970: when the message at `floor` was published; 0 = there's none, or it isn't known yet
  uint64_t in_flight = 0;
  bool full = false;  ///< the window is full: one message holds up all others
  uint64_t settled = 0;
  uint64_t redelivered = 0;
  uint64_t late = 0;
  uint64_t rejected = 0;
  uint64_t lost = 0;
  uint64_t taken = 0;
  uint32_t members = 0;
};

/// What a topic's files say.
struct TopicSample {
  /// As new, but with the memory that it has.
  void reset(const std::string& topic) {
    std::vector<GroupSample> kept = std::move(groups);
    *this = {};
    groups = std::move(kept);
    groups.clear();
    name = topic;
  }
  std::string name;
  uint64_t first = 1;  ///< sequence of the oldest message that is there
  uint64_t claimed = 1;
  uint64_t written = 1;
  uint64_t synced = 1;
  uint64_t segments = 0;
  uint64_t disk_bytes = 0;
  uint64_t used_bytes = 0;
  uint64_t quarantined = 0;  ///< reports in `quarantine/`
  bool disk_alarm = false;
  bool sync_failed = false;
  bool unreadable = false;  ///< the files can't be read as those of a topic: the numbers are not known
  std::vector<GroupSample> groups;
};

class TopicScan;

/// Looks at all topics of a place and their groups, without a lock and without a store: no process is blocked, and no topic counts as in use. Keeps
/// the mappings from one look to the next, so that a look at a thousand topics takes milliseconds: two or three system calls for each, and a few
/// lines of memory for each group.
///
/// Thread safety: one thread at a time.
class PlaceScan {
 public:
  explicit PlaceScan(std::string root);
  PlaceScan(const PlaceScan&) = delete;
  PlaceScan& operator=(const PlaceScan&) = delete;
  ~PlaceScan();

  /// @param out what an earlier look has left there is used again: memory for a thousand topics is megabytes
  Status look(std::vector<TopicSample>* out);

 private:
  void list();

  std::string root_;
  File folder_;  // `topics`
  FileIdentity folder_identity_;
  FolderChange change_;
  std::vector<std::unique_ptr<TopicScan>> topics_;  // by name
};

}  // namespace hermes
