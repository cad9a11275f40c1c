// A process is killed at every named point of the core, while others go on, and everything is looked at afterwards.

#include <algorithm>
#include <cerrno>
#include <map>

#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

struct Point {
  const char* name;
  int passage;
};

std::string label(const ::testing::TestParamInfo<Point>& info) {
  std::string text = std::string(info.param.name) + "_" + std::to_string(info.param.passage);
  std::replace_if(text.begin(), text.end(), [](char c) { return c == ':' || c == '-'; }, '_');
  return text;
}

/// To be called first thing in a child.
void arm(const Point& point) {
  ::setenv("HERMES_CRASH", (std::string(point.name) + "@" + std::to_string(point.passage)).c_str(), 1);
}

/// Publishes single messages and batches in turn, and notes what was acknowledged in `acknowledged`.
void publish(const std::string& folder, uint64_t who, uint64_t count, std::atomic<uint64_t>& acknowledged) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= count;) {
    if (i % 4 == 0) {
      const auto batch = batch_of({message(who, i, 100), message(who, i + 1, 16), message(who, i + 2, 300)});
      ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 3), Code::kOk);
      i += 3;
    } else {
      append(appender.get(), message(who, i, 16 + i % 300));
      ++i;
    }
    acknowledged = i - 1;
  }
}

/// Checks all that's readable against what each producer knows to be written. Batches are there as a whole or not at all.
void check(const std::string& folder, const SharedWords& acknowledged, uint64_t producers, bool repair, bool batches) {
  const auto log = open_log(folder);
  ScanStop stop;
  const auto messages = read_all(log, &stop, repair);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  std::map<uint64_t, uint64_t> last;
  uint64_t sequence = 0;
  for (const Message& m : messages) {
    ASSERT_GT(m.sequence, sequence);
    sequence = m.sequence;
    ASSERT_LT(m.producer(), producers);
    ASSERT_EQ(m.number(), last[m.producer()] + 1);
    ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
    last[m.producer()] = m.number();
  }
  for (uint64_t who = 0; who < producers; ++who) {
    EXPECT_GE(last[who], acknowledged[who]) << "an acknowledged message of producer " << who << " is missing";
    // At most what was under way when it died.
    EXPECT_LE(last[who], acknowledged[who] + 3);
    // Numbers 4n, 4n + 1 and 4n + 2 make a batch: never a part of it.
    const bool in_batches = batches || who > 0;
    EXPECT_TRUE(!in_batches || last[who] < 4 || last[who] % 4 == 2 || last[who] % 4 == 3)
        << "a part of a batch: " << last[who];
  }
}

class LogCrash : public ::testing::TestWithParam<Point> {};

TEST_P(LogCrash, of_the_only_publisher_is_recovered_by_the_next) {
  const Folder folder;
  const SharedWords acknowledged;
  in_child([&] { publish(folder.path(), 0, 300, acknowledged[0]); });
  Child victim([&] {
    arm(GetParam());
    publish(folder.path(), 1, 2000, acknowledged[1]);
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] {
    publish(folder.path(), 2, 500, acknowledged[2]);
    check(folder.path(), acknowledged, 3, false, true);
  });
}

