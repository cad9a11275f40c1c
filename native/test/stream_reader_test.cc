#include "core/log/stream_reader.h"

#include <thread>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint32_t kMaxPayload = 65'536;

TopicSettings one_large_segment() {
  TopicSettings settings = small_segments();
  settings.segment_bytes = uint64_t{16} << 20;
  return settings;
}

struct Place {
  uint64_t offset = kSegmentHeaderBytes;
  uint64_t sequence = 1;
};

Scan take(StreamReader* reader, const Segment& segment, Place* at, uint32_t limit) {
  const Scan found = reader->scan(segment, at->offset, at->sequence, limit, kMaxPayload, true);
  at->offset = found.end;
  at->sequence = found.sequence;
  return found;
}

TEST(StreamReader, finds_what_scan_finds) {
  const Folder folder;
  const auto log = open_log(folder.path(), one_large_segment());
  const auto appender = open_appender(log);
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  StreamReader reader;
  Place at;
  // So close together that it pauses and looks again: what it then finds must add up.
  for (uint64_t i = 1; i <= 2000; ++i) {
    append(appender.get(), message(1, i, 16 + i % 100));
    const Scan plain = scan(*segment, at.offset, at.sequence, 256, kMaxPayload, true);
    const Scan found = take(&reader, *segment, &at, 256);
    ASSERT_EQ(found.messages, 1u);
    ASSERT_EQ(found.end, plain.end);
    ASSERT_EQ(found.sequence, plain.sequence);
    ASSERT_EQ(found.stop, ScanStop::kEmpty);
    ASSERT_EQ(found.timestamp_ns, plain.timestamp_ns);
  }
}

TEST(StreamReader, counts_every_message_of_a_stream_once_and_never_more_than_asked_for) {
  constexpr uint64_t kMessages = 300'000;
  const Folder folder(quick_place());
  const auto log = open_log(folder.path(), one_large_segment());
  const auto appender = open_appender(log);
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  ASSERT_GT(segment->bytes(), kSegmentHeaderBytes + kMessages * 48);
  std::thread publisher([&] {
    const auto payload = message(1, 1, 16);
    for (uint64_t i = 0; i < kMessages; ++i) append(appender.get(), payload);
  });
  StreamReader reader;
  Place at;
  uint64_t seen = 0;
  uint32_t limit = 1;
  EXPECT_TRUE(eventually([&] {
    for (int turn = 0; turn < 10'000 && seen < kMessages; ++turn) {
      limit = limit % 20 + 1;
      const uint64_t before = at.sequence;
      const Scan found = take(&reader, *segment, &at, limit);
      EXPECT_LE(found.messages, limit);
      EXPECT_EQ(at.sequence, before + found.messages);
      EXPECT_EQ(at.offset, kSegmentHeaderBytes + (at.sequence - 1) * 48);
      EXPECT_NE(found.stop, ScanStop::kDamage);
      seen += found.messages;
    }
    return seen >= kMessages;
  }));
  publisher.join();
  EXPECT_EQ(seen, kMessages);
}

TEST(StreamReader, stops_at_damage_behind_what_it_found_before) {
  const Folder folder;
  const auto log = open_log(folder.path(), one_large_segment());
  const auto appender = open_appender(log);
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  StreamReader reader;
  Place at;
  for (uint64_t i = 1; i <= 20; ++i) {
    append(appender.get(), message(1, i, 16));
    (void)take(&reader, *segment, &at, 256);
  }
  append(appender.get(), message(1, 21, 16));
  segment->data()[at.offset + kFrameHeaderBytes] ^= std::byte{1};
  const Scan found = take(&reader, *segment, &at, 256);
  EXPECT_EQ(found.messages, 0u);
  EXPECT_EQ(found.stop, ScanStop::kDamage);
}

}  // namespace
}  // namespace hermes
