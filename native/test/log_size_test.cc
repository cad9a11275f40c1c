// Messages of every size that the settings allow, as the first of a topic and later, alone and in batches.

#include <cstring>
#include <set>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kMiB = uint64_t{1} << 20;

TopicSettings settings_of(uint64_t segment_bytes) {
  TopicSettings settings;
  settings.segment_bytes = segment_bytes;
  settings.max_payload = static_cast<uint32_t>(segment_bytes / 4);
  return settings;
}

/// Dies rather than hang: a publisher that waits for ever must not stop the tests.
void in_child_within(unsigned seconds, const std::function<void()>& body) {
  in_child([&] {
    ::alarm(seconds);
    body();
  });
}

std::vector<std::byte> filled(uint64_t length) {
  std::vector<std::byte> bytes(length);
  uint64_t state = length * 0x9E3779B97F4A7C15 + 1;
  for (uint64_t i = 0; i < length; i += 4096) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    bytes[i] = static_cast<std::byte>(state);
  }
  return bytes;
}

/// Whether the topic holds messages of these sizes, whole and in this order.
void expect_messages(const std::shared_ptr<Log>& log, const std::vector<uint64_t>& sizes) {
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  size_t found = 0;
  for (;;) {
    const Position at = reader.position();
    const Scan seen = scan(*reader.segment(), at.offset, at.sequence, 1, log->control().max_payload, true);
    if (seen.messages == 1) {
      ASSERT_LT(found, sizes.size());
      // Voids and padding are not expected before it.
      ASSERT_EQ(reader.segment()->frame(at.offset)->payload_len, sizes[found]);
      ++found;
    }
    reader.set_position(seen.end, seen.sequence);
    if (seen.messages == 1) continue;
    if (seen.stop != ScanStop::kSegmentEnd || !reader.next_segment().ok()) {
      ASSERT_NE(seen.stop, ScanStop::kDamage);
      break;
    }
  }
  EXPECT_EQ(found, sizes.size());
}

/// Around powers of two, where the look-ahead ends, and at the limit.
std::vector<uint64_t> sizes_up_to(uint64_t limit) {
  std::set<uint64_t> sizes = {0, 1, 1'950'000, 1'950 * 1024, limit};
  for (uint64_t power = 16; power <= limit; power *= 4) {
    for (const uint64_t less : {uint64_t{0}, uint64_t{8}, uint64_t{33}, uint64_t{264}}) {
      if (power >= less) sizes.insert(power - less);
    }
    sizes.insert(power + 1);
  }
  for (const uint64_t edge : {kMiB, 4 * kMiB, 32 * kMiB}) {
    for (const int64_t by : {-4096, -288, -289, -256, -32, 0, 1, 4096}) sizes.insert(edge + static_cast<uint64_t>(by));
  }
  std::vector<uint64_t> allowed;
  for (const uint64_t size : sizes) {
    if (size <= limit) allowed.push_back(size);
  }
  return allowed;
}

TEST(LogSizes, the_first_message_of_a_topic_may_have_any) {
  const uint64_t limit = 64 * kMiB;
  const std::vector<std::byte> payload = filled(limit);
  in_child_within(300, [&] {
    for (const uint64_t size : sizes_up_to(limit)) {
      if (size < kMiB / 2) continue;
      const Folder folder(quick_place());
      const auto log = open_log(folder.path(), settings_of(4 * limit));
      const auto appender = open_appender(log);
      ASSERT_EQ(appender->append(payload.data(), static_cast<uint32_t>(size)), Code::kOk) << size;
      expect_messages(log, {size});
    }
  });
}

TEST(LogSizes, later_messages_may_have_any_and_are_followed_by_small_ones) {
  in_child_within(300, [] {
    for (const uint64_t segment_bytes : {kMinSegmentBytes, 4 * kMiB, 16 * kMiB, 128 * kMiB}) {
      const Folder folder(quick_place());
      const auto log = open_log(folder.path(), settings_of(segment_bytes));
      const auto appender = open_appender(log);
      const std::vector<std::byte> payload = filled(segment_bytes / 4);
      std::vector<uint64_t> sizes;
      for (const uint64_t size : sizes_up_to(segment_bytes / 4)) {
        for (const uint64_t each : {size, uint64_t{7}}) {
          ASSERT_EQ(appender->append(payload.data(), static_cast<uint32_t>(each)), Code::kOk) << each;
          sizes.push_back(each);
        }
      }
      expect_messages(log, sizes);
    }
  });
}

TEST(LogSizes, a_quarter_of_the_largest_segment_is_allowed_and_so_is_half_of_it_in_a_batch) {
  in_child_within(300, [] {
    const Folder folder(quick_place());
    const auto log = open_log(folder.path(), settings_of(kMaxSegmentBytes));
    const auto appender = open_appender(log);
    const uint64_t limit = kMaxSegmentBytes / 4;
    std::vector<uint64_t> sizes;
    {
      const std::vector<std::byte> payload = filled(limit);
      for (const uint64_t size : {128 * kMiB, 128 * kMiB - 40, 129 * kMiB, limit, limit - 1, uint64_t{3}}) {
        ASSERT_EQ(appender->append(payload.data(), static_cast<uint32_t>(size)), Code::kOk) << size;
        sizes.push_back(size);
        if (size == 3) continue;
        // While it is written, whoever looks sees a claim and no damage.
        const Claim claim{appender->slot(), 1, frame_span(static_cast<uint32_t>(size))};
        ASSERT_TRUE(is_valid(claim));
        ASSERT_EQ(parse_claim_word(make_claim_word(claim)), claim);
      }
    }
    // The padding before this one is longer than 128 MiB, too.
    const uint32_t each = static_cast<uint32_t>(limit - 64);
    std::vector<std::byte> batch(2 * frame_span(each));
    for (const uint64_t at : {uint64_t{0}, frame_span(each)})
      std::memcpy(batch.data() + at + offsetof(FrameHeader, payload_len), &each, sizeof each);
    ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 2), Code::kOk);
    sizes.push_back(each);
    sizes.push_back(each);
    expect_messages(log, sizes);
  });
}

