#include "core/group/group_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/log/crash_point.h"
#include "core/log/cuts.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// The lock is held for moments; a refused caller tries again, and not on a thread that others need.
constexpr uint32_t kOpenTimeoutMs = 20;
constexpr size_t kChecked = offsetof(GroupBlock, crc);

/// The part of the file that is checked as a whole.
struct Head {
  uint64_t magic;
  uint32_t version;
  uint32_t window;
  uint64_t created_ns;
  TopicId topic_id;
  uint32_t kind;
  uint32_t slot_count;
  uint64_t zero0;
  uint32_t flags;
  uint32_t crc;
};
static_assert(sizeof(Head) == 64);

bool is_window(GroupKind kind, uint32_t window) noexcept {
  if (kind == GroupKind::kDurable) return window == 0;
  return window >= kMinWindow && window <= kMaxWindow && (window & (window - 1)) == 0;
}

Status read_head(const File& file, const std::string& path, Head* head) {
  uint64_t bytes = 0;
  Status status = file.size(&bytes);
  if (!status.ok()) return status;
  if (bytes < sizeof *head) return Status::error(Code::kCorrupt, path + " is too short for a group file");
  status = file.read_at(0, head, sizeof *head);
  if (!status.ok()) return status;
  if (head->magic != kGroupMagic) return Status::error(Code::kCorrupt, path + " does not begin like a group file");
  if (head->version != kGroupVersion) {
    return Status::error(Code::kVersionMismatch, path + " has group format version " + std::to_string(head->version) +
                                                     "; this build reads version 1");
  }
  if (crc32(0, head, kChecked) != head->crc || head->kind > static_cast<uint32_t>(GroupKind::kDurable) ||
      head->slot_count != kMemberSlots || head->flags > kUpToSynced ||
      !is_window(static_cast<GroupKind>(head->kind), head->window) || bytes != group_bytes(head->window)) {
    return Status::error(Code::kCorrupt, path + " is damaged");
  }
  return status;
}

Status put(const File& file, size_t offset, const void* bytes, size_t count) {
  return file.write_at(offset, bytes, count);
}

}  // namespace

Status end_of_log(Log& log, uint64_t* end) {
  *end = 1;
  if (log.active() == 0) return Status::success();
  Position found;
  Status status = log.end_from({}, &found);
  if (status.ok()) *end = found.sequence;
  return status;
}

Status check_rules(const GroupRules& rules) {
  if (rules.max_deliveries >= kMaxDeliveries)
    return Status::error(Code::kInvalidArgument, "a message can be delivered 254 times at most");
  if (rules.lease_ms < 100 || rules.lease_ms > 86'400'000) {
    return Status::error(Code::kInvalidArgument, "a lease takes from 100 milliseconds to a day");
  }
  if (rules.backoff_ms > rules.max_backoff_ms || rules.max_backoff_ms > 2'592'000'000u) {
    return Status::error(Code::kInvalidArgument,
                         "back-off takes 30 days at most, and begins with no more than its limit");
  }
  return Status::success();
}

Status Group::create(const std::string& path, Log& log, const GroupPlan& plan) {
  if (!is_window(plan.kind, plan.window)) {
    return Status::error(Code::kInvalidArgument,
                         "the window must be a power of two from 64 to 1048576, or 0 for a durable subscription");
  }
  if (plan.start == 0 || plan.start > kSequenceMask)
    return Status::error(Code::kInvalidArgument, "a group starts at a sequence from 1 on");
  if (plan.settings.size() > kGroupSettingsBytes)
    return Status::error(Code::kInvalidArgument, "the settings of a group take 3064 bytes at most");
  Status status = check_rules(plan.rules);
  if (!status.ok()) return status;

  Head head = {};
  head.magic = kGroupMagic;
  head.version = kGroupVersion;
  head.window = plan.window;
  head.created_ns = realtime_ns();
  head.topic_id = log.control().topic_id;
  head.kind = static_cast<uint32_t>(plan.kind);
  head.slot_count = kMemberSlots;
  head.flags = plan.up_to_synced ? kUpToSynced : 0;
  head.crc = crc32(0, &head, kChecked);
  const GroupRules& r = plan.rules;
  alignas(GroupNumbers) unsigned char numbers[sizeof(GroupNumbers)] = {};
  store_rules(*reinterpret_cast<GroupNumbers*>(numbers), r);
  const auto settings_bytes = static_cast<uint32_t>(plan.settings.size());
  const uint32_t settings_crc = crc32(0, plan.settings.data(), plan.settings.size());
  // Of no boot and no file yet: the process that opens it first notes these.
  GroupUse use;
  use.cut = newest_cut(log.control());
  const uint64_t use_check = check_of(use);

  File file;
  std::string temporary;
  status = File::create_temporary(path, plan.file_mode, &file, &temporary);
  if (!status.ok()) return status;
  status = file.resize(group_bytes(plan.window));
  if (status.ok()) status = file.allocate(0, group_bytes(plan.window));
  if (status.ok()) status = put(file, 0, &head, sizeof head);
  if (status.ok()) status = put(file, offsetof(GroupBlock, next), &plan.start, 8);
  if (status.ok()) status = put(file, offsetof(GroupBlock, floor), &plan.start, 8);
  if (status.ok()) status = put(file, offsetof(GroupBlock, cut), &use.cut, 8);
  if (status.ok()) status = put(file, offsetof(GroupBlock, use_check), &use_check, 8);
  if (status.ok()) status = put(file, offsetof(GroupBlock, numbers), numbers, sizeof numbers);
  if (status.ok()) status = put(file, offsetof(GroupBlock, settings_bytes), &settings_bytes, 4);
  if (status.ok()) status = put(file, offsetof(GroupBlock, settings_crc), &settings_crc, 4);
  if (status.ok() && settings_bytes > 0)
    status = put(file, offsetof(GroupBlock, settings), plan.settings.data(), settings_bytes);
  if (status.ok()) status = file.sync_data();
  if (!status.ok()) {
    std::remove(temporary.c_str());
    status.context = "make " + path + ": " + status.context;
    return status;
  }
  bool won = false;
  status = File::publish(temporary, path, &won);
  if (status.ok() && won) status = sync_directory(path.substr(0, path.rfind('/')));
  return status;
}

