// Rings under real contention: between threads (also the subject of ThreadSanitizer runs) and
// between processes. HERMES_RING_ITEMS changes the number of items, for a soak:
// HERMES_RING_ITEMS=1000000000 --gtest_filter='RingStress.Soak*'.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/ring/idle.h"
#include "core/ring/mpmc_ring.h"
#include "core/ring/ring_memory.h"
#include "core/ring/spsc_byte_ring.h"
#include "core/ring/spsc_ring.h"

namespace hermes {
namespace {

uint64_t items(uint64_t usual) {
  const char* wanted = std::getenv("HERMES_RING_ITEMS");
  return wanted == nullptr ? usual : std::strtoull(wanted, nullptr, 10);
}

// A value that depends on all of its bits and is cheap to make (splitmix64).
uint64_t scramble(uint64_t i) {
  i += 0x9E3779B97F4A7C15ull;
  i = (i ^ (i >> 30)) * 0xBF58476D1CE4E5B9ull;
  i = (i ^ (i >> 27)) * 0x94D049BB133111EBull;
  return i ^ (i >> 31);
}

struct Item {
  uint64_t number;
  uint64_t check;
};

uint64_t fold(uint64_t sum, const Item& item) { return (sum ^ item.check) * 0x100000001B3ull + item.number; }

// Spins first and then lets others run: these tests share two cores with whatever else the machine
// does.
struct PoliteIdle {
  uint32_t round = 0;
  bool wait(const RingEventcount&) noexcept {
    if (++round % 64 == 0) {
      std::this_thread::yield();
    } else {
      cpu_pause();
    }
    return true;
  }
  void reset() noexcept {}
};

void produce(SpscRing<Item> ring, uint64_t count) {
  PoliteIdle idle;
  for (uint64_t i = 0; i < count; ++i) {
    if (ring.push({i, scramble(i)}, idle) != RingOp::kOk) std::abort();
  }
  ring.close(RingRole::kProducer);
}

struct Drained {
  uint64_t count = 0;
  uint64_t sum = 0;
  bool in_order = true;
};

Drained drain(SpscRing<Item> ring) {
  PoliteIdle idle;
  Drained result;
  Item item;
  while (ring.pop_wait(&item, idle) == RingOp::kOk) {
    result.in_order &= item.number == result.count && item.check == scramble(item.number);
    result.sum = fold(result.sum, item);
    ++result.count;
  }
  return result;
}

uint64_t expected_sum(uint64_t count) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; ++i) sum = fold(sum, {i, scramble(i)});
  return sum;
}

