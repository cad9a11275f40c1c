#include <algorithm>
#include <filesystem>

#include "core/log/base_sequence.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// 800 messages in three segments, all closed in order.
std::vector<Message> three_segments(const std::string& folder) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 800; ++i) append(appender.get(), message(1, i, 200));
  return read_all(log);
}

/// Puts a whole frame of the same length in the place of a segment's first one: it is what it says to be, only not the one that belongs there.
void replace_first_frame(const std::string& folder, uint64_t segment, uint64_t sequence) {
  Bytes bytes = read_file(segment_path(folder, segment));
  auto* const at = reinterpret_cast<FrameHeader*>(bytes.data() + kSegmentHeaderBytes);
  at->sequence = sequence;
  at->crc32 = frame_crc(reinterpret_cast<const std::byte*>(at), at->payload_len);
  overwrite(segment_path(folder, segment), kSegmentHeaderBytes, at, kFrameHeaderBytes);
}

TEST(LogBaseSequence, is_not_taken_from_a_stray_frame_which_the_rest_of_the_segment_does_not_follow) {
  for (const uint64_t number : {1, 2, 3}) {
    for (const uint64_t stray : {63, 5'000}) {
      const Folder folder;
      const auto before = three_segments(folder.path());
      const auto replaced =
          std::find_if(before.begin(), before.end(), [&](const Message& m) { return m.at.segment == number; });
      replace_first_frame(folder.path(), number, stray);
      reboot(folder.path());
      RecoveryReport report;
      {
        const auto log = open_log(folder.path());
        const Status status = recover(*log, true, &report);
        ASSERT_TRUE(status.ok()) << status.context;
      }
      EXPECT_EQ(report.damage.size(), 1u) << number;
      const auto left = read_all(open_log(folder.path()));
      ASSERT_EQ(left.size(), before.size() - 1) << number << " " << stray;
      for (const Message& m : left) {
        ASSERT_NE(m.sequence, replaced->sequence);
        ASSERT_EQ(m.payload, before[m.sequence - 1].payload);
      }
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log);
      append(appender.get(), message(9, 1, 200));
      EXPECT_EQ(appender->last_sequence(), before.back().sequence + 1);
    }
  }
}

TEST(LogBaseSequence, is_what_the_segment_before_says_where_word_and_first_frame_differ) {
  const Folder folder;
  const auto before = three_segments(folder.path());
  // Only the padding that follows them knows how many messages the first segment had: the second begins wrongly both ways.
  replace_first_frame(folder.path(), 2, 7);
  flip_bit(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence), 5);
  reboot(folder.path());
  const auto log = open_log(folder.path());
  RecoveryReport report;
  const Status status = recover(*log, true, &report);
  EXPECT_EQ(status.code, Code::kCorrupt);
  EXPECT_NE(status.context.find("begins with sequence"), std::string::npos) << status.context;
}

TEST(LogBaseSequence, is_that_of_the_first_frame_where_as_much_can_be_read_either_way) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 200));
  }
  flip_bit(segment_path(folder.path(), 1), offsetof(SegmentHeader, base_sequence), 5);
  const auto log = open_log(folder.path());
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  EXPECT_EQ(judge_base(*log, *segment, {}), 1u);
  segment->header().base_sequence.store(0);
  EXPECT_EQ(judge_base(*log, *segment, {}), 1u);
}

/// `count` messages of 200 bytes in a segment that is the only one that retention has left, with number 2. Their publisher was killed.
std::vector<Message> one_left(const std::string& folder, uint64_t count) {
  std::vector<Message> all;
  {
    const auto log = open_log(folder);
    const auto appender = open_appender(log);
    uint64_t n = 0;
    while (log->active() == 1) append(appender.get(), message(1, ++n, 200));
    for (uint64_t more = 1; more < count; ++more) append(appender.get(), message(1, ++n, 200));
    all = read_all(log);
  }
  std::erase_if(all, [](const Message& m) { return m.at.segment == 1; });
  EXPECT_EQ(all.size(), count);
  std::filesystem::remove(segment_path(folder, 1));
  const uint64_t first = 2;
  overwrite(folder + "/control", offsetof(ControlBlock, first), &first, sizeof first);
  forget_orderly_close(folder);
  return all;
}

/// A publisher that comes now finds all messages from `at` on, and goes on behind them.
void expect_left(const std::string& folder, const std::vector<Message>& before, size_t at) {
  LogOptions options;
  options.low_water_bytes = 0;
  std::shared_ptr<Log> log;
  ASSERT_TRUE(Log::open(folder, nullptr, options, &log).ok());
  std::unique_ptr<Appender> appender;
  const Status status = Appender::open(log, {}, &appender, nullptr);
  ASSERT_TRUE(status.ok()) << status.context;
  append(appender.get(), message(9, 1, 200));
  EXPECT_EQ(appender->last_sequence(), before.back().sequence + 1);
  const auto left = read_all(log);
  ASSERT_EQ(left.size(), before.size() - at + 1);
  for (size_t i = at; i < before.size(); ++i) {
    EXPECT_EQ(left[i - at].sequence, before[i].sequence);
    EXPECT_EQ(left[i - at].payload, before[i].payload);
  }
}