Status Group::map(const std::string& path, std::shared_ptr<Log> log) {
  path_ = path;
  log_ = std::move(log);
  Status status = LockFile::open(path, &locks_);
  if (!status.ok()) return status;
  Head head;
  status = read_head(locks_.file(), path, &head);
  if (!status.ok()) return status;
  if (!(head.topic_id == log_->control().topic_id)) {
    return Status::error(
        Code::kPositionLost,
        path +
            " belongs to an earlier topic of this name, which is gone with its messages. Delete the group and "
            "make it anew where it is to go on");
  }
  kind_ = static_cast<GroupKind>(head.kind);
  window_ = head.window;
  up_to_synced_ = (head.flags & kUpToSynced) != 0;
  while (window_ > 1 && (window_ >> window_bits_) > 1) ++window_bits_;
  status = locks_.file().identity(&identity_);
  if (status.ok()) status = MappedFile::map(locks_.file(), group_bytes(window_), MappedFile::Access::kReadWrite, &map_);
  if (!status.ok()) return status;
  entries_ = reinterpret_cast<GroupEntry*>(map_.data() + sizeof(GroupBlock));
  return status;
}

Status Group::open(const std::string& path, std::shared_ptr<Log> log, std::shared_ptr<Group>* out,
                   GroupOpening* opening) {
  *opening = {};
  auto group = std::make_shared<Group>();
  Status status = group->map(path, std::move(log));
  if (status.ok()) status = recover_log(*group->log_, kOpenTimeoutMs);
  if (!status.ok()) return status;
  // Not while the lock is held: the log may be long.
  uint64_t end = 0;
  status = end_of_log(*group->log_, &end);
  if (!status.ok()) return status;
  MembershipLock lock(*group);
  status = lock.acquire(kOpenTimeoutMs);
  if (!status.ok()) return status;
  status = group->locks_.try_lock(kGroupInUseByte, LockFile::Mode::kExclusive);
  opening->first = status.ok();
  if (status.code == Code::kBusy) {
    // Another process uses it, so it is as its members left it.
    status = group->locks_.try_lock(kGroupInUseByte, LockFile::Mode::kShared);
    if (status.ok()) status = group->recover_cut(opening);
  } else if (status.ok()) {
    GroupUse use;
    GroupUse now;
    read_boot_id(now.boot_id);
    now.identity = group->identity_;
    const bool noted = load_use(group->block(), &use);
    const bool as_left =
        noted && use.boot_id[0] == now.boot_id[0] && use.boot_id[1] == now.boot_id[1] && use.identity == now.identity;
    opening->recovered = !as_left && noted && use.boot_id[0] != 0;
    // What is not readable may have been noted before any cut.
    if (!noted) store_use(group->block(), {});
    // Entries may be newer on the disk than `next`: of what was lost since, they tell of other messages than there are now.
    end = std::min(end, lowest_cut_after(group->log_->control(), group->block().cut.load(std::memory_order_relaxed)));
    status = group->recover_cut(opening);
    if (status.ok()) status = group->recover(as_left, end, opening);
    if (status.ok() && !as_left) {
      // What was set right is on the disk before the note that says so.
      (void)group->map_.sync();
      crash_point("group:recovered");
      now.cut = group->block().cut.load(std::memory_order_relaxed);
      store_use(group->block(), now);
    }
    // In one step: no other process comes between.
    if (status.ok()) status = group->locks_.try_lock(kGroupInUseByte, LockFile::Mode::kShared);
  }
  if (!status.ok()) return status;
  *out = std::move(group);
  return status;
}

