#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "core/frame/frame.h"
#include "core/log/reader.h"
#include "core/net/packet.h"
#include "core/net/publish_intake.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t kNumber = 1'000'000;

/// A PUBLISH as a client makes it.
struct Packet {
  uint32_t channel = 7;
  uint64_t first = kNumber;
  std::vector<std::string> payloads = {"one", "two", "three"};
  uint64_t acked = 5;
  uint32_t flags = 1;
  uint32_t count = ~0u;  // that it claims
  uint64_t sequence = 0;
  uint16_t frame_flags = 0;
  uint64_t step = 1;

  Bytes bytes() const {
    Bytes frames;
    uint64_t number = first;
    for (const std::string& payload : payloads) {
      Bytes frame(frame_span(payload.size()));
      FrameFields fields;
      fields.sequence = sequence;
      fields.flags = frame_flags;
      fields.timestamp_ns = number;
      fields.payload_len = static_cast<uint32_t>(payload.size());
      EXPECT_EQ(encode_frame(frame, fields, reinterpret_cast<const std::byte*>(payload.data())), frame.size());
      frames.insert(frames.end(), frame.begin(), frame.end());
      number += step;
    }
    const PublishHead head = {acked, count == ~0u ? static_cast<uint32_t>(payloads.size()) : count, flags};
    PacketHeader header = {static_cast<uint32_t>(kPublishHeadBytes + frames.size()), kPublishPacket, 0, 0, channel, 0};
    Bytes all(kPacketHeaderBytes + kPublishHeadBytes);
    std::memcpy(all.data() + kPacketHeaderBytes, &head, sizeof head);
    std::memcpy(all.data(), &header, sizeof header);
    header.crc = packet_crc(all.data(), all.data() + kPacketHeaderBytes, kPublishHeadBytes);
    std::memcpy(all.data(), &header, sizeof header);
    all.insert(all.end(), frames.begin(), frames.end());
    return all;
  }
};

/// A topic, an appender and an intake for channel 7.
class PublishIntakeTest : public testing::Test {
 protected:
  PublishIntakeTest() {
    TopicSettings settings;
    settings.segment_bytes = 1 << 20;
    settings.max_payload = 4096;
    log_ = test::open_log(folder_.path(), settings);
    appender_ = test::open_appender(log_);
    intake_.attach({7, 3, 64 * 1024, kNumber - 1, appender_.get()});
  }
  size_t take(const Bytes& bytes) { return intake_.take(bytes, taken_, &count_); }
  uint64_t next() {
    Position end;
    return log_->committed(&end).ok() ? end.sequence : 1;
  }

  test::Folder folder_;
  std::shared_ptr<Log> log_;
  std::unique_ptr<Appender> appender_;
  PublishIntake intake_;
  std::array<PublishIntake::Taken, 4> taken_;
  size_t count_ = 0;
};

