#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

// The bytes of a ring, as docs/ring-layout.md specifies them, and the checks of participants that create or
// attaches.

namespace hermes {

inline constexpr uint32_t kRingMagic = 0x474E5248;  // the bytes HRNG
inline constexpr uint32_t kRingVersion = 1;
inline constexpr uint32_t kRingDataOffset = 2048;
inline constexpr uint32_t kRingLine = 128;
inline constexpr uint32_t kRingMaxCapacity = 1u << 30;
inline constexpr uint32_t kRingMaxItemSize = 1u << 20;
inline constexpr uint32_t kRingMaxParticipants = 254;
inline constexpr uint32_t kRingFlagParking = 1;

enum class RingKind : uint32_t { kSpsc = 1, kSpscBytes = 2, kMpmc = 3 };

/// Outcome of creating, attaching or taking a role. Cold path.
enum class [[nodiscard]] RingStatus : uint8_t {
  kOk,
  kMisaligned,   ///< the memory does not start at a multiple of 128
  kTooSmall,     ///< the memory ends before the ring does
  kBadCapacity,  ///< not a power of two, or out of range
  kBadOption,    ///< participants, item size or start index out of range
  kNotRing,      ///< no magic: something else lies here
  kVersion,      ///< a ring of another format version
  kKind,         ///< a ring of another kind
  kItemSize,     ///< a ring of items of another size
  kTag,          ///< a ring whose creator chose another tag
  kCorrupt,      ///< the header or the indices contradict themselves
  kBusy,         ///< another participant holds this role
  kNoRoom,       ///< every participant entry is taken
};

/// Outcome of an operation. Hot path.
enum class [[nodiscard]] RingOp : uint8_t {
  kOk,
  kFull,
  kEmpty,
  kClosed,    ///< the other side closed; for a consumer: and everything was read
  kDead,      ///< the other side died; for a consumer: and everything was read
  kTooLarge,  ///< a frame over the ring's limit
  kCorrupt,   ///< the shared words contradict themselves
};

struct RingHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t kind;
  uint32_t flags;
  uint32_t item_size;
  uint32_t slot_size;
  uint32_t capacity;
  uint32_t data_offset;
  uint64_t total_bytes;
  uint64_t tag;
  uint32_t participants;
  uint32_t reserved[2];
  uint32_t header_crc;
};
static_assert(sizeof(RingHeader) == 64);
static_assert(offsetof(RingHeader, header_crc) == 60);

using RingWord = std::atomic<uint32_t>;
static_assert(sizeof(RingWord) == 4 && RingWord::is_always_lock_free);
static_assert(std::endian::native == std::endian::little, "the layout is little-endian");

/// Everything before the data. Words that different parties write are 128 bytes apart.
struct RingLayout {
  RingHeader header;
  alignas(kRingLine) RingWord producer_index;
  alignas(kRingLine) uint32_t producer_copy;  // of consumer_index; the producer's own
  alignas(kRingLine) RingWord consumer_index;
  alignas(kRingLine) uint32_t consumer_copy;  // of producer_index; the consumer's own
  alignas(kRingLine) RingWord consumers_waiting;
  RingWord items_event;
  alignas(kRingLine) RingWord producers_waiting;
  RingWord room_event;
  alignas(kRingLine) RingWord voided;
  RingWord dropped_newest;
  RingWord dropped_oldest;
  alignas(kRingLine) RingWord participant[256];
};
static_assert(offsetof(RingLayout, producer_index) == 128);
static_assert(offsetof(RingLayout, producer_copy) == 256);
static_assert(offsetof(RingLayout, consumer_index) == 384);
static_assert(offsetof(RingLayout, consumer_copy) == 512);
static_assert(offsetof(RingLayout, consumers_waiting) == 640);
static_assert(offsetof(RingLayout, items_event) == 644);
static_assert(offsetof(RingLayout, producers_waiting) == 768);
static_assert(offsetof(RingLayout, room_event) == 772);
static_assert(offsetof(RingLayout, voided) == 896);
static_assert(offsetof(RingLayout, dropped_oldest) == 904);
static_assert(offsetof(RingLayout, participant) == 1024);
static_assert(sizeof(RingLayout) == kRingDataOffset);

