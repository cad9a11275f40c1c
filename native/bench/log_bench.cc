// Appending to and scanning a log on the file system of $HERMES_BENCH_DIR (default: the temporary folder), durability "written".
//
// bare/<bytes>               header, copy and CRC into plain memory that wraps at 1 MiB: what an append can't be faster than.
// clock                      the timestamp.
// append/<shared>/<bytes>    one message; 100 MiB segments, two of which retention keeps.
// append_batch/<bytes>       256 messages per claim. Time per message.
// scan/<verify>/<bytes>      reading committed frames. Time per message.
// rotation/<shared>          64-byte messages over 10 and more segments of 16 MiB as fast as one publisher can; each append timed by
//                            the time-stamp counter; percentiles in ns, `max_ns`, and how many rotations there were.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/log/appender.h"
#include "core/log/reader.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// A topic in a folder of its own.
struct Topic {
  explicit Topic(uint64_t segment_bytes) {
    const char* const parent = std::getenv("HERMES_BENCH_DIR");
    folder = (parent != nullptr ? std::string(parent) : std::filesystem::temp_directory_path().string()) +
             "/hermes-bench-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return;
    TopicSettings settings;
    settings.segment_bytes = segment_bytes;
    if (!Log::open(folder, &settings, {}, &log).ok()) return;
    store_retention(log->control(), {2 * segment_bytes, 0});
  }
  ~Topic() {
    log.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::unique_ptr<Appender> appender(bool exclusive) const {
    std::unique_ptr<Appender> made;
    Appender::Options options;
    options.exclusive = exclusive;
    if (log != nullptr) (void)Appender::open(log, options, &made, nullptr);
    return made;
  }
  std::string folder;
  std::shared_ptr<Log> log;
};

void bare(benchmark::State& state) {
  const auto length = static_cast<uint32_t>(state.range(0));
  const std::vector<std::byte> payload(length, std::byte{7});
  constexpr size_t kBytes = 1 << 20;
  std::vector<std::byte> memory(kBytes + 4096);
  size_t at = 0;
  FrameFields fields;
  fields.payload_len = length;
  for (auto _ : state) {
    std::byte* const frame = memory.data() + at;
    ++fields.sequence;
    fields.timestamp_ns += 17;
    const uint64_t word = stamp(*reinterpret_cast<FrameHeader*>(frame), fields, payload.data());
    std::memcpy(frame + kFrameHeaderBytes, payload.data(), length);
    std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).store(word, std::memory_order_release);
    at += frame_span(length);
    if (at > kBytes) at = 0;
  }
}
BENCHMARK(bare)->Arg(64)->Arg(1024);

void clock_reading(benchmark::State& state) {
  FastClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(clock.now_ns());
}
BENCHMARK(clock_reading)->Name("clock");

void append(benchmark::State& state) {
  const Topic topic(kDefaultSegmentBytes);
  const auto appender = topic.appender(state.range(0) == 0);
  if (appender == nullptr) return state.SkipWithError("no topic");
  const auto length = static_cast<uint32_t>(state.range(1));
  const std::vector<std::byte> payload(length, std::byte{7});
  for (auto _ : state) {
    if (appender->append(payload.data(), length) != Code::kOk)
      return state.SkipWithError(appender->last_error().context.c_str());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append)
    ->ArgNames({"shared", "bytes"})
    ->Args({1, 64})
    ->Args({0, 64})
    ->Args({1, 16})
    ->Args({1, 256})
    ->Args({1, 1024});

void append_batch(benchmark::State& state) {
  constexpr uint32_t kCount = 256;
  const Topic topic(kDefaultSegmentBytes);
  const auto appender = topic.appender(false);
  if (appender == nullptr) return state.SkipWithError("no topic");
  const auto length = static_cast<uint32_t>(state.range(0));
  std::vector<std::byte> batch(frame_span(length) * kCount);
  for (uint32_t i = 0; i < kCount; ++i) {
    std::memcpy(batch.data() + i * frame_span(length) + offsetof(FrameHeader, payload_len), &length, sizeof length);
  }
  while (state.KeepRunningBatch(kCount)) {
    if (appender->append_batch(batch.data(), batch.size(), kCount) != Code::kOk) {
      return state.SkipWithError(appender->last_error().context.c_str());
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append_batch)->Arg(64)->Arg(1024);

void scan_messages(benchmark::State& state) {
  const Topic topic(kDefaultSegmentBytes);
  const auto appender = topic.appender(false);
  if (appender == nullptr) return state.SkipWithError("no topic");
  const auto length = static_cast<uint32_t>(state.range(1));
  const std::vector<std::byte> payload(length, std::byte{7});
  constexpr uint32_t kCount = 4096;
  for (uint32_t i = 0; i < kCount; ++i) (void)appender->append(payload.data(), length);
  Reader reader(topic.log, MappedFile::Access::kRead);
  if (!reader.seek_earliest().ok()) return state.SkipWithError("nothing to read");
  while (state.KeepRunningBatch(kCount)) {
    const Scan found = scan(*reader.segment(), kSegmentHeaderBytes, 1, kCount, kDefaultMaxPayload, state.range(0) != 0);
    if (found.messages != kCount) return state.SkipWithError("damage");
    benchmark::DoNotOptimize(found.end);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(scan_messages)->Name("scan")->ArgNames({"verify", "bytes"})->Args({1, 64})->Args({0, 64})->Args({1, 1024});

void rotation(benchmark::State& state) {
  constexpr uint64_t kSegment = uint64_t{16} << 20;
  constexpr size_t kMessages = 2'000'000;
  std::vector<std::byte> payload(64, std::byte{7});
  std::vector<uint32_t> nanoseconds(kMessages);
  uint64_t rotations = 0;
  FastClock clock;
  for (auto _ : state) {
    const Topic topic(kSegment);
    const auto appender = topic.appender(state.range(0) == 0);
    if (appender == nullptr) return state.SkipWithError("no topic");
    uint64_t before = clock.now_ns();
    for (uint32_t& took : nanoseconds) {
      if (appender->append(payload.data(), 64) != Code::kOk)
        return state.SkipWithError(appender->last_error().context.c_str());
      const uint64_t now = clock.now_ns();
      took = now > before ? static_cast<uint32_t>(std::min<uint64_t>(now - before, ~uint32_t{0})) : 0;
      before = std::max(now, before);
    }
    rotations = topic.log->active() - 1;
  }
  std::sort(nanoseconds.begin(), nanoseconds.end());
  const auto percentile = [&](double p) {
    return static_cast<double>(nanoseconds[static_cast<size_t>(p * (kMessages - 1))]);
  };
  state.counters["p50_ns"] = percentile(0.5);
  state.counters["p99_ns"] = percentile(0.99);
  state.counters["p99.9_ns"] = percentile(0.999);
  state.counters["p99.99_ns"] = percentile(0.9999);
  state.counters["max_ns"] = percentile(1);
  state.counters["rotations"] = static_cast<double>(rotations);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kMessages));
}
BENCHMARK(rotation)->ArgName("shared")->Arg(1)->Arg(0)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace hermes