TEST(LogBaseSequence, is_not_that_of_a_stray_frame_in_a_segment_with_few_messages) {
  for (const uint64_t count : {1, 2, 3}) {
    for (const uint64_t stray : {uint64_t{2}, uint64_t{5'000}, ~uint64_t{0}, uint64_t{0}}) {
      const Folder folder;
      const auto before = one_left(folder.path(), count);
      replace_first_frame(folder.path(), 2, stray != 0 ? stray : before[0].sequence + 1);
      expect_left(folder.path(), before, 1);
    }
  }
}

TEST(LogBaseSequence, is_decided_by_other_messages_than_the_stray_one_where_no_position_is_known) {
  const Folder folder;
  const auto before = one_left(folder.path(), 2);
  replace_first_frame(folder.path(), 2, before[0].sequence - 1);
  lose_checkpoint(folder.path());
  expect_left(folder.path(), before, 1);
}

/// As a publisher leaves it that is killed between claim and commit.
void claim_first_frame(const std::string& folder, const Message& first) {
  const uint64_t word = make_claim_word({7, 1, frame_span(static_cast<uint32_t>(first.payload.size()))});
  overwrite(segment_path(folder, first.at.segment), first.at.offset, &word, sizeof word);
  const uint32_t taken = 1;
  overwrite(folder + "/control", offsetof(ControlBlock, slots) + 7 * sizeof(ParticipantSlot), &taken, sizeof taken);
  lose_checkpoint(folder);
}

TEST(LogBaseSequence, is_told_by_what_follows_a_claim) {
  for (const unsigned bit : {1u, 40u}) {
    const Folder folder;
    const auto before = one_left(folder.path(), 3);
    claim_first_frame(folder.path(), before[0]);
    flip_bit(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence) + bit / 8, bit % 8);
    expect_left(folder.path(), before, 1);
  }
}

TEST(LogBaseSequence, is_set_right_in_the_only_segment_where_it_was_lost) {
  const Folder folder;
  const auto before = one_left(folder.path(), 3);
  const uint64_t none = 0;
  overwrite(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence), &none, sizeof none);
  reboot(folder.path());
  expect_left(folder.path(), before, 0);
}

TEST(LogBaseSequence, is_set_right_in_the_newest_segment_after_a_power_cut_where_its_first_frame_is_whole) {
  const Folder folder;
  const auto before = three_segments(folder.path());
  const uint64_t none = 0;
  overwrite(segment_path(folder.path(), 3), offsetof(SegmentHeader, base_sequence), &none, sizeof none);
  reboot(folder.path());
  expect_left(folder.path(), before, 0);
}

/// A claim by a publisher that was killed over all messages that the segment has, but for the first `spared`.
void claim_all(const std::string& folder, const std::vector<Message>& messages, uint64_t segment, size_t spared = 0) {
  std::vector<Message> here = messages;
  std::erase_if(here, [&](const Message& m) { return m.at.segment != segment; });
  here.erase(here.begin(), here.begin() + static_cast<std::ptrdiff_t>(spared));
  const uint64_t begin = here.front().at.offset;
  const uint64_t end = here.back().at.offset + frame_span(static_cast<uint32_t>(here.back().payload.size()));
  const uint64_t word = make_claim_word({7, static_cast<uint32_t>(here.size()), end - begin});
  Bytes bytes(end - begin);
  std::memcpy(bytes.data(), &word, sizeof word);
  overwrite(segment_path(folder, segment), begin, bytes.data(), bytes.size());
  const uint32_t taken = 1;
  overwrite(folder + "/control", offsetof(ControlBlock, slots) + 7 * sizeof(ParticipantSlot), &taken, sizeof taken);
  forget_orderly_close(folder);
}

TEST(LogBaseSequence, is_told_by_the_segment_before_where_the_newest_holds_claims_only) {
  const Folder folder;
  const auto before = three_segments(folder.path());
  claim_all(folder.path(), before, 3);
  flip_bit(segment_path(folder.path(), 3), offsetof(SegmentHeader, base_sequence), 0);
  std::vector<Message> left = before;
  std::erase_if(left, [](const Message& m) { return m.at.segment == 3; });
  {
    LogOptions options;
    options.low_water_bytes = 0;
    std::shared_ptr<Log> log;
    std::unique_ptr<Appender> appender;
    ASSERT_TRUE(Log::open(folder.path(), nullptr, options, &log).ok());
    ASSERT_TRUE(Appender::open(log, {}, &appender, nullptr).ok());
    append(appender.get(), message(9, 1, 200));
    EXPECT_EQ(appender->last_sequence(), before.back().sequence + 1);
    EXPECT_EQ(read_all(log).size(), left.size() + 1);
  }
  const auto log = open_log(folder.path());
  RecoveryReport report;
  const Status status = recover(*log, true, &report);
  EXPECT_TRUE(status.ok()) << status.context;
}

