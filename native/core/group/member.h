#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/group/group.h"
#include "core/group/lease_keeper.h"
#include "core/group/log_cursor.h"
#include "core/platform/fork_guard.h"

namespace hermes {

/// A message that a member holds: what it's settled with.
struct ClaimRecord {
  uint64_t sequence;
  uint32_t frame;       ///< where the copy of its frame begins in the buffer
  uint32_t deliveries;  ///< so far, this one included; more than the rules allow: for the dead-letter topic
  uint32_t number;      ///< of the claim
  uint32_t bucket;      ///< of a keyed group
};
static_assert(sizeof(ClaimRecord) == 24);

/// Where a claim puts what it got.
struct ClaimBuffer {
  ClaimRecord* records;
  uint32_t limit;  ///< records at most; kMaxClaim at most
  std::byte* frames;
  uint64_t capacity;  ///< bytes; of at least one frame
};
inline constexpr uint32_t kMaxClaim = 256;

/// Why a claim got no more.
enum class ClaimStop : uint8_t {
  kLimit,       ///< there may be more
  kEmpty,       ///< nothing more is there now
  kWindowFull,  ///< until the message at `floor` is settled, no new ones are handed out
  kStandby,     ///< another member is the active one
  kBusy,        ///< another member is claiming: try again in a millisecond
  kRoom,        ///< the next message does not fit: see ClaimResult::needed
  kDamage,      ///< a message is not whole: see ClaimResult::sequence
  kNoKey,       ///< the caller has to tell the buckets of new messages: see Member::peek and Member::enter
};

struct ClaimResult {
  uint32_t count = 0;
  ClaimStop stop = ClaimStop::kLimit;
  uint64_t bytes = 0;     ///< filled in the buffer
  uint64_t needed = 0;    ///< with kRoom and nothing claimed: bytes for the next message
  uint64_t sequence = 0;  ///< with kDamage: which one
};

/// What becomes of a message.
enum class Outcome : uint8_t {
  kDone,      ///< handled
  kRejected,  ///< never to be delivered again: it went to the dead-letter topic, or was dropped
  kReturned,  ///< to be delivered again, after the delay
  kReleased,  ///< as if it had not been delivered this time
};
/// As the delay: the back-off that the group's rules say.
inline constexpr uint64_t kBackoff = ~uint64_t{0};

struct MemberOptions {
  std::string name;       ///< for people; 64 bytes of it are kept
  uint64_t lease_ns = 0;  ///< 0: what the group's rules say
  std::shared_ptr<Beat>
      beat;  ///< of the event loop that it depends on. Null: only renew(), claims and settlements keep the lease
};

/// One participant of a group: holds a slot, claims messages and settles them.
///
/// Thread safety: one thread at a time. A forked child can't use its parent's (kForked).
class Member {
 public:
  /// Takes a slot. kLimit if all 256 are taken, kTimedOut soon if another process keeps the membership lock.
  static Status join(std::shared_ptr<Group> group, const MemberOptions& options, std::unique_ptr<Member>* out);
  /// close()
  ~Member();
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  /// Claims messages: those to be delivered again first, then new ones, and copies their frames. Settles voids and what retention has removed. An error,
  /// and nothing is claimed: kPositionLost once after the log lost what the group had come to, kNotFound if the group was deleted, kCorrupt.
  Status claim(const ClaimBuffer& out, ClaimResult* result);

  /// Settles `count` messages. Returns how many it settled; `lost[i]` is 1 if record i was no longer this member's (LEASE_LOST), else 0.
  uint32_t settle(const ClaimRecord* records, uint32_t count, Outcome outcome, uint64_t delay_ns,
                  uint8_t* lost) noexcept;

  /// The next new messages of a keyed group, copied and not claimed: for the caller to find their keys. `records[i].bucket` is to be filled in.
  Status peek(const ClaimBuffer& out, ClaimResult* result);
  /// Tells the buckets of what peek() gave. Without effect if others have entered them meanwhile.
  Status enter(const ClaimRecord* records, uint32_t count);

  /// Durable subscription: makes this member the active one if there is none. kExclusiveHeld if there is.
  Status activate();
  /// Durable subscription: everything before `sequence` is done, and on the disk at the group's next sync. kLeaseLost if this member is not the active one (any more), kOutOfRange behind the
  /// log's end or before what is committed already.
  Status commit(uint64_t sequence);
  /// Durable subscription: whether commit() could still succeed. kLeaseLost if this member is not the active one (any more), kNotFound if the
  /// subscription was deleted. Cheap; changes nothing.
  Status check_held();
  /// Durable subscription: where it goes on.
  uint64_t committed() const noexcept { return group_->block().floor.load(std::memory_order_acquire) & kSequenceMask; }

