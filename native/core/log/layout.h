#pragma once

// The byte layout of docs/log-format.md, and nothing else.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/frame/frame_layout.h"

namespace hermes {

inline constexpr uint32_t kLogVersion = 1;
inline constexpr uint64_t kSegmentMagic = 0x314745534D524548;  // "HERMSEG1"
inline constexpr uint64_t kControlMagic = 0x314C54434D524548;  // "HERMCTL1"
inline constexpr uint64_t kSegmentHeaderBytes = 256;
inline constexpr uint64_t kControlBytes = 40'960;
inline constexpr uint32_t kSlots = 256;
inline constexpr uint64_t kMinSegmentBytes = 64 * 1024;
inline constexpr uint64_t kMaxSegmentBytes = uint64_t{1} << 30;
inline constexpr uint64_t kDefaultSegmentBytes = 100 * 1024 * 1024;

/// Bytes of the `locks` file.
inline constexpr uint64_t kRecoveryByte = 0;
inline constexpr uint64_t kPublishersByte = 1;
inline constexpr uint64_t kPrepareByte = 2;
inline constexpr uint64_t kSyncByte = 3;
inline constexpr uint64_t kSlotByte = 16;
/// Byte of the `control` file: held shared by all who have the topic open.
inline constexpr uint64_t kInUseByte = 0;
/// What `deleted` of the control file holds once the topic is gone: no flipped bit makes it.
inline constexpr uint32_t kDeleted = 0x44454C31;
/// What it holds from just before the folder is renamed: if the name no longer leads to this file, the topic is gone.
inline constexpr uint32_t kDeleting = 0x44454C30;

struct TopicId {
  uint8_t bytes[16];
  friend bool operator==(const TopicId&, const TopicId&) = default;
};

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t number;
  TopicId topic_id;
  uint64_t segment_bytes;
  uint64_t created_ns;
  uint32_t zero;
  uint32_t crc;  // of the 60 bytes before
  // Set once, by a publisher that rotates; all publishers compute the same value.
  std::atomic<uint64_t> base_sequence;
  // When the segment came into use, by the clock of the process that rotated. The first one to rotate sets it; the check tells a torn or
  // damaged value, and one that an older release has left out.
  std::atomic<uint64_t> used_since_ns;
  std::atomic<uint64_t> used_since_check;
  uint8_t reserved0[40];
  // On a line of its own: publishers write it, readers poll frames.
  std::atomic<uint64_t> tail_hint;
  uint8_t reserved1[120];
};
static_assert(sizeof(SegmentHeader) == kSegmentHeaderBytes);
static_assert(offsetof(SegmentHeader, topic_id) == 24 && offsetof(SegmentHeader, crc) == 60);
static_assert(offsetof(SegmentHeader, base_sequence) == 64 && offsetof(SegmentHeader, tail_hint) == 128);
static_assert(offsetof(SegmentHeader, used_since_ns) == 72 && offsetof(SegmentHeader, used_since_check) == 80);
static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint64_t>) == 8);

/// A position in shared memory that several processes replace now and then. Torn and damaged records are told by the check.
struct PositionRecord {
  std::atomic<uint64_t> segment;
  std::atomic<uint64_t> offset;
  std::atomic<uint64_t> sequence;
  std::atomic<uint64_t> check;
};

struct ParticipantSlot {
  std::atomic<uint32_t> state;  // 0 free, 1 taken
  std::atomic<uint32_t> pid;    // for people; liveness is the lock's matter
  std::atomic<uint64_t> taken_ns;
  std::atomic<uint64_t> messages;
  std::atomic<uint64_t> bytes;
  std::atomic<uint64_t>
      notes;  // taken_ns with a salt: the owner notes each claim in the next word. Releases before 0.2 leave it as it was
  std::atomic<uint64_t>
      claiming;  // where the owner is about to claim, or has claimed and not committed; 0 = nowhere. See claim_note()
  uint8_t reserved[80];
};
inline constexpr uint64_t kNotesSalt = 0x48524D5350415245;
/// A place in a topic, as a slot notes it: the low 32 bits of the segment's number, and the offset in units of 8 bytes. Never 0.
constexpr uint64_t claim_note(uint64_t segment, uint64_t offset) noexcept {
  return segment << 32 | offset / kFrameAlign;
}
static_assert(sizeof(ParticipantSlot) == 128);

/// Where recovery ended the log, so that sequences from there on may have been given out twice. See cuts.h.
struct CutRecord {
  std::atomic<uint64_t> number;    // 1, 2, 3, … within the topic; 0 = none
  std::atomic<uint64_t> sequence;  // the first one that was given out again
  std::atomic<uint64_t> check;
};
inline constexpr uint32_t kCuts = 8;

