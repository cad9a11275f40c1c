// Rings between two pinned threads, beside boost::lockfree::spsc_queue where that is installed.
//
// Trials of the peers alternate (A B A B …), so that a slow moment of the machine hits both, and
// the ratio is taken of medians. Run it on a quiet machine: with a third busy thread on two cores
// the figures mean nothing.
//   HERMES_RING_TRIALS   trials of each peer (default 7)
//   HERMES_RING_ITEMS    items of a throughput trial (default 20,000,000)

#include <benchmark/benchmark.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/platform/clock.h"
#include "core/platform/pause.h"
#include "core/ring/mpmc_ring.h"
#include "core/ring/ring_memory.h"
#include "core/ring/spsc_byte_ring.h"
#include "core/ring/spsc_ring.h"

#if __has_include(<boost/lockfree/spsc_queue.hpp>)
#include <boost/lockfree/spsc_queue.hpp>
#define HERMES_HAVE_BOOST 1
#else
#define HERMES_HAVE_BOOST 0
#endif

namespace hermes {
namespace {

constexpr uint32_t kCapacity = 65536;
constexpr size_t kBatch = 256;

uint64_t setting(const char* name, uint64_t usual) {
  const char* text = std::getenv(name);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  (void)sched_setaffinity(0, sizeof set, &set);
}

struct HermesPeer {
  HeapRing<SpscRing<int>> ring;
  HermesPeer() {
    if (ring.create(kCapacity) != RingStatus::kOk) std::abort();
  }
  bool push(int item) { return ring->try_push(item) == RingOp::kOk; }
  bool pop(int* item) { return ring->try_pop(item) == RingOp::kOk; }
  size_t push(const int* items, size_t n) { return ring->try_push_n(items, n); }
  size_t pop(int* items, size_t n) { return ring->try_pop_n(items, n); }
};

struct MpmcPeer {
  HeapRing<MpmcRing<int>> ring;
  MpmcRing<int> producer, consumer;
  MpmcPeer() {
    if (ring.create(kCapacity) != RingStatus::kOk) std::abort();
    producer = consumer = *ring;
    if (producer.join() != RingStatus::kOk || consumer.join() != RingStatus::kOk) std::abort();
  }
  bool push(int item) { return producer.try_push(item) == RingOp::kOk; }
  bool pop(int* item) { return consumer.try_pop(item) == RingOp::kOk; }
};

#if HERMES_HAVE_BOOST
struct BoostPeer {
  // boost adds the one slot that it keeps free, so the usable capacities are equal.
  boost::lockfree::spsc_queue<int> ring{kCapacity};
  bool push(int item) { return ring.push(item); }
  bool pop(int* item) { return ring.pop(*item); }
  size_t push(const int* items, size_t n) { return ring.push(items, n); }
  size_t pop(int* items, size_t n) { return ring.pop(items, n); }
};
#endif

// Runs `produce` on core 0 and `consume` on core 1 and returns nanoseconds from start to the end of
// both.
template <class Produce, class Consume>
uint64_t race(Produce produce, Consume consume) {
  std::atomic<int> ready{0};
  std::thread other([&] {
    pin(1);
    ready.fetch_add(1);
    while (ready.load() != 2) cpu_pause();
    consume();
  });
  pin(0);
  while (ready.load() != 1) cpu_pause();
  const uint64_t begin = monotonic_ns();
  ready.fetch_add(1);
  produce();
  other.join();
  return monotonic_ns() - begin;
}

template <class Peer>
double singles(uint64_t items) {
  Peer peer;
  int64_t sum = 0;
  const uint64_t ns = race(
      [&] {
        for (uint64_t i = 0; i < items; ++i) {
          while (!peer.push(static_cast<int>(i))) cpu_pause();
        }
      },
      [&] {
        int item;
        for (uint64_t i = 0; i < items; ++i) {
          while (!peer.pop(&item)) cpu_pause();
          sum += item;
        }
      });
  benchmark::DoNotOptimize(sum);
  return double(items) * 1e3 / double(ns);
}

template <class Peer>
double batches(uint64_t items) {
  Peer peer;
  int64_t sum = 0;
  items -= items % kBatch;
  const uint64_t ns = race(
      [&] {
        int batch[kBatch];
        for (uint64_t i = 0; i < items; i += kBatch) {
          for (size_t k = 0; k < kBatch; ++k) batch[k] = static_cast<int>(i + k);
          for (size_t done = 0; done < kBatch;) done += peer.push(batch + done, kBatch - done);
        }
      },
      [&] {
        int batch[kBatch];
        for (uint64_t i = 0; i < items;) {
          const size_t n = peer.pop(batch, kBatch);
          for (size_t k = 0; k < n; ++k) sum += batch[k];
          i += n;
        }
      });
  benchmark::DoNotOptimize(sum);
  return double(items) * 1e3 / double(ns);
}

// Fills slots and reads items where they lie, without a copy on either side.
double batches_in_place(uint64_t items) {
  HermesPeer peer;
  int64_t sum = 0;
  const uint64_t ns = race(
      [&] {
        for (uint64_t i = 0; i < items;) {
          const auto slots = peer.ring->reserve_n(std::min<uint64_t>(kBatch, items - i));
          for (int& slot : slots) slot = static_cast<int>(i++);
          peer.ring->publish_n(slots.size());
        }
      },
      [&] {
        for (uint64_t i = 0; i < items;) {
          const auto got = peer.ring->front_n(kBatch);
          for (const int item : got) sum += item;
          peer.ring->pop_n(got.size());
          i += got.size();
        }
      });
  benchmark::DoNotOptimize(sum);
  return double(items) * 1e3 / double(ns);
}

template <class Peer>
double round_trip_ns(uint64_t rounds) {
  Peer there, back;
  const uint64_t ns = race(
      [&] {
        int item;
        for (uint64_t i = 0; i < rounds; ++i) {
          while (!there.push(static_cast<int>(i))) {
          }
          while (!back.pop(&item)) {
          }
        }
      },
      [&] {
        int item;
        for (uint64_t i = 0; i < rounds; ++i) {
          while (!there.pop(&item)) {
          }
          while (!back.push(item)) {
          }
        }
      });
  return double(ns) / double(rounds);
}

double frames(uint64_t count) {
  HeapRing<SpscByteRing> ring;
  if (ring.create(1 << 20) != RingStatus::kOk) std::abort();
  uint64_t sum = 0;
  const uint64_t ns = race(
      [&] {
        char payload[64] = {};
        for (uint64_t i = 0; i < count; ++i) {
          while (ring->try_push(payload, sizeof payload) != RingOp::kOk) cpu_pause();
        }
      },
      [&] {
        for (uint64_t i = 0; i < count;) {
          size_t n;
          (void)ring->poll([&](const SpscByteRing::Frame& frame) { sum += frame.length; }, 256, &n);
          i += n;
        }
      });
  benchmark::DoNotOptimize(sum);
  return double(count) * 1e3 / double(ns);
}

struct Series {
  std::string name;
  std::function<double()> trial;
  std::vector<double> results;

