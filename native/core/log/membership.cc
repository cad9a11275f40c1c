#include "core/log/membership.h"

#include <unistd.h>

#include "core/log/recovery.h"
#include "core/log/repair.h"
#include "core/platform/clock.h"

namespace hermes {

Status Membership::join(Log& log, bool exclusive, uint32_t timeout_ms, RecoveryReport* report,
                        const std::function<Status(bool alone)>& find_end) {
  RecoveryReport unread;
  if (report == nullptr) report = &unread;
  Status status = log.open_lock(&locks_);
  if (!status.ok()) return status;
  LockFile gate;
  status = log.open_lock(&gate);
  if (!status.ok()) return status;
  ScopedLock recovery(&gate, kRecoveryByte);
  status = recovery.acquire(timeout_ms);
  if (!status.ok()) return status;
  // Who deletes the topic holds this lock: from here on the name may be a later topic's.
  if (log.is_gone()) return Log::deleted();
  // Who had said that it would delete the topic was killed before it did.
  uint32_t announced = kDeleting;
  log.control().deleted.compare_exchange_strong(announced, 0, std::memory_order_relaxed);

  status = locks_.try_lock(kPublishersByte, LockFile::Mode::kExclusive);
  const bool alone = status.ok();
  if (alone) {
    status = recover(log, false, report, timeout_ms);
    if (!status.ok()) return status;
  } else if (status.code != Code::kBusy) {
    return status;
  } else if (exclusive) {
    return Status::error(Code::kExclusiveHeld, "the topic has other publishers; an exclusive one must be the only one");
  }
  if (!exclusive) {
    status = locks_.try_lock(kPublishersByte, LockFile::Mode::kShared);
    if (status.code == Code::kBusy) {
      return Status::error(Code::kExclusiveHeld, "another publisher holds the topic exclusively");
    }
    if (!status.ok()) return status;
  }
  status = take_slot(log, alone);
  if (status.ok()) status = find_end(alone);
  if (status.code == Code::kCorrupt && alone) {
    // Damage that arose where everything had been found good. No other publisher is at work: the recovery lock keeps others out.
    status = recover(log, true, report, timeout_ms);
    if (status.ok()) status = find_end(alone);
  }
  return status;
}

/// REQUIRES: the recovery lock is held.
Status Membership::take_slot(Log& log, bool alone) {
  for (uint32_t n = 0; n < kSlots; ++n) {
    Status status = locks_.try_lock(kSlotByte + n, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy) continue;
    if (!status.ok()) return status;
    ParticipantSlot& slot = log.control().slots[n];
    // Taken, but unlocked: its owner died. If we're alone, recovery has dealt with what it left.
    if (!alone && slot.state.load(std::memory_order_relaxed) != 0) {
      status = void_stale_claims(log, n);
      if (!status.ok()) return status;
    }
    slot.pid.store(static_cast<uint32_t>(::getpid()), std::memory_order_relaxed);
    slot.taken_ns.store(realtime_ns(), std::memory_order_relaxed);
    slot.messages.store(0, std::memory_order_relaxed);
    slot.bytes.store(0, std::memory_order_relaxed);
    // Only now that the claims of the one before are void: until then his note vouches for them.
    slot.claiming.store(0, std::memory_order_relaxed);
    slot.notes.store(slot.taken_ns.load(std::memory_order_relaxed) ^ kNotesSalt, std::memory_order_relaxed);
    slot.state.store(1, std::memory_order_release);
    slot_ = n;
    return status;
  }
  return Status::error(Code::kTooManyPublishers,
                       "the topic has " + std::to_string(kSlots) + " publishers already, as many as it can have");
}

bool Membership::prepare_to_leave() {
  if (!is_member()) return true;
  // What can't be asked for is no reason to wait.
  return locks_.try_lock(kRecoveryByte, LockFile::Mode::kExclusive).code != Code::kBusy;
}

void Membership::leave(Log& log, uint32_t timeout_ms) {
  if (is_member()) {
    // By the descriptor that we have: a process that has none left must be able to give its slot back. What it holds ends with it.
    const Status status = locks_.lock(kRecoveryByte, LockFile::Mode::kExclusive, timeout_ms);
    ControlBlock& control = log.control();
    control.slots[slot_].state.store(0, std::memory_order_release);
    // The last one out notes that nothing is left to recover. If a dead publisher's claim is left, that's not so.
    const bool last = status.ok() && locks_.try_lock(kPublishersByte, LockFile::Mode::kExclusive).ok();
    if (last) {
      log.advance_checkpoint();
      if (log.ends_cleanly()) control.closed_in_order.store(1, std::memory_order_release);
    }
  }
  locks_.close();
}

}  // namespace hermes