/// The wall clock beside one that never steps, as retention saw the two last. See clock_step.h.
struct ClockRecord {
  std::atomic<uint64_t> boot;  // the two words of the boot id, XOR
  std::atomic<uint64_t> offset_ns;
  std::atomic<uint64_t> looked_ns;
  std::atomic<uint64_t> ahead_ns;
  std::atomic<uint64_t> at_ns;
  std::atomic<uint64_t> check;
};

/// A process's event loop that sleeps for news of the topic now and then. See bells.h.
struct BellSeat {
  std::atomic<uint64_t> name;  // of its bell; 0 = free
  std::atomic<uint64_t> tag;   // what it is told when it is rung
};
inline constexpr uint32_t kBellSeats = 16;

struct ControlBlock {
  uint64_t magic;
  uint32_t version;
  uint32_t file_bytes;
  uint64_t segment_bytes;
  uint32_t max_payload;
  uint32_t slot_count;
  uint64_t created_ns;
  TopicId topic_id;
  uint32_t zero;
  uint32_t crc;  // of the 60 bytes before
  uint8_t reserved0[64];

  std::atomic<uint64_t> active;  // newest segment in use
  uint8_t reserved1[120];
  std::atomic<uint64_t> first;  // oldest segment that retention has left
  uint8_t reserved2[120];
  std::atomic<uint32_t> parked;  // futex word: odd while a process sleeps for new messages
  uint8_t reserved3[124];
  PositionRecord checkpoint;  // everything before is committed
  uint8_t reserved4[96];
  PositionRecord synced;  // everything before is on stable storage
  std::atomic<uint32_t> sync_generation;
  uint8_t reserved5[4];
  std::atomic<uint64_t>
      sync_failure;  // errno of a sync that failed and was not made good; high half: sync generation then
  std::atomic<uint64_t> sync_failure_check;  // both are 0 while there's none
  uint8_t reserved5b[72];
  std::atomic<uint64_t> retention_bytes;
  std::atomic<uint64_t> retention_age_ns;
  std::atomic<uint32_t> disk_alarm;
  std::atomic<uint32_t> deleted;          // kDeleted once the topic was deleted under those who have it open; kDeleting
  std::atomic<uint64_t> retention_check;  // of the two settings: a flipped bit must not remove anything
  std::atomic<uint64_t> retention_wait;   // bytes that are kept at most for groups that have not settled them; 0 = none
  std::atomic<uint64_t> retention_wait_check;
  uint8_t reserved7[80];
  std::atomic<uint64_t> boot_id[2];
  std::atomic<uint32_t> closed_in_order;
  uint8_t reserved8[4];
  std::atomic<uint64_t> identity[4];  // of this file: device, inode, time of its making, mount
  std::atomic<uint64_t> identity_check;
  uint8_t reserved8b[64];
  CutRecord cuts[kCuts];  // where recovery ended the log; groups learn from it what they can't rely on any more
  std::atomic<uint64_t>
      recoveries;  // so many have changed the log, or might have: who remembers a place in it looks here. See log_end.h
  ClockRecord clock;
  uint8_t reserved8c[8];
  std::atomic<uint64_t> bells_armed;  // bit n: seat n sleeps, and is rung when sleepers are woken
  uint8_t reserved8d[56];
  BellSeat bells[kBellSeats];
  uint8_t reserved8e[2496];
  ParticipantSlot slots[kSlots];
  uint8_t reserved9[4096];
};
static_assert(offsetof(ControlBlock, crc) == 60 && offsetof(ControlBlock, active) == 128);
static_assert(offsetof(ControlBlock, first) == 256 && offsetof(ControlBlock, parked) == 384);
static_assert(offsetof(ControlBlock, checkpoint) == 512 && offsetof(ControlBlock, synced) == 640);
static_assert(offsetof(ControlBlock, sync_generation) == 672);
static_assert(offsetof(ControlBlock, retention_bytes) == 768 && offsetof(ControlBlock, disk_alarm) == 784);
static_assert(offsetof(ControlBlock, deleted) == 788 && offsetof(ControlBlock, retention_check) == 792);
static_assert(offsetof(ControlBlock, retention_wait) == 800);
static_assert(offsetof(ControlBlock, boot_id) == 896 && offsetof(ControlBlock, closed_in_order) == 912);
static_assert(offsetof(ControlBlock, sync_failure) == 680 && offsetof(ControlBlock, identity) == 920);
static_assert(offsetof(ControlBlock, cuts) == 1024 && sizeof(CutRecord) == 24 &&
              offsetof(ControlBlock, recoveries) == 1216 && offsetof(ControlBlock, clock) == 1224);
static_assert(offsetof(ControlBlock, bells_armed) == 1280 && offsetof(ControlBlock, bells) == 1344);
static_assert(offsetof(ControlBlock, slots) == 4096 && sizeof(ControlBlock) == kControlBytes);

}  // namespace hermes
