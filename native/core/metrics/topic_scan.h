#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/group/layout.h"
#include "core/log/control.h"
#include "core/log/segment.h"
#include "core/metrics/folder_change.h"
#include "core/metrics/place_scan.h"
#include "core/platform/mapped_file.h"

namespace hermes {

/// A group's file, mapped to be read.
struct GroupView {
  std::string name;
  MappedFile map;
  GroupKind kind = GroupKind::kShared;
  uint32_t window = 0;
  Position at;  // a boundary at or before the floor, from an earlier look
  const GroupBlock& block() const { return *reinterpret_cast<const GroupBlock*>(map.data()); }
  const GroupEntry& entry(uint64_t sequence) const {
    return reinterpret_cast<const GroupEntry*>(map.data() + sizeof(GroupBlock))[sequence & (window - 1)];
  }
  bool is_durable() const { return kind == GroupKind::kDurable; }
  /// Has the processor fetch what a look reads. Each group has pages of its own, so each line is a miss; of a topic's groups they then overlap.
  void fetch() const {
    const GroupBlock& b = block();
    for (const void* line : {static_cast<const void*>(&b.floor), static_cast<const void*>(&b.next),
                             static_cast<const void*>(&b.totals), static_cast<const void*>(&b.slots[0])})
      __builtin_prefetch(line);
  }
};

/// Looks at one topic again and again: see PlaceScan.
class TopicScan {
 public:
  /// @param topics the folder that `name` is in, with this path
  TopicScan(std::string name, const std::string& path)
      : name_(std::move(name)),
        folder_(path + "/" + name_),
        control_path_(name_ + "/control"),
        groups_path_(name_ + "/groups"),
        quarantine_path_(name_ + "/quarantine") {}
  const std::string& name() const { return name_; }
  /// False if the folder is no topic any more. `topics` is open.
  bool look(int topics, TopicSample* out);
  /// Has the processor fetch what the next look begins with.
  void fetch() const {
    if (control_.data() == nullptr) return;
    __builtin_prefetch(&control().active);
    for (const auto& group : groups_) group->fetch();
  }

 private:
  bool open(int topics);
  void look_at_groups(int topics, std::vector<GroupSample>* out);
  Status walk(bool over_claims, Position* at);
  Status segment(uint64_t number, std::shared_ptr<Segment>* out);
  uint64_t time_of(GroupView& group, uint64_t sequence);
  uint64_t first_sequence(uint64_t first, uint64_t active, uint64_t written);
  const ControlBlock& control() const { return *reinterpret_cast<const ControlBlock*>(control_.data()); }

  std::string name_;
  std::string folder_;
  std::string control_path_, groups_path_, quarantine_path_;  // from the folder of all topics on
  MappedFile control_;
  FileIdentity identity_;
  uint64_t cut_ = 0;
  Position written_;
  std::shared_ptr<Segment> segment_;  // of written_
  std::shared_ptr<Segment> older_;    // that a group's floor was looked for in
  FolderChange folder_change_;
  bool has_changed_ = true;  // names in the folder, since the look before
  FolderChange groups_change_;
  FolderChange quarantine_change_;
  uint64_t quarantined_ = 0;
  uint64_t oldest_ = 0;  // number of the first segment, when its base was read
  uint64_t oldest_base_ = 0;
  std::vector<std::unique_ptr<GroupView>> groups_;
};

}  // namespace hermes