  double median() {
    std::sort(results.begin(), results.end());
    return results[results.size() / 2];
  }
};

// Trials of all series in turn, then one counter per series and the ratios to the last one.
void compare(benchmark::State& state, std::vector<Series> series) {
  const uint64_t trials = setting("HERMES_RING_TRIALS", 7);
  for (auto _ : state) {
    for (uint64_t i = 0; i < trials; ++i) {
      for (Series& one : series) one.results.push_back(one.trial());
    }
  }
  const double reference = series.back().median();
  for (Series& one : series) {
    state.counters[one.name] = one.median();
    if (&one != &series.back()) {
      state.counters[one.name + "/" + series.back().name] = one.median() / reference;
    }
  }
}

void Singles(benchmark::State& state) {
  const uint64_t items = setting("HERMES_RING_ITEMS", 20'000'000);
  std::vector<Series> series = {{"spsc", [=] { return singles<HermesPeer>(items); }, {}},
                                {"mpmc", [=] { return singles<MpmcPeer>(items / 4); }, {}}};
#if HERMES_HAVE_BOOST
  series.push_back({"boost", [=] { return singles<BoostPeer>(items); }, {}});
#endif
  compare(state, std::move(series));
  state.SetLabel("million items/s, medians");
}

void Batches(benchmark::State& state) {
  const uint64_t items = setting("HERMES_RING_ITEMS", 20'000'000) * 4;
  std::vector<Series> series = {{"spsc_256", [=] { return batches<HermesPeer>(items); }, {}},
                                {"spsc_256_in_place", [=] { return batches_in_place(items); }, {}}};
#if HERMES_HAVE_BOOST
  series.push_back({"boost_256", [=] { return batches<BoostPeer>(items); }, {}});
  series.push_back({"boost", [=] { return singles<BoostPeer>(items / 4); }, {}});
#endif
  compare(state, std::move(series));
  state.SetLabel("million items/s, medians");
}

void RoundTrip(benchmark::State& state) {
  const uint64_t rounds = setting("HERMES_RING_ITEMS", 20'000'000) / 20;
  std::vector<Series> series = {{"spsc", [=] { return round_trip_ns<HermesPeer>(rounds); }, {}}};
#if HERMES_HAVE_BOOST
  series.push_back({"boost", [=] { return round_trip_ns<BoostPeer>(rounds); }, {}});
#endif
  compare(state, std::move(series));
  state.SetLabel("ns, medians of means");
}

void Frames(benchmark::State& state) {
  const uint64_t count = setting("HERMES_RING_ITEMS", 20'000'000) / 2;
  compare(state, {{"bytes_64", [=] { return frames(count); }, {}}});
  state.SetLabel("million frames/s, medians");
}

BENCHMARK(Singles)->Name("ring/singles")->Iterations(1)->Unit(benchmark::kSecond);
BENCHMARK(Batches)->Name("ring/batches")->Iterations(1)->Unit(benchmark::kSecond);
BENCHMARK(RoundTrip)->Name("ring/round_trip")->Iterations(1)->Unit(benchmark::kSecond);
BENCHMARK(Frames)->Name("ring/frames")->Iterations(1)->Unit(benchmark::kSecond);

}  // namespace
}  // namespace hermes
