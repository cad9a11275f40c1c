#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "core/frame/frame.h"
#include "core/net/delivery.h"
#include "core/net/packet.h"
#include "log_fixture.h"

namespace hermes {
namespace {

constexpr uint32_t kMaxPayload = 4096;

/// A topic with 100 messages of 32 bytes in one segment, and a connection whose other end the test reads.
class DeliveryTest : public testing::Test {
 protected:
  DeliveryTest() {
    TopicSettings settings;
    settings.segment_bytes = 1 << 20;
    settings.max_payload = kMaxPayload;
    log_ = test::open_log(folder_.path(), settings);
    appender_ = test::open_appender(log_);
    append(100, 32);
    reader_ = std::make_unique<Reader>(log_, MappedFile::Access::kRead);
    EXPECT_TRUE(reader_->seek_earliest().ok());
    EXPECT_TRUE(poller_.open().ok());
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    connection_ = std::make_unique<Connection>(Socket(pair[0]), poller_, 1);
    other_ = Socket(pair[1]);
  }
  void append(int count, size_t bytes) {
    const std::string payload(bytes, 'x');
    for (int n = 0; n < count; ++n)
      ASSERT_EQ(appender_->append(reinterpret_cast<const std::byte*>(payload.data()), payload.size()), Code::kOk);
  }
  Scan find(const Delivery& delivery) const {
    const Position at = reader_->position();
    return find_run(*reader_->segment(), at.offset, at.sequence, delivery, kMaxPayload);
  }
  /// All that has arrived at the other end.
  std::vector<std::byte> arrived() const {
    std::vector<std::byte> all(1 << 20);
    size_t got = 0;
    for (;;) {
      const TransferResult result = other_.receive(all.data() + got, all.size() - got);
      if (result.outcome != Transfer::kDone) break;
      got += result.bytes;
    }
    all.resize(got);
    return all;
  }
  /// Checks one DELIVER against the log.
  void expect_packet(const std::vector<std::byte>& packet, const Delivery& delivery, const Scan& run) const {
    const Position at = reader_->position();
    PacketHeader header;
    DeliverHead head;
    ASSERT_GE(packet.size(), sizeof header + sizeof head);
    std::memcpy(&header, packet.data(), sizeof header);
    std::memcpy(&head, packet.data() + sizeof header, sizeof head);
    EXPECT_EQ(header.type, kDeliverPacket);
    EXPECT_EQ(header.flags, 0);
    EXPECT_EQ(header.channel, delivery.channel);
    EXPECT_EQ(header.length, packet.size() - sizeof header);
    EXPECT_EQ(header.crc, packet_crc(packet.data(), packet.data() + sizeof header, sizeof head));
    EXPECT_EQ(head.epoch, delivery.epoch);
    EXPECT_EQ(head.messages, run.messages);
    EXPECT_EQ(head.sequence, at.sequence);
    EXPECT_EQ(head.end_sequence, run.sequence);
    EXPECT_EQ(head.next_sequence, std::max(delivery.next_sequence, run.sequence));
    ASSERT_EQ(packet.size() - sizeof header - sizeof head, run.end - at.offset);
    EXPECT_EQ(std::memcmp(packet.data() + sizeof header + sizeof head, reader_->segment()->data() + at.offset,
                          run.end - at.offset),
              0);
  }

  test::Folder folder_;
  std::shared_ptr<Log> log_;
  std::unique_ptr<Appender> appender_;
  std::unique_ptr<Reader> reader_;
  Poller poller_;
  std::unique_ptr<Connection> connection_;
  Socket other_;
};

TEST_F(DeliveryTest, finds_as_much_as_the_limits_allow_in_whole_frames) {
  EXPECT_EQ(find({1, 0, 0, 65'535, 1 << 20}).messages, 100u);
  EXPECT_EQ(find({1, 0, 0, 10, 1 << 20}).messages, 10u);
  const Scan some = find({1, 0, 0, 65'535, 1000});
  EXPECT_GE(some.messages, 10u);
  EXPECT_LE(some.end - reader_->position().offset, 1000u);
  // Not even one, and nothing at all.
  const Delivery little = {1, 0, 0, 65'535, 63};
  EXPECT_EQ(find(little).end, reader_->position().offset);
  ASSERT_TRUE(reader_->seek_latest().ok());
  EXPECT_EQ(find({1, 0, 0, 65'535, 1 << 20}).end, reader_->position().offset);
}

TEST_F(DeliveryTest, sends_a_few_frames_behind_their_head_and_many_from_where_they_lie) {
  for (const uint32_t most : {3u, 100u}) {
    const Delivery delivery = {5, 2, 500, most, 1 << 20};
    const Scan run = find(delivery);
    ASSERT_EQ(run.messages, most);
    const Position at = reader_->position();
    const TransferResult sent = deliver(*connection_, reader_->segment(), at.offset, at.sequence, run, delivery, false);
    EXPECT_EQ(sent.outcome, Transfer::kDone);
    EXPECT_EQ(connection_->waiting(), 0u);
    expect_packet(arrived(), delivery, run);
  }
}

TEST_F(DeliveryTest, holds_a_few_frames_and_sends_them_with_what_follows) {
  const Delivery delivery = {5, 0, 0, 3, 1 << 20};
  const Scan run = find(delivery);
  const Position at = reader_->position();
  (void)deliver(*connection_, reader_->segment(), at.offset, at.sequence, run, delivery, true);
  EXPECT_EQ(arrived().size(), 0u);
  EXPECT_GT(connection_->waiting(), 0u);
  EXPECT_EQ(connection_->flush().outcome, Transfer::kDone);
  expect_packet(arrived(), delivery, run);
}

TEST_F(DeliveryTest, what_the_kernel_has_no_room_for_keeps_its_segment_and_arrives_unchanged) {
  append(200, 4000);
  const Delivery delivery = {5, 0, 0, 65'535, 1 << 20};
  const Scan run = find(delivery);
  const Position at = reader_->position();
  const std::shared_ptr<Segment> segment = reader_->segment();
  const long users = segment.use_count();
  std::vector<std::vector<std::byte>> packets;
  const size_t packet_bytes = kPacketHeaderBytes + kDeliverHeadBytes + (run.end - at.offset);
  constexpr int kPackets = 4;
  for (int n = 0; n < kPackets; ++n) (void)deliver(*connection_, segment, at.offset, at.sequence, run, delivery, false);
  EXPECT_GT(connection_->waiting(), 0u);
  EXPECT_GT(segment.use_count(), users);
  std::vector<std::byte> all;
  for (int tries = 0; tries < 100'000 && all.size() < kPackets * packet_bytes; ++tries) {
    const auto part = arrived();
    all.insert(all.end(), part.begin(), part.end());
    (void)connection_->flush();
  }
  ASSERT_EQ(all.size(), kPackets * packet_bytes);
  EXPECT_EQ(segment.use_count(), users);
  for (int n = 0; n < kPackets; ++n) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(n) * packet_bytes);
    expect_packet({begin, begin + static_cast<std::ptrdiff_t>(packet_bytes)}, delivery, run);
  }
}

}  // namespace
}  // namespace hermes
