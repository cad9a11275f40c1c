#include "core/log/removal.h"

#include <cerrno>
#include <cstdio>

#include "core/log/control.h"
#include "core/log/crash_point.h"
#include "core/platform/futex.h"
#include "core/platform/lock_file.h"

namespace hermes {
namespace {

/// REQUIRES: the topic's name is gone, so nobody new comes.
Status tell_of_deletion(const File& control) {
  uint64_t bytes = 0;
  Status status = control.size(&bytes);
  // A file that nobody can have open as a topic's.
  if (!status.ok() || bytes != kControlBytes) return status;
  MappedFile map;
  status = MappedFile::map(control, kControlBytes, MappedFile::Access::kReadWrite, &map);
  if (!status.ok()) return status;
  auto& block = *reinterpret_cast<ControlBlock*>(map.data());
  // Release, and before the word below: a publisher that finds that odd looks here for the reason (Appender::wake).
  block.deleted.store(kDeleted, std::memory_order_release);
  // Odd for good, and another value in any case: one who has seen the word odd before, and not `deleted`, can't make it even any more.
  uint32_t seen = block.parked.load(std::memory_order_relaxed);
  while (
      !block.parked.compare_exchange_weak(seen, (seen | 1) + 2, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  // As a sleeper does: a publisher's commit falls before this, or its later load of the word sees it odd.
  (void)heavy_barrier();
  futex_wake_all(&block.parked);
  return status;
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
  if (std::rename(folder.c_str(), aside.c_str()) != 0) return Status::from_errno(errno, "rename " + folder);
  crash_point("remove:renamed");
  // What can't be synced is gone all the same, unless the power fails now: then the topic is there as it was.
  const Status named = sync_directory(aside.substr(0, aside.rfind('/')));
  if (has_log) status = tell_of_deletion(control.file());
  crash_point("remove:told");
  return named.ok() ? status : named;
}

Status finish_removal(const std::string& aside) {
  File control;
  Status status = File::open(aside + "/control", true, &control);
  if (status.code == Code::kNotFound) return Status::success();
  return status.ok() ? tell_of_deletion(control) : status;
}

}  // namespace hermes