Status Group::recover_cut(GroupOpening* opening) {
  GroupBlock& b = block();
  const uint64_t newest = newest_cut(log_->control());
  if (b.cut.load(std::memory_order_acquire) == newest) return Status::success();
  const uint64_t lowest = lowest_cut_after(log_->control(), b.cut.load(std::memory_order_relaxed));
  const uint64_t floor = b.floor.load(std::memory_order_acquire);
  const uint64_t position = floor & kSequenceMask;
  const uint64_t next = std::max(b.next.load(std::memory_order_acquire), position);
  if (next > lowest) {
    if (opening != nullptr) {
      opening->lost_from = lowest;
      opening->lost_to = next;
    }
    // A member in the middle of a claim loses it. `floor` first: it is never ahead of `next`.
    if (position > lowest)
      b.floor.store(owned_floor(kind_ == GroupKind::kDurable ? owner_of(floor) : 0, lowest), std::memory_order_seq_cst);
    b.next.store(lowest, std::memory_order_seq_cst);
    const Turn turn = unpack_turn(b.turn.load(std::memory_order_relaxed));
    b.turn.store(pack(Turn{0, turn.ticket + 1}), std::memory_order_seq_cst);
    const uint64_t begin = std::min(position, lowest);
    for (uint64_t s = lowest; s < begin + window_; ++s) entry(s).word.store(0, std::memory_order_seq_cst);
    if (position > lowest) {
      for (uint64_t s = position; s < position + window_; ++s) entry(s).word.store(0, std::memory_order_seq_cst);
    }
    b.totals.cut.fetch_add(1, std::memory_order_relaxed);
  }
  // All of it, before the note that says so.
  (void)map_.sync();
  GroupUse use;
  (void)load_use(b, &use);
  use.cut = newest;
  store_use(b, use);
  return Status::success();
}

/// Repairs what no member may have left so. REQUIRES: the membership lock, and no other process has the file open: so no member holds a message.
Status Group::recover(bool as_left, uint64_t end, GroupOpening* opening) {
  GroupBlock& b = block();
  uint64_t floor = b.floor.load(std::memory_order_acquire) & kSequenceMask;
  uint64_t next = b.next.load(std::memory_order_acquire);
  if (kind_ == GroupKind::kDurable) next = floor;
  // Where they contradict each other the lower one is believed: better twice than never.
  uint64_t sound_floor = std::max<uint64_t>(std::min(floor, next), 1);
  uint64_t sound_next =
      std::max<uint64_t>(kind_ == GroupKind::kDurable ? sound_floor : std::min(next, sound_floor + window_), 1);
  if (sound_next > end) {
    if (opening->lost_from == 0) {
      opening->lost_from = end;
      opening->lost_to = sound_next;
      b.totals.cut.fetch_add(1, std::memory_order_relaxed);
    }
    sound_next = end;
    sound_floor = std::min(sound_floor, end);
  }
  // What is not settled stands in its entry, of a file that is as it was left: a `floor` beyond it is a damaged one. (After a power cut the
  // entries may be older than it.) Beyond `next` it is damaged in any case.
  if (kind_ != GroupKind::kDurable && (as_left || floor > next)) {
    for (uint64_t s = sound_next > window_ ? sound_next - window_ : 1; s < sound_floor; ++s) {
      const uint64_t seen = entry(s).word.load(std::memory_order_relaxed);
      if (belongs(seen, lap(s)) && seen != settled_word(lap(s))) sound_floor = s;
    }
  }
  opening->mended = sound_floor != floor || (sound_next != next && opening->lost_from == 0);
  floor = sound_floor;
  next = sound_next;
  b.floor.store(floor, std::memory_order_release);
  b.next.store(next, std::memory_order_release);
  for (MemberSlot& slot : b.slots) slot.state.store(0, std::memory_order_relaxed);
  b.turn.store(pack(Turn{0, unpack_turn(b.turn.load(std::memory_order_relaxed)).ticket + 1}),
               std::memory_order_relaxed);
  b.looked_ns.store(0, std::memory_order_relaxed);
  b.returned.store(0, std::memory_order_relaxed);
  b.due.store(0, std::memory_order_relaxed);
  uint64_t taken = 0;
  for (uint64_t s = floor; s < floor + window_; ++s) {
    std::atomic<uint64_t>& word = entry(s).word;
    const uint64_t seen = word.load(std::memory_order_relaxed);
    const EntryWord e = unpack(seen);
    const bool is_ours = belongs(seen, lap(s));
    if (s >= next) {
      // After a power cut `next` may be older than the entries: what was settled stays so, as long as the message is there. In a file that is
      // as it was left nothing beyond `next` was handed out.
      const bool keep =
          is_ours ? !as_left && seen == settled_word(lap(s)) && s < end : seen == settled_word((lap(s) - 1) & kLapMask);
      if (!keep) word.store(0, std::memory_order_relaxed);
    } else if (seen == settled_word(lap(s))) {
      // With anything else in the word it is another state with a wrong bit.
    } else if (!as_left && is_overwritten(seen, entry(s).place.load(std::memory_order_relaxed), lap(s))) {
      // `floor` had passed it, and is older on the disk than this page.
      word.store(settled_word(lap(s)), std::memory_order_relaxed);
    } else if (is_ours && e.state == EntryState::kDelayed && as_left) {
      (void)note_due(e.number);
    } else {
      // Its holder has died: no process has the file open. Whether there was one is known of a file that is as it was left.
      taken += as_left && (!is_ours || e.state == EntryState::kClaimed) ? 1 : 0;
      word.store(pack({EntryState::kReturned, 0, is_ours ? e.deliveries : 0, lap(s), 0}), std::memory_order_relaxed);
      note_returned(s, s + 1);
    }
  }
  b.totals.taken.fetch_add(taken, std::memory_order_relaxed);
  if (window_ > 0) raise_floor();
  return Status::success();
}

