#include <sys/resource.h>

#include <filesystem>

#include "core/log/retention.h"
#include "core/log/waiter.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

uint64_t segment_files(const std::string& folder) {
  std::vector<uint64_t> numbers;
  EXPECT_TRUE(list_segments(folder, &numbers).ok());
  return numbers.size();
}

TEST(LogRetention, keeps_no_more_bytes_than_it_may) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 3000; ++i) append(appender.get(), message(1, i, 200));
  ASSERT_GE(log->active(), 10u);
  store_retention(log->control(), {4 * kMinSegmentBytes, 0});
  ASSERT_TRUE(apply_retention(*log).ok());
  EXPECT_EQ(log->first(), log->active() - 3);
  EXPECT_FALSE(std::filesystem::exists(segment_path(folder.path(), log->first() - 1)));
  EXPECT_TRUE(std::filesystem::exists(segment_path(folder.path(), log->first())));
  const auto messages = read_all(log);
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.front().at.segment, log->first());
  EXPECT_EQ(messages.back().sequence, 3000u);
  for (const Message& m : messages) ASSERT_EQ(m.payload, message(1, m.sequence, 200));
}

TEST(LogRetention, is_applied_while_messages_are_published) {
  const Folder folder;
  const auto log = open_log(folder.path());
  store_retention(log->control(), {3 * kMinSegmentBytes, 0});
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 5000; ++i) append(appender.get(), message(1, i, 200));
  EXPECT_TRUE(eventually([&] { return segment_files(folder.path()) <= 4; })) << segment_files(folder.path());
}

TEST(LogRetention, removes_what_is_too_old_but_never_the_active_segment) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  store_retention(log->control(), {0, 3'600'000'000'000});
  ASSERT_TRUE(apply_retention(*log).ok());
  EXPECT_EQ(log->first(), 1u);
  sleep_ms(5);
  store_retention(log->control(), {0, 1'000'000});
  ASSERT_TRUE(apply_retention(*log).ok());
  EXPECT_EQ(log->first(), log->active());
  const auto messages = read_all(log);
  EXPECT_EQ(messages.back().sequence, 1000u);
}

TEST(LogRetention, tells_a_reader_that_it_fell_behind) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_sequence(100).ok());
  store_retention(log->control(), {2 * kMinSegmentBytes, 0});
  ASSERT_TRUE(apply_retention(*log).ok());

  // It reads the removed segment to its end, and only then falls off.
  std::vector<Message> messages;
  read_on(&reader, &messages);
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.front().sequence, 100u);
  EXPECT_EQ(messages.back().at.segment, 1u);
  EXPECT_EQ(reader.next_segment().code, Code::kBehindRetention);
  const Status status = reader.seek_sequence(100);
  EXPECT_EQ(status.code, Code::kBehindRetention);
  EXPECT_NE(status.context.find("removed by retention"), std::string::npos);
  ASSERT_TRUE(reader.seek_earliest().ok());
  EXPECT_GT(reader.position().sequence, 100u);
}

TEST(LogRetention, removes_nothing_on_the_word_of_a_damaged_first_number) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
    log->control().first = 5;  // or a crash between the mark and the removal
  }
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  EXPECT_EQ(log->first(), 1u);
  expect_numbered(read_all(log), 1, 2000);
  // Retention that is on comes again.
  store_retention(log->control(), {3 * kMinSegmentBytes, 0});
  for (uint64_t i = 2001; i <= 3000; ++i) append(appender.get(), message(1, i, 200));
  EXPECT_TRUE(eventually([&] { return segment_files(folder.path()) <= 4; }));
}

TEST(LogRetention, removes_nothing_because_of_a_flipped_bit_in_its_settings_or_in_the_active_number) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
  const uint64_t files = segment_files(folder.path());
  flip_bit(folder.path() + "/control", offsetof(ControlBlock, retention_bytes), 4);
  ASSERT_TRUE(apply_retention(*log).ok());
  EXPECT_GE(segment_files(folder.path()), files);  // the preparer may add one
  store_retention(log->control(), {100 * kMinSegmentBytes, 0});
  flip_bit(folder.path() + "/control", offsetof(ControlBlock, active) + 2, 4);
  EXPECT_FALSE(apply_retention(*log).ok());
  EXPECT_GE(segment_files(folder.path()), files);
  flip_bit(folder.path() + "/control", offsetof(ControlBlock, active) + 2, 4);
}

/// Puts one message with a stamp of the test's choice, as a publisher with another clock does.
void append_at(Appender* appender, uint64_t number, uint64_t timestamp_ns, size_t length = 200) {
  const auto batch = batch_of({message(1, number, length)});
  ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 1, {0, timestamp_ns, 0}), Code::kOk);
}

constexpr uint64_t kHourNs = 3'600'000'000'000;
constexpr uint64_t kDayNs = 24 * kHourNs;

