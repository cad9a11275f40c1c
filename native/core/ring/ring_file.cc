#include "core/ring/ring_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/ring/ring_eventcount.h"

namespace hermes {

Status describe(RingStatus status, const std::string& what) {
  switch (status) {
    case RingStatus::kOk:
      return Status::success();
    case RingStatus::kMisaligned:
      return Status::error(Code::kInvalidArgument, what + ": the memory of a ring starts at a multiple of 128 bytes");
    case RingStatus::kTooSmall:
      return Status::error(Code::kCorrupt, what + ": the memory ends before the ring does");
    case RingStatus::kBadCapacity:
      return Status::error(Code::kInvalidArgument, what + ": the capacity must be a power of two, at most 2^30");
    case RingStatus::kBadOption:
      return Status::error(Code::kInvalidArgument, what + ": item size, participants or start index out of range");
    case RingStatus::kNotRing:
      return Status::error(Code::kNotHermes, what + ": holds no ring");
    case RingStatus::kVersion:
      return Status::error(Code::kVersionMismatch,
                           what + ": a ring of another format version; use the release that made it");
    case RingStatus::kKind:
      return Status::error(Code::kConfigMismatch, what + ": a ring of another kind");
    case RingStatus::kItemSize:
      return Status::error(Code::kConfigMismatch, what + ": a ring of items of another size");
    case RingStatus::kTag:
      return Status::error(Code::kConfigMismatch, what + ": a ring of items of another layout");
    case RingStatus::kCorrupt:
      return Status::error(Code::kCorrupt, what + ": the ring is damaged; remove it when no process uses it");
    case RingStatus::kBusy:
      return Status::error(Code::kExclusiveHeld, what + ": the role is held by a living participant");
    case RingStatus::kNoRoom:
      return Status::error(Code::kTooManyPublishers, what + ": every participant entry is taken");
  }
  return Status::error(Code::kCorrupt, what);
}

namespace {

Status remade(const std::string& path) {
  return Status::error(Code::kNotFound,
                       path + ": the ring was removed, and another one made, while it was being opened. Open it again");
}

}  // namespace

/// Whether the name still stands for the ring that is mapped here: on one that was removed we would be alone.
Status RingFile::check_name() const {
  FileIdentity there;
  Status status = FileIdentity::of(path_, &there);
  return status.ok() && !there.is_same_file(identity_) ? remade(path_) : status;
}

Status RingFile::map(const std::string& path, MappedFile* mapped) {
  File file;
  Status status = File::open(path, true, &file);
  if (!status.ok()) return status;
  uint64_t size = 0;
  status = file.size(&size);
  if (status.ok()) status = file.identity(&identity_);
  if (!status.ok()) return status;
  if (size < kRingDataOffset) return describe(RingStatus::kNotRing, path);
  return MappedFile::map(file, size, MappedFile::Access::kReadWrite, mapped);
}

Status RingFile::adopt(const std::string& path, MappedFile mapped) {
  // Opened anew, as the lock must not last as long as the mapping. The name may have got another file between the two.
  Status status = LockFile::open(path, &lock_);
  FileIdentity locked;
  if (status.ok()) status = lock_.file().identity(&locked);
  if (status.ok() && !locked.is_same_file(identity_)) status = remade(path);
  if (!status.ok()) {
    lock_.close();
    return status;
  }
  mapped_ = std::make_shared<MappedFile>(std::move(mapped));
  path_ = path;
  return status;
}

Status RingFile::open(const std::string& path, const RingShape& shape, const RingOptions& options, uint32_t file_mode) {
  close();
  MappedFile mapped;
  Status status = map(path, &mapped);
  if (status.code == Code::kNotFound && shape.capacity != 0) {
    status = create(path, shape, options, file_mode);
    if (!status.ok()) return status;
    status = map(path, &mapped);
  }
  if (!status.ok()) return status;
  const RingStatus sound = check_ring(mapped.data(), mapped.bytes(), shape, &options.tag);
  if (sound == RingStatus::kBadCapacity) {
    return Status::error(Code::kConfigMismatch, path + ": a ring of another capacity");
  }
  if (sound != RingStatus::kOk) return describe(sound, path);
  return adopt(path, std::move(mapped));
}

Status RingFile::open_any(const std::string& path) {
  close();
  MappedFile mapped;
  const Status status = map(path, &mapped);
  if (!status.ok()) return status;
  RingHeader header;
  std::memcpy(&header, mapped.data(), sizeof header);
  const RingShape its_own{static_cast<RingKind>(header.kind), header.item_size, 0};
  const RingStatus sound = check_ring(mapped.data(), mapped.bytes(), its_own);
  if (sound != RingStatus::kOk) return describe(sound, path);
  return adopt(path, std::move(mapped));
}

// Completes the ring under a temporary name first, so that no process sees half of one. If two
// processes do this at once, one of them makes the name, and both then open that one's ring.
Status RingFile::create(const std::string& path, const RingShape& shape, const RingOptions& options,
                        uint32_t file_mode) {
  const bool framed = shape.kind == RingKind::kSpscBytes;
  if (!ring_detail::capacity_ok(shape.kind, shape.capacity)) {
    return describe(RingStatus::kBadCapacity, path);
  }
  const uint64_t bytes = ring_detail::total_bytes(shape.kind, framed ? 0 : shape.item_size, shape.capacity);
  File file;
  std::string temporary;
  Status status = File::create_temporary(path, file_mode, &file, &temporary);
  if (!status.ok()) return status;
  MappedFile mapped;
  status = file.allocate(0, bytes);
  if (status.ok()) status = MappedFile::map(file, bytes, MappedFile::Access::kReadWrite, &mapped);
  if (status.ok()) status = describe(create_ring(mapped.data(), bytes, shape, options), path);
  bool won = false;
  if (status.ok()) return File::publish(temporary, path, &won);
  (void)::unlink(temporary.c_str());
  return status;
}

Status RingFile::take(uint32_t entry, uint32_t* before) {
  if (attached()) return Status::error(Code::kBusy, path_ + ": this handle is attached already; open the ring again");
  // The lock first: who finds the entry attached and the lock free concludes that we are dead.
  Status status = lock_.try_lock(entry, LockFile::Mode::kExclusive);
  if (!status.ok()) return status;
  status = check_name();
  if (!status.ok()) {
    lock_.unlock(entry);
    return status;
  }
  *before = take_entry(layout()->participant[entry]);
  mine_ = entry;
  return status;
}

Status RingFile::attach(RingRole role) {
  if (lock_.is_open() == false) return Status::error(Code::kClosed, "the ring file is closed");
  uint32_t before;
  Status status = take(static_cast<uint32_t>(role), &before);
  if (status.code == Code::kBusy && !attached()) return describe(RingStatus::kBusy, path_);
  return status;
}

Status RingFile::join(uint32_t* entry, bool* unclean) {
  if (lock_.is_open() == false) return Status::error(Code::kClosed, "the ring file is closed");
  for (uint32_t i = 0; i < layout()->header.participants && i < kRingMaxParticipants; ++i) {
    uint32_t before = 0;
    Status status = take(i, &before);
    if (status.ok()) {
      *entry = i;
      const ParticipantState state = state_of(before);
      *unclean = state == ParticipantState::kAttached || state == ParticipantState::kDead;
      return status;
    }
    if (status.code != Code::kBusy || attached()) return status;
  }
  return describe(RingStatus::kNoRoom, path_);
}

uint32_t RingFile::probe() noexcept {
  uint32_t found = 0;
  for (uint32_t i = 0; i < layout()->header.participants && i < kRingMaxParticipants; ++i) {
    RingWord& entry = layout()->participant[i];
    // The entry first, then its lock: a successor changes the entry, so that our verdict would miss
    // it.
    const uint32_t seen = entry.load(std::memory_order_acquire);
    if (i == mine_ || state_of(seen) != ParticipantState::kAttached) continue;
    bool held = true;
    if (!lock_.is_held(i, &held).ok() || held) continue;
    if (mark_dead(entry, seen)) ++found;
  }
  if (found != 0) {
    RingEventcount{&layout()->consumers_waiting, &layout()->items_event}.wake();
    RingEventcount{&layout()->producers_waiting, &layout()->room_event}.wake();
  }
  return found;
}

void RingFile::close() noexcept {
  if (attached()) {
    close_entry(layout()->participant[mine_]);
    RingEventcount{&layout()->consumers_waiting, &layout()->items_event}.wake();
    RingEventcount{&layout()->producers_waiting, &layout()->room_event}.wake();
    mine_ = kNobody;
  }
  lock_.close();
  mapped_.reset();
}

}  // namespace hermes
