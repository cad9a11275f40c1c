// A sync that fails, with each errno, and on a real disk whose backing store is full: nobody is told afterwards that something is safe which is not.

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/log/interval_sync.h"
#include "core/log/syncer.h"
#include "small_disk.h"

namespace {

/// Which of the next syncs fails (1 = the next one; 0 = none), and how; as the kernel does it, once.
std::atomic<int> fail_at{0};
std::atomic<int> fail_with{0};
std::atomic<int> names_fail_with{0};
std::atomic<int> interrupted{0};
std::atomic<int> syncs{0};
/// If set: the sync that is to fail says so in [0], and goes on once somebody else sets [1].
std::atomic<uint64_t>* hold = nullptr;

}  // namespace

// In place of the C library's, for all that is linked into this program.
extern "C" int fdatasync(int fd) {
  ++syncs;
  if (interrupted.load() > 0) {
    --interrupted;
    errno = EINTR;
    return -1;
  }
  // Files that are just being made, by a thread in the background perhaps, are another matter.
  char name[512] = {};
  if (::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name - 1) < 0) name[0] = 0;
  const bool in_use = std::strstr(name, ".seg") != nullptr && std::strstr(name, ".tmp") == nullptr;
  if (in_use && fail_at.load() > 0 && --fail_at == 0) {
    if (hold != nullptr) {
      hold[0] = 1;
      while (hold[1] == 0) ::usleep(1000);
    }
    errno = fail_with;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" int fsync(int fd) {
  if (const int err = names_fail_with.exchange(0); err != 0) {
    errno = err;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace hermes {
namespace {

using namespace test;

void fail_next_sync(int err, int at = 1) {
  fail_with = err;
  fail_at = at;
}

Code code_of(int err) { return err == ENOSPC || err == EDQUOT ? Code::kDiskFull : Code::kIoFailed; }

uint64_t synced_sequence(const Log& log) {
  Position synced;
  return load_position(log.control().synced, &synced) ? synced.sequence : 0;
}

Status sync(const std::shared_ptr<Log>& log, uint64_t upto) {
  Position synced;
  return log->syncer().sync_now(upto, &synced);
}

class LogSyncFailure : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(With, LogSyncFailure, ::testing::Values(EIO, ENOSPC, EDQUOT, EROFS), [](const auto& info) {
  return std::string(info.param == EIO      ? "EIO"
                     : info.param == ENOSPC ? "ENOSPC"
                     : info.param == EDQUOT ? "EDQUOT"
                                            : "EROFS");
});

TEST_P(LogSyncFailure, is_final_for_every_publisher_in_every_process) {
  const Folder folder;
  const SharedWords words;
  const auto other_process = [&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(2, 1, 200));
    words[0] = 1;
    ASSERT_TRUE(eventually([&] { return words[1] != 0; }));
    append(appender.get(), message(2, 2, 200));  // behind what the other one has synced
    // Its own open file is told of no failure.
    EXPECT_EQ(sync(log, appender->last_sequence() + 1).code, code_of(GetParam()));
    append(appender.get(), message(2, 3, 200));
    EXPECT_EQ(sync(log, appender->last_sequence() + 1).code, code_of(GetParam()));
    words[2] = 1;
    ASSERT_TRUE(eventually([&] { return words[3] != 0; }));
  };
  Child other(other_process);
  ASSERT_TRUE(eventually([&] { return words[0] != 0; }));
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 200));
    ASSERT_TRUE(sync(log, appender->last_sequence() + 1).ok());
    const uint64_t safe = appender->last_sequence() + 1;
    append(appender.get(), message(1, 2, 200));
    fail_next_sync(GetParam());
    const Status failed = sync(log, appender->last_sequence() + 1);
    EXPECT_EQ(failed.code, code_of(GetParam())) << failed.context;
    EXPECT_EQ(failed.sys_errno, GetParam());
    EXPECT_NE(failed.context.find("Close all publishers"), std::string::npos);
    words[1] = 1;
    ASSERT_TRUE(eventually([&] { return words[2] != 0; }));
    // The same one again, another one of the same process, one that opens now, and syncing by itself.
    EXPECT_EQ(sync(log, appender->last_sequence() + 1).code, code_of(GetParam()));
    const auto second_log = open_log(folder.path());
    const auto second = open_appender(second_log);
    append(second.get(), message(1, 3, 200));
    EXPECT_EQ(sync(second_log, second->last_sequence() + 1).code, code_of(GetParam()));
    std::atomic<int> told{0};
    const IntervalSync interval(second_log, 1, [&](const Status& status) {
      EXPECT_EQ(status.code, code_of(GetParam()));
      ++told;
    });
    EXPECT_TRUE(eventually([&] { return told == 1; }));
    EXPECT_EQ(synced_sequence(*log), safe) << "the mark was raised over lost pages";
    // What was safe before still is.
    EXPECT_TRUE(sync(log, safe).ok());
    words[3] = 1;
  });
  EXPECT_EQ(other.wait(), 0);
}

