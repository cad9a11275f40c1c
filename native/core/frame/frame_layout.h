#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hermes {

// The 32-byte header in front of every payload: in a log, on TCP, and in any buffer that an encoder
// fills.
//
//   0  magic         u32  0x314D5248, the bytes "HRM1". Written last in a log: it is the commit
//   mark. 4  version       u8   1 5  type          u8   FrameType 6  flags         u16  reserved:
//   writers of version 1 put 0, readers ignore bits that they don't know 8  sequence      u64
//  16  timestamp_ns  u64  nanoseconds since the Unix epoch
//  24  payload_len   u32  bytes, without the padding
//  28  crc32         u32  IEEE CRC-32 (the value of zlib), see below
//  32  payload, then 0 to 7 bytes of padding up to a multiple of 8
//
// All numbers are little-endian. A frame takes frame_span(payload_len) bytes, padding included,
// wherever it lies. Padding bytes are written as zero in new frames; readers ignore them, and the
// CRC does not cover them.
//
// What the CRC covers: the 24 bytes at offsets 4..27, then crc_payload_bytes(type, payload_len)
// bytes from offset 32:
//
//   data     the whole payload
//   void     the first min(payload_len, 8) bytes: count and reason. What follows is whatever a dead
//   publisher or
//            damage left there, so it can be neither trusted nor checked.
//   padding  none: the payload is never read
//
// In a log, the first 8 bytes (magic, version, type, flags) are one 64-bit word, stored once: 0 =
// nothing here yet, a claim word (claim_word.h), or the commit word made by commit_word().

static_assert(std::endian::native == std::endian::little, "frames are read and written in place, little-endian");

inline constexpr std::uint32_t kFrameMagic = 0x314D5248;
inline constexpr std::uint8_t kFrameVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 32;
inline constexpr std::size_t kFrameAlign = 8;
inline constexpr std::uint32_t kDefaultMaxPayload = 64 * 1024;

enum class FrameType : std::uint8_t {
  kData = 1,
  kPadding = 2,  // the rest of a segment
  kVoid = 3,     // a hole: `sequence` is the first of the sequences that are lost with it
};

// The payload of a void frame begins with these two numbers. A hole too small for them (payload_len
// < 8) stands for one sequence, and its reason is kUnknown.
enum class VoidReason : std::uint32_t {
  kUnknown = 0,
  kDeadPublisher = 1,  // claimed, never committed, its owner dead
  kDamaged = 2,        // committed once, then found damaged and put aside
};

struct VoidBody {
  std::uint32_t count;   // sequences that the hole stands for: sequence .. sequence + count - 1
  std::uint32_t reason;  // VoidReason; readers take values that they don't know for kUnknown
};
static_assert(sizeof(VoidBody) == 8);

struct FrameHeader {
  std::uint32_t magic;
  std::uint8_t version;
  std::uint8_t type;
  std::uint16_t flags;
  std::uint64_t sequence;
  std::uint64_t timestamp_ns;
  std::uint32_t payload_len;
  std::uint32_t crc32;
};
static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);
static_assert(alignof(FrameHeader) == kFrameAlign);
static_assert(offsetof(FrameHeader, magic) == 0);
static_assert(offsetof(FrameHeader, version) == 4);
static_assert(offsetof(FrameHeader, type) == 5);
static_assert(offsetof(FrameHeader, flags) == 6);
static_assert(offsetof(FrameHeader, sequence) == 8);
static_assert(offsetof(FrameHeader, timestamp_ns) == 16);
static_assert(offsetof(FrameHeader, payload_len) == 24);
static_assert(offsetof(FrameHeader, crc32) == 28);

// Header plus payload plus padding. 64 bits wide, so that no hostile payload_len overflows it.
[[nodiscard]] constexpr std::uint64_t frame_span(std::uint32_t payload_len) noexcept {
  return (std::uint64_t{kFrameHeaderBytes} + payload_len + (kFrameAlign - 1)) & ~std::uint64_t{kFrameAlign - 1};
}

// How many bytes of the payload the CRC covers.
[[nodiscard]] constexpr std::uint32_t crc_payload_bytes(FrameType type, std::uint32_t payload_len) noexcept {
  switch (type) {
    case FrameType::kData:
      return payload_len;
    case FrameType::kVoid:
      return payload_len < sizeof(VoidBody) ? payload_len : static_cast<std::uint32_t>(sizeof(VoidBody));
    case FrameType::kPadding:
      break;
  }
  return 0;
}

// The first 8 bytes of a committed frame as one word.
[[nodiscard]] constexpr std::uint64_t commit_word(FrameType type, std::uint16_t flags = 0) noexcept {
  return kFrameMagic | std::uint64_t{kFrameVersion} << 32 | std::uint64_t{static_cast<std::uint8_t>(type)} << 40 |
         std::uint64_t{flags} << 48;
}

// True if a first word read with acquire order says that the frame is committed.
[[nodiscard]] constexpr bool is_committed(std::uint64_t first_word) noexcept {
  return static_cast<std::uint32_t>(first_word) == kFrameMagic;
}

}  // namespace hermes