TEST(LogBaseSequence, is_told_by_what_is_known_where_the_only_segment_holds_claims_only) {
  const Folder folder;
  const auto before = one_left(folder.path(), 3);
  claim_all(folder.path(), before, 2);
  for (const uint64_t wrong : {before.front().sequence ^ 1, uint64_t{0}}) {
    overwrite(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence), &wrong, sizeof wrong);
    const auto log = open_log(folder.path());
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log->segment(2, &segment).ok());
    EXPECT_EQ(judge_base(*log, *segment, log->known()), before.front().sequence);
  }
  expect_left(folder.path(), before, before.size());
}

/// Everything is checked without a refusal, twice; what `segment` held is lost, everything else is there, and a publisher goes on behind it.
void expect_all_but(const std::string& folder, const std::vector<Message>& before, uint64_t segment) {
  for (int round = 0; round < 2; ++round) {
    const auto log = open_log(folder);
    RecoveryReport report;
    const Status status = recover(*log, true, &report);
    ASSERT_TRUE(status.ok()) << "round " << round << ": " << status.context;
  }
  std::vector<Message> expected = before;
  std::erase_if(expected, [&](const Message& m) { return m.at.segment == segment; });
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  append(appender.get(), message(9, 1, 200));
  EXPECT_EQ(appender->last_sequence(), before.back().sequence + 1);
  const auto left = read_all(log);
  ASSERT_EQ(left.size(), expected.size() + 1);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(left[i].sequence, expected[i].sequence);
    ASSERT_EQ(left[i].payload, expected[i].payload);
  }
}

/// Retention has removed all segments before `first`.
void remove_before(const std::string& folder, uint64_t first, std::vector<Message>* messages) {
  for (uint64_t number = 1; number < first; ++number) std::filesystem::remove(segment_path(folder, number));
  overwrite(folder + "/control", offsetof(ControlBlock, first), &first, sizeof first);
  std::erase_if(*messages, [&](const Message& m) { return m.at.segment < first; });
}

TEST(LogBaseSequence, is_not_that_of_a_stray_frame_from_which_the_next_segment_can_not_be_reached) {
  for (const uint64_t oldest : {1, 2}) {
    for (const uint64_t stray : {uint64_t{5'000}, uint64_t{1} << 49, ~uint64_t{0} - 1}) {
      for (const bool restarted : {false, true}) {
        const Folder folder;
        auto before = three_segments(folder.path());
        remove_before(folder.path(), oldest, &before);
        // No message is left in the segment that could be counted for either.
        claim_all(folder.path(), before, oldest, 1);
        replace_first_frame(folder.path(), oldest, stray);
        if (restarted) reboot(folder.path());
        expect_all_but(folder.path(), before, oldest);
      }
    }
  }
}

TEST(LogBaseSequence, is_told_by_the_next_segment_where_the_oldest_holds_claims_only) {
  for (const uint64_t wrong : {uint64_t{0}, uint64_t{3}, uint64_t{1} << 40}) {
    const Folder folder;
    auto before = three_segments(folder.path());
    remove_before(folder.path(), 2, &before);
    claim_all(folder.path(), before, 2);
    // Its publisher went on to the padding, and a second one was killed there.
    const Message last =
        *std::find_if(before.rbegin(), before.rend(), [](const Message& m) { return m.at.segment == 2; });
    const uint64_t end = last.at.offset + frame_span(200);
    const uint64_t padding = make_claim_word({7, 0, kMinSegmentBytes - end});
    overwrite(segment_path(folder.path(), 2), end, &padding, sizeof padding);
    overwrite(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence), &wrong, sizeof wrong);
    expect_all_but(folder.path(), before, 2);
  }
}

TEST(LogBaseSequence, is_told_by_a_segment_further_on_where_the_next_one_says_two_things_as_well) {
  const Folder folder;
  const auto before = three_segments(folder.path());
  for (const uint64_t number : {1, 2}) {
    claim_all(folder.path(), before, number, 1);
    replace_first_frame(folder.path(), number, uint64_t{1} << 49);
  }
  const auto log = open_log(folder.path());
  RecoveryReport report;
  const Status status = recover(*log, true, &report);
  EXPECT_TRUE(status.ok()) << status.context;
}

}  // namespace
}  // namespace hermes
