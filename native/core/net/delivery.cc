#include "core/net/delivery.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/net/packet.h"

namespace hermes {
namespace {

/// So many bytes of frames are copied behind their head, which takes less than writing two pieces.
constexpr size_t kCopiedBytes = 2048;
/// So much goes out at once even if other things are held.
constexpr size_t kDirectBytes = size_t{16} << 10;

}  // namespace

Scan find_run(const Segment& segment, uint64_t from, uint64_t sequence, const Delivery& delivery,
              uint32_t max_payload) noexcept {
  uint32_t limit = std::max<uint32_t>(delivery.most_messages, 1);
  for (;;) {
    Scan run = scan(segment, from, sequence, limit, max_payload, false);
    const uint64_t bytes = run.end - from;
    if (bytes <= delivery.most_bytes) return run;
    if (run.messages <= 1) {
      // A frame that is too large by itself, or voids before one.
      run.end = from;
      return run;
    }
    limit = std::max<uint32_t>(1, static_cast<uint32_t>(run.messages * (delivery.most_bytes * 0.9) / bytes));
  }
}

TransferResult deliver(Connection& connection, const std::shared_ptr<Segment>& segment, uint64_t from,
                       uint64_t sequence, const Scan& run, const Delivery& delivery, bool hold) {
  const uint64_t bytes = run.end - from;
  const DeliverHead head = {delivery.epoch, run.messages, sequence, run.sequence,
                            std::max(delivery.next_sequence, run.sequence)};
  std::array<std::byte, kPacketHeaderBytes + kDeliverHeadBytes + kCopiedBytes> packet;
  constexpr size_t kHeadBytes = kPacketHeaderBytes + kDeliverHeadBytes;
  PacketHeader header = {static_cast<uint32_t>(kDeliverHeadBytes + bytes), kDeliverPacket, 0, 0, delivery.channel, 0};
  std::memcpy(packet.data() + kPacketHeaderBytes, &head, sizeof head);
  std::memcpy(packet.data(), &header, sizeof header);
  header.crc = packet_crc(packet.data(), packet.data() + kPacketHeaderBytes, kDeliverHeadBytes);
  std::memcpy(packet.data(), &header, sizeof header);
  const std::byte* const frames = segment->data() + from;
  if (bytes <= kCopiedBytes) {
    std::memcpy(packet.data() + kHeadBytes, frames, bytes);
    return connection.write(packet.data(), kHeadBytes + bytes, hold);
  }
  (void)connection.write(packet.data(), kHeadBytes, true);
  return connection.write(frames, bytes, hold && bytes < kDirectBytes, segment);
}

}  // namespace hermes
