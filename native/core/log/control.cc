#include "core/log/control.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/log/segment.h"
#include "core/platform/clock.h"
#include "core/platform/lock_file.h"

namespace hermes {
namespace {

/// How long others are waited for that may just be making `locks` again.
constexpr uint32_t kMendTimeoutMs = 1000;
constexpr size_t kChecked = offsetof(ControlBlock, crc);
constexpr uint64_t kRecordSalt = 0x48524D5350415245;

uint64_t record_check(const Position& p) noexcept { return p.segment ^ p.offset ^ p.sequence ^ kRecordSalt; }

Status make_file(const std::string& path, uint32_t mode, const void* content, size_t bytes) {
  File file;
  std::string temporary;
  Status status = File::create_temporary(path, mode, &file, &temporary);
  if (!status.ok()) return status;
  if (bytes > 0) status = file.write_at(0, content, bytes);
  if (status.ok()) status = file.sync_data();
  if (!status.ok()) {
    std::remove(temporary.c_str());
    return status;
  }
  bool won;
  return File::publish(temporary, path, &won);
}

/// Takes topic id and segment size from the segments in `folder`, if there are any, and raises the largest payload to that
/// of their longest message: a smaller one would turn messages into damage.
Status adopt_segments(const std::string& folder, TopicSettings* settings, TopicId* id, bool* found) {
  *found = false;
  std::vector<uint64_t> numbers;
  Status listed = list_segments(folder, &numbers);
  if (!listed.ok()) return listed;
  for (const uint64_t number : numbers) {
    const std::string path = Segment::path(folder, number);
    File file;
    SegmentIdentity identity;
    uint64_t bytes = 0;
    Status status = File::open(path, false, &file);
    if (status.ok()) status = file.size(&bytes);
    if (!status.ok()) return status;
    // One whose header is damaged can't tell; opening it says so later.
    if (!Segment::identify(file, path, &identity).ok() || bytes != identity.segment_bytes) continue;
    if (*found && (!(identity.topic_id == *id) || identity.segment_bytes != settings->segment_bytes)) {
      return Status::error(
          Code::kCorrupt,
          path + " belongs to another topic than the segments before it; the control file can't be made again");
    }
    *found = true;
    *id = identity.topic_id;
    settings->segment_bytes = identity.segment_bytes;
    for (uint64_t at = kSegmentHeaderBytes; at + kFrameHeaderBytes <= bytes;) {
      FrameHeader header;
      status = file.read_at(at, &header, sizeof header);
      if (!status.ok()) return status;
      const uint64_t span = frame_span(header.payload_len);
      if (header.magic != kFrameMagic || span > bytes - at) break;
      const bool is_data = header.type == static_cast<uint8_t>(FrameType::kData);
      if (is_data && header.payload_len <= bytes / 4)
        settings->max_payload = std::max(settings->max_payload, header.payload_len);
      at += span;
    }
  }
  return Status::success();
}

/// Finds the segments in use: the newest that has a base sequence, and the unbroken row before it. Zeros if none is.
Status find_row(const std::string& folder, uint64_t* first, uint64_t* active) {
  *first = *active = 0;
  std::vector<uint64_t> numbers;
  Status listed = list_segments(folder, &numbers);
  if (!listed.ok()) return listed;
  for (const uint64_t number : numbers) {
    uint64_t base = 0;
    uint64_t first_ns = 0;
    Status status = Segment::peek(folder, number, &base, &first_ns);
    if (status.code == Code::kCorrupt) continue;  // truncated: opening it says so
    if (!status.ok()) return status;
    if (base != 0) *active = number;
  }
  *first = *active;
  while (std::binary_search(numbers.begin(), numbers.end(), *first - 1)) --*first;
  return Status::success();
}

/// Notes in the kernel that this process has the topic open, and sees to it that `locks` is there. The lock belongs to `control`'s open
/// file description, which the mapping that is made of it holds on to: it ends with the mapping, and with the process.
///
/// Locks on an unlinked `locks` still hold for those who opened it before, while newcomers would never meet them. So the file is made
/// anew only while no process has the topic open, which the lock on `control` tells.
Status enter(const std::string& folder, const File& control, bool writable, bool make_locks, uint32_t timeout_ms,
             uint32_t mode) {
  const std::string path = folder + "/locks";
  for (uint32_t waited = 0;; ++waited) {
    File there;
    Status status = File::open(path, false, &there);
    const bool lost = status.code == Code::kNotFound;
    if (!status.ok() && !lost) return status;
    if (!lost || !make_locks) {
      status = LockFile::try_lock(control, kInUseByte, LockFile::Mode::kShared);
      if (status.ok()) {
        uint32_t deleted = 0;
        status = control.read_at(offsetof(ControlBlock, deleted), &deleted, sizeof deleted);
        if (status.ok() && deleted == kDeleted)
          status = Status::error(Code::kTopicDeleted, folder + " has just been deleted");
      }
      if (status.code != Code::kBusy) return status;
    } else if (!writable) {
      return Status::error(Code::kAccessDenied,
                           path + " is lost; it is made again when a process that may write opens the topic");
    } else {
      status = LockFile::try_lock(control, kInUseByte, LockFile::Mode::kExclusive);
      if (status.ok()) status = make_file(path, mode, nullptr, 0);
      if (status.ok()) status = sync_directory(folder);
      if (status.ok())
        return LockFile::try_lock(control, kInUseByte,
                                  LockFile::Mode::kShared);  // in one step: no other process comes between
      if (status.code != Code::kBusy) return status;
    }
    if (waited >= std::min(timeout_ms, kMendTimeoutMs)) {
      // Only who deletes the topic, or has just made a lost file anew, has it to himself.
      if (!lost) return Status::error(Code::kTopicDeleted, folder + " is being deleted");
      return Status::error(
          Code::kBusy,
          path +
              " was lost while the topic is in use. Close all its publishers and subscribers (hermes doctor "
              "names them): the next process that opens it, or hermes repair, makes the file again");
    }
    const timespec pause = {0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

Status Control::create(const std::string& folder, const TopicSettings& settings, uint32_t timeout_ms) {
  if (settings.segment_bytes < kMinSegmentBytes || settings.segment_bytes > kMaxSegmentBytes ||
      settings.segment_bytes % 4096 != 0) {
    return Status::error(Code::kInvalidArgument,
                         "the segment size must be a multiple of 4096 from 65536 to 1073741824");
  }
  if (settings.max_payload < 1 || settings.max_payload > settings.segment_bytes / 4) {
    return Status::error(Code::kInvalidArgument,
                         "the largest payload must be at least 1 and at most a quarter of a segment");
  }
  Status status = make_file(folder + "/locks", settings.file_mode, nullptr, 0);
  if (!status.ok()) return status;

  // Plain memory of the block's size: the atomics in it are lock-free words, so its bytes are its value.
  static_assert(std::is_trivially_destructible_v<ControlBlock>);
  alignas(ControlBlock) static thread_local unsigned char image[sizeof(ControlBlock)];
  std::memset(image, 0, sizeof image);
  const uint64_t now = realtime_ns();
  const uint64_t magic = kControlMagic;
  const uint32_t version = kLogVersion;
  const uint32_t file_bytes = kControlBytes;
  const uint32_t slots = kSlots;
  LockFile locks;
  status = LockFile::open(folder + "/locks", &locks);
  if (!status.ok()) return status;
  ScopedLock recovery(&locks, kRecoveryByte);
  status = recovery.acquire(timeout_ms);
  if (status.code == Code::kTimedOut && ::access((folder + "/control").c_str(), F_OK) != 0) {
    status.context = "another process makes the control file of " + folder +
                     ", and has not for so long: it may have been stopped (SIGSTOP)";
    return status;
  }
  if (status.ok()) status = locks.try_lock(kPublishersByte, LockFile::Mode::kExclusive);
  if (!status.ok()) {
    // A process works here, so there is a control file: the one that another process has just made, or one that was lost.
    File made;
    if (File::open(folder + "/control", false, &made).ok()) return Status::success();
    status.context = "the control file of " + folder +
                     " is lost, and can be made again when no publisher is open: " + status.context;
    return status;
  }
  TopicSettings adopted = settings;
  TopicId id;
  bool found = false;
  status = adopt_segments(folder, &adopted, &id, &found);
  if (!status.ok()) return status;
  // Not by the library's function of this name, which glibc has since 2.25 only.
  if (!found && ::syscall(SYS_getrandom, id.bytes, sizeof id.bytes, 0) != static_cast<long>(sizeof id.bytes)) {
    return Status::error(Code::kIoFailed, "the kernel gave no random bytes");
  }
  uint64_t first = 0;
  uint64_t active = 0;
  status = find_row(folder, &first, &active);
  if (!status.ok()) return status;
  const auto put = [&](size_t offset, const auto& value) { std::memcpy(image + offset, &value, sizeof value); };
  put(offsetof(ControlBlock, magic), magic);
  put(offsetof(ControlBlock, version), version);
  put(offsetof(ControlBlock, file_bytes), file_bytes);
  put(offsetof(ControlBlock, segment_bytes), adopted.segment_bytes);
  put(offsetof(ControlBlock, max_payload), adopted.max_payload);
  put(offsetof(ControlBlock, slot_count), slots);
  put(offsetof(ControlBlock, created_ns), now);
  put(offsetof(ControlBlock, topic_id), id);
  put(offsetof(ControlBlock, crc), crc32(0, image, kChecked));
  // Readers begin at once. No boot is noted and no checkpoint, so the next publisher checks everything.
  put(offsetof(ControlBlock, first), first);
  put(offsetof(ControlBlock, active), active);
  return make_file(folder + "/control", settings.file_mode, image, sizeof image);
}

Status Control::open(const std::string& folder, bool make_locks, uint32_t timeout_ms, Control* out) {
  const std::string path = folder + "/control";
  File file;
  bool writable = true;
  Status status = File::open(path, true, &file);
  if (status.code == Code::kAccessDenied) {
    writable = false;
    status = File::open(path, false, &file);
  }
  if (!status.ok()) return status;
  uint64_t bytes = 0;
  status = file.size(&bytes);
  if (!status.ok()) return status;
  struct {
    uint64_t magic;
    uint32_t version;
    uint32_t file_bytes;
    uint64_t segment_bytes;
    uint32_t max_payload;
    uint32_t slot_count;
    unsigned char rest[28];
    uint32_t crc;
  } head;
  static_assert(sizeof head == 64);
  if (bytes < sizeof head) return Status::error(Code::kCorrupt, path + " is too short for a control file");
  status = file.read_at(0, &head, sizeof head);
  if (!status.ok()) return status;
  if (head.magic != kControlMagic) {
    return Status::error(Code::kCorrupt, path + " does not begin like a control file");
  }
  if (head.version != kLogVersion) {
    return Status::error(Code::kVersionMismatch, path + " has log format version " + std::to_string(head.version) +
                                                     "; this build reads version 1");
  }
  if (crc32(0, &head, kChecked) != head.crc || bytes != kControlBytes || head.file_bytes != kControlBytes ||
      head.slot_count != kSlots || head.segment_bytes < kMinSegmentBytes || head.segment_bytes > kMaxSegmentBytes ||
      head.segment_bytes % 4096 != 0 || head.max_payload > head.segment_bytes / 4) {
    return Status::error(Code::kCorrupt, path + " is damaged");
  }
  out->writable_ = writable;
  status = file.mode(&out->file_mode_);
  if (status.ok()) status = file.identity(&out->identity_);
  if (status.ok()) status = enter(folder, file, writable, make_locks, timeout_ms, out->file_mode_);
  if (!status.ok()) return status;
  return MappedFile::map(file, kControlBytes, writable ? MappedFile::Access::kReadWrite : MappedFile::Access::kRead,
                         &out->file_);
}

bool load_position(const PositionRecord& record, Position* out) noexcept {
  // Acquire: what the position vouches for was done before it was stored.
  const uint64_t check = record.check.load(std::memory_order_acquire);
  const Position seen = {record.segment.load(std::memory_order_relaxed), record.offset.load(std::memory_order_relaxed),
                         record.sequence.load(std::memory_order_relaxed)};
  if (seen.segment == 0 || record_check(seen) != check) return false;
  *out = seen;
  return true;
}

void store_position(PositionRecord& record, const Position& position) noexcept {
  record.check.store(0, std::memory_order_relaxed);
  record.segment.store(position.segment, std::memory_order_relaxed);
  record.offset.store(position.offset, std::memory_order_relaxed);
  record.sequence.store(position.sequence, std::memory_order_relaxed);
  // Release: pairs with the acquire in load_position.
  record.check.store(record_check(position), std::memory_order_release);
}

int load_sync_failure(const ControlBlock& control) noexcept {
  // Acquire: pairs with the release below.
  const uint64_t check = control.sync_failure_check.load(std::memory_order_acquire);
  const uint64_t failure = control.sync_failure.load(std::memory_order_acquire);
  if (check == 0 && failure == 0) return 0;
  const auto err = static_cast<int>(failure & 0xFFFF);
  return (failure ^ kRecordSalt) == check && err != 0 ? err : EIO;
}

void store_sync_failure(ControlBlock& control, int err) noexcept {
  const uint64_t generation = control.sync_generation.load(std::memory_order_relaxed);
  const uint64_t failure = generation << 32 | static_cast<uint16_t>(err != 0 ? err : EIO);
  // Either word alone counts as a failure, so a writer that is killed in between has said enough.
  control.sync_failure.store(failure, std::memory_order_release);
  control.sync_failure_check.store(failure ^ kRecordSalt, std::memory_order_release);
}

void clear_sync_failure(ControlBlock& control) noexcept {
  control.sync_failure.store(0, std::memory_order_release);
  control.sync_failure_check.store(0, std::memory_order_release);
}

bool load_identity(const ControlBlock& control, FileIdentity* out) noexcept {
  const uint64_t check = control.identity_check.load(std::memory_order_acquire);
  *out = {control.identity[0].load(std::memory_order_relaxed), control.identity[1].load(std::memory_order_relaxed),
          control.identity[2].load(std::memory_order_relaxed), control.identity[3].load(std::memory_order_relaxed)};
  return check == (out->device ^ out->inode ^ out->born_ns ^ out->mount ^ kRecordSalt);
}

void store_identity(ControlBlock& control, const FileIdentity& identity) noexcept {
  control.identity_check.store(0, std::memory_order_relaxed);
  const uint64_t words[4] = {identity.device, identity.inode, identity.born_ns, identity.mount};
  for (int i = 0; i < 4; ++i) control.identity[i].store(words[i], std::memory_order_relaxed);
  // Release: pairs with the acquire above.
  control.identity_check.store(words[0] ^ words[1] ^ words[2] ^ words[3] ^ kRecordSalt, std::memory_order_release);
}

void store_retention(ControlBlock& control, const Retention& retention) noexcept {
  control.retention_check.store(0, std::memory_order_relaxed);
  control.retention_bytes.store(retention.bytes, std::memory_order_relaxed);
  control.retention_age_ns.store(retention.age_ns, std::memory_order_relaxed);
  control.retention_wait.store(retention.wait_bytes, std::memory_order_relaxed);
  control.retention_wait_check.store(retention.wait_bytes == 0 ? 0 : retention.wait_bytes ^ kRecordSalt,
                                     std::memory_order_relaxed);
  // Release: pairs with the acquire in load_retention.
  control.retention_check.store(retention.bytes ^ retention.age_ns ^ kRecordSalt, std::memory_order_release);
}

Retention load_retention(const ControlBlock& control) noexcept {
  // Acquire: the settings that it vouches for were stored before it.
  const uint64_t check = control.retention_check.load(std::memory_order_acquire);
  const Retention seen = {control.retention_bytes.load(std::memory_order_relaxed),
                          control.retention_age_ns.load(std::memory_order_relaxed),
                          control.retention_wait.load(std::memory_order_relaxed)};
  const uint64_t wait_check = control.retention_wait_check.load(std::memory_order_relaxed);
  // Both words are 0 where groups are not waited for, as in files of 0.1.0.
  const bool waits = seen.wait_bytes != 0 || wait_check != 0;
  if (waits && (seen.wait_bytes ^ kRecordSalt) != wait_check) return {};
  return (seen.bytes ^ seen.age_ns ^ kRecordSalt) == check ? seen : Retention{};
}

void read_boot_id(uint64_t (&words)[2]) noexcept {
  words[0] = words[1] = 0;
  uint8_t id[16] = {};
  std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re");
  if (file == nullptr) return;
  char text[64] = {};
  const size_t got = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  size_t nibbles = 0;
  for (size_t i = 0; i < got && nibbles < 32; ++i) {
    const char c = text[i];
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0) continue;
    id[nibbles / 2] = static_cast<uint8_t>(id[nibbles / 2] << 4 | value);
    ++nibbles;
  }
  std::memcpy(words, id, sizeof id);
}

}  // namespace hermes