TEST(LogRetention, a_clock_two_days_slow_deletes_nothing_and_one_two_days_fast_keeps_nothing) {
  for (const bool slow : {true, false}) {
    const Folder folder;
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    const uint64_t now = realtime_ns();
    for (uint64_t i = 1; i <= 1000; ++i) append_at(appender.get(), i, slow ? now - 2 * kDayNs : now + 2 * kDayNs);
    store_retention(log->control(), {0, kDayNs});
    ASSERT_TRUE(apply_retention(*log).ok());
    EXPECT_EQ(log->first(), 1u) << "published a moment ago";
    sleep_ms(5);
    store_retention(log->control(), {0, 1'000'000});
    ASSERT_TRUE(apply_retention(*log).ok());
    EXPECT_EQ(log->first(), log->active()) << "published more than a millisecond ago";
  }
}

TEST(LogRetention, a_flipped_bit_in_a_timestamp_or_a_header_removes_nothing_by_age) {
  for (const size_t at :
       {kSegmentHeaderBytes + offsetof(FrameHeader, timestamp_ns) + 7, offsetof(SegmentHeader, created_ns) + 7,
        offsetof(SegmentHeader, used_since_ns) + 7, offsetof(SegmentHeader, used_since_check) + 7}) {
    const Folder folder;
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
    // Makes a time of this century one of the last.
    for (uint64_t segment = 2; segment <= log->active(); ++segment)
      flip_bit(segment_path(folder.path(), segment), at, 4);
    store_retention(log->control(), {0, kDayNs});
    (void)apply_retention(*log);
    EXPECT_EQ(log->first(), 1u) << "byte " << at;
  }
}

TEST(LogSeek, by_time_finds_the_first_message_of_that_time_or_later_whatever_the_order) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  // Every tenth publisher's clock is ten seconds fast.
  constexpr uint64_t kSecondNs = 1'000'000'000;
  std::vector<uint64_t> stamps;
  for (uint64_t i = 1; i <= 3000; ++i) {
    stamps.push_back(kDayNs + i * kSecondNs / 10 + (i % 10 == 0 ? 10 * kSecondNs : 0));
    append_at(appender.get(), i, stamps.back());
  }
  ASSERT_GE(log->active(), 5u);
  for (int round = 0; round < 2; ++round) {  // the second round reads the index files
    Reader reader(log, MappedFile::Access::kRead);
    for (uint64_t wanted = kDayNs; wanted < stamps.back() + kSecondNs; wanted += 7 * kSecondNs / 10) {
      size_t first = 0;
      while (first < stamps.size() && stamps[first] < wanted) ++first;
      ASSERT_TRUE(reader.seek_time(wanted).ok());
      ASSERT_EQ(reader.position().sequence, first + 1) << "at " << wanted;
      ASSERT_EQ(reader.awaits_time(), first == stamps.size());
    }
    for (const uint64_t sequence : {1u, 2u, 299u, 300u, 1234u, 2999u, 3000u, 3001u}) {
      ASSERT_TRUE(reader.seek_sequence(sequence).ok());
      ASSERT_EQ(reader.position().sequence, sequence);
    }
    EXPECT_TRUE(std::filesystem::exists(SegmentIndex::path(folder.path(), 1)));
    const auto other = open_log(folder.path());  // one that has nothing in memory
    Reader fresh(other, MappedFile::Access::kRead);
    ASSERT_TRUE(fresh.seek_time(stamps[1500]).ok());
    EXPECT_LE(fresh.position().sequence, 1501u);
    // A damaged index is made again.
    flip_bit(SegmentIndex::path(folder.path(), 2), 100, 1);
  }
}

TEST(LogSeek, by_a_time_to_come_passes_over_what_is_earlier) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 10; ++i) append_at(appender.get(), i, kDayNs + i);
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_time(2 * kDayNs).ok());
  ScanStop stop;
  for (uint64_t i = 11; i <= 20; ++i) append_at(appender.get(), i, kDayNs + i);
  ASSERT_TRUE(reader.pass_earlier(&stop).ok());
  EXPECT_EQ(stop, ScanStop::kEmpty);
  EXPECT_TRUE(reader.awaits_time());
  append_at(appender.get(), 21, 2 * kDayNs);
  append_at(appender.get(), 22, kDayNs);
  ASSERT_TRUE(reader.pass_earlier(&stop).ok());
  EXPECT_FALSE(reader.awaits_time());
  EXPECT_EQ(reader.position().sequence, 21u);
}

/// Where the frame with this sequence begins in segment 1.
uint64_t offset_of(const std::shared_ptr<Log>& log, uint64_t sequence) {
  Reader reader(log, MappedFile::Access::kRead);
  EXPECT_TRUE(reader.seek_sequence(sequence).ok());
  EXPECT_EQ(reader.position().segment, 1u);
  return reader.position().offset;
}

