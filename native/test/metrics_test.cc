// The metrics file: cells, totals, limits, and files that are not as they should be.

#include "core/metrics/claim_fate.h"
#include "metrics_fixture.h"

namespace hermes {
namespace {

using namespace test;

TEST(MetricsHistogram, has_eight_steps_in_each_octave_and_no_gap) {
  uint32_t last = 0;
  for (uint64_t us = 1; us < uint64_t{1} << 27; us += 1 + us / 1000) {
    const uint32_t bucket = bucket_of(us);
    ASSERT_LT(bucket, kBucketsPerHistogram);
    ASSERT_GE(bucket, last) << us;
    last = bucket;
  }
  EXPECT_EQ(last, kBucketsPerHistogram - 1);
  for (uint32_t octave = 4; octave < kOctaves; ++octave) {
    for (uint64_t step = 0; step < 8; ++step) {
      const uint64_t low = (uint64_t{1} << octave) + (step << octave) / 8;
      EXPECT_EQ(bucket_of(low), octave * 8 + step);
      EXPECT_EQ(bucket_of(low - 1), octave * 8 + step - 1);
    }
  }
}

TEST(Metrics, of_a_publisher_are_those_of_the_log) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  const auto log = open_log(place.topic("t"));
  {
    const auto cell = publisher_cell(*metrics, "t");
    const auto appender = open_appender(log);
    appender->count_in(cell->narrow());
    for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, i % 400));
    const auto batch = batch_of({message(1, 1, 100), message(1, 2, 16), message(1, 3, 300)});
    ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 3), Code::kOk);
    EXPECT_EQ(messages_of(*metrics, "t"), 1003u);
    const MetricsReport report = read_metrics(*metrics);
    ASSERT_EQ(report.cells.size(), 1u);
    EXPECT_TRUE(report.cells[0].alive);
    EXPECT_EQ(report.cells[0].totals[kPubMessages], 1003u);
    EXPECT_EQ(report.cells[0].pid, static_cast<uint32_t>(::getpid()));
    EXPECT_EQ(report.folded, 0u);
    ASSERT_TRUE(appender->close().ok());
    appender->count_in(nullptr);
  }
  const MetricsReport report = read_metrics(*metrics);
  const Truth truth = truth_of(place.topic("t"));
  EXPECT_EQ(series_of(report, "t").publishers[kPubMessages], truth.messages);
  EXPECT_EQ(series_of(report, "t").publishers[kPubBytes], truth.bytes);
  EXPECT_TRUE(report.cells.empty());
  EXPECT_EQ(report.folded, 1u);
}

TEST(Metrics, count_refused_messages_as_failures_or_not_at_all) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  const auto cell = publisher_cell(*metrics, "t");
  const auto appender = open_appender(open_log(place.topic("t")));
  appender->count_in(cell->narrow());
  const auto large = message(1, 1, kMinSegmentBytes / 4 + 1);
  EXPECT_EQ(appender->append(large.data(), static_cast<uint32_t>(large.size())), Code::kPayloadTooLarge);
  EXPECT_EQ(messages_of(*metrics, "t"), 0u);
  append(appender.get(), message(1, 1, 10));
  EXPECT_EQ(messages_of(*metrics, "t"), 1u);
  appender->count_in(nullptr);
}

TEST(Metrics, of_all_who_come_and_go_add_up_by_topic) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  for (uint64_t round = 1; round <= 20; ++round) {
    const auto a = publisher_cell(*metrics, "a");
    const auto s = subscriber_cell(*metrics, "b");
    a->narrow()->records[round & 1].bytes = 10 * round;
    a->narrow()->records[round & 1].messages = round;
    s->wide()->counters[kSubMessages] = round;
    s->wide()->states[kSubNext] = round;
    s->wide()->histogram[7] = 1;
  }
  const MetricsReport report = read_metrics(*metrics);
  EXPECT_EQ(series_of(report, "a").publishers[kPubMessages], 210u);
  EXPECT_EQ(series_of(report, "a").publishers[kPubBytes], 2100u);
  EXPECT_EQ(series_of(report, "b").counters[kSubMessages], 210u);
  EXPECT_EQ(series_of(report, "b").histogram[7], 20u);
  EXPECT_EQ(metrics->block().narrow_used, 1u) << "cells are used again";
  EXPECT_EQ(metrics->block().wide_used, 1u);
}

TEST(Metrics, of_brokers_are_added_as_the_doubles_that_they_are) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  for (const double value : {1.0, 2.0, 1e15}) {
    std::shared_ptr<MetricsCell> cell;
    ASSERT_TRUE(metrics->take_wide(WideKind::kBroker, "", 1000, &cell).ok());
    cell->wide()->counters[3] = std::bit_cast<uint64_t>(value);
  }
  const MetricsReport report = read_metrics(*metrics);
  EXPECT_EQ(std::bit_cast<double>(report.series[kBrokerSeries].counters[3]), 1e15 + 3);
}

