#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/group/entry.h"
#include "core/group/layout.h"
#include "core/log/log.h"

namespace hermes {

/// What every member of a group goes by; may be changed while the group is in use.
struct GroupRules {
  uint32_t max_deliveries =
      5;  ///< a message that was handed out more often is for the dead-letter topic; 0 = without limit
  uint32_t lease_ms = 30'000;
  uint32_t backoff_ms = 1000;  ///< before the second delivery; twice as much before each further one
  uint32_t max_backoff_ms = 60'000;
  uint32_t key_offset = 0;  ///< in the payload, of a keyed group
  uint32_t key_bytes = 0;   ///< 0: the caller tells the buckets
};

/// How a group is made.
struct GroupPlan {
  GroupKind kind = GroupKind::kShared;
  uint32_t window = kDefaultWindow;
  uint64_t start = 1;         ///< the first sequence to hand out
  bool up_to_synced = false;  ///< hand out only what no power cut can take back
  GroupRules rules;
  std::string settings;  ///< for the processes that open the group, not looked at here
  uint32_t file_mode = 0600;
};

/// What opening a group found.
struct GroupOpening {
  bool first = false;      ///< no other process had it open
  bool recovered = false;  ///< after another boot, or in a copy: no member holds a message any more
  bool mended = false;     ///< words that contradicted each other were set right: messages may come again
  uint64_t lost_from =
      0;  ///< if not 0: the log has lost what it had from this sequence on; what is there now is handed out anew
  uint64_t lost_to = 0;  ///< the group had come to this sequence
};

struct MemberReport {
  uint32_t slot = 0;
  uint32_t pid = 0;
  std::string name;
  uint64_t taken_ms = 0;  ///< since 1970
  bool alive = false;     ///< the kernel says so
  bool late = false;      ///< its lease is over
  bool active = false;    ///< in an exclusive group or durable subscription
  uint32_t in_flight = 0;
  uint64_t oldest = 0;  ///< the lowest sequence that it holds; 0 = none
  uint64_t claimed = 0;
  uint64_t settled = 0;
};

struct GroupReport {
  GroupKind kind = GroupKind::kShared;
  uint32_t window = 0;
  bool up_to_synced = false;
  uint64_t created_ms = 0;
  uint64_t floor = 0;
  uint64_t next = 0;
  uint64_t end = 0;  ///< the sequence that the next message will get
  uint64_t claimed = 0;
  uint64_t returned = 0;
  uint64_t delayed = 0;
  uint64_t settled_total = 0;
  uint64_t redelivered = 0;
  uint64_t late = 0;
  uint64_t rejected = 0;
  uint64_t lost = 0;
  uint64_t taken = 0;
  uint64_t cut = 0;
  uint32_t oldest_member = 0;  ///< slot of who holds the message at `floor`
  EntryState oldest_state = EntryState::kEmpty;
  uint32_t oldest_deliveries = 0;
  uint32_t oldest_bucket = 0;
  GroupRules rules;
  std::string settings;
  std::vector<MemberReport> members;
};

/// A consumer group's file, opened. The parent of its members in this process, which keep it alive.
///
/// Thread safety: all methods may be called from any thread.
/// Invariants, as long as the file is not damaged: floor ≤ next ≤ floor + window; each sequence in [floor, next) has an entry that belongs to
/// it, or will get one from the member that took it from `next` or from the one that finds it missing; an entry below `floor` is settled.
class Group : public std::enable_shared_from_this<Group> {
 public:
  /// Makes the file, unless there is one of that name. REQUIRES: its folder is there.
  static Status create(const std::string& path, Log& log, const GroupPlan& plan);
  /// Opens it, and recovers it if no other process has it open and it was last used in another boot or under another identity. kTimedOut soon if others
  /// are joining or recovering: to be tried again. kPositionLost if the file is of another topic of the same name.
  static Status open(const std::string& path, std::shared_ptr<Log> log, std::shared_ptr<Group>* out,
                     GroupOpening* opening);
  /// Removes the file. kBusy while a process has it open, unless `force`: its members then get kNotFound.
  static Status remove(const std::string& path, bool force);

  const std::string& path() const noexcept { return path_; }
  Log& log() const noexcept { return *log_; }
  const std::shared_ptr<Log>& shared_log() const noexcept { return log_; }
  GroupBlock& block() const noexcept { return *reinterpret_cast<GroupBlock*>(map_.data()); }
  GroupKind kind() const noexcept { return kind_; }
  uint32_t window() const noexcept { return window_; }
  /// Before which sequence messages may be handed out: all ones, or up to where the log is on stable storage.
  uint64_t handed_out_before() const noexcept;
  bool takes_turns() const noexcept { return kind_ == GroupKind::kExclusive || kind_ == GroupKind::kKeyed; }
  GroupRules rules() const noexcept;
  std::string settings() const;