/// A publisher whose sync takes long and then fails. words[3] is set once it has failed; the publisher stays until words[4] is.
void straggle(const std::string& folder, int err, const SharedWords& words, bool closes_first) {
  const auto log = open_log(folder);
  auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 200));
  ASSERT_TRUE(sync(log, 2).ok());
  append(appender.get(), message(1, 2, 200));
  hold = &words[10];
  fail_next_sync(err);
  std::atomic<bool> told{false};
  log->syncer().request(3, [&](const Status& status, const Position&) {
    EXPECT_EQ(status.code, code_of(err)) << status.context;
    told = true;
  });
  if (closes_first) {
    ASSERT_TRUE(eventually([&] { return words[10] != 0; }));
    appender.reset();
    words[2] = 1;
  }
  EXPECT_TRUE(eventually([&] { return told.load(); }));
  words[3] = 1;
  EXPECT_TRUE(eventually([&] { return words[4] != 0; }));
}

TEST_P(LogSyncFailure, of_a_straggler_is_not_outdone_by_what_another_process_syncs_meanwhile) {
  const Folder folder;
  const SharedWords words;
  Child straggler([&] { straggle(folder.path(), GetParam(), words, false); });
  Child other([&] {
    ASSERT_TRUE(eventually([&] { return words[10] != 0; }));
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(2, 1, 200));
    words[2] = 1;
    // Its own sync of the same pages would succeed.
    const Status status = sync(log, appender->last_sequence() + 1);
    EXPECT_EQ(status.code, code_of(GetParam())) << status.context;
    EXPECT_NE(words[11], 0u) << "it was answered while the straggler was at it";
    EXPECT_EQ(synced_sequence(*log), 2u) << "the mark was raised over lost pages";
    EXPECT_EQ(sync(log, appender->last_sequence() + 1).code, code_of(GetParam()));
    EXPECT_EQ(synced_sequence(*log), 2u);
  });
  ASSERT_TRUE(eventually([&] { return words[2] != 0; }));
  sleep_ms(100);
  words[11] = 1;
  ASSERT_TRUE(eventually([&] { return words[3] != 0; }));
  EXPECT_EQ(other.wait(), 0);
  words[4] = 1;
  EXPECT_EQ(straggler.wait(), 0);
}

