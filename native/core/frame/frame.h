#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "core/crc32/crc32.h"
#include "core/frame/frame_layout.h"

namespace hermes {

// Encoding and decoding of single frames. Thread safety: no state; safe wherever the bytes are.

// What a writer says about a frame. Magic, version and CRC follow from it.
struct FrameFields {
  FrameType type = FrameType::kData;
  std::uint16_t flags = 0;
  std::uint64_t sequence = 0;
  std::uint64_t timestamp_ns = 0;
  std::uint32_t payload_len = 0;
};

// The CRC of a frame from its fields. Takes the header from registers and the payload from wherever
// the caller has it: reading back what was stored a few instructions ago, in other widths, costs a
// store-forwarding stall. `payload` must have crc_payload_bytes(type, payload_len) readable bytes
// and may be null if that is 0.
[[nodiscard]] inline std::uint32_t frame_crc(const FrameFields& fields, const std::byte* payload) noexcept {
  return crc32_words(commit_word(fields.type, fields.flags) >> 32 | fields.sequence << 32,
                     fields.sequence >> 32 | fields.timestamp_ns << 32,
                     fields.timestamp_ns >> 32 | std::uint64_t{fields.payload_len} << 32, payload,
                     crc_payload_bytes(fields.type, fields.payload_len));
}

// The CRC of a frame in memory: bytes 4..27, then `payload_len` bytes from offset 32. The stored
// CRC is not looked at. For other types than data, pass crc_payload_bytes(type, payload_len).
// REQUIRES: 32 + payload_len readable bytes; no byte outside them is read. Any alignment.
[[nodiscard]] inline std::uint32_t frame_crc(const std::byte* frame, std::uint32_t payload_len) noexcept {
  std::uint64_t words[3];
  std::memcpy(words, frame + 4, sizeof words);
  return crc32_words(words[0], words[1], words[2], frame + kFrameHeaderBytes, payload_len);
}

// Fills everything of a claimed frame's header but its first 8 bytes, and returns those: the caller
// publishes the frame to readers by storing them with release order once the payload is in place
// too. `payload` is read for the CRC only; it may be the source that the payload is copied from.
[[nodiscard]] inline std::uint64_t stamp(FrameHeader& header, const FrameFields& fields,
                                         const std::byte* payload) noexcept {
  header.sequence = fields.sequence;
  header.timestamp_ns = fields.timestamp_ns;
  header.payload_len = fields.payload_len;
  header.crc32 = frame_crc(fields, payload);
  return commit_word(fields.type, fields.flags);
}

// Writes a whole header, first word included: for buffers without readers yet. `out` needs
// 32 bytes, any alignment. `payload` as for frame_crc().
void encode_header(std::byte* out, const FrameFields& fields, const std::byte* payload) noexcept;

// Writes header, payload and zero padding; returns frame_span(payload_len), or 0 if `out` is
// shorter than that. `payload` must not overlap `out`.
[[nodiscard]] std::uint64_t encode_frame(std::span<std::byte> out, const FrameFields& fields,
                                         const std::byte* payload) noexcept;

enum class FrameStatus : std::uint8_t {
  kOk = 0,
  kIncomplete,          // more bytes are needed: FrameView::span says how many in all, once the header is
                        // there
  kBadMagic,            // no committed frame begins here
  kUnsupportedVersion,  // written by a newer program
  kBadType,             // an unknown type, or one that is not allowed here
  kTooLarge,            // a data payload over the limit
  kBadCrc,
};

// The name of a status, such as "kBadCrc", for messages and tests.
[[nodiscard]] const char* to_string(FrameStatus status) noexcept;

struct DecodeLimits {
  std::uint32_t max_payload = kDefaultMaxPayload;  // bytes, for data frames
  bool log_types = false;                          // accept padding and void frames too; false for bytes from a network
};

// A decoded frame. `payload` points into the bytes that were given and lives as long as they do.
// For padding and void frames it is the part that the CRC vouches for.
struct FrameView {
  FrameType type = FrameType::kData;
  std::uint16_t flags = 0;
  std::uint64_t sequence = 0;
  std::uint64_t timestamp_ns = 0;
  std::span<const std::byte> payload;
  std::uint64_t span = 0;   // bytes from the start of this frame to the next; 0 if the header is not complete
  std::uint32_t count = 0;  // sequences that the frame stands for: 1 for data, 0 for padding
  VoidReason reason = VoidReason::kUnknown;  // void frames only
};

// Decodes the frame at the start of `bytes`, which may hold anything, at any alignment. Nothing is
// read outside of `bytes`, and nothing in `view` may be used unless the result is kOk (`span` alone
// also after kIncomplete). A frame is complete when its padding is there as well.
//
// Bytes that another process may still change can make a frame that was kOk differ when it is read
// again: decode from a log only what is committed, and bound every later use by this view, not by
// the header.
[[nodiscard]] FrameStatus decode_frame(std::span<const std::byte> bytes, const DecodeLimits& limits,
                                       FrameView& view) noexcept;

}  // namespace hermes