  /// REQUIRES: window() != 0.
  GroupEntry& entry(uint64_t sequence) const noexcept { return entries_[sequence & (window_ - 1)]; }
  uint32_t lap(uint64_t sequence) const noexcept { return static_cast<uint32_t>(sequence >> window_bits_ & kLapMask); }

  /// `floor` and `next`, as they were at about one time. False if they contradict each other: the file is damaged.
  [[nodiscard]] bool load_span(uint64_t* floor, uint64_t* next) const noexcept;

  /// Raises `floor` over what is settled there.
  void raise_floor() noexcept;
  /// The same, if there's anything to raise it over: the usual case after settling.
  void raise_floor_if_settled() noexcept {
    const uint64_t floor = block().floor.load(std::memory_order_seq_cst);
    if (entry(floor).word.load(std::memory_order_seq_cst) == settled_word(lap(floor))) raise_floor();
  }

  /// Notes that entries in [from, to) wait to be claimed again.
  void note_returned(uint64_t from, uint64_t to) noexcept;
  /// Takes what was noted, for who looks through it now. False if nothing was.
  [[nodiscard]] bool take_returned(uint64_t floor, uint64_t next, uint64_t* from, uint64_t* to) noexcept;
  bool has_returned() const noexcept;
  /// Notes a due tick; true if it's the earliest now.
  bool note_due(uint32_t tick) noexcept;
  /// Wakes the waiters for messages of the topic, if there are any.
  void wake() const noexcept;

  /// Looks for members that are dead or late, and returns what they hold; also for missing entries. At most every 50 ms in
  /// all processes together. True if something was returned.
  bool look(uint64_t now_ns);
  /// The same now, whenever the last check was.
  bool look_now(uint64_t now_ns);

  /// Ok unless the file was removed or replaced, or the log has lost what the group knew of and that could not be set right. Looks at most every 100 ms.
  Status check(uint64_t now_ns);

  /// Goes to `sequence`: everything before is settled, everything from there on new. kBusy while members live, unless `force`: what they hold
  /// then is no longer theirs. kOutOfRange behind the log's end.
  Status reset(uint64_t sequence, bool force);
  /// Replaces the rules and the settings for those who come.
  Status configure(const GroupRules& rules, const std::string& settings);
  /// Brings everything to the disk. Once that has failed it fails for good, until the group is opened again: the kernel tells of lost pages once.
  Status sync();
  Status describe(GroupReport* out);

  /// A participant of its own on the file. For members.
  Status open_lock(LockFile* out) const { return LockFile::open_again(locks_, path_, out); }
  /// Returns all that member `slot` holds. REQUIRES: the membership lock, or it's the member itself that asks. Returns how much.
  uint32_t return_all_of(uint32_t slot) noexcept;
  LockFile& locks() noexcept { return locks_; }
  std::mutex& mutex() noexcept { return mutex_; }

 private:
  Status map(const std::string& path, std::shared_ptr<Log> log);
  Status recover(bool as_left, uint64_t end, GroupOpening* opening);
  enum class Condition : uint8_t { kFree, kAlive, kDead, kLate };
  Condition condition(uint32_t slot, uint64_t now_ns) const;
  bool take_over(uint64_t now_ns, bool locked);
  Status recover_cut(GroupOpening* opening);

  std::string path_;
  std::shared_ptr<Log> log_;
  MappedFile map_;
  LockFile locks_;  // holds the byte that tells that the file is in use, and now and then membership
  FileIdentity identity_;
  GroupEntry* entries_ = nullptr;
  GroupKind kind_ = GroupKind::kShared;
  uint32_t window_ = 0;
  uint32_t window_bits_ = 0;
  bool up_to_synced_ = false;
  std::mutex mutex_;                  // for the locks that locks_ takes: they don't exclude threads of this process
  std::atomic<int> sync_failure_{0};  // errno
  std::atomic<uint64_t> checked_ns_{0};
  std::atomic<bool> gone_{false};
  std::atomic<uint64_t> deep_look_ns_{0};
  std::atomic<uint32_t> refused_looks_{0};  // in a row
};

/// The membership lock for the length of a scope.
class MembershipLock {
 public:
  explicit MembershipLock(Group& group)
      : guard_(group.mutex(), std::defer_lock), lock_(&group.locks(), kMembershipByte) {}
  /// kTimedOut after `timeout_ms`: others are joining, or its holder is stopped. A caller that can wait tries again.
  Status acquire(uint32_t timeout_ms) {
    guard_.lock();
    Status status = lock_.acquire(timeout_ms);
    if (status.code == Code::kTimedOut)
      status.context = "another process keeps the group's membership lock: it may be stopped";
    return status;
  }
  /// At once, or kBusy.
  Status try_acquire() {
    if (!guard_.try_lock()) return Status::error(Code::kBusy, "another thread holds the lock");
    return lock_.try_acquire();
  }

 private:
  std::unique_lock<std::mutex> guard_;
  ScopedLock lock_;  // given back before the mutex
};

/// What an error says to one who finds the file damaged while it's in use.
Status group_damaged(const std::string& path);

}  // namespace hermes