TEST(LogSeek, by_a_time_finds_what_is_behind_damage_and_stays_where_the_damage_may_hold_it) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 20; ++i) append_at(appender.get(), i, kDayNs + i);
  }
  const std::string file = segment_path(folder.path(), 1);
  const auto sequence_at = [&](uint64_t time) {
    const auto log = open_log(folder.path());
    Reader reader(log, MappedFile::Access::kRead);
    const Status status = reader.seek_time(time);
    EXPECT_TRUE(status.ok()) << status.context;
    return reader.position().sequence;
  };
  uint64_t header = 0;
  uint64_t payload = 0;
  {
    const auto log = open_log(folder.path());
    header = offset_of(log, 5);
    payload = offset_of(log, 15) + kFrameHeaderBytes;
  }
  flip_bit(file, header + 12, 3);
  flip_bit(file, header, 1);
  flip_bit(file, payload + 5, 1);
  EXPECT_EQ(sequence_at(kDayNs + 3), 3u);
  EXPECT_EQ(sequence_at(kDayNs + 5), 5u) << "it is in the damage";
  EXPECT_EQ(sequence_at(kDayNs + 6), 5u) << "it may be in the damage";
  EXPECT_EQ(sequence_at(kDayNs + 7), 7u);
  EXPECT_EQ(sequence_at(kDayNs + 15), 15u) << "its header is whole, its payload is not";
  EXPECT_EQ(sequence_at(kDayNs + 16), 16u);
  EXPECT_EQ(sequence_at(~uint64_t{0}), 21u) << "what is to come is in no damage";
  // Who stays at damage is told of it, and goes on behind it where he is told to.
  const auto log = open_log(folder.path());
  Reader reader(log, MappedFile::Access::kRead);
  for (const uint64_t damaged : {5, 15}) {
    ASSERT_TRUE(reader.seek_time(kDayNs + damaged).ok());
    ScanStop stop = ScanStop::kEmpty;
    ASSERT_TRUE(reader.pass_earlier(&stop).ok());
    EXPECT_EQ(stop, ScanStop::kDamage);
    ASSERT_TRUE(reader.skip_damage().ok());
    ASSERT_TRUE(reader.pass_earlier(&stop).ok());
    EXPECT_EQ(reader.position().sequence, damaged + 1);
  }
}

TEST(LogRetention, a_claim_in_a_removed_segment_is_behind_retention) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
  std::shared_ptr<Segment> kept;
  ASSERT_TRUE(log->segment(1, &kept).ok());
  kept->word(kSegmentHeaderBytes).store(make_claim_word({7, 1, frame_span(200)}));
  const Position at = {1, kSegmentHeaderBytes, 1};
  EXPECT_FALSE(has_news(*log, kept.get(), at));
  store_retention(log->control(), {2 * kMinSegmentBytes, 0});
  ASSERT_TRUE(apply_retention(*log).ok());
  EXPECT_TRUE(has_news(*log, kept.get(), at));
  const Segment* const mapped = kept.get();
  RepairOutcome outcome;
  const auto other = open_log(folder.path());
  EXPECT_EQ(repair_claim(*other, at, &outcome).code, Code::kBehindRetention);
  EXPECT_NE(mapped, nullptr);
}

TEST(LogFiles, a_lost_oldest_segment_is_damage_and_not_an_empty_topic) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  std::filesystem::remove(segment_path(folder.path(), 1));
  const auto other = open_log(folder.path());
  Reader reader(other, MappedFile::Access::kRead);
  const Status status = reader.seek_earliest();
  EXPECT_EQ(status.code, Code::kCorrupt);
  EXPECT_NE(status.context.find("0000000001.seg is missing"), std::string::npos) << status.context;
}

TEST(LogFiles, a_control_file_made_again_by_a_reader_shows_all_messages) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  }
  std::filesystem::remove(folder.path() + "/control");
  const auto messages = read_all(open_log(folder.path()));
  expect_numbered(messages, 1, 1000);
}

TEST(LogFiles, who_has_the_old_control_file_open_is_told_once_it_is_made_again) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    append(open_appender(log).get(), message(1, 1, 200));
  }
  const auto old = open_log(folder.path());
  std::filesystem::remove(folder.path() + "/control");
  EXPECT_TRUE(old->check_control().ok());
  const auto made = open_log(folder.path());
  EXPECT_TRUE(eventually([&] { return old->check_control().code == Code::kCorrupt; }));
  EXPECT_TRUE(made->check_control().ok());
}

TEST(LogSlots, close_without_a_free_descriptor_gives_the_slot_back) {
  in_child([] {
    const Folder folder;
    const auto log = open_log(folder.path());
    auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 200));
    const uint32_t slot = appender->slot();
    ASSERT_EQ(log->control().slots[slot].state.load(), 1u);
    std::vector<int> taken;
    rlimit limit = {64, 64};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken.push_back(fd);
    EXPECT_TRUE(appender->close().ok());
    EXPECT_EQ(log->control().slots[slot].state.load(), 0u);
    for (const int fd : taken) ::close(fd);
  });
}

}  // namespace
}  // namespace hermes
