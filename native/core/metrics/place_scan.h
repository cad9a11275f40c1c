#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/group/layout.h"
#include "core/log/position.h"
#include "core/log/segment.h"

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

/// Looks at all topics of a place and their groups, without a lock and without a store: no process is blocked, and no topic counts as in use. Keeps
/// the mappings from one look to the next, so that a look at a thousand topics takes milliseconds.
///
/// Thread safety: one thread at a time.
class PlaceScan {
 public:
  explicit PlaceScan(std::string root);
  PlaceScan(const PlaceScan&) = delete;
  PlaceScan& operator=(const PlaceScan&) = delete;
  ~PlaceScan();

  Status look(std::vector<TopicSample>* out);

 private:
  class Topic;
  std::string root_;
  std::map<std::string, std::unique_ptr<Topic>> topics_;
};

}  // namespace hermes
