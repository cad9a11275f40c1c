#include <atomic>

#include "core/log/closing_sync.h"
#include "core/log/interval_sync.h"
#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kSecondFrame = kSegmentHeaderBytes + 40;  // behind a message of 8 bytes

uint64_t synced_sequence(const Log& log) {
  Position synced;
  return load_position(log.control().synced, &synced) ? synced.sequence : 0;
}

IntervalSync::Failed must_not_fail() {
  return [](const Status& status) { ADD_FAILURE() << status.context; };
}

// --- syncing at intervals --------------------------------------------------------------------------------------------

TEST(LogIntervalThread, syncs_what_was_written_though_nobody_asks) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const IntervalSync interval(log, 5, must_not_fail());
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  EXPECT_TRUE(eventually([&] { return synced_sequence(*log) == 1001; }));
  append(appender.get(), message(1, 1001, 8));
  EXPECT_TRUE(eventually([&] { return synced_sequence(*log) == 1002; }));
}

TEST(LogIntervalThread, leaves_the_disk_alone_when_nothing_is_new) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const IntervalSync interval(log, 1, must_not_fail());
  append(appender.get(), message(1, 1, 8));
  ASSERT_TRUE(eventually([&] { return synced_sequence(*log) == 2; }));
  sleep_ms(50);
  const uint32_t generation = log->control().sync_generation;
  sleep_ms(100);
  EXPECT_EQ(log->control().sync_generation, generation);
}

TEST(LogIntervalThread, goes_on_while_an_earlier_sync_is_waited_for) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto one = open_appender(log);
  const auto other = open_appender(log);
  const IntervalSync first(log, 1, must_not_fail());
  const IntervalSync second(log, 2, must_not_fail());
  std::atomic<int> answers{0};
  for (uint64_t i = 1; i <= 200; ++i) {
    append((i % 2 == 0 ? one : other).get(), message(1, i, 64));
    log->syncer().request(i + 1, [&](const Status& status, const Position&) { answers += status.ok() ? 1 : 1000; });
  }
  EXPECT_TRUE(eventually([&] { return answers == 200 && synced_sequence(*log) == 201; }));
}

TEST(LogIntervalThread, gets_past_the_claim_of_a_dead_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  segment->word(kSecondFrame).store(make_claim_word({200, 1, 40}));
  append(appender.get(), message(1, 3, 8));
  const IntervalSync interval(log, 2, must_not_fail());
  EXPECT_TRUE(eventually([&] { return synced_sequence(*log) == 4; }));
}

TEST(LogIntervalThread, covers_what_stands_before_the_claim_of_a_live_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto slow = open_appender(log);
  const auto quick = open_appender(log);
  append(slow.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  claim_as_publisher(*log, *segment, kSecondFrame, {slow->slot(), 1, 40});
  append(quick.get(), message(2, 1, 8));
  const IntervalSync interval(log, 2, must_not_fail());
  EXPECT_TRUE(eventually([&] { return synced_sequence(*log) == 2; }));
  sleep_ms(20);
  EXPECT_EQ(synced_sequence(*log), 2u);
}

TEST(LogIntervalThread, tells_once_what_keeps_it_from_syncing) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  }
  const auto log = open_log(folder.path());
  std::filesystem::remove(segment_path(folder.path(), 1));
  std::atomic<int> calls{0};
  std::atomic<int> code{0};
  {
    const IntervalSync interval(log, 1, [&](const Status& status) {
      code = static_cast<int>(status.code);
      ++calls;
    });
    ASSERT_TRUE(eventually([&] { return calls > 0; }));
    sleep_ms(20);
  }
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(code, static_cast<int>(Code::kCorrupt));
  EXPECT_EQ(synced_sequence(*log), 0u);
}

TEST(LogIntervalThread, ends_at_once_when_it_is_not_needed_any_more) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const uint64_t start = monotonic_ns();
  {
    const IntervalSync interval(log, 3'600'000, must_not_fail());
  }
  EXPECT_LT(monotonic_ns() - start, 60'000'000'000u);
}

// --- the claimed watermark -------------------------------------------------------------------------------------------

