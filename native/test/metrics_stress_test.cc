// Publishers and subscribers that come, count and go while others read: what is read only rises, and comes to what was counted.

#include <thread>

#include "metrics_fixture.h"

namespace hermes {
namespace {

using namespace test;

TEST(MetricsStress, totals_only_rise_and_end_at_what_was_counted) {
  constexpr int kWriters = 3;
  constexpr uint64_t kRounds = 60;
  constexpr uint64_t kPerRound = 400;
  const MetricsPlace place;
  open_metrics(place);
  std::atomic<int> at_work{kWriters};
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&] {
      const auto metrics = open_metrics(place);
      for (uint64_t round = 0; round < kRounds; ++round) {
        const auto publisher = publisher_cell(*metrics, "t");
        const auto subscriber = subscriber_cell(*metrics, "t");
        for (uint64_t i = 1; i <= kPerRound; ++i) {
          // As an appender does.
          PublisherRecord& record = publisher->narrow()->records[i & 1];
          record.bytes.store(i * 10, std::memory_order_relaxed);
          record.place.store(0, std::memory_order_relaxed);
          record.messages.store(i, std::memory_order_release);
          count_up(subscriber->wide()->counters[kSubMessages]);
          count_up(subscriber->wide()->histogram[bucket_of(i)]);
        }
      }
      at_work.fetch_sub(1);
    });
  }
  const auto metrics = open_metrics(place);
  uint64_t published = 0;
  uint64_t received = 0;
  const auto look = [&] {
    const SeriesReport series = series_of(read_metrics(*metrics), "t");
    ASSERT_GE(series.publishers[kPubMessages], published) << "a cell was lost, or the fold before was counted twice";
    ASSERT_GE(series.counters[kSubMessages], received);
    published = series.publishers[kPubMessages];
    received = series.counters[kSubMessages];
    ASSERT_LE(published, kWriters * kRounds * kPerRound);
    ASSERT_EQ(series.publishers[kPubBytes] % 10, 0u);
  };
  while (at_work.load() > 0) {
    look();
    if (::testing::Test::HasFatalFailure()) break;
  }
  for (std::thread& thread : threads) thread.join();
  look();
  EXPECT_EQ(published, kWriters * kRounds * kPerRound);
  EXPECT_EQ(received, kWriters * kRounds * kPerRound);
}

// (ThreadSanitizer knows no threads after a fork: the name keeps it out of that suite)
TEST(MetricsKills, processes_that_are_killed_at_any_time_leave_what_they_had_published) {
  const MetricsPlace place;
  in_child([&] {
    open_metrics(place);
    open_appender(open_log(place.topic("t")));
  });
  uint64_t state = 0x9E3779B97F4A7C15;
  // HERMES_METRICS_KILLS=1000: a campaign.
  const char* const wanted = std::getenv("HERMES_METRICS_KILLS");
  const int kills = wanted != nullptr ? std::atoi(wanted) : 40;
  for (int round = 0; round < kills; ++round) {
    Child victim([&] {
      const auto metrics = open_metrics(place);
      const auto cell = publisher_cell(*metrics, "t");
      const auto appender = open_appender(open_log(place.topic("t")));
      appender->count_in(cell->narrow());
      const auto payload = message(1, 1, 8);
      for (;;) (void)appender->append(payload.data(), 8);
    });
    state = state * 6364136223846793005 + 1442695040888963407;
    const uint64_t us = state >> 40 & 0x3FFF;
    const timespec pause = {0, static_cast<long>(us * 1000)};
    ::nanosleep(&pause, nullptr);
    victim.signal(SIGKILL);
    ASSERT_EQ(victim.wait(), 128 + SIGKILL);
  }
  in_child([&] {
    const auto metrics = open_metrics(place);
    const uint64_t counted = messages_of(*metrics, "t");
    EXPECT_EQ(counted, truth_of(place.topic("t")).messages);
    EXPECT_GT(counted, 0u);
  });
}

}  // namespace
}  // namespace hermes
