#include <set>
#include <thread>

#include "core/log/waiter.h"
#include "core/platform/futex.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kSecond = 1'000'000'000;

TEST(LogWaiter, wakes_at_once_for_every_message_over_many_rounds) {
  // Each side waits for the other's message. A lost wake-up costs a look-up interval of 200 ms: 2,000 rounds would take minutes.
  const Folder folder;
  constexpr uint64_t kRounds = 2000;
  in_child([&] { append(open_appender(open_log(folder.path())).get(), message(0, 0, 16)); });
  const auto play = [&](uint64_t me) {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    Reader reader(log, MappedFile::Access::kRead);
    ASSERT_TRUE(reader.seek_earliest().ok());
    Waiter waiter(log);
    uint64_t slow = 0;
    for (uint64_t sequence = 2; sequence <= kRounds;) {
      if (sequence % 2 == me) {
        append(appender.get(), message(me, sequence, 16));
        ++sequence;
        continue;
      }
      const uint64_t before = monotonic_ns();
      std::vector<Message> messages;
      while (messages.empty() || messages.back().sequence < sequence) {
        ASSERT_TRUE(waiter.wait(reader.segment(), reader.position(), 10 * kSecond));
        read_on(&reader, &messages);
      }
      if (monotonic_ns() - before > 150'000'000) ++slow;
      ++sequence;
    }
    EXPECT_LE(slow, 2u) << "waits that ended by a look-up, not by a wake-up";
  };
  Child even([&] { play(0); });
  Child odd([&] { play(1); });
  EXPECT_EQ(even.wait(), 0);
  EXPECT_EQ(odd.wait(), 0);
}

TEST(LogWaiter, is_not_put_to_sleep_by_another_sleeper_that_parks_after_the_wake_up) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  std::atomic<uint32_t>& parked = log->control().parked;
  // One sleeper has parked and seen no news; before it sleeps, a message comes, and another one parks.
  const uint32_t ticket = parked.fetch_or(1) | 1;
  append(appender.get(), message(0, 1, 16));
  parked.fetch_or(1);
  EXPECT_EQ(futex_wait(&parked, ticket, kSecond), WaitResult::kWoken);
  EXPECT_EQ(futex_wait(&parked, parked, 1'000'000), WaitResult::kTimedOut);
}

TEST(LogWaiter, wakes_all_of_several_sleepers_each_time) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(0, 1, 16));
  constexpr uint64_t kRounds = 1500;
  constexpr size_t kSleepers = 3;
  std::atomic<uint64_t> seen[kSleepers] = {};
  std::atomic<uint64_t> slow{0};
  std::vector<std::thread> threads;
  for (size_t who = 0; who < kSleepers; ++who) {
    threads.emplace_back([&, who] {
      Reader reader(log, MappedFile::Access::kReadWrite);
      EXPECT_TRUE(reader.seek_earliest().ok());
      Waiter waiter(log);
      std::vector<Message> messages;
      while (messages.size() < kRounds) {
        if (!waiter.wait(reader.segment(), reader.position(), 10 * kSecond)) break;
        read_on(&reader, &messages);
        seen[who] = messages.size();
      }
      EXPECT_EQ(messages.size(), kRounds);
    });
  }
  for (uint64_t i = 2; i <= kRounds; ++i) {
    const uint64_t before = monotonic_ns();
    while (seen[0] < i - 1 || seen[1] < i - 1 || seen[2] < i - 1) {
      if (monotonic_ns() - before > 20 * kSecond) break;
      std::this_thread::yield();
    }
    if (monotonic_ns() - before > 150'000'000) ++slow;
    append(appender.get(), message(0, i, 16));
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(slow, 2u) << "wake-ups were lost";
}

TEST(LogWaiter, gives_up_at_its_time_and_when_cancelled) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  Waiter waiter(log);
  EXPECT_FALSE(waiter.wait(reader.segment(), reader.position(), 1'000'000));
  std::thread canceller([&] {
    sleep_ms(30);
    waiter.cancel();
  });
  EXPECT_FALSE(waiter.wait(reader.segment(), reader.position(), 100 * kSecond));
  canceller.join();
}

TEST(LogWaiter, gets_a_sleeper_past_a_dead_publishers_claim_within_a_second) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  segment->word(kSegmentHeaderBytes + 40).store(make_claim_word({99, 1, 40}));
  append(appender.get(), message(1, 3, 8));
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_sequence(2).ok());
  Waiter waiter(log);
  const uint64_t before = monotonic_ns();
  EXPECT_TRUE(waiter.wait(reader.segment(), reader.position(), 5 * kSecond));
  EXPECT_LT(monotonic_ns() - before, kSecond);
  std::vector<Message> messages;
  read_on(&reader, &messages);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].sequence, 3u);
}

TEST(LogWaiter, looks_up_at_the_same_moments_whenever_it_has_parked) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_latest().ok());
  // A thousand that have parked one after the other, within a second: each has the thread look up at one of a few moments, not of a thousand.
  std::set<uint64_t> moments;
  for (uint64_t n = 0; n < 1000; ++n) {
    LogSleeper sleeper(log, reader.segment(), reader.position(), 3600 * kSecond, nullptr);
    const uint64_t now = monotonic_ns() + n * kSecond / 1000;
    ASSERT_FALSE(sleeper.is_over(now));
    const Nap nap = sleeper.lie_down(now);
    EXPECT_GE(nap.until_ns, now + kSecond / 10);
    EXPECT_LE(nap.until_ns, now + 3 * kSecond / 10);
    moments.insert(nap.until_ns);
  }
  EXPECT_LE(moments.size(), 8u);
}

TEST(LogWaiter, has_the_control_file_looked_at_a_thousand_times_per_second_at_most) {
  for (const uint64_t sleepers : {1, 100, 1000, 10'000, 100'000}) {
    EXPECT_LE(sleepers * kSecond / control_look_ns(sleepers), 1000u) << sleepers;
  }
  // Few of them have it looked at as often as they look up.
  EXPECT_EQ(control_look_ns(1), kSecond / 5);
}

}  // namespace
}  // namespace hermes
