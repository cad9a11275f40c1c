#include "core/group/group_file.h"

#include <cerrno>
#include <cstdio>

#include "core/log/membership.h"

namespace hermes {
namespace {

/// A refused caller tries again, and not on a thread that others need.
constexpr uint32_t kRemoveTimeoutMs = 20;
constexpr uint64_t kSalt = 0x48524D5350415245;

}  // namespace

uint64_t check_of(const GroupUse& use) noexcept {
  return kSalt ^ use.boot_id[0] ^ use.boot_id[1] ^ use.identity.device ^ use.identity.inode ^ use.identity.born_ns ^
         use.identity.mount ^ use.cut;
}

bool load_use(const GroupBlock& block, GroupUse* out) noexcept {
  // Acquire: what it vouches for was done before.
  const uint64_t check = block.use_check.load(std::memory_order_acquire);
  *out = {{block.boot_id[0].load(std::memory_order_relaxed), block.boot_id[1].load(std::memory_order_relaxed)},
          {block.identity[0].load(std::memory_order_relaxed), block.identity[1].load(std::memory_order_relaxed),
           block.identity[2].load(std::memory_order_relaxed), block.identity[3].load(std::memory_order_relaxed)},
          block.cut.load(std::memory_order_relaxed)};
  return check_of(*out) == check;
}

void store_use(GroupBlock& block, const GroupUse& use) noexcept {
  block.use_check.store(0, std::memory_order_relaxed);
  block.boot_id[0].store(use.boot_id[0], std::memory_order_relaxed);
  block.boot_id[1].store(use.boot_id[1], std::memory_order_relaxed);
  const uint64_t words[4] = {use.identity.device, use.identity.inode, use.identity.born_ns, use.identity.mount};
  for (int i = 0; i < 4; ++i) block.identity[i].store(words[i], std::memory_order_relaxed);
  block.cut.store(use.cut, std::memory_order_relaxed);
  block.use_check.store(check_of(use), std::memory_order_release);
}

// After a restart, or in a copy, what the control file and the segments say of the log's end may be of different times, until a publisher recovers it: the
// end that is found may lie in front of messages that are there, and what was settled of these would be forgotten. So it is recovered first, as a
// publisher would do it. Where there is a publisher, that is done.
Status recover_log(Log& log, uint32_t timeout_ms) {
  if (log.active() == 0 || log.is_as_left() || !log.writable()) return Status::success();
  Membership publisher;
  Status status = publisher.join(log, false, timeout_ms, nullptr, [](bool /*alone*/) { return Status::success(); });
  if (status.ok()) publisher.leave(log, timeout_ms);
  const bool is_done = status.code == Code::kExclusiveHeld || status.code == Code::kTooManyPublishers;
  return is_done ? Status::success() : status;
}

Status Group::remove(const std::string& path, bool force) {
  LockFile locks;
  Status status = LockFile::open(path, &locks);
  if (!status.ok()) return status;
  status = locks.lock(kMembershipByte, LockFile::Mode::kExclusive, kRemoveTimeoutMs);
  if (!status.ok() && !force) return status;
  status = locks.try_lock(kGroupInUseByte, LockFile::Mode::kExclusive);
  if (status.code == Code::kBusy && !force) {
    return Status::error(Code::kBusy,
                         "the group has members, or is being looked at; close them first, or delete it by force");
  }
  if (std::remove(path.c_str()) != 0) return Status::from_errno(errno, "remove " + path);
  return sync_directory(path.substr(0, path.rfind('/')));
}

}  // namespace hermes
