#include "core/log/removal.h"

#include <cerrno>
#include <cstdio>

#include "core/log/bells.h"
#include "core/log/control.h"
#include "core/log/crash_point.h"
#include "core/platform/futex.h"
#include "core/platform/lock_file.h"

namespace hermes {
namespace {

/// Not open where no process can have the file open as a topic's.
Status map_control(const File& control, MappedFile* out) {
  uint64_t bytes = 0;
  Status status = control.size(&bytes);
  if (!status.ok() || bytes != kControlBytes) return status;
  return MappedFile::map(control, kControlBytes, MappedFile::Access::kReadWrite, out);
}

ControlBlock& block_of(const MappedFile& map) { return *reinterpret_cast<ControlBlock*>(map.data()); }

/// REQUIRES: the topic's name is gone, so no new process comes.
void tell_of_deletion(ControlBlock& block) {
  // Release, and before the word below: a publisher that finds that odd looks here for the reason (Appender::wake).
  block.deleted.store(kDeleted, std::memory_order_release);
  // Odd for good, and another value in any case: one who has seen the word odd before, and not `deleted`, can't make it even any more.
  uint32_t seen = block.parked.load(std::memory_order_relaxed);
  while (
      !block.parked.compare_exchange_weak(seen, (seen | 1) + 2, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  // As a sleeper does: a publisher's commit falls before this, or its later load of the word sees it odd.
  (void)heavy_barrier();
  ring_bells(block);
  futex_wake_all(&block.parked);
}

}  // namespace

Status remove_topic(const std::string& folder, const std::string& aside, bool force, uint32_t timeout_ms) {
  LockFile control;
  Status status = LockFile::open(folder + "/control", &control);
  if (!status.ok() && status.code != Code::kNotFound) return status;
  const bool has_log = status.ok();
  if (has_log) {
    status = control.try_lock(kInUseByte, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy && !force) {
      return Status::error(Code::kBusy,
                           "the topic is in use. Close its publishers, subscribers and groups in all processes, or "
                           "delete it by force: they are told then");
    }
    if (!status.ok() && status.code != Code::kBusy) return status;
  }
  // Who makes, removes or recovers files of the topic holds one of these: afterwards he finds that it was deleted, and leaves the name alone.
  LockFile locks;
  status = LockFile::open(folder + "/locks", &locks);
  if (!status.ok() && status.code != Code::kNotFound) return status;
  ScopedLock recovery(&locks, kRecoveryByte);
  ScopedLock prepare(&locks, kPrepareByte);
  if (locks.is_open()) {
    status = recovery.acquire(timeout_ms);
    if (status.ok()) status = prepare.acquire(timeout_ms);
    if (!status.ok()) return status;
  }
  crash_point("remove:held");
  MappedFile map;
  if (has_log) {
    FileIdentity opened;
    FileIdentity there;
    status = control.file().identity(&opened);
    if (status.ok()) status = FileIdentity::of(folder + "/control", &there);
    // Another one was here before the locks were: what has the name now is a later topic, of which these may be no locks.
    if (status.code == Code::kNotFound || (status.ok() && !there.is_same_file(opened)))
      return Status::error(Code::kNotFound, folder + " has just been deleted");
    if (status.ok()) status = map_control(control.file(), &map);
    if (!status.ok()) return status;
  }
  std::atomic<uint32_t>* const deleted = map.data() != nullptr ? &block_of(map).deleted : nullptr;
  // Release: a reader that finds a file missing, because of the renaming, finds the reason (Log::is_gone), before it is told below.
  if (deleted != nullptr) deleted->store(kDeleting, std::memory_order_release);
  crash_point("remove:announced");
  if (std::rename(folder.c_str(), aside.c_str()) != 0) {
    status = Status::from_errno(errno, "rename " + folder);
    if (deleted != nullptr) deleted->store(0, std::memory_order_release);
    return status;
  }
  crash_point("remove:renamed");
  // What can't be synced is gone all the same, unless the power fails now: then the topic is there as it was.
  status = sync_directory(aside.substr(0, aside.rfind('/')));
  if (deleted != nullptr) tell_of_deletion(block_of(map));
  crash_point("remove:told");
  return status;
}

Status finish_removal(const std::string& aside) {
  File control;
  Status status = File::open(aside + "/control", true, &control);
  if (status.code == Code::kNotFound) return Status::success();
  MappedFile map;
  if (status.ok()) status = map_control(control, &map);
  if (status.ok() && map.data() != nullptr) tell_of_deletion(block_of(map));
  return status;
}

}  // namespace hermes