TEST(LogSizes, the_claim_of_a_dead_publisher_is_void_whatever_its_size) {
  const Folder folder(quick_place());
  const auto log = open_log(folder.path(), settings_of(kMaxSegmentBytes));
  const auto appender = open_appender(log);
  const uint64_t span = 200 * kMiB;
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  segment->word(kSegmentHeaderBytes).store(make_claim_word({200, 1, span}));
  append(appender.get(), message(1, 1, 8));
  EXPECT_EQ(appender->last_sequence(), 2u);
  RepairOutcome outcome;
  ASSERT_TRUE(repair_claim(*log, {1, kSegmentHeaderBytes, 1}, &outcome).ok());
  EXPECT_EQ(outcome, RepairOutcome::kRepaired);
  EXPECT_EQ(segment->step(kSegmentHeaderBytes).kind, Step::Kind::kVoid);
  EXPECT_EQ(segment->step(kSegmentHeaderBytes).span, span);
}

// --- nobody waits for the recovery lock on an event loop -------------------------------------------------------------

TEST(LogLocksHeld, looking_at_a_dead_ones_claim_returns_at_once_while_somebody_recovers) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  const Position at = {1, kSegmentHeaderBytes + 40, 2};
  segment->word(at.offset).store(make_claim_word({200, 1, 40}));
  LockFile stopped;
  ASSERT_TRUE(log->open_lock(&stopped).ok());
  ASSERT_TRUE(stopped.try_lock(kRecoveryByte, LockFile::Mode::kExclusive).ok());
  const uint64_t begun = monotonic_ns();
  RepairOutcome outcome;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(repair_claim(*log, at, &outcome).ok());
    EXPECT_EQ(outcome, RepairOutcome::kAlive);
  }
  // One wait for the lock would take a second each time.
  EXPECT_LT(monotonic_ns() - begun, 5'000'000'000u);
  stopped.unlock(kRecoveryByte);
  ASSERT_TRUE(repair_claim(*log, at, &outcome).ok());
  EXPECT_EQ(outcome, RepairOutcome::kRepaired);
}

}  // namespace
}  // namespace hermes
