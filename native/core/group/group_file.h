#pragma once

#include "core/group/group.h"

namespace hermes {

/// Replaces the numbers. REQUIRES: the membership lock, or no other process has the file.
void store_rules(GroupNumbers& numbers, const GroupRules& rules) noexcept;
/// kInvalidArgument if a member could not go by them.
Status check_rules(const GroupRules& rules);

/// In which boot, as which file and after which cut of the log the group file was in use last.
struct GroupUse {
  uint64_t boot_id[2] = {};
  FileIdentity identity;
  uint64_t cut = 0;
};
/// What vouches for the words of `use` in the file.
[[nodiscard]] uint64_t check_of(const GroupUse& use) noexcept;
/// False if that was never noted, or is damaged.
[[nodiscard]] bool load_use(const GroupBlock& block, GroupUse* out) noexcept;
void store_use(GroupBlock& block, const GroupUse& use) noexcept;

/// Recovers the log if the machine was restarted since it was in use, or it is a copy, unless a publisher has. kTimedOut if that takes others longer.
Status recover_log(Log& log, uint32_t timeout_ms);
/// The sequence that the next message of the topic will get.
Status end_of_log(Log& log, uint64_t* end);

}  // namespace hermes