  /// Counts messages that this durable subscription found removed by retention.
  void note_lost(uint64_t count) noexcept { group_->block().totals.lost.fetch_add(count, std::memory_order_relaxed); }

  /// Settles a message that is damaged as lost, so that no member comes upon it again. False if it is not waiting (any more).
  bool skip(uint64_t sequence) noexcept;

  /// The lease begins anew.
  void renew() noexcept;
  /// Whether the lease is over: others may have taken what it holds.
  bool is_late(uint64_t now_ns) const noexcept { return slot().lease_ns.load(std::memory_order_relaxed) < now_ns; }
  /// Returns what it holds and gives the slot back.
  void close() noexcept;

  uint32_t number() const noexcept { return slot_; }
  const std::shared_ptr<Group>& group() const noexcept { return group_; }

 private:
  /// A message found and not yet claimed.
  struct Found {
    uint64_t sequence;
    uint64_t offset;
    uint64_t span;
  };
  /// What a look at the log from `next` on found.
  struct Stretch {
    uint64_t next = 0;
    uint64_t end = 0;
    uint32_t count = 0;
    ClaimStop stop = ClaimStop::kLimit;
    uint64_t needed = 0;
    Found found[kMaxClaim];
  };
  /// The part of a claim that is under way.
  struct Progress {
    const ClaimBuffer& out;
    ClaimResult& result;
    uint32_t number;
    uint32_t left() const noexcept { return out.limit - result.count; }
    uint64_t room() const noexcept { return out.capacity - result.bytes; }
  };

  Member(std::shared_ptr<Group> group, LockFile lock, uint32_t slot);
  MemberSlot& slot() const noexcept { return group_->block().slots[slot_]; }
  Status begin(uint64_t now_ns);
  uint32_t next_number() noexcept;
  bool hold_turn() noexcept;
  void give_back(Progress* progress) noexcept;

  // claim.cc
  Status claim_again(Progress* progress, uint64_t now_ns);
  Status claim_new(Progress* progress);
  Status take_new(uint64_t most, uint64_t room, Stretch* stretch);
  Status look_from(uint64_t next, uint64_t limit, uint64_t most, uint64_t room, Stretch* stretch);
  Status pass_removed(uint64_t next, uint64_t floor);
  bool fill(uint64_t sequence, uint64_t place, uint64_t word) noexcept;
  void fill_voids(const Stretch& stretch) noexcept;
  Status try_again(uint64_t sequence, uint64_t seen, uint32_t bucket, Progress* progress, bool* full);
  void copy_out(const Segment& segment, uint64_t offset, uint64_t span, uint64_t sequence, uint32_t deliveries,
                uint32_t bucket, Progress* progress) noexcept;

  // keyed.cc
  Status claim_keyed(Progress* progress, uint64_t now_ns);
  bool take_turn(uint64_t now_ns) noexcept;
  void end_turn() noexcept;
  bool holds_message(uint64_t sequence);
  bool know_bucket(uint64_t sequence, uint32_t* bucket);
  Status enter_new(uint64_t most, const ClaimRecord* told, Stretch* stretch);
  uint32_t bucket_of(const Segment& segment, uint64_t offset) const noexcept;

  const std::shared_ptr<Group> group_;
  LockFile lock_;
  const uint32_t slot_;
  const ForkGuard guard_;
  LogCursor fresh_;  // follows `next`
  LogCursor again_;  // goes to and fro
  GroupRules rules_;
  uint64_t rules_ns_ = 0;
  uint64_t lease_ns_ = 0;
  std::shared_ptr<Beat> beat_;
  std::shared_ptr<LeaseKeeper::Lease> lease_;
  uint64_t cuts_seen_ = 0;
  uint64_t turn_ = 0;       // the word of `turn` while it's ours
  uint64_t busy_turn_ = 0;  // another one's, and since when it was seen
  uint64_t busy_since_ns_ = 0;
  uint32_t in_flight_ = 0;
  Position known_end_;  // of the log
  bool closed_ = false;
};

/// In which of the 1,024 buckets a key falls.
[[nodiscard]] uint32_t bucket_of_key(const void* key, size_t bytes) noexcept;

}  // namespace hermes
