#pragma once

// The byte layout of docs/group-format.md, and nothing else.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/log/layout.h"

namespace hermes {

inline constexpr uint64_t kGroupMagic = 0x31505247'4D524548;  // "HERMGRP1"
inline constexpr uint32_t kGroupVersion = 1;
inline constexpr uint32_t kMemberSlots = 256;
inline constexpr uint32_t kMemberNameBytes = 64;
inline constexpr uint32_t kBuckets = 1024;
inline constexpr uint32_t kMinWindow = 64;
inline constexpr uint32_t kMaxWindow = 1u << 20;
inline constexpr uint32_t kDefaultWindow = 1u << 16;
inline constexpr uint64_t kGroupSettingsBytes = 3064;
/// Sequences take 54 bits, so that an owner fits beside one.
inline constexpr uint64_t kSequenceMask = (uint64_t{1} << 54) - 1;
inline constexpr uint32_t kMaxDeliveries = 255;  // stands for 255 or more

/// Bytes of the group file that are locked.
inline constexpr uint64_t kMembershipByte = 0;
inline constexpr uint64_t kGroupInUseByte = 1;
inline constexpr uint64_t kMemberByte = 16;

enum class GroupKind : uint32_t {
  kShared = 0,     ///< any member takes any message
  kExclusive = 1,  ///< one member is active, the others stand by
  kKeyed = 2,      ///< the messages of one key are with one member at a time, in order
  kDurable = 3,    ///< one member is active and commits how far it has come; no entries
};

/// Of `flags`: only what is on stable storage is handed out.
inline constexpr uint32_t kUpToSynced = 1;

struct MemberSlot {
  std::atomic<uint32_t> state;  // 0 free, 1 taken
  std::atomic<uint32_t> pid;    // for people; liveness is the lock's matter
  std::atomic<uint64_t> taken_ns;
  std::atomic<uint64_t> lease_ns;  // monotonic; until then the member counts as working
  std::atomic<uint32_t> in_flight;
  std::atomic<uint32_t> generation;  // how often the slot was taken
  std::atomic<uint32_t> claims;      // number of the last claim
  std::atomic<uint32_t> reserved0;
  std::atomic<uint64_t> claimed;
  std::atomic<uint64_t> settled;
  uint64_t reserved1;
  std::atomic<uint64_t> name[kMemberNameBytes / 8];
};
static_assert(sizeof(MemberSlot) == 128 && offsetof(MemberSlot, name) == 64 && offsetof(MemberSlot, lease_ns) == 16);

/// One message in flight, or waiting to be handed out again.
struct GroupEntry {
  std::atomic<uint64_t> word;   // see entry.h
  std::atomic<uint64_t> place;  // where it stands in the log: a hint
};
static_assert(sizeof(GroupEntry) == 16);

/// Numbers that every member goes by. Replaced as a whole, under the membership lock.
struct GroupNumbers {
  std::atomic<uint32_t> max_deliveries;  // 0 = without limit
  std::atomic<uint32_t> lease_ms;
  std::atomic<uint32_t> backoff_ms;
  std::atomic<uint32_t> max_backoff_ms;
  std::atomic<uint32_t> key_offset;  // of the key in the payload, for a keyed group
  std::atomic<uint32_t> key_bytes;   // 0 = the key is found by the caller
  std::atomic<uint64_t> check;
};
static_assert(sizeof(GroupNumbers) == 32);

struct GroupTotals {
  std::atomic<uint64_t> settled;
  std::atomic<uint64_t> redelivered;
  std::atomic<uint64_t> late;      // acknowledgements that came too late
  std::atomic<uint64_t> rejected;  // settled without success
  std::atomic<uint64_t> lost;      // retention took them first
  std::atomic<uint64_t> taken;     // from members that died or hung
  std::atomic<uint64_t> cut;       // times that the log had lost what the group knew
  std::atomic<uint64_t> reserved;
};
static_assert(sizeof(GroupTotals) == 64);

struct GroupBlock {
  uint64_t magic;
  uint32_t version;
  uint32_t window;
  uint64_t created_ns;
  TopicId topic_id;
  uint32_t kind;
  uint32_t slot_count;
  uint64_t zero0;
  uint32_t flags;
  uint32_t crc;  // of the 60 bytes before
  uint8_t reserved0[64];

  std::atomic<uint64_t> next;
  uint8_t reserved1[120];
  std::atomic<uint64_t> floor;
  uint8_t reserved2[120];
  std::atomic<uint64_t> returned;  // a stretch that holds returned entries; a hint
  std::atomic<uint32_t> due;       // the earliest due tick of a delayed entry; 0 = none; a hint
  uint8_t reserved3[116];
  std::atomic<uint64_t> turn;  // whose turn it is to claim, in exclusive and keyed groups
  uint8_t reserved4[120];
  std::atomic<uint64_t> looked_ns;  // monotonic: when members were last looked at
  uint8_t reserved5[120];
  std::atomic<uint64_t> boot_id[2];
  std::atomic<uint64_t> identity[4];  // of this file: device, inode, time of its making, mount
  std::atomic<uint64_t> cut;          // number of the log's newest cut that the group has heard of
  std::atomic<uint64_t> use_check;    // of the seven words before
  uint8_t reserved6[64];
  GroupTotals totals;
  GroupNumbers numbers;
  uint8_t reserved7[32];
  uint32_t settings_bytes;
  uint32_t settings_crc;
  char settings[kGroupSettingsBytes];
  MemberSlot slots[kMemberSlots];
};
static_assert(offsetof(GroupBlock, crc) == 60 && offsetof(GroupBlock, next) == 128 &&
              offsetof(GroupBlock, floor) == 256);
static_assert(offsetof(GroupBlock, returned) == 384 && offsetof(GroupBlock, due) == 392 &&
              offsetof(GroupBlock, turn) == 512);
static_assert(offsetof(GroupBlock, looked_ns) == 640 && offsetof(GroupBlock, boot_id) == 768 &&
              offsetof(GroupBlock, identity) == 784);
static_assert(offsetof(GroupBlock, cut) == 816 && offsetof(GroupBlock, use_check) == 824 &&
              offsetof(GroupBlock, totals) == 896);
static_assert(offsetof(GroupBlock, numbers) == 960 && offsetof(GroupBlock, settings_bytes) == 1024 &&
              offsetof(GroupBlock, slots) == 4096);
static_assert(sizeof(GroupBlock) == 36'864);

/// How long a group file with this window is; a window of 0 has no entries.
[[nodiscard]] constexpr uint64_t group_bytes(uint32_t window) noexcept {
  return (sizeof(GroupBlock) + uint64_t{window} * sizeof(GroupEntry) + 4095) / 4096 * 4096;
}

}  // namespace hermes