struct RingOptions {
  uint64_t tag = 0;            ///< the creator's mark; an attach may demand it
  uint32_t start_index = 0;    ///< where both indices begin; a byte ring needs a multiple of 8
  uint32_t participants = 64;  ///< entries of an MPMC ring
  bool parking = false;        ///< whether participants may sleep; costs each push and pop a fence
};

/// What a ring must be to be attached to.
struct RingShape {
  RingKind kind;
  uint32_t item_size;  ///< kSpscBytes: unused
  uint32_t capacity;   ///< 0 in an attach: any
};

namespace ring_detail {

constexpr uint32_t mpmc_slot_size(uint32_t item_size) noexcept { return (8 + item_size + 7) & ~7u; }

constexpr uint32_t slot_size(RingKind kind, uint32_t item_size) noexcept {
  if (kind == RingKind::kSpscBytes) return 1;
  return kind == RingKind::kMpmc ? mpmc_slot_size(item_size) : item_size;
}

constexpr uint64_t total_bytes(RingKind kind, uint32_t item_size, uint32_t capacity) noexcept {
  const uint64_t end = kRingDataOffset + uint64_t{capacity} * slot_size(kind, item_size);
  return (end + kRingLine - 1) / kRingLine * kRingLine;
}

constexpr bool capacity_ok(RingKind kind, uint32_t capacity) noexcept {
  return std::has_single_bit(capacity) && capacity <= kRingMaxCapacity &&
         capacity >= (kind == RingKind::kSpscBytes ? 64u : 2u);
}

/// CRC-32 (IEEE) bit by bit. Rings are usable as headers alone, and 60 bytes at an attach need no
/// table.
inline uint32_t small_crc32(const void* bytes, size_t length) noexcept {
  const auto* byte = static_cast<const uint8_t*>(bytes);
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < length; ++i) {
    crc ^= byte[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

/// The turn of the producer of `position` in an MPMC ring of 2^`shift` slots; the consumer's is one
/// more.
constexpr uint32_t turn_of(uint32_t position, uint32_t shift) noexcept {
  return ((position >> shift) << 1) & 0xFFFFFFu;
}

}  // namespace ring_detail

/// Writes a whole ring of `shape` over `memory`. REQUIRES: the memory is unused.
inline RingStatus create_ring(void* memory, size_t bytes, const RingShape& shape, const RingOptions& options) noexcept {
  using namespace ring_detail;
  if (reinterpret_cast<uintptr_t>(memory) % kRingLine != 0) return RingStatus::kMisaligned;
  if (!capacity_ok(shape.kind, shape.capacity)) return RingStatus::kBadCapacity;
  const bool framed = shape.kind == RingKind::kSpscBytes;
  const bool shared = shape.kind == RingKind::kMpmc;
  const uint32_t item_size = framed ? shape.capacity / 2 - 8 : shape.item_size;
  if (!framed && (item_size == 0 || item_size > kRingMaxItemSize)) return RingStatus::kBadOption;
  if (framed && options.start_index % 8 != 0) return RingStatus::kBadOption;
  if (shared && (options.participants < 2 || options.participants > kRingMaxParticipants)) {
    return RingStatus::kBadOption;
  }
  const uint64_t total = total_bytes(shape.kind, item_size, shape.capacity);
  if (bytes < total) return RingStatus::kTooSmall;

  std::memset(memory, 0, total);
  auto* layout = static_cast<RingLayout*>(memory);
  RingHeader header{};
  header.magic = kRingMagic;
  header.version = kRingVersion;
  header.kind = static_cast<uint32_t>(shape.kind);
  header.flags = options.parking ? kRingFlagParking : 0;
  header.item_size = item_size;
  header.slot_size = slot_size(shape.kind, item_size);
  header.capacity = shape.capacity;
  header.data_offset = kRingDataOffset;
  header.total_bytes = total;
  header.tag = options.tag;
  header.participants = shared ? options.participants : 2;
  header.header_crc = small_crc32(&header, offsetof(RingHeader, header_crc));

  layout->producer_index.store(options.start_index, std::memory_order_relaxed);
  layout->consumer_index.store(options.start_index, std::memory_order_relaxed);
  layout->producer_copy = options.start_index;
  layout->consumer_copy = options.start_index;
  if (shared) {
    const auto shift = static_cast<uint32_t>(std::countr_zero(shape.capacity));
    for (uint32_t i = 0; i < shape.capacity; ++i) {
      const uint32_t position = options.start_index + i;
      const uint64_t slot = position & (shape.capacity - 1);
      const uint32_t word = turn_of(position, shift) << 8;
      std::memcpy(static_cast<char*>(memory) + kRingDataOffset + slot * header.slot_size, &word, 4);
    }
  }
  std::memcpy(reinterpret_cast<char*>(layout) + 4, reinterpret_cast<const char*>(&header) + 4, sizeof header - 4);
  // Publishes the whole layout to participants that find the magic.
  std::atomic_ref<uint32_t>(layout->header.magic).store(kRingMagic, std::memory_order_release);
  return RingStatus::kOk;
}

/// Checks that `memory` holds a sound ring of `shape`. `tag` null: any. Writes nothing and trusts
/// nothing.
inline RingStatus check_ring(void* memory, size_t bytes, const RingShape& shape,
                             const uint64_t* tag = nullptr) noexcept {
  using namespace ring_detail;
  if (reinterpret_cast<uintptr_t>(memory) % kRingLine != 0) return RingStatus::kMisaligned;
  if (bytes < kRingDataOffset) return RingStatus::kTooSmall;
  auto* layout = static_cast<RingLayout*>(memory);
  // Pairs with the creator's release: the rest of the layout is complete once the magic is seen.
  if (std::atomic_ref<uint32_t>(layout->header.magic).load(std::memory_order_acquire) != kRingMagic) {
    return RingStatus::kNotRing;
  }
  RingHeader header;
  std::memcpy(&header, memory, sizeof header);
  if (header.version != kRingVersion) return RingStatus::kVersion;
  if (header.header_crc != small_crc32(&header, offsetof(RingHeader, header_crc))) {
    return RingStatus::kCorrupt;
  }
  if (header.kind != static_cast<uint32_t>(shape.kind)) return RingStatus::kKind;

  // A right CRC proves that nothing was damaged, not that the creator was sane.
  const bool framed = shape.kind == RingKind::kSpscBytes;
  const bool shared = shape.kind == RingKind::kMpmc;
  const bool sane =
      capacity_ok(shape.kind, header.capacity) && header.data_offset == kRingDataOffset &&
      (header.flags & ~kRingFlagParking) == 0 &&
      (framed ? header.item_size == header.capacity / 2 - 8
              : header.item_size >= 1 && header.item_size <= kRingMaxItemSize) &&
      header.slot_size == slot_size(shape.kind, header.item_size) &&
      header.total_bytes == total_bytes(shape.kind, header.item_size, header.capacity) &&
      (shared ? header.participants >= 2 && header.participants <= kRingMaxParticipants : header.participants == 2);
  if (!sane) return RingStatus::kCorrupt;
  if (header.total_bytes > bytes) return RingStatus::kTooSmall;
  if (!framed && header.item_size != shape.item_size) return RingStatus::kItemSize;
  if (shape.capacity != 0 && header.capacity != shape.capacity) return RingStatus::kBadCapacity;
  if (tag != nullptr && header.tag != *tag) return RingStatus::kTag;

  // The consumer's first: the producer's can only have grown since, and at most by what was popped.
  const uint32_t consumed = layout->consumer_index.load(std::memory_order_acquire);
  const uint32_t produced = layout->producer_index.load(std::memory_order_acquire);
  const uint32_t again = layout->consumer_index.load(std::memory_order_acquire);
  if (produced - consumed > header.capacity + (again - consumed)) return RingStatus::kCorrupt;
  if (framed && (produced % 8 != 0 || consumed % 8 != 0)) return RingStatus::kCorrupt;
  return RingStatus::kOk;
}

}  // namespace hermes
