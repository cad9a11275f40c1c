#include <limits>

#include "core/log/clock_step.h"
#include "core/log/retention.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kDay = 24 * kHour;
/// Some time in 2026, ten days after the machine was started.
constexpr TwoClocks kBegin = {1'790'000'000 * kSecond, 10 * kDay};

constexpr TwoClocks after(const TwoClocks& clocks, uint64_t gone_ns, int64_t set_ns = 0) {
  return {clocks.realtime_ns + gone_ns + static_cast<uint64_t>(set_ns), clocks.boottime_ns + gone_ns};
}

class LogClockStep : public ::testing::Test {
 protected:
  ClockStep look(const TwoClocks& now) { return look_for_clock_step(log_->control(), now); }

  Folder folder_;
  std::shared_ptr<Log> log_ = open_log(folder_.path());
};

TEST_F(LogClockStep, is_none_while_the_clocks_go_together_or_a_time_service_slews_one) {
  TwoClocks now = kBegin;
  EXPECT_EQ(look(now).ahead_ns, 0u);
  // Half a second each ten minutes, and a look each time; then none for a month.
  for (int n = 0; n < 1000; ++n) {
    now = after(now, 600 * kSecond, kSecond / 2);
    EXPECT_EQ(look(now).ahead_ns, 0u) << n;
  }
  now = after(now, 30 * kDay, static_cast<int64_t>(kHour / 2));
  EXPECT_EQ(look(now).ahead_ns, 0u);
}

TEST_F(LogClockStep, ahead_makes_nothing_older_that_was_noted_before) {
  (void)look(kBegin);
  const TwoClocks now = after(kBegin, 5 * kSecond, static_cast<int64_t>(kDay));
  const ClockStep step = look(now);
  EXPECT_EQ(step.ahead_ns, kDay);
  // Five minutes old before, and now; never later than the step; and what is noted from now on is right.
  EXPECT_EQ(step.corrected(kBegin.realtime_ns - 300 * kSecond), kBegin.realtime_ns - 300 * kSecond + kDay);
  EXPECT_EQ(step.corrected(kBegin.realtime_ns + 10 * kSecond), now.realtime_ns);
  EXPECT_EQ(step.corrected(now.realtime_ns + kSecond), now.realtime_ns + kSecond);
  // It stays known, to every process, and beyond a restart of the machine.
  log_.reset();
  log_ = open_log(folder_.path());
  EXPECT_EQ(look(after(now, kHour)).ahead_ns, kDay);
  const uint64_t other_boot = 4711;
  log_->control().clock.check.fetch_xor(log_->control().clock.boot.exchange(other_boot) ^ other_boot);
  EXPECT_EQ(look({now.realtime_ns + 5 * kDay, kSecond}).ahead_ns, kDay);
}

TEST_F(LogClockStep, back_to_what_it_was_leaves_nothing_to_correct) {
  (void)look(kBegin);
  EXPECT_EQ(look(after(kBegin, kSecond, static_cast<int64_t>(kDay))).ahead_ns, kDay);
  EXPECT_EQ(look(after(kBegin, 2 * kSecond)).ahead_ns, 0u);
  // Back first, and then to what it was: what was noted meanwhile is a day younger than it seems.
  const TwoClocks behind = after(kBegin, 3 * kSecond, -static_cast<int64_t>(kDay));
  EXPECT_EQ(look(behind).ahead_ns, 0u);
  const ClockStep step = look(after(kBegin, 4 * kSecond));
  EXPECT_EQ(step.ahead_ns, kDay);
  EXPECT_EQ(step.corrected(behind.realtime_ns), behind.realtime_ns + kDay);
}

TEST_F(LogClockStep, is_believed_in_a_machine_that_starts_without_the_time) {
  const TwoClocks start = {10 * kSecond, 10 * kSecond};  // 1970
  (void)look(start);
  const ClockStep step = look({kBegin.realtime_ns, 600 * kSecond});
  // Ten minutes old.
  EXPECT_EQ(step.corrected(start.realtime_ns), kBegin.realtime_ns - 590 * kSecond);
  // Of a time before that start, by a clock that was right: not older than the step either.
  EXPECT_EQ(step.corrected(kBegin.realtime_ns - kDay), kBegin.realtime_ns);
}

TEST_F(LogClockStep, that_may_have_been_noted_in_a_damaged_record_makes_everything_new) {
  (void)look(kBegin);
  log_->control().clock.ahead_ns.fetch_xor(uint64_t{1} << 40);
  const TwoClocks now = after(kBegin, kHour);
  EXPECT_EQ(look(now).corrected(kBegin.realtime_ns - 100 * kDay), now.realtime_ns);
  EXPECT_EQ(look(now).corrected(kBegin.realtime_ns - 100 * kDay), now.realtime_ns);
}

/// As if the wall clock had been behind by `ns` until now.
void set_ahead(const std::string& folder, Log& log, uint64_t ns) {
  for (uint64_t number = 1; number <= log.active(); ++number) {
    Bytes bytes = read_file(segment_path(folder, number));
    auto* const header = reinterpret_cast<SegmentHeader*>(bytes.data());
    header->created_ns -= ns;
    header->crc = crc32(0, header, offsetof(SegmentHeader, crc));
    const uint64_t salt = header->used_since_ns.load() ^ header->used_since_check.load();
    header->used_since_ns.fetch_sub(ns);
    header->used_since_check.store(header->used_since_ns.load() ^ salt);
    overwrite(segment_path(folder, number), 0, header, sizeof *header);
  }
  ClockRecord& clock = log.control().clock;
  const uint64_t offset = clock.offset_ns.load();
  clock.offset_ns.store(offset - ns);
  clock.check.fetch_xor(offset ^ (offset - ns));
}

TEST(LogRetention, does_not_remove_what_is_old_only_because_the_clock_was_set_ahead) {
  for (const uint64_t ahead : {kDay, 50 * 365 * kDay}) {
    const Folder folder;
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
    ASSERT_GE(log->active(), 3u);
    // Without retention until all is set: the preparer applies it as well, and would see segments that are old by a clock that is not ahead yet.
    TwoClocks now;
    ASSERT_TRUE(read_two_clocks(&now));
    (void)look_for_clock_step(log->control(), now);
    set_ahead(folder.path(), *log, ahead);
    store_retention(log->control(), {0, kHour});
    for (int round = 0; round < 2; ++round) {
      ASSERT_TRUE(apply_retention(*log).ok());
      EXPECT_EQ(log->first(), 1u) << round;
    }
    // It grows old as before.
    sleep_ms(5);
    store_retention(log->control(), {0, 1'000'000});
    ASSERT_TRUE(apply_retention(*log).ok());
    EXPECT_EQ(log->first(), log->active());
  }
}

}  // namespace
}  // namespace hermes
