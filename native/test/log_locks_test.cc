// The file `locks` is lost: nobody who works on may come to harm, and it is made again when nobody is left.

#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

std::string locks_of(const Folder& folder) { return folder.path() + "/locks"; }

bool has_locks(const Folder& folder) { return std::filesystem::exists(locks_of(folder)); }

void lose_locks(const Folder& folder) { ASSERT_TRUE(std::filesystem::remove(locks_of(folder))); }

Status try_open(const std::string& folder, bool create = true) {
  const TopicSettings settings = small_segments();
  std::shared_ptr<Log> log;
  return Log::open(folder, create ? &settings : nullptr, {}, &log);
}

void expect_refusal(const Folder& folder) {
  const Status status = try_open(folder.path());
  EXPECT_EQ(code_name(status.code), std::string(code_name(Code::kBusy)));
  EXPECT_NE(status.context.find(locks_of(folder)), std::string::npos) << status.context;
  EXPECT_NE(status.context.find("hermes repair"), std::string::npos) << status.context;
  EXPECT_FALSE(has_locks(folder));
}

TEST(LogLocks, are_made_again_by_who_opens_the_topic_next) {
  const Folder folder;
  TopicSettings settings = small_segments();
  settings.file_mode = 0640;
  append(open_appender(open_log(folder.path(), settings)).get(), message(1, 1, 100));
  lose_locks(folder);
  const auto log = open_log(folder.path());
  struct stat info;
  ASSERT_EQ(::stat(locks_of(folder).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  RecoveryReport report;
  const auto appender = open_appender(log, false, &report);
  EXPECT_FALSE(report.ran);
  append(appender.get(), message(1, 2, 100));
  expect_numbered(read_all(log), 1, 2);
}

TEST(LogLocks, are_not_made_again_by_one_who_only_looks) {
  const Folder folder;
  append(open_appender(open_log(folder.path())).get(), message(1, 1, 100));
  lose_locks(folder);
  EXPECT_TRUE(try_open(folder.path(), false).ok());
  EXPECT_FALSE(has_locks(folder));
  EXPECT_TRUE(try_open(folder.path()).ok());
}

TEST(LogLocks, are_not_made_again_while_a_publisher_is_at_work_who_goes_on_undisturbed) {
  const Folder folder;
  auto log = open_log(folder.path());
  auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 200));
  lose_locks(folder);
  expect_refusal(folder);
  in_child([&] { expect_refusal(folder); });
  for (uint64_t i = 2; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  Position synced;
  EXPECT_TRUE(log->syncer().sync_now(1001, &synced).ok());
  // Another one of this Log knows the old file, too, and is told of the first one by it.
  std::unique_ptr<Appender> other;
  Appender::Options exclusive;
  exclusive.exclusive = true;
  EXPECT_EQ(Appender::open(log, exclusive, &other, nullptr).code, Code::kExclusiveHeld);
  EXPECT_TRUE(appender->close().ok());
  appender.reset();
  expect_refusal(folder);
  log.reset();
  RecoveryReport report;
  const auto again = open_log(folder.path());
  append(open_appender(again, false, &report).get(), message(1, 1001, 200));
  EXPECT_FALSE(report.ran) << "it closed in order";
  expect_numbered(read_all(again), 1, 1001);
}

TEST(LogLocks, are_not_made_again_while_a_reader_might_repair) {
  const Folder folder;
  append(open_appender(open_log(folder.path())).get(), message(1, 1, 100));
  auto reading = std::make_unique<Reader>(open_log(folder.path()), MappedFile::Access::kRead);
  ASSERT_TRUE(reading->seek_earliest().ok());
  lose_locks(folder);
  expect_refusal(folder);
  reading.reset();
  EXPECT_TRUE(try_open(folder.path()).ok());
}

TEST(LogLocks, are_made_again_after_their_holder_was_killed) {
  const Folder folder;
  const SharedWords words;
  in_child([&] { open_appender(open_log(folder.path())); });
  Child holder([&] {
    const auto appender = open_appender(open_log(folder.path()));
    append(appender.get(), message(1, 1, 100));
    words[0] = 1;
    for (;;) sleep_ms(1000);
  });
  ASSERT_TRUE(eventually([&] { return words[0] == 1; }));
  lose_locks(folder);
  in_child([&] { expect_refusal(folder); });
  holder.signal(SIGKILL);
  EXPECT_EQ(holder.wait(), 128 + SIGKILL);
  in_child([&] {
    RecoveryReport report;
    const auto log = open_log(folder.path());
    append(open_appender(log, false, &report).get(), message(1, 2, 100));
    EXPECT_TRUE(report.ran);
    expect_numbered(read_all(log), 1, 2);
  });
}

TEST(LogLocks, are_made_again_once_by_many_who_come_at_once) {
  const Folder folder;
  const SharedWords words;
  in_child([&] { open_appender(open_log(folder.path())); });
  for (uint64_t round = 1; round <= 20; ++round) {
    lose_locks(folder);
    const auto publish = [&](uint64_t who) {
      words[0]++;
      while (words[0] < 3 * round) {
      }
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log);
      append(appender.get(), message(who, round, 100));
      // All are on one file, and so see each other.
      struct stat info;
      ASSERT_EQ(::stat(locks_of(folder).c_str(), &info), 0);
      words[who] = info.st_ino;
      words[10]++;
      EXPECT_TRUE(eventually([&] { return words[10] >= 3 * round; }));
    };
    Child a([&] { publish(1); });
    Child b([&] { publish(2); });
    Child c([&] { publish(3); });
    EXPECT_EQ(a.wait() + b.wait() + c.wait(), 0);
    ASSERT_EQ(words[1], words[2]);
    ASSERT_EQ(words[1], words[3]);
  }
  in_child([&] { EXPECT_EQ(read_all(open_log(folder.path())).size(), 60u); });
}

TEST(LogQuarantine, has_the_mode_of_the_topic_whatever_the_umask) {
  const Folder folder;
  in_child([&] {
    ::umask(0077);
    TopicSettings settings = small_segments();
    settings.file_mode = 0640;
    {
      const auto log = open_log(folder.path(), settings);
      const auto appender = open_appender(log);
      for (uint64_t i = 1; i <= 10; ++i) append(appender.get(), message(1, i, 100));
    }
    flip_bit_in_payload(folder.path(), read_all(open_log(folder.path()))[4]);
    forget_orderly_close(folder.path());
    lose_checkpoint(folder.path());
    RecoveryReport report;
    open_appender(open_log(folder.path()), false, &report);
    ASSERT_EQ(report.damage.size(), 1u);
    struct stat info;
    ASSERT_EQ(::stat((folder.path() + "/quarantine").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0750u);
    ASSERT_EQ(::stat(report.damage[0].file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0640u);
  });
}

}  // namespace
}  // namespace hermes
