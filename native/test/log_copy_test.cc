// Places that are not where they were: copied file by file, while in use or not, or with a lost note of what they are.

#include <algorithm>
#include <filesystem>

#include "core/log/syncer.h"
#include "core/log/verify.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

void copy_place(const std::string& from, const std::string& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file() || entry.path().string().find(".tmp") != std::string::npos) continue;
    std::filesystem::copy_file(entry.path(), to + "/" + entry.path().filename().string(),
                               std::filesystem::copy_options::overwrite_existing);
  }
}

TEST(LogCopy, in_the_same_boot_is_checked_as_a_whole) {
  const Folder folder;
  const Folder copy;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
    Position synced;
    ASSERT_TRUE(log->syncer().sync_now(1001, &synced).ok());
  }
  copy_place(folder.path(), copy.path());
  {
    RecoveryReport report;
    const auto log = open_log(copy.path());
    open_appender(log, false, &report);
    EXPECT_TRUE(report.ran);
    EXPECT_FALSE(report.rebooted);
    EXPECT_EQ(report.frames, 1000u);
    EXPECT_TRUE(report.damage.empty());
    expect_numbered(read_all(log), 1, 1000);
  }
  // Once is enough, there as in the original.
  for (const Folder* one : {&copy, &folder}) {
    RecoveryReport report;
    open_appender(open_log(one->path()), false, &report);
    EXPECT_FALSE(report.ran);
  }
}

TEST(LogCopy, is_not_believed_where_the_mark_is_newer_than_the_segment) {
  const Folder folder;
  const Folder copy;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 50; ++i) append(appender.get(), message(1, i, 200));
    copy_place(folder.path(), copy.path());
    for (uint64_t i = 51; i <= 150; ++i) append(appender.get(), message(1, i, 200));
    Position synced;
    ASSERT_TRUE(log->syncer().sync_now(151, &synced).ok());
  }
  // The control file was copied last.
  std::filesystem::copy_file(folder.path() + "/control", copy.path() + "/control",
                             std::filesystem::copy_options::overwrite_existing);
  const auto log = open_log(copy.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 51, 200));
  EXPECT_EQ(appender->last_sequence(), 51u);
  ScanStop stop;
  expect_numbered(read_all(log, &stop), 1, 51);
  Position synced;
  ASSERT_TRUE(log->syncer().sync_now(52, &synced).ok());
  EXPECT_EQ(synced.sequence, 52u);
}

TEST(LogCopy, without_a_note_of_where_it_was_counts_as_another_place) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 100; ++i) append(appender.get(), message(1, i, 200));
  }
  const uint64_t zeros[5] = {};
  overwrite(folder.path() + "/control", offsetof(ControlBlock, identity), zeros, sizeof zeros);
  RecoveryReport report;
  open_appender(open_log(folder.path()), false, &report);
  EXPECT_EQ(report.frames, 100u);
}

TEST(LogCopy, of_a_place_that_is_published_to_can_be_read_and_published_to) {
  constexpr int kRounds = 60;
  const Folder folder(quick_place());
  const SharedWords words;
  in_child([&] { open_appender(open_log(folder.path())); });
  const auto publish = [&](uint64_t who) {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; words[10] == 0; ++i) {
      // So much for each copy, lest the log grow faster than it is copied.
      while (i > 1000 + 300 * words[11] && words[10] == 0) sleep_ms(1);
      if (i % 5 == 0) {
        const auto batch = batch_of({message(who, i, 100), message(who, ++i, 300), message(who, ++i, 16)});
        ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 3), Code::kOk);
      } else {
        append(appender.get(), message(who, i, 16 + i % 400));
      }
      if (i % 64 == 0) {
        Position synced;
        if (who == 0) {
          ASSERT_TRUE(log->syncer().sync_now(appender->last_sequence() + 1, &synced).ok());
        }
      }
      if (i % 8 == 0) sleep_ms(1);
      words[who] = i;
    }
  };
  Child one([&] { publish(0); });
  Child other([&] { publish(1); });
  ASSERT_TRUE(eventually([&] { return words[0] > 500 && words[1] > 500; }));
  for (int round = 0; round < kRounds && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const Folder copy(quick_place());
    ++words[11];
    copy_place(folder.path(), copy.path());
    in_child([&] {
      const auto log = open_log(copy.path());
      RecoveryReport report;
      std::unique_ptr<Appender> appender;
      const Status status = Appender::open(log, {}, &appender, &report);
      ASSERT_TRUE(status.ok()) << status.context;
      ScanStop stop;
      const auto before = read_all(log, &stop);
      ASSERT_EQ(stop, ScanStop::kEmpty);
      uint64_t last = 0;
      for (const Message& m : before) {
        ASSERT_GT(m.sequence, last);
        last = m.sequence;
        ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
      }
      for (uint64_t i = 1; i <= 300; ++i) append(appender.get(), message(7, i, 200));
      Position synced;
      ASSERT_TRUE(log->syncer().sync_now(appender->last_sequence() + 1, &synced).ok());
      const auto after = read_all(log, &stop);
      ASSERT_EQ(stop, ScanStop::kEmpty);
      ASSERT_EQ(after.size(), before.size() + 300);
      for (uint64_t i = 0; i < 300; ++i) ASSERT_EQ(after[before.size() + i].payload, message(7, i + 1, 200));
      SegmentReport check;
      for (uint64_t number = log->first(); number <= log->active(); ++number) {
        ASSERT_TRUE(verify_segment(*log, number, &check).ok());
        ASSERT_TRUE(check.damage.empty());
      }
    });
  }
  words[10] = 1;
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(other.wait(), 0);
}

}  // namespace
}  // namespace hermes
