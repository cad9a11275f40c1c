#include <filesystem>

#include "core/log/retention.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

uint64_t segment_files(const std::string& folder) {
  return list_segments(folder).size();
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

}  // namespace
}  // namespace hermes
