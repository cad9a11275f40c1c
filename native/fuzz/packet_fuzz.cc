// Any bytes, taken for what a client sends: an intake with one publisher never reads beyond their end, and what it takes is in the log as it was
// sent, and nothing else.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/net/packet.h"
#include "core/net/publish_intake.h"
#include "fuzz/topic.h"

namespace {

constexpr uint32_t kChannel = 1;

/// To a topic that keeps no more than some segments, however long this runs. Never closed: it is used when the process ends.
hermes::Appender& open_appender() {
  static hermes::Appender* const made = [] {
    std::shared_ptr<hermes::Log> log;
    std::unique_ptr<hermes::Appender> appender;
    if (!hermes::Log::open(hermes::fuzz::topic().folder, nullptr, {}, &log).ok()) std::abort();
    hermes::store_retention(log->control(), {4 * hermes::kMinSegmentBytes, 0, 0});
    if (!hermes::Appender::open(log, {}, &appender, nullptr).ok()) std::abort();
    return appender.release();
  }();
  return *made;
}

/// Gives a packet the checksum that it should have, so that what lies behind is reached: for half of the inputs.
void seal(std::byte* bytes, size_t size) {
  if (size < hermes::kPacketHeaderBytes + hermes::kPublishHeadBytes) return;
  const uint32_t crc = hermes::packet_crc(bytes, bytes + hermes::kPacketHeaderBytes, hermes::kPublishHeadBytes);
  std::memcpy(bytes + offsetof(hermes::PacketHeader, crc), &crc, sizeof crc);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hermes;
  if (size < 1) return 0;
  const bool sealed = data[0] % 2 == 1;
  --size;
  // An allocation of just this size: the sanitizer sees its end.
  const auto copy = std::make_unique<std::byte[]>(size);
  if (size > 0) std::memcpy(copy.get(), data + 1, size);
  if (sealed) seal(copy.get(), size);
  Appender& appender = open_appender();
  PublishIntake intake;
  intake.attach({kChannel, 1, 65'536, 0, &appender});
  std::array<PublishIntake::Taken, 2> taken;
  size_t count = 0;
  const uint64_t before = appender.last_sequence();
  const size_t bytes = intake.take({copy.get(), size}, taken, &count);
  if (bytes > size || count > taken.size() || (count == 0) != (bytes == 0)) std::abort();
  uint64_t sequence = before;
  for (size_t i = 0; i < count; ++i) {
    if (taken[i].channel != kChannel || taken[i].count == 0 || taken[i].sequence != sequence + 1) std::abort();
    sequence += taken[i].count;
  }
  if (appender.last_sequence() != sequence) std::abort();
  return 0;
}