TEST(RingStress, SpscBetweenThreadsKeepsContentAndOrderAcrossTheEdge) {
  for (uint32_t capacity : {2u, 64u, 4096u}) {
    HeapRing<SpscRing<Item>> ring;
    ASSERT_EQ(ring.create(capacity, {.start_index = 0xFFFFFF00}), RingStatus::kOk);
    ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
    const uint64_t count = items(200'000);
    std::thread producer(produce, *ring, count);
    const Drained got = drain(*ring);
    producer.join();
    EXPECT_EQ(got.count, count);
    EXPECT_TRUE(got.in_order);
    EXPECT_EQ(got.sum, expected_sum(count));
  }
}

TEST(RingStress, SpscBatchesOfChangingSizeKeepOrder) {
  HeapRing<SpscRing<uint64_t>> ring;
  ASSERT_EQ(ring.create(512, {.start_index = 0xFFFFFF00}), RingStatus::kOk);
  const uint64_t count = items(500'000);
  std::thread producer([&ring, count] {
    PoliteIdle idle;
    std::vector<uint64_t> batch(300);
    uint64_t next = 0;
    while (next < count) {
      const uint64_t n = std::min<uint64_t>(1 + scramble(next) % 300, count - next);
      for (uint64_t i = 0; i < n; ++i) batch[i] = scramble(next + i);
      size_t done;
      if (ring->push_n(batch.data(), n, idle, &done) != RingOp::kOk) std::abort();
      next += n;
    }
  });
  std::vector<uint64_t> batch(300);
  uint64_t seen = 0;
  bool right = true;
  while (seen < count) {
    const size_t n = ring->try_pop_n(batch.data(), 1 + seen % 300);
    for (size_t i = 0; i < n; ++i) right &= batch[i] == scramble(seen + i);
    seen += n;
    if (n == 0) std::this_thread::yield();
  }
  producer.join();
  EXPECT_TRUE(right);
}

TEST(RingStress, BytesBetweenThreadsKeepContentOrderAndLengths) {
  HeapRing<SpscByteRing> ring;
  ASSERT_EQ(ring.create(1024, {.start_index = 0xFFFFF000}), RingStatus::kOk);
  ASSERT_EQ(ring->claim_role(RingRole::kProducer), RingStatus::kOk);
  const uint64_t count = items(200'000);
  std::thread producer([view = *ring, count]() mutable {
    PoliteIdle idle;
    std::byte bytes[512];
    for (uint64_t i = 0; i < count; ++i) {
      const auto length = static_cast<uint32_t>(scramble(i) % 505);
      std::memset(bytes, static_cast<int>(i & 0xFF), length);
      if (view.push(bytes, length, static_cast<uint32_t>(i), idle) != RingOp::kOk) std::abort();
    }
    view.close(RingRole::kProducer);
  });
  uint64_t seen = 0;
  bool right = true;
  for (;;) {
    size_t done;
    const RingOp op = ring->poll(
        [&](const SpscByteRing::Frame& frame) {
          right &= frame.label == static_cast<uint32_t>(seen) && frame.length == scramble(seen) % 505;
          for (uint32_t i = 0; i < frame.length; ++i) {
            right &= static_cast<uint8_t>(frame.data[i]) == (seen & 0xFF);
          }
          ++seen;
        },
        64, &done);
    if (op == RingOp::kClosed) break;
    ASSERT_TRUE(op == RingOp::kOk || op == RingOp::kEmpty);
    if (op == RingOp::kEmpty) std::this_thread::yield();
  }
  producer.join();
  EXPECT_EQ(seen, count);
  EXPECT_TRUE(right);
}

TEST(RingStress, MpmcDeliversEveryItemOnceAndEachProducersInOrder) {
  constexpr int kProducers = 3, kConsumers = 3;
  for (uint32_t capacity : {2u, 256u}) {
    HeapRing<MpmcRing<Item>> ring;
    ASSERT_EQ(ring.create(capacity, {.start_index = 0xFFFFFF00}), RingStatus::kOk);
    const uint64_t count = items(40'000);
    std::vector<std::thread> threads;
    std::atomic<int> producing{kProducers};
    for (int p = 0; p < kProducers; ++p) {
      threads.emplace_back([view = *ring, p, count, &producing]() mutable {
        if (view.join() != RingStatus::kOk) std::abort();
        PoliteIdle idle;
        for (uint64_t i = 0; i < count; ++i) {
          if (view.push({uint64_t(p), i}, idle) != RingOp::kOk) std::abort();
        }
        if (producing.fetch_sub(1) == 1) {
          while (view.try_end() != RingOp::kOk) std::this_thread::yield();
        }
        view.close();
      });
    }
    std::vector<std::vector<Item>> got(kConsumers);
    for (int c = 0; c < kConsumers; ++c) {
      threads.emplace_back([view = *ring, &mine = got[c]]() mutable {
        if (view.join() != RingStatus::kOk) std::abort();
        PoliteIdle idle;
        Item item;
        while (view.pop_wait(&item, idle) == RingOp::kOk) mine.push_back(item);
        view.close();
      });
    }
    for (auto& thread : threads) thread.join();
    std::vector<std::vector<bool>> seen(kProducers, std::vector<bool>(count));
    uint64_t total = 0;
    for (const auto& mine : got) {
      std::vector<int64_t> last(kProducers, -1);
      for (const Item& item : mine) {
        ASSERT_LT(item.number, uint64_t(kProducers));
        ASSERT_FALSE(seen[item.number][item.check]) << "twice";
        seen[item.number][item.check] = true;
        ASSERT_GT(int64_t(item.check), last[item.number]) << "out of order";
        last[item.number] = int64_t(item.check);
        ++total;
      }
    }
    EXPECT_EQ(total, count * kProducers);
  }
}

TEST(RingStress, ParkingLosesNoWakeUp) {
  HeapRing<SpscRing<uint64_t>> ring;
  ASSERT_EQ(ring.create(4, {.parking = true}), RingStatus::kOk);
  const uint64_t count = items(20'000);
  // Sleeps of an hour: a lost wake-up would hang the test.
  std::thread producer([view = *ring, count]() mutable {
    ParkIdle idle(3, 3'600'000'000'000);
    for (uint64_t i = 0; i < count; ++i) {
      if (view.push(i, idle) != RingOp::kOk) std::abort();
    }
  });
  ParkIdle idle(3, 3'600'000'000'000);
  bool right = true;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t item = 0;
    if (ring->pop_wait(&item, idle) != RingOp::kOk) std::abort();
    right &= item == i;
  }
  producer.join();
  EXPECT_TRUE(right);
}

TEST(RingStress, SoakBetweenTwoProcessesKeepsContentAndOrder) {
  const uint64_t bytes = SpscRing<Item>::required_bytes(8192);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  SpscRing<Item> ring;
  ASSERT_EQ(SpscRing<Item>::create(memory, bytes, 8192, &ring, {.start_index = 0xFFFF0000}), RingStatus::kOk);
  ASSERT_EQ(ring.claim(RingRole::kProducer), RingStatus::kOk);
  const uint64_t count = items(1'000'000);
  const pid_t child = fork();
  if (child == 0) {
    produce(ring, count);
    _exit(0);
  }
  const Drained got = drain(ring);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(got.count, count);
  EXPECT_TRUE(got.in_order);
  EXPECT_EQ(got.sum, expected_sum(count));
  munmap(memory, bytes);
}

}  // namespace
}  // namespace hermes
