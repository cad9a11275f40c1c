#pragma once

#include <string>

#include "core/status.h"

namespace hermes {

/// Deletes a topic: gives its folder the name `aside`, beside it, in one step, and tells all who have the topic open. From then on its name is free;
/// the caller removes what lies at `aside`. A process killed before the step leaves the topic as it was, one killed after it leaves `aside`:
/// finish_removal() then tells in his place.
///
/// kBusy while a process has the topic open, unless `force`; kNotFound; kTimedOut after `timeout_ms` in which another participant keeps a lock
/// for work on the topic's files: to be tried again, unless that one was stopped.
Status remove_topic(const std::string& folder, const std::string& aside, bool force, uint32_t timeout_ms);

/// Tells all who have the topic open that lies at `aside` that it was deleted. To be called before its files are removed. Harmless a second time.
Status finish_removal(const std::string& aside);

}  // namespace hermes
