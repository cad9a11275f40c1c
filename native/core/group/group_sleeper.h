#pragma once

#include <functional>
#include <memory>

#include "core/group/group.h"
#include "core/group/log_cursor.h"
#include "core/platform/sleeper.h"

namespace hermes {

/// A member's wait for something to claim, for a SleeperPool to take care of: a new message, a returned one, a delayed one that is due, room in the window,
/// its turn to be the active one. Looks for members that are dead or late, and for a dead publisher's claim in the way.
class GroupSleeper final : public Sleeper {
 public:
  using Done = std::function<void(bool news)>;

  /// `slot` is the waiting member's. `done` is told whether there's something, or `timeout_ns` went by, or the wait was cancelled.
  GroupSleeper(std::shared_ptr<Group> group, uint32_t slot, uint64_t timeout_ns, Done done);

  bool is_over(uint64_t now_ns) override;
  Nap lie_down(uint64_t now_ns) override;
  void nudge() override;
  void finish() override;
  bool news() const noexcept { return news_; }

 private:
  bool has_news(uint64_t now_ns);
  bool has_claimable(uint64_t floor, uint64_t next, uint32_t tick) const;

  const std::shared_ptr<Group> group_;
  const uint32_t slot_;
  const uint64_t deadline_ns_;
  const Done done_;
  LogCursor cursor_;
  uint64_t claim_ = 0;  // a publisher's, seen at the cursor when we last looked
  bool news_ = false;
};

}  // namespace hermes