TEST(Metrics, of_topics_beyond_the_limit_are_counted_as_other) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  for (uint32_t i = 0; i < kMetricsSeries + 8; ++i) {
    const auto cell = publisher_cell(*metrics, "topic-" + std::to_string(i));
    cell->narrow()->records[0].messages = 1;
  }
  const MetricsReport report = read_metrics(*metrics);
  EXPECT_EQ(report.series.size(), kMetricsSeries);
  EXPECT_EQ(series_of(report, "topic-0").publishers[kPubMessages], 1u);
  EXPECT_EQ(series_of(report, "").publishers[kPubMessages], 10u);
  EXPECT_EQ(report.unnamed, 10u);
}

TEST(Metrics, say_who_gets_no_cell) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  std::vector<std::shared_ptr<MetricsCell>> cells;
  for (uint32_t i = 0; i < kWideCells; ++i) cells.push_back(subscriber_cell(*metrics, "t"));
  std::shared_ptr<MetricsCell> more;
  EXPECT_EQ(metrics->take_wide(WideKind::kSubscriber, "t", 1000, &more).code, Code::kLimit);
  EXPECT_EQ(read_metrics(*metrics).unmeasured, 1u);
  cells.pop_back();
  EXPECT_TRUE(metrics->take_wide(WideKind::kSubscriber, "t", 1000, &more).ok());
}

TEST(Metrics, of_a_process_that_was_killed_are_kept) {
  const MetricsPlace place;
  in_child([&] { open_metrics(place); });
  Child child([&] {
    const auto metrics = open_metrics(place);
    const auto cell = publisher_cell(*metrics, "t");
    const auto reader = subscriber_cell(*metrics, "t");
    const auto appender = open_appender(open_log(place.topic("t")));
    appender->count_in(cell->narrow());
    for (uint64_t i = 1; i <= 100; ++i) append(appender.get(), message(1, i, 50));
    reader->wide()->counters[kSubMessages] = 7;
    ::raise(SIGKILL);
  });
  ASSERT_EQ(child.wait(), 128 + SIGKILL);
  const auto metrics = open_metrics(place);
  const MetricsReport report = read_metrics(*metrics);
  EXPECT_EQ(series_of(report, "t").publishers[kPubMessages], 100u);
  EXPECT_EQ(series_of(report, "t").counters[kSubMessages], 7u);
  EXPECT_TRUE(report.cells.empty());
  EXPECT_EQ(report.folded, 2u);
  EXPECT_EQ(read_metrics(*metrics).folded, 2u) << "once";
}

TEST(Metrics, wait_for_no_stopped_process) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  LockFile other;
  ASSERT_TRUE(LockFile::open(place.file(), &other).ok());
  ASSERT_TRUE(other.try_lock(kBookByte, LockFile::Mode::kExclusive).ok());
  std::shared_ptr<MetricsCell> cell;
  EXPECT_EQ(metrics->take_narrow("t", 20, &cell).code, Code::kTimedOut);
  EXPECT_EQ(metrics->fold(0).code, Code::kTimedOut);
  EXPECT_EQ(read_metrics(*metrics).unmeasured, 1u) << "reading needs no lock";
}

TEST(Metrics, are_read_from_the_intent_of_one_who_was_stopped_in_a_fold) {
  const MetricsPlace place;
  const auto metrics = open_metrics(place);
  {
    const auto cell = subscriber_cell(*metrics, "t");
    cell->wide()->counters[kSubMessages] = 5;
  }
  const auto cell = subscriber_cell(*metrics, "t");
  cell->wide()->counters[kSubMessages] = 3;
  Child stopped([&] {
    const auto mine = open_metrics(place);
    LockFile lock;
    if (!LockFile::open(place.file(), &lock).ok() || !lock.try_lock(kBookByte, LockFile::Mode::kExclusive).ok())
      ::_exit(1);
    // As if in the middle of step 3: some totals are new, the cell is not free.
    MetricsBlock& b = mine->block();
    FoldIntent& intent = b.intent;
    intent.kind = 2;
    intent.cell = 0;
    intent.series = 2;
    for (auto& word : intent.totals) word = 0;
    intent.totals[kSubMessages] = 8;
    uint64_t check = 0x48524D5350415245 ^ 2 ^ uint64_t { 0 } << 8 ^ uint64_t { 2 } << 40;
    for (const auto& word : intent.totals) check = std::rotl(check, 1) ^ word;
    intent.check = check;
    intent.armed = 1;
    b.generation = 1;
    b.series[2].counters[kSubMessages] = 8;
    ::raise(SIGSTOP);
  });
  ASSERT_TRUE(eventually([&] { return metrics->block().series[2].counters[kSubMessages] == 8u; }));
  EXPECT_EQ(series_of(read_metrics(*metrics), "t").counters[kSubMessages], 8u);
  stopped.signal(SIGKILL);
  ASSERT_EQ(stopped.wait(), 128 + SIGKILL);
  EXPECT_EQ(series_of(read_metrics(*metrics), "t").counters[kSubMessages], 8u);
  EXPECT_EQ(metrics->block().generation % 2, 0u);
}

