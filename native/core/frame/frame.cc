#include "core/frame/frame.h"

namespace hermes {

void encode_header(std::byte* out, const FrameFields& fields, const std::byte* payload) noexcept {
  FrameHeader header;
  const std::uint64_t first = stamp(header, fields, payload);
  std::memcpy(&header, &first, sizeof first);
  std::memcpy(out, &header, sizeof header);
}

std::uint64_t encode_frame(std::span<std::byte> out, const FrameFields& fields, const std::byte* payload) noexcept {
  const std::uint64_t span = frame_span(fields.payload_len);
  if (out.size() < span) return 0;
  encode_header(out.data(), fields, payload);
  std::byte* body = out.data() + kFrameHeaderBytes;
  if (fields.payload_len != 0) std::memcpy(body, payload, fields.payload_len);
  std::memset(body + fields.payload_len, 0, span - kFrameHeaderBytes - fields.payload_len);
  return span;
}

const char* to_string(FrameStatus status) noexcept {
  switch (status) {
    case FrameStatus::kOk:
      return "kOk";
    case FrameStatus::kIncomplete:
      return "kIncomplete";
    case FrameStatus::kBadMagic:
      return "kBadMagic";
    case FrameStatus::kUnsupportedVersion:
      return "kUnsupportedVersion";
    case FrameStatus::kBadType:
      return "kBadType";
    case FrameStatus::kTooLarge:
      return "kTooLarge";
    case FrameStatus::kBadCrc:
      return "kBadCrc";
  }
  return "unknown";
}

FrameStatus decode_frame(std::span<const std::byte> bytes, const DecodeLimits& limits, FrameView& view) noexcept {
  view = FrameView{};
  if (bytes.size() < kFrameHeaderBytes) return FrameStatus::kIncomplete;

  // One copy, and every decision is made on it: the bytes may change under us.
  FrameHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kFrameMagic) return FrameStatus::kBadMagic;
  if (header.version != kFrameVersion) return FrameStatus::kUnsupportedVersion;
  const auto type = static_cast<FrameType>(header.type);
  const bool is_data = type == FrameType::kData;
  const bool is_log_type = type == FrameType::kPadding || type == FrameType::kVoid;
  if (!is_data && !(is_log_type && limits.log_types)) return FrameStatus::kBadType;
  if (is_data && header.payload_len > limits.max_payload) return FrameStatus::kTooLarge;

  const FrameFields fields{type, header.flags, header.sequence, header.timestamp_ns, header.payload_len};
  view.span = frame_span(header.payload_len);
  if (bytes.size() < view.span) return FrameStatus::kIncomplete;
  const std::byte* payload = bytes.data() + kFrameHeaderBytes;
  if (frame_crc(fields, payload) != header.crc32) return FrameStatus::kBadCrc;

  view.type = type;
  view.flags = header.flags;
  view.sequence = header.sequence;
  view.timestamp_ns = header.timestamp_ns;
  view.payload = {payload, crc_payload_bytes(type, header.payload_len)};
  if (type != FrameType::kPadding) view.count = 1;
  if (type == FrameType::kVoid && view.payload.size() == sizeof(VoidBody)) {
    VoidBody body;
    std::memcpy(&body, payload, sizeof body);
    view.count = body.count;
    if (body.reason == static_cast<std::uint32_t>(VoidReason::kDeadPublisher) ||
        body.reason == static_cast<std::uint32_t>(VoidReason::kDamaged)) {
      view.reason = static_cast<VoidReason>(body.reason);
    }
  }
  return FrameStatus::kOk;
}

}  // namespace hermes
