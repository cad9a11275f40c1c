#pragma once

#include <functional>
#include <string>

#include "core/log/log.h"
#include "core/platform/fork_guard.h"

namespace hermes {

struct RecoveryReport;

/// A publisher's place among those of a topic: a slot, and the locks by which others see that it lives. The kernel releases the locks when the
/// process dies, so a slot that is in use and not locked was a dead publisher's.
///
/// Thread safety: one thread at a time.
///
/// Invariant: from join() to leave(), the byte of slot() is locked, and kPublishersByte is locked too, exclusively if the publisher is.
class Membership {
 public:
  Membership() = default;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  /// Takes a slot; recovers the topic if there is no other publisher and the last one died.
  ///
  /// `find_end` is called in possession of the slot and of the recovery lock, with whether there are no other publishers. If it then finds damage
  /// (kCorrupt), everything is recovered, and it is called once more.
  Status join(Log& log, bool exclusive, uint32_t timeout_ms, RecoveryReport* report,
              const std::function<Status(bool alone)>& find_end);

  uint32_t slot() const noexcept { return slot_; }  ///< kSlots if none was taken
  /// False in a forked child too: two processes under one name, and no telling who died.
  bool is_member() const noexcept { return slot_ != kSlots && !fork_guard_.in_child(); }
  bool in_child() const noexcept { return fork_guard_.in_child(); }

  /// Takes what leaving needs to note that the topic was left in order, without waiting. False if another participant has it for a moment, or
  /// was stopped while it had.
  bool prepare_to_leave();
  /// Gives the slot back. Waits up to `timeout_ms` for what prepare_to_leave() takes; without it, the next one to open the topic checks a little more.
  void leave(Log& log, uint32_t timeout_ms);

 private:
  Status take_slot(Log& log, bool alone);

  uint32_t slot_ = kSlots;
  ForkGuard fork_guard_;
  LockFile locks_;
};

}  // namespace hermes