TEST(Metrics, of_a_file_that_is_none_are_refused) {
  const auto refused = [](const std::function<void(const std::string&)>& harm) {
    const MetricsPlace place;
    open_metrics(place);
    harm(place.file());
    std::shared_ptr<MetricsFile> metrics;
    return MetricsFile::open(place.path(), 0600, &metrics).code;
  };
  EXPECT_EQ(refused([](const std::string& file) { flip_bit(file, 0, 0); }), Code::kCorrupt);
  EXPECT_EQ(refused([](const std::string& file) { flip_bit(file, 33, 5); }), Code::kCorrupt);
  EXPECT_EQ(refused([](const std::string& file) { ASSERT_EQ(::truncate(file.c_str(), 4096), 0); }), Code::kCorrupt);
  EXPECT_EQ(refused([](const std::string& file) { std::filesystem::resize_file(file, 0); }), Code::kCorrupt);
  EXPECT_EQ(refused([](const std::string& file) {
              std::filesystem::remove(file);
              std::filesystem::create_directory(file);
            }),
            Code::kCorrupt);
  const uint32_t version = 2;
  EXPECT_EQ(refused([&](const std::string& file) { overwrite(file, 8, &version, 4); }), Code::kVersionMismatch);
}

TEST(Metrics, of_hostile_bytes_are_read_without_harm) {
  uint64_t state = 88172645463325252;
  for (int round = 0; round < 60; ++round) {
    const MetricsPlace place;
    const auto metrics = open_metrics(place);
    const auto cell = publisher_cell(*metrics, "t");
    const auto wide = subscriber_cell(*metrics, "u");
    auto* const bytes = reinterpret_cast<unsigned char*>(&metrics->block());
    // Whatever is in use, but for the part that is checked: header, intent, members, series and cells.
    const auto scribble = [&](uint64_t from, uint64_t to) {
      for (uint64_t at = from; at < to; ++at) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if (state % 3 == 0) bytes[at] = static_cast<unsigned char>(state >> 32);
      }
    };
    scribble(128, 280);
    scribble(offsetof(MetricsBlock, intent), offsetof(MetricsBlock, members) + 4096);
    scribble(offsetof(MetricsBlock, series), offsetof(MetricsBlock, series) + 3 * sizeof(SeriesEntry));
    scribble(offsetof(MetricsBlock, wide), offsetof(MetricsBlock, wide) + sizeof(WideCell));
    scribble(offsetof(MetricsBlock, narrow), offsetof(MetricsBlock, narrow) + sizeof(NarrowCell));
    if (round % 2 == 1) metrics->block().intent.armed = 1;
    if (round % 3 == 1) metrics->block().narrow[0].head.series = 2;
    MetricsReport report;
    const Status status = metrics->read(&report);
    EXPECT_TRUE(status.ok() || status.code == Code::kCorrupt) << status.context;
    for (const SeriesReport& series : report.series) EXPECT_LE(series.name.size(), 128u);
    std::shared_ptr<MetricsCell> more;
    (void)metrics->take_narrow("v", 100, &more);
  }
}

TEST(ClaimFate, looks_within_the_file_only) {
  const MetricsPlace place;
  const std::string folder = place.topic("t");
  {
    const auto appender = open_appender(open_log(folder));
    append(appender.get(), message(1, 1, 10));
  }
  ClaimFate fate;
  ASSERT_TRUE(fate_of_claim(folder, claim_note(1, kSegmentHeaderBytes), &fate).ok());
  EXPECT_EQ(fate, ClaimFate::kCommitted);
  ASSERT_TRUE(fate_of_claim(folder, claim_note(1, kSegmentHeaderBytes + 4096), &fate).ok());
  EXPECT_EQ(fate, ClaimFate::kVoid) << "nothing stands there";
  ASSERT_TRUE(fate_of_claim(folder, claim_note(1, kMinSegmentBytes - 8), &fate).ok());
  ASSERT_TRUE(fate_of_claim(folder, ~uint64_t{0}, &fate).ok());
  ASSERT_TRUE(fate_of_claim(folder, claim_note(7, kSegmentHeaderBytes), &fate).ok());
  EXPECT_EQ(fate, ClaimFate::kCommitted) << "the segment is gone";
}

}  // namespace
}  // namespace hermes
