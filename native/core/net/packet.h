#pragma once

#include <cstddef>
#include <cstdint>

#include "core/crc32/crc32.h"

namespace hermes {

// Packets of the wire protocol, as far as the core knows them: docs/wire-protocol.md.

constexpr size_t kPacketHeaderBytes = 16;
constexpr size_t kPublishHeadBytes = 16;
constexpr size_t kDeliverHeadBytes = 32;
constexpr uint8_t kPublishPacket = 18;
constexpr uint8_t kDeliverPacket = 34;

struct PacketHeader {
  uint32_t length;
  uint8_t type;
  uint8_t flags;
  uint16_t zero;
  uint32_t channel;
  uint32_t crc;
};
static_assert(sizeof(PacketHeader) == kPacketHeaderBytes);

struct PublishHead {
  uint64_t acked;
  uint32_t count;
  uint32_t flags;
};
static_assert(sizeof(PublishHead) == kPublishHeadBytes);

struct DeliverHead {
  uint32_t epoch;
  uint32_t messages;
  uint64_t sequence;
  uint64_t end_sequence;
  uint64_t next_sequence;
};
static_assert(sizeof(DeliverHead) == kDeliverHeadBytes);

/// The checksum of a packet: of the first 12 bytes of its header, and of the checked part of its body.
inline uint32_t packet_crc(const std::byte* header, const std::byte* checked, size_t bytes) noexcept {
  return crc32(crc32(0, header, offsetof(PacketHeader, crc)), checked, bytes);
}

}  // namespace hermes