TEST_P(LogSyncFailure, of_a_straggler_is_awaited_by_the_recovery_of_the_next_publisher) {
  const Folder folder;
  const SharedWords words;
  Child straggler([&] { straggle(folder.path(), GetParam(), words, true); });
  Child next([&] {
    ASSERT_TRUE(eventually([&] { return words[2] != 0; }));  // nobody publishes any more, but a sync is under way
    const auto log = open_log(folder.path());
    words[5] = 1;
    RecoveryReport report;
    const auto appender = open_appender(log, false, &report);
    EXPECT_NE(words[11], 0u) << "it did not wait";
    EXPECT_TRUE(report.ran);
    EXPECT_EQ(report.frames, 1u);  // what was not known to be synced
    EXPECT_EQ(load_sync_failure(log->control()), 0);
    EXPECT_EQ(synced_sequence(*log), 3u);
    append(appender.get(), message(1, 3, 200));
    EXPECT_TRUE(sync(log, 4).ok());
    expect_numbered(read_all(log), 1, 3);
  });
  ASSERT_TRUE(eventually([&] { return words[5] != 0; }));
  sleep_ms(100);
  words[11] = 1;
  EXPECT_EQ(next.wait(), 0);
  words[4] = 1;
  EXPECT_EQ(straggler.wait(), 0);
}

TEST_P(LogSyncFailure, is_made_good_by_the_first_publisher_that_opens_when_all_are_closed) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 500; ++i) append(appender.get(), message(1, i, 200));
    ASSERT_TRUE(sync(log, 101).ok());
    for (uint64_t i = 501; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
    fail_next_sync(GetParam());
    ASSERT_FALSE(sync(log, 1001).ok());
    appender.reset();
    // Still the same Log, as a broker may hold it.
    fail_next_sync(GetParam());
    std::unique_ptr<Appender> refused;
    EXPECT_FALSE(Appender::open(log, {}, &refused, nullptr).ok()) << "the disk still fails";
    EXPECT_NE(load_sync_failure(log->control()), 0);
    fail_at = 0;
    RecoveryReport report;
    appender = open_appender(log, false, &report);
    EXPECT_TRUE(report.ran);
    EXPECT_GE(report.frames, 500u);
    EXPECT_EQ(load_sync_failure(log->control()), 0);
    EXPECT_EQ(synced_sequence(*log), 1001u);
    append(appender.get(), message(1, 1001, 200));
    EXPECT_TRUE(sync(log, 1002).ok());
  }
  expect_numbered(read_all(open_log(folder.path())), 1, 1001);
}

TEST_P(LogSyncFailure, does_not_trust_what_memory_shows_of_the_lost_pages) {
  const Folder folder;
  std::vector<Message> before;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 20; ++i) append(appender.get(), message(1, i, 200));
    ASSERT_TRUE(sync(log, 21).ok());
    for (uint64_t i = 21; i <= 200; ++i) append(appender.get(), message(1, i, 200));
    fail_next_sync(GetParam());
    ASSERT_FALSE(sync(log, 201).ok());
    before = read_all(log);
  }
  // The kernel took the page for clean, dropped it, and reads it from the disk now.
  lose_page(folder.path(), 1, 3 * 4096);
  RecoveryReport report;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log, false, &report);
  ASSERT_EQ(report.damage.size(), 1u);
  append(appender.get(), message(1, 201, 200));
  EXPECT_EQ(appender->last_sequence(), 201u);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), before.size() - report.damage[0].count + 1);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST_P(LogSyncFailure, of_the_names_is_final_too) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 200));
  names_fail_with = GetParam();
  EXPECT_EQ(sync(log, 2).code, code_of(GetParam()));
  EXPECT_EQ(sync(log, 2).code, code_of(GetParam()));
  EXPECT_EQ(synced_sequence(*log), 0u);
}

TEST_P(LogSyncFailure, during_a_recovery_is_made_good_by_the_next_one) {
  const Folder folder;
  std::vector<Message> before;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 200; ++i) append(appender.get(), message(1, i, 200));
    before = read_all(log);
  }
  flip_bit_in_payload(folder.path(), before[100]);
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  const auto log = open_log(folder.path());
  fail_next_sync(GetParam());
  std::unique_ptr<Appender> refused;
  EXPECT_FALSE(Appender::open(log, {}, &refused, nullptr).ok());
  EXPECT_NE(load_sync_failure(log->control()), 0);
  const auto appender = open_appender(log);
  EXPECT_EQ(load_sync_failure(log->control()), 0);
  EXPECT_EQ(read_all(log).size(), 199u);
}

