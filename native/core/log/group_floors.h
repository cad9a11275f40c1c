#pragma once

#include <string>

#include "core/log/layout.h"

namespace hermes {

/// The lowest sequence that a group or durable subscription of the topic in `folder` has not settled; the highest number if it has none. Reads
/// the groups' files as docs/group-format.md has them, and opens no group. One that can't be read counts as not having begun; one that is
/// damaged, or belongs to an earlier topic of this name, does not count.
uint64_t lowest_group_floor(const std::string& folder, const TopicId& topic_id);

}  // namespace hermes