Status Group::configure(const GroupRules& rules, const std::string& settings) {
  if (settings.size() > kGroupSettingsBytes)
    return Status::error(Code::kInvalidArgument, "the settings of a group take 3064 bytes at most");
  Status status = check_rules(rules);
  if (!status.ok()) return status;
  const GroupRules now = this->rules();
  if (rules.key_offset != now.key_offset || rules.key_bytes != now.key_bytes) {
    // Messages of one key would be in two buckets.
    return Status::error(Code::kInvalidArgument,
                         "the key of a group stays what it was when the group was made; make another group");
  }
  MembershipLock lock(*this);
  status = lock.acquire(kOpenTimeoutMs);
  if (!status.ok()) return status;
  GroupBlock& b = block();
  store_rules(b.numbers, rules);
  std::memcpy(b.settings, settings.data(), settings.size());
  b.settings_bytes = static_cast<uint32_t>(settings.size());
  b.settings_crc = crc32(0, settings.data(), settings.size());
  return status;
}

Status Group::reset(uint64_t sequence, bool force) {
  uint64_t end = 0;
  Status status = end_of_log(*log_, &end);
  if (!status.ok()) return status;
  if (sequence == 0 || sequence > end) {
    return Status::error(Code::kOutOfRange, "sequence " + std::to_string(sequence) +
                                                " does not exist yet; the next one will be " + std::to_string(end));
  }
  MembershipLock lock(*this);
  status = lock.acquire(kOpenTimeoutMs);
  if (!status.ok()) return status;
  GroupBlock& b = block();
  const uint64_t now = monotonic_ns();
  for (uint32_t slot = 0; slot < kMemberSlots && !force; ++slot) {
    const Condition is = condition(slot, now);
    if (is == Condition::kAlive || is == Condition::kLate) {
      return Status::error(
          Code::kBusy,
          "the group has members; close them first, or reset it by force: what they hold is no longer theirs then");
    }
  }
  const uint64_t floor = b.floor.load(std::memory_order_acquire) & kSequenceMask;
  // Fences the active member, and a member that is about to claim in its turn.
  b.turn.store(pack(Turn{0, unpack_turn(b.turn.load(std::memory_order_relaxed)).ticket + 1}),
               std::memory_order_seq_cst);
  // Before, so that a process killed here leaves messages that come again, and none that don't; after, for what was claimed in between.
  const auto forget = [&] {
    for (uint64_t s = 0; s < window_; ++s) entries_[s].word.store(0, std::memory_order_seq_cst);
  };
  forget();
  // A later lap's entry says that what is before it was settled: none may be on the disk any more when `floor` is.
  (void)map_.sync();
  crash_point("group:resetting");
  // So that `floor` is never ahead of `next`.
  if (sequence > floor) {
    b.next.store(sequence, std::memory_order_seq_cst);
    b.floor.store(sequence, std::memory_order_seq_cst);
  } else {
    b.floor.store(sequence, std::memory_order_seq_cst);
    b.next.store(sequence, std::memory_order_seq_cst);
  }
  // (Who looks next finds missing what was claimed meanwhile, of the new or the old.)
  forget();
  b.returned.store(0, std::memory_order_relaxed);
  b.due.store(0, std::memory_order_relaxed);
  wake();
  return status;
}

}  // namespace hermes
