#include "core/net/publish_intake.h"

#include <cstring>

#include "core/frame/frame.h"
#include "core/net/packet.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Numbers of messages, which are times, may be so far ahead of the clock.
constexpr uint64_t kMostAheadNs = uint64_t{24} * 3600 * 1'000'000'000;

}  // namespace

Code check_publish(std::span<const std::byte> frames, uint32_t count, uint32_t max_payload,
                   uint64_t* first_number) noexcept {
  DecodeLimits limits;
  limits.max_payload = max_payload;
  uint64_t number = 0;
  if (count == 0) return Code::kInvalidArgument;
  for (uint32_t i = 0; i < count; ++i) {
    FrameView view;
    switch (decode_frame(frames, limits, view)) {
      case FrameStatus::kOk:
        break;
      case FrameStatus::kTooLarge:
        return Code::kPayloadTooLarge;
      default:
        return Code::kInvalidArgument;
    }
    if (i == 0) *first_number = number = view.timestamp_ns;
    if (number == 0 || view.timestamp_ns != number || view.sequence != 0 || view.flags != 0)
      return Code::kInvalidArgument;
    ++number;
    frames = frames.subspan(view.span);
  }
  return frames.empty() && number <= realtime_ns() + kMostAheadNs ? Code::kOk : Code::kInvalidArgument;
}

void PublishIntake::detach(uint32_t channel) noexcept {
  std::erase_if(lanes_, [channel](const Lane& lane) { return lane.channel == channel; });
  last_ = 0;
}

PublishIntake::Lane* PublishIntake::find(uint32_t channel) noexcept {
  if (last_ < lanes_.size() && lanes_[last_].channel == channel) return &lanes_[last_];
  for (size_t at = 0; at < lanes_.size(); ++at) {
    if (lanes_[at].channel != channel) continue;
    last_ = at;
    return &lanes_[at];
  }
  return nullptr;
}

size_t PublishIntake::take(std::span<const std::byte> bytes, std::span<Taken> taken, size_t* count) noexcept {
  size_t at = 0;
  *count = 0;
  while (*count < taken.size()) {
    const size_t size = take_one(bytes.subspan(at), &taken[*count]);
    if (size == 0) break;
    at += size;
    ++*count;
  }
  return at;
}

/// The size of the packet that was taken; 0: it is not for us.
size_t PublishIntake::take_one(std::span<const std::byte> bytes, Taken* taken) noexcept {
  if (bytes.size() < kPacketHeaderBytes + kPublishHeadBytes) return 0;
  PacketHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.type != kPublishPacket || header.flags != 0 || header.zero != 0) return 0;
  if (header.length <= kPublishHeadBytes || header.length % kFrameAlign != 0 ||
      header.length > bytes.size() - kPacketHeaderBytes) {
    return 0;
  }
  Lane* const lane = find(header.channel);
  const uint64_t frame_bytes = header.length - kPublishHeadBytes;
  if (lane == nullptr || frame_bytes > lane->max_batch_bytes) return 0;
  const std::byte* const body = bytes.data() + kPacketHeaderBytes;
  if (packet_crc(bytes.data(), body, kPublishHeadBytes) != header.crc) return 0;
  PublishHead head;
  std::memcpy(&head, body, sizeof head);
  const std::span<const std::byte> frames = bytes.subspan(kPacketHeaderBytes + kPublishHeadBytes, frame_bytes);
  // What comes again is looked at by who remembers more. Asked before the work of checking: else who sends again and again would have it done twice.
  if (frames.size() < kFrameHeaderBytes) return 0;
  uint64_t first_number = 0;
  std::memcpy(&first_number, frames.data() + offsetof(FrameHeader, timestamp_ns), sizeof first_number);
  if (first_number <= lane->stored) return 0;
  if (check_publish(frames, head.count, lane->appender->max_payload(), &first_number) != Code::kOk) return 0;
  const BatchStamp stamp = {lane->slot, first_number, 1};
  if (lane->appender->append_batch(frames.data(), frames.size(), head.count, stamp) != Code::kOk) return 0;
  lane->stored = first_number + head.count - 1;
  *taken = {header.channel, head.count, first_number, lane->appender->last_sequence() + 1 - head.count,
            head.acked,     head.flags, header.length};
  return kPacketHeaderBytes + header.length;
}

}  // namespace hermes
