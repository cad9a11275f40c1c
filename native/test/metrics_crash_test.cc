// Processes are killed in the middle of counting, of taking a cell, and of folding; the totals stay those of the log.

#include <algorithm>

#include "metrics_fixture.h"

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

void publish(const MetricsPlace& place, uint64_t who, uint64_t count) {
  const auto metrics = open_metrics(place);
  const auto cell = publisher_cell(*metrics, "t");
  const auto reader = subscriber_cell(*metrics, "t");
  const auto appender = open_appender(open_log(place.topic("t")));
  appender->count_in(cell->narrow());
  for (uint64_t i = 1; i <= count;) {
    if (i % 4 == 0) {
      const auto batch = batch_of({message(who, i, 100), message(who, i + 1, 16), message(who, i + 2, 300)});
      ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 3), Code::kOk);
      i += 3;
    } else {
      append(appender.get(), message(who, i, i % 300));
      ++i;
    }
    count_up(reader->wide()->counters[kSubMessages]);
  }
  ASSERT_TRUE(appender->close().ok());
  appender->count_in(nullptr);
}

void expect_true_totals(const MetricsPlace& place) {
  const auto metrics = open_metrics(place);
  // Before the claims of the dead are void, and after.
  for (int look = 0; look < 2; ++look) {
    const SeriesReport series = series_of(read_metrics(*metrics), "t");
    const Truth truth = truth_of(place.topic("t"));
    EXPECT_EQ(series.publishers[kPubMessages], truth.messages);
    EXPECT_EQ(series.publishers[kPubBytes], truth.bytes);
  }
}

class MetricsCrash : public ::testing::TestWithParam<Point> {};

TEST_P(MetricsCrash, leaves_totals_that_are_those_of_the_log) {
  const MetricsPlace place;
  in_child([&] { publish(place, 0, 100); });
  Child victim([&] {
    ::setenv("HERMES_CRASH", (std::string(GetParam().name) + "@" + std::to_string(GetParam().passage)).c_str(), 1);
    publish(place, 1, 300);
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&] { expect_true_totals(place); });
  in_child([&] { publish(place, 2, 50); });
  in_child([&] { expect_true_totals(place); });
}

INSTANTIATE_TEST_SUITE_P(
    , MetricsCrash,
    ::testing::Values(Point{"append:claimed", 1}, Point{"append:claimed", 40}, Point{"append:counting", 1},
                      Point{"append:counting", 41}, Point{"append:filled", 1}, Point{"append:filled", 42},
                      Point{"append:committed", 1}, Point{"append:committed", 43}, Point{"batch:claimed", 5},
                      Point{"batch:filling", 7}, Point{"batch:filled", 9}, Point{"metrics:filled", 1},
                      Point{"metrics:taken", 1}, Point{"metrics:taken", 2}, Point{"metrics:left", 1},
                      Point{"metrics:left", 2}, Point{"metrics:arming", 1}, Point{"metrics:armed", 1},
                      Point{"metrics:folding", 1}, Point{"metrics:freed", 1}, Point{"metrics:arming", 2},
                      Point{"metrics:armed", 2}, Point{"metrics:folding", 2}, Point{"metrics:freed", 2}),
    label);

/// One who folds a dead publisher's cell is killed himself, and so is the one who goes on with that.
TEST(MetricsCrashTwice, folds_a_dead_publishers_cell_once) {
  for (const char* const point : {"metrics:arming", "metrics:armed", "metrics:folding", "metrics:freed"}) {
    const MetricsPlace place;
    Child first([&] {
      ::setenv("HERMES_CRASH", "append:filled@17", 1);
      publish(place, 1, 300);
    });
    ASSERT_EQ(first.wait(), 128 + SIGKILL);
    for (int round = 0; round < 2; ++round) {
      Child folder([&] {
        ::setenv("HERMES_CRASH", (std::string(point) + "@1").c_str(), 1);
        const auto metrics = open_metrics(place);
        (void)metrics->fold(1000);
        ::_exit(3);
      });
      const int code = folder.wait();
      ASSERT_TRUE(code == 128 + SIGKILL || code == 3) << point << " " << code;
    }
    in_child([&] { expect_true_totals(place); });
  }
}

}  // namespace
}  // namespace hermes