TEST_P(LogCrash, holds_up_neither_the_other_publisher_nor_a_reader_that_repairs) {
  const Folder folder(quick_place());
  const SharedWords acknowledged;
  in_child([&] { open_appender(open_log(folder.path())); });
  Child survivor([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; acknowledged[100] == 0; ++i) {
      append(appender.get(), message(0, i, 16 + i % 50));
      acknowledged[0] = i;
      if (i % 16 == 0) sleep_ms(1);
    }
  });
  ASSERT_TRUE(eventually([&] { return acknowledged[0] > 5; }));
  Child victim([&] {
    arm(GetParam());
    // Its first segments may be rotated by the survivor, so that it takes longer to reach the point.
    publish(folder.path(), 1, 20'000, acknowledged[1]);
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  const uint64_t then = acknowledged[0];
  const uint64_t start = monotonic_ns();
  ASSERT_TRUE(eventually([&] { return acknowledged[0] > then + 100; }));
  EXPECT_LT(monotonic_ns() - start, 1'000'000'000u);
  in_child([&] {
    // A reader gets past what the dead one left, while the survivor lives.
    const auto log = open_log(folder.path());
    Reader reader(log, MappedFile::Access::kRead);
    std::vector<Message> messages;
    const uint64_t enough = acknowledged[0];
    EXPECT_TRUE(eventually([&] {
      read_on(&reader, &messages, true);
      return std::any_of(messages.begin(), messages.end(),
                         [&](const Message& m) { return m.producer() == 0 && m.number() == enough; });
    }));
  });
  acknowledged[100] = 1;
  EXPECT_EQ(survivor.wait(), 0);
  in_child([&] { check(folder.path(), acknowledged, 2, true, false); });
}

INSTANTIATE_TEST_SUITE_P(At, LogCrash,
                         ::testing::Values(Point{"append:before-claim", 1}, Point{"append:before-claim", 77},
                                           Point{"append:claimed", 1}, Point{"append:claimed", 100},
                                           Point{"append:filled", 50}, Point{"append:committed", 50},
                                           Point{"batch:before-claim", 20}, Point{"batch:claimed", 1},
                                           Point{"batch:claimed", 40}, Point{"batch:filling", 1},
                                           Point{"batch:filling", 62}, Point{"batch:filled", 1},
                                           Point{"batch:filled", 30}, Point{"pad:claimed", 1}, Point{"pad:claimed", 3},
                                           Point{"pad:committed", 1}, Point{"rotate:based", 1},
                                           Point{"rotate:based", 2}, Point{"rotate:active", 1}),
                         label);

// --- recovery itself dies ------------------------------------------------------------------------------------------------

class LogRecoveryCrash : public ::testing::TestWithParam<Point> {};

/// A log with a message damaged in the middle, a lost page, an open claim and a torn tail.
void make_a_mess(const std::string& folder, const SharedWords& acknowledged) {
  in_child([&] { publish(folder, 0, 1500, acknowledged[0]); });
  in_child([&] {
    const auto messages = read_all(open_log(folder));
    flip_bit_in_payload(folder, messages[100], 5);
    flip_bit_in_payload(folder, messages[700], 5);
    lose_page(folder, 1, 40'000);
    const Message& torn = messages[messages.size() - 5];
    lose_everything_behind(folder, torn.at.segment, torn.at.offset + 40);
    // Bytes of a later write that reached the disk all the same: the tail that's cut is long.
    const Bytes noise(9000, 'n');
    overwrite(segment_path(folder, torn.at.segment), torn.at.offset + 4096, noise.data(),
              std::min<size_t>(noise.size(), kMinSegmentBytes - torn.at.offset - 4096));
  });
  reboot(folder);
}

std::vector<Message> recovered_messages(const std::string& folder) {
  const auto log = open_log(folder);
  RecoveryReport report;
  const auto appender = open_appender(log, false, &report);
  EXPECT_NE(appender, nullptr);
  ScanStop stop;
  auto messages = read_all(log, &stop);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  return messages;
}

uint64_t fingerprint(const std::vector<Message>& messages) {
  uint64_t value = messages.size();
  for (const Message& m : messages) {
    value = value * 31 + m.sequence;
    value = value * 31 + crc32(0, m.payload.data(), m.payload.size());
  }
  return value;
}

TEST_P(LogRecoveryCrash, is_made_good_by_the_next_recovery) {
  const Folder folder;
  const Folder twin;
  const SharedWords acknowledged;
  const SharedWords results;
  make_a_mess(folder.path(), acknowledged);
  std::filesystem::copy(folder.path(), twin.path(), std::filesystem::copy_options::recursive);
  in_child([&] {
    results[0] = fingerprint(recovered_messages(twin.path()));
    results[1] = file_count(twin.path() + "/quarantine");
    EXPECT_GE(results[1], 8u) << "four damages, each with a report";
  });
  Child victim([&] {
    arm(GetParam());
    recovered_messages(folder.path());
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] {
    results[2] = fingerprint(recovered_messages(folder.path()));
    results[3] = file_count(folder.path() + "/quarantine");
    // Every byte that the undisturbed recovery set aside was set aside here too.
    for (const auto& entry : std::filesystem::directory_iterator(twin.path() + "/quarantine")) {
      const Bytes expected = read_file(entry.path().string());
      EXPECT_EQ(read_file(folder.path() + "/quarantine/" + entry.path().filename().string()), expected) << entry.path();
    }
  });
  EXPECT_EQ(results[0], results[2]);
  EXPECT_GE(results[3], results[1]);
  in_child([&] { publish(folder.path(), 1, 500, acknowledged[1]); });
}

INSTANTIATE_TEST_SUITE_P(At, LogRecoveryCrash,
                         ::testing::Values(Point{"recover:quarantined", 1}, Point{"recover:quarantined", 2},
                                           Point{"recover:marked", 1}, Point{"recover:marked", 3},
                                           Point{"recover:replaced", 1}, Point{"recover:replaced", 2},
                                           Point{"recover:checkpoint", 1}, Point{"recover:checkpoint", 2},
                                           Point{"recover:tail-quarantined", 1}, Point{"recover:cutting", 1},
                                           Point{"recover:cutting", 2}, Point{"recover:cut", 1}),
                         label);

/// A copy whose control file is newer than its segment: the mark vouches for messages that were not copied, and is lowered.
TEST(LogRecoveryCrashAtLoweredMark, leaves_no_mark_beyond_the_end) {
  const Folder folder;
  const Folder copy;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 50; ++i) append(appender.get(), message(0, i, 200));
    std::filesystem::copy_file(folder.path() + "/locks", copy.path() + "/locks");
    std::filesystem::copy_file(segment_path(folder.path(), 1), segment_path(copy.path(), 1));
    for (uint64_t i = 51; i <= 150; ++i) append(appender.get(), message(0, i, 200));
    Position synced;
    ASSERT_TRUE(log->syncer().sync_now(151, &synced).ok());
  });
  std::filesystem::copy_file(folder.path() + "/control", copy.path() + "/control");
  Child victim([&] {
    arm({"recover:lowered", 1});
    recovered_messages(copy.path());
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] {
    const auto log = open_log(copy.path());
    Position synced;
    if (load_position(log->control().synced, &synced)) {
      EXPECT_LE(synced.sequence, 51u);
    }
    RecoveryReport report;
    const auto appender = open_appender(log, false, &report);
    EXPECT_EQ(report.frames, 50u);
    EXPECT_TRUE(report.damage.empty());
    append(appender.get(), message(0, 51, 200));
    EXPECT_EQ(appender->last_sequence(), 51u);
    ASSERT_TRUE(log->syncer().sync_now(52, &synced).ok());
    EXPECT_EQ(synced.sequence, 52u);
    expect_numbered(read_all(log), 0, 51);
  });
}

class LogRewriteCrash : public ::testing::TestWithParam<Point> {};

TEST_P(LogRewriteCrash, leaves_the_failed_sync_noted_and_is_made_good_by_the_next_recovery) {
  const Folder folder(quick_place());
  const SharedWords acknowledged;
  in_child([&] { publish(folder.path(), 0, 1500, acknowledged[0]); });
  in_child([&] {
    const auto log = open_log(folder.path());
    store_sync_failure(log->control(), ENOSPC);
  });
  Child victim([&] {
    arm(GetParam());
    recovered_messages(folder.path());
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] { EXPECT_NE(load_sync_failure(open_log(folder.path())->control()), 0); });
  in_child([&] {
    publish(folder.path(), 1, 500, acknowledged[1]);
    check(folder.path(), acknowledged, 2, false, true);
    EXPECT_EQ(load_sync_failure(open_log(folder.path())->control()), 0);
    EXPECT_EQ(file_count(folder.path() + "/quarantine"), 0u);
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(At, LogRewriteCrash,
                         ::testing::Values(Point{"rewrite:sealed", 1}, Point{"rewrite:copied", 1},
                                           Point{"rewrite:copied", 3}, Point{"rewrite:renewed", 1},
                                           Point{"rewrite:renewed", 2}, Point{"rewrite:based", 1},
                                           Point{"recover:written-anew", 1}),
                         label);

TEST(LogRecoveryCrashAtVoid, is_made_good_by_the_next_recovery) {
  const Folder folder;
  const SharedWords acknowledged;
  Child first([&] {
    arm({"batch:claimed", 20});
    publish(folder.path(), 0, 1500, acknowledged[0]);
  });
  ASSERT_EQ(first.wait(), 128 + SIGKILL);
  Child second([&] {
    arm({"recover:void", 1});
    recovered_messages(folder.path());
  });
  ASSERT_EQ(second.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] {
    publish(folder.path(), 1, 100, acknowledged[1]);
    check(folder.path(), acknowledged, 2, false, true);
  });
}

}  // namespace
}  // namespace hermes