TEST(LogSyncInterrupted, is_tried_again) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 200));
  interrupted = 3;
  EXPECT_TRUE(sync(log, 2).ok());
  EXPECT_EQ(interrupted, 0);
}

TEST(LogSyncFailureRecord, counts_as_a_failure_when_half_of_it_is_lost) {
  const Folder folder;
  const auto log = open_log(folder.path());
  store_sync_failure(log->control(), ENOSPC);
  EXPECT_EQ(load_sync_failure(log->control()), ENOSPC);
  log->control().sync_failure_check = 0;
  EXPECT_EQ(load_sync_failure(log->control()), EIO);
  store_sync_failure(log->control(), ENOSPC);
  log->control().sync_failure = 0;
  EXPECT_EQ(load_sync_failure(log->control()), EIO);
  clear_sync_failure(log->control());
  EXPECT_EQ(load_sync_failure(log->control()), 0);
}

TEST(LogSyncOnAFullBackingStore, loses_nothing_that_was_acknowledged) {
  SmallDisk store(SmallDisk::Kind::kTmpfs, 64);
  if (!store.is_mounted()) GTEST_SKIP() << store.why_not;
  SmallDisk disk(SmallDisk::Kind::kExt4, 48, store.path());
  if (!disk.is_mounted()) GTEST_SKIP() << disk.why_not;
  TopicSettings settings;
  settings.segment_bytes = 8 << 20;
  uint64_t acknowledged = 0;
  uint64_t written = 0;
  {
    const auto log = open_log(disk.path(), settings);
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 100; ++i) append(appender.get(), message(1, i, 1000));
    ASSERT_TRUE(sync(log, 101).ok());
    // What is lost shall be the messages: the file system knows of all their blocks, and its own ones are on the disk.
    sleep_ms(100);
    ::sync();
    acknowledged = 100;
    store.fill_up(0);
    for (written = 100; written < 3000; ++written) append(appender.get(), message(1, written + 1, 1000));
    const Status failed = sync(log, written + 1);
    ASSERT_FALSE(failed.ok()) << "the backing store is full";
    EXPECT_TRUE(failed.code == Code::kDiskFull || failed.code == Code::kIoFailed) << failed.context;
    // The kernel has told of it once. Whoever asks again, whatever file it opens, must not be told that all is well.
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(sync(log, written + 1).ok());
    const auto another = open_log(disk.path(), settings);
    const auto second = open_appender(another);
    const auto payload = message(1, written + 1, 1000);
    if (second->append(payload.data(), 1000) == Code::kOk) ++written;
    EXPECT_FALSE(sync(another, written + 1).ok());
    EXPECT_EQ(synced_sequence(*another), acknowledged + 1);
  }
  store.give_room_back();
  {
    RecoveryReport report;
    const auto log = open_log(disk.path(), settings);
    const auto appender = open_appender(log, false, &report);
    ASSERT_NE(appender, nullptr);
    EXPECT_TRUE(report.ran);
    EXPECT_EQ(load_sync_failure(log->control()), 0);
    if (report.damage.empty()) {
      expect_numbered(read_all(log), 1, written);
    }
    acknowledged = synced_sequence(*log) - 1;
    EXPECT_GE(acknowledged, written);
    append(appender.get(), message(1, written + 1, 1000));
    ASSERT_TRUE(sync(log, appender->last_sequence() + 1).ok());
    acknowledged = appender->last_sequence();
  }
  // As after a power cut: what is not on the disk is gone.
  ASSERT_TRUE(disk.remount());
  const auto messages = read_all(open_log(disk.path(), settings));
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.back().sequence, acknowledged);
  expect_numbered(messages, 1, acknowledged);
}

}  // namespace
}  // namespace hermes