TEST_F(PublishIntakeTest, appends_what_is_as_it_should_be_and_notes_it) {
  const Bytes packet = Packet{}.bytes();
  ASSERT_EQ(take(packet), packet.size());
  ASSERT_EQ(count_, 1u);
  EXPECT_EQ(taken_[0].channel, 7u);
  EXPECT_EQ(taken_[0].count, 3u);
  EXPECT_EQ(taken_[0].first_number, kNumber);
  EXPECT_EQ(taken_[0].sequence, 1u);
  EXPECT_EQ(taken_[0].acked, 5u);
  EXPECT_EQ(taken_[0].flags, 1u);
  EXPECT_EQ(taken_[0].bytes, packet.size() - kPacketHeaderBytes);
  EXPECT_EQ(intake_.find(7)->stored, kNumber + 2);
  Reader reader(log_, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  const Position at = reader.position();
  const Scan found = scan(*reader.segment(), at.offset, 1, 10, 4096, true);
  EXPECT_EQ(found.messages, 3u);
  const FrameHeader* const frame = reader.segment()->frame(at.offset);
  EXPECT_EQ(frame->flags, 3);  // the producer's slot
  EXPECT_EQ(frame->timestamp_ns, kNumber);
  EXPECT_EQ(frame->sequence, 1u);
}

TEST_F(PublishIntakeTest, takes_those_that_came_together_up_to_its_room_and_leaves_the_rest) {
  Bytes all;
  for (uint64_t n = 0; n < 6; ++n) {
    Packet packet;
    packet.first = kNumber + 3 * n;
    const Bytes bytes = packet.bytes();
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  const size_t one = all.size() / 6;
  EXPECT_EQ(take(all), 4 * one);
  EXPECT_EQ(count_, 4u);
  EXPECT_EQ(taken_[3].sequence, 10u);
  Bytes rest(all.begin() + static_cast<std::ptrdiff_t>(4 * one), all.end() - 1);
  // The last one is not whole.
  EXPECT_EQ(take(rest), one);
  EXPECT_EQ(next(), 16u);
}

TEST_F(PublishIntakeTest, leaves_alone_what_is_for_who_knows_all_rules) {
  const auto is_left = [this](const Packet& packet) { return take(packet.bytes()) == 0 && count_ == 0 && next() == 1; };
  Packet other;
  other.channel = 8;
  EXPECT_TRUE(is_left(other));
  Packet again;
  again.first = kNumber - 1;
  EXPECT_TRUE(is_left(again));
  Packet none;
  none.count = 0;
  EXPECT_TRUE(is_left(none));
  Packet fewer;
  fewer.count = 2;
  EXPECT_TRUE(is_left(fewer));
  Packet more;
  more.count = 4;
  EXPECT_TRUE(is_left(more));
  Packet gap;
  gap.step = 2;
  EXPECT_TRUE(is_left(gap));
  Packet numbered;
  numbered.sequence = 1;
  EXPECT_TRUE(is_left(numbered));
  Packet flagged;
  flagged.frame_flags = 1;
  EXPECT_TRUE(is_left(flagged));
  Packet ahead;
  ahead.first = ~uint64_t{0} - 10;
  EXPECT_TRUE(is_left(ahead));
  Packet large;
  large.payloads = {std::string(4097, 'x')};
  EXPECT_TRUE(is_left(large));
  Packet much;
  much.payloads.assign(17, std::string(4000, 'x'));
  EXPECT_TRUE(is_left(much));
  // Compressed, or with something in a place that has to be zero, or of another type.
  for (const size_t at : {4, 5, 6, 7}) {
    Bytes bytes = Packet{}.bytes();
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(take(bytes), 0u) << at;
  }
  EXPECT_EQ(next(), 1u);
  // After all of it, what is sound is taken.
  EXPECT_GT(take(Packet{}.bytes()), 0u);
}

TEST_F(PublishIntakeTest, takes_nothing_of_which_a_bit_was_flipped_or_an_end_is_missing) {
  const Bytes sound = Packet{}.bytes();
  for (size_t bit = 0; bit < sound.size() * 8; ++bit) {
    Bytes bytes = sound;
    bytes[bit / 8] ^= std::byte(1 << (bit % 8));
    // The padding behind a payload is under no checksum; the log gets zeros there whatever came.
    if (take(bytes) == 0) continue;
    const size_t at = bit / 8 - kPacketHeaderBytes - kPublishHeadBytes;
    EXPECT_GE(at % 40, kFrameHeaderBytes + 3) << bit;
    intake_.find(7)->stored = kNumber - 1;
  }
  for (size_t size = 0; size < sound.size(); ++size) {
    const Bytes bytes(sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(take(bytes), 0u);
  }
}

TEST_F(PublishIntakeTest, takes_nothing_for_a_channel_that_was_detached_or_whose_appender_is_closed) {
  intake_.attach({9, 4, 64 * 1024, 0, appender_.get()});
  Packet packet;
  packet.channel = 9;
  EXPECT_GT(take(packet.bytes()), 0u);
  intake_.detach(9);
  packet.first += 3;
  EXPECT_EQ(take(packet.bytes()), 0u);
  ASSERT_TRUE(appender_->close().ok());
  EXPECT_EQ(take(Packet{}.bytes()), 0u);
}

}  // namespace
}  // namespace hermes