TEST(LogWatermarks, claimed_is_behind_the_last_claim_and_written_before_the_first) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto slow = open_appender(log);
  const auto quick = open_appender(log);
  const auto marks = [&](const std::shared_ptr<Log>& from) {
    Position written;
    Position claimed;
    EXPECT_TRUE(from->committed(&written).ok());
    EXPECT_TRUE(from->claimed_from(written, &claimed).ok());
    return std::pair(written.sequence, claimed.sequence);
  };
  EXPECT_EQ(marks(log), std::pair(uint64_t{1}, uint64_t{1}));
  append(slow.get(), message(1, 1, 8));
  EXPECT_EQ(marks(log), std::pair(uint64_t{2}, uint64_t{2}));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  claim_as_publisher(*log, *segment, kSecondFrame, {slow->slot(), 5, 200});
  EXPECT_EQ(marks(log), std::pair(uint64_t{2}, uint64_t{7}));
  // Behind it others go on, also into later segments.
  for (uint64_t i = 1; i <= 1000; ++i) append(quick.get(), message(2, i, 200));
  ASSERT_GT(log->active(), 2u);
  EXPECT_EQ(marks(log), std::pair(uint64_t{2}, uint64_t{1007}));
  EXPECT_EQ(marks(open_log(folder.path())), std::pair(uint64_t{2}, uint64_t{1007}));
}

// --- settling before the last publisher closes -----------------------------------------------------------------------

class LogSettle : public ::testing::Test {
 protected:
  const Folder folder_;
  const std::shared_ptr<Log> log_ = open_log(folder_.path());
  std::unique_ptr<Appender> appender_ = open_appender(log_);

  void SetUp() override {
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log_->segment(1, &segment).ok());
    if (segment->file().in_memory()) GTEST_SKIP() << "the tests' folder is in memory";
    for (uint64_t i = 1; i <= 1000; ++i) append(appender_.get(), message(1, i, 200));
  }
  uint64_t wanted(uint64_t least_bytes) const {
    uint64_t sequence = ~uint64_t{0};
    EXPECT_TRUE(needs_closing_sync(*log_, appender_->slot(), least_bytes, &sequence).ok());
    return sequence;
  }
};

TEST_F(LogSettle, is_wanted_of_the_last_publisher_when_much_was_written) {
  EXPECT_EQ(wanted(200'000), 1001u);
  EXPECT_EQ(wanted(1'000'000), 0u);
  Position synced;
  ASSERT_TRUE(log_->syncer().sync_now(1001, &synced).ok());
  EXPECT_EQ(wanted(1), 0u);
  append(appender_.get(), message(1, 1001, 200));
  EXPECT_EQ(wanted(1), 1002u);
}

TEST_F(LogSettle, is_left_to_those_who_stay) {
  auto other = open_appender(log_);
  EXPECT_EQ(wanted(1), 0u);
  other.reset();
  EXPECT_EQ(wanted(1), 1001u);
  in_child([&] {
    // One that died with its slot marked is not one who stays.
    auto* const leaked = open_appender(open_log(folder_.path())).release();
    ASSERT_NE(leaked, nullptr);
  });
  EXPECT_EQ(wanted(1), 1001u);
}

TEST_F(LogSettle, spares_the_first_open_after_a_reboot_the_check_of_everything) {
  for (const bool settled : {false, true}) {
    if (settled) {
      Position synced;
      ASSERT_TRUE(log_->syncer().sync_now(wanted(1), &synced).ok());
    }
    ASSERT_TRUE(appender_->close().ok());
    reboot(folder_.path());
    RecoveryReport report;
    appender_ = open_appender(log_, false, &report);
    EXPECT_TRUE(report.ran);
    EXPECT_TRUE(report.rebooted);
    EXPECT_EQ(report.frames, settled ? 0u : 1000u);
    EXPECT_TRUE(report.damage.empty());
  }
}

TEST(LogSettleInMemory, is_never_wanted) {
  if (quick_place() != "/dev/shm") GTEST_SKIP() << "there is no /dev/shm";
  const Folder folder(quick_place());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  uint64_t sequence = ~uint64_t{0};
  ASSERT_TRUE(needs_closing_sync(*log, appender->slot(), 1, &sequence).ok());
  EXPECT_EQ(sequence, 0u);
}

}  // namespace
}  // namespace hermes
