// A full disk, on small real file systems. Where the test may not mount one, it's skipped and says so.

#include "small_disk.h"

namespace hermes {
namespace {

using namespace test;

class LogDiskFull : public ::testing::TestWithParam<SmallDisk::Kind> {
 protected:
  void SetUp() override {
    disk_ = std::make_unique<SmallDisk>(GetParam(), 24);
    if (!disk_->is_mounted()) GTEST_SKIP() << disk_->why_not;
  }
  std::unique_ptr<SmallDisk> disk_;
};

TopicSettings one_megabyte_segments() {
  TopicSettings settings;
  settings.segment_bytes = 1 << 20;
  return settings;
}

/// Appends until it fails; returns how many were written.
uint64_t append_until_full(Appender* appender, uint64_t from, Code* code) {
  for (uint64_t i = from;; ++i) {
    const auto payload = message(1, i, 1000);
    *code = appender->append(payload.data(), 1000);
    if (*code != Code::kOk) return i - 1;
  }
}

TEST_P(LogDiskFull, is_an_error_and_work_resumes_when_room_is_back) {
  const auto log = open_log(disk_->path(), one_megabyte_segments(), 0);
  const auto appender = open_appender(log);
  Reader reader(log, MappedFile::Access::kRead);
  std::vector<Message> messages;
  disk_->fill_up(3 << 20);
  Code code;
  uint64_t written = append_until_full(appender.get(), 1, &code);
  EXPECT_EQ(code, Code::kDiskFull);
  EXPECT_EQ(appender->last_error().code, Code::kDiskFull);
  EXPECT_GT(written, 1000u);
  // Not a byte is left, even for a reader that looks at the end.
  disk_->fill_up(0);
  EXPECT_EQ(read_on(&reader, &messages), ScanStop::kEmpty);
  expect_numbered(messages, 1, written);
  for (int i = 0; i < 100; ++i) {
    const auto payload = message(1, written + 1, 1000);
    ASSERT_EQ(appender->append(payload.data(), 1000), Code::kDiskFull);
  }
  expect_numbered(read_all(log), 1, written);

  disk_->give_room_back();
  const uint64_t more = written + 3000;
  for (uint64_t i = written + 1; i <= more; ++i) append(appender.get(), message(1, i, 1000));
  expect_numbered(read_all(log), 1, more);
}

TEST_P(LogDiskFull, leaves_room_to_look_at_the_end_of_a_log_that_ends_with_a_page) {
  TopicSettings settings;
  settings.segment_bytes = 64 << 20;  // more than the disk has: it's full in the middle of a segment
  const auto log = open_log(disk_->path(), settings, 0);
  const auto appender = open_appender(log);
  uint64_t written = 1;
  append(appender.get(), message(1, 1, 4096 - kSegmentHeaderBytes - kFrameHeaderBytes));
  Code code = Code::kOk;
  sleep_ms(50);  // the preparer is ahead by now, and nothing is left beyond
  disk_->fill_up(0);
  for (; code == Code::kOk; ++written) {
    const auto payload = message(1, written + 1, 4096 - kFrameHeaderBytes);
    code = appender->append(payload.data(), static_cast<uint32_t>(payload.size()));
  }
  --written;
  EXPECT_EQ(code, Code::kDiskFull);
  // On tmpfs even a look takes a page: without one, it is a SIGBUS.
  in_child([&] { expect_numbered(read_all(open_log(disk_->path(), settings, 0)), 1, written); });
}

TEST_P(LogDiskFull, is_noticed_early_and_remembered_until_twice_the_room_is_free) {
  const uint64_t low = 4 << 20;
  const auto log = open_log(disk_->path(), one_megabyte_segments(), low);
  const auto appender = open_appender(log);
  Code code;
  const uint64_t written = append_until_full(appender.get(), 1, &code);
  EXPECT_EQ(code, Code::kDiskFull);
  EXPECT_EQ(log->control().disk_alarm, 1u);
  uint64_t free = 0;
  uint64_t total = 0;
  ASSERT_TRUE(disk_room(disk_->path(), &free, &total).ok());
  EXPECT_GE(free, low);
  EXPECT_NE(appender->last_error().context.find("lowWaterBytes"), std::string::npos);

  // A little room is not enough.
  for (uint64_t number = 1; number <= 2; ++number)
    std::filesystem::rename(segment_path(disk_->path(), number), disk_->path() + "/old" + std::to_string(number));
  std::filesystem::remove(disk_->path() + "/old1");
  auto payload = message(1, written + 1, 1000);
  EXPECT_EQ(appender->append(payload.data(), 1000), Code::kDiskFull);
  for (uint64_t number = 3; number <= 8; ++number) std::filesystem::remove(segment_path(disk_->path(), number));
  std::filesystem::remove(disk_->path() + "/old2");
  ASSERT_TRUE(eventually([&] { return disk_room(disk_->path(), &free, &total).ok() && free > 2 * low + (2 << 20); }))
      << "removed segments are still held: " << free;
  EXPECT_EQ(appender->append(payload.data(), 1000), Code::kOk);
  EXPECT_EQ(log->control().disk_alarm, 0u);
}

TEST_P(LogDiskFull, does_not_stop_the_next_start) {
  uint64_t written = 0;
  {
    const auto log = open_log(disk_->path(), one_megabyte_segments(), 0);
    const auto appender = open_appender(log);
    Code code;
    written = append_until_full(appender.get(), 1, &code);
    EXPECT_EQ(code, Code::kDiskFull);
  }
  disk_->fill_up(0);
  forget_orderly_close(disk_->path());
  {
    const auto log = open_log(disk_->path(), one_megabyte_segments(), 0);
    expect_numbered(read_all(log), 1, written);
    const auto appender = open_appender(log);
    ASSERT_NE(appender, nullptr);
    const auto payload = message(1, written + 1, 1000);
    EXPECT_EQ(appender->append(payload.data(), 1000), Code::kDiskFull);
  }
}

TEST_P(LogDiskFull, says_so_when_there_is_no_room_for_the_first_segment) {
  disk_->fill_up(0);
  std::shared_ptr<Log> log;
  const TopicSettings settings = one_megabyte_segments();
  LogOptions options;
  options.low_water_bytes = 0;
  Status status = Log::open(disk_->path(), &settings, options, &log);
  if (status.ok()) {
    std::unique_ptr<Appender> appender;
    status = Appender::open(log, {}, &appender, nullptr);
    if (status.ok()) {
      const auto payload = message(1, 1, 1000);
      for (int i = 0; i < 100 && status.ok(); ++i) status.code = appender->append(payload.data(), 1000);
    }
  }
  EXPECT_EQ(status.code, Code::kDiskFull) << status.context;
  disk_->give_room_back();
  log = open_log(disk_->path(), settings, 0);
  append(open_appender(log).get(), message(1, 1, 1000));
}

INSTANTIATE_TEST_SUITE_P(On, LogDiskFull, ::testing::Values(SmallDisk::Kind::kTmpfs, SmallDisk::Kind::kExt4),
                         [](const auto& info) {
                           return std::string(info.param == SmallDisk::Kind::kTmpfs ? "Tmpfs" : "Ext4");
                         });

}  // namespace
}  // namespace hermes
