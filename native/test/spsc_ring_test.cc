#include "core/ring/spsc_ring.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>
#include <vector>

#include "core/ring/idle.h"
#include "core/ring/ring_memory.h"

namespace hermes {
namespace {

using Ring = SpscRing<uint32_t>;

HeapRing<Ring> make(uint32_t capacity, RingOptions options = {}) {
  HeapRing<Ring> ring;
  EXPECT_EQ(ring.create(capacity, options), RingStatus::kOk);
  return ring;
}

TEST(SpscRing, IsEmptyAtFirst) {
  auto ring = make(4);
  uint32_t item;
  EXPECT_EQ(ring->size(), 0u);
  EXPECT_EQ(ring->front(), nullptr);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
}

TEST(SpscRing, HoldsItsWholeCapacityAndThenIsFull) {
  auto ring = make(4);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(ring->try_push(i), RingOp::kOk);
  EXPECT_EQ(ring->try_push(4), RingOp::kFull);
  EXPECT_EQ(ring->size(), 4u);
  uint32_t item;
  EXPECT_EQ(ring->try_pop(&item), RingOp::kOk);
  EXPECT_EQ(ring->try_push(4), RingOp::kOk);
  EXPECT_EQ(ring->try_push(5), RingOp::kFull);
  for (uint32_t i = 1; i <= 4; ++i) {
    ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, i);
  }
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
}

TEST(SpscRing, CrossesTheEdgeOf32BitsInEveryPhase) {
  for (uint32_t before = 0; before < 12; ++before) {
    auto ring = make(4, {.start_index = 0u - before});
    uint32_t item, next = 0, expected = 0;
    for (int round = 0; round < 10; ++round) {
      while (ring->try_push(next) == RingOp::kOk) ++next;
      EXPECT_EQ(ring->size(), 4u);
      while (ring->try_pop(&item) == RingOp::kOk) ASSERT_EQ(item, expected++);
    }
    EXPECT_EQ(expected, 40u);
  }
}

TEST(SpscRing, BatchesWrapAndStopAtTheCapacity) {
  auto ring = make(8, {.start_index = 0xFFFFFFFD});
  std::vector<uint32_t> in(20), out(20);
  std::iota(in.begin(), in.end(), 0);
  EXPECT_EQ(ring->try_push_n(in.data(), 5), 5u);
  EXPECT_EQ(ring->try_pop_n(out.data(), 3), 3u);
  EXPECT_EQ(ring->try_push_n(in.data() + 5, 15), 6u);
  EXPECT_EQ(ring->try_push_n(in.data(), 1), 0u);
  EXPECT_EQ(ring->try_pop_n(out.data() + 3, 17), 8u);
  EXPECT_EQ(ring->try_pop_n(out.data(), 1), 0u);
  for (uint32_t i = 0; i < 11; ++i) EXPECT_EQ(out[i], i);
}

TEST(SpscRing, ReservedSlotsAreInvisibleUntilPublished) {
  auto ring = make(8);
  auto slots = ring->reserve_n(5);
  ASSERT_EQ(slots.size(), 5u);
  for (uint32_t i = 0; i < 5; ++i) slots[i] = i;
  EXPECT_EQ(ring->size(), 0u);
  ring->publish_n(3);
  EXPECT_EQ(ring->front_n(8).size(), 3u);
  ring->pop_n(3);
  // Side by side only: two runs are needed around the end.
  EXPECT_EQ(ring->reserve_n(8).size(), 5u);
  ring->publish_n(5);
  EXPECT_EQ(ring->reserve_n(8).size(), 3u);
}

TEST(SpscRing, ASecondProducerIsRefused) {
  auto ring = make(4);
  EXPECT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  EXPECT_EQ(ring->claim(RingRole::kConsumer), RingStatus::kOk);
  Ring other;
  ASSERT_EQ(Ring::attach(ring.memory(), ring.bytes(), &other), RingStatus::kOk);
  EXPECT_EQ(other.claim(RingRole::kProducer), RingStatus::kBusy);
  EXPECT_EQ(other.claim(RingRole::kConsumer), RingStatus::kBusy);
  ring->close(RingRole::kProducer);
  EXPECT_EQ(other.claim(RingRole::kProducer), RingStatus::kOk);
  EXPECT_EQ(ring->claim(RingRole::kProducer), RingStatus::kBusy);
}

TEST(SpscRing, AConsumerDrainsAndThenGetsTheEnd) {
  auto ring = make(4);
  ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  ring->close(RingRole::kProducer);
  uint32_t item;
  EXPECT_EQ(ring->try_pop(&item), RingOp::kOk);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kClosed);
}

TEST(SpscRing, AProducerLearnsOfAClosedConsumerWhenTheRingIsFull) {
  auto ring = make(2);
  ASSERT_EQ(ring->claim(RingRole::kConsumer), RingStatus::kOk);
  ring->close(RingRole::kConsumer);
  EXPECT_EQ(ring->try_push(1), RingOp::kOk);
  EXPECT_EQ(ring->try_push(2), RingOp::kOk);
  EXPECT_EQ(ring->try_push(3), RingOp::kClosed);
}

TEST(SpscRing, UseAfterCloseIsRefusedAtOnce) {
  auto ring = make(4);
  ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  ASSERT_EQ(ring->claim(RingRole::kConsumer), RingStatus::kOk);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  ASSERT_EQ(ring->try_push(2), RingOp::kOk);
  uint32_t item;
  ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
  ring->close(RingRole::kProducer);
  EXPECT_EQ(ring->try_push(3), RingOp::kClosed);
  EXPECT_EQ(ring->try_push_n(&item, 1), 0u);
  EXPECT_TRUE(ring->reserve_n(1).empty());
  ring->close(RingRole::kConsumer);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kClosed);
  EXPECT_EQ(ring->try_pop_n(&item, 1), 0u);
  EXPECT_EQ(ring->front(), nullptr);
}

TEST(SpscRing, ASuccessorOfADeadConsumerSeesTheUnconsumedItemAgain) {
  auto ring = make(4);
  ASSERT_EQ(ring->claim(RingRole::kConsumer), RingStatus::kOk);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  ASSERT_EQ(*ring->front(), 1u);  // and dies before pop
  ring->evict(RingRole::kConsumer);
  for (uint32_t i = 2; i <= 4; ++i) ASSERT_EQ(ring->try_push(i), RingOp::kOk);
  EXPECT_EQ(ring->try_push(5), RingOp::kDead);
  Ring successor;
  ASSERT_EQ(Ring::attach(ring.memory(), ring.bytes(), &successor), RingStatus::kOk);
  ASSERT_EQ(successor.claim(RingRole::kConsumer), RingStatus::kOk);
  EXPECT_EQ(ring->try_push(5), RingOp::kFull);
  uint32_t item;
  for (uint32_t i = 1; i <= 4; ++i) {
    ASSERT_EQ(successor.try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, i);
  }
}

TEST(SpscRing, AConsumerOfADeadProducerDrainsAndThenGetsTheVerdict) {
  auto ring = make(4);
  ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  ring->reserve_n(1)[0] = 99;  // and dies before publishing
  ring->evict(RingRole::kProducer);
  uint32_t item;
  EXPECT_EQ(ring->try_pop(&item), RingOp::kOk);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kDead);
  ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
  EXPECT_EQ(ring->try_push(2), RingOp::kOk);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kOk);
  EXPECT_EQ(item, 2u);
}

TEST(SpscRing, DamagedIndicesNeverLeadOutside) {
  auto ring = make(4);
  uint32_t items[64];
  for (uint32_t damage : {5u, 1000u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    ring->layout()->producer_index.store(damage);
    EXPECT_LE(ring->try_pop_n(items, 64), 4u);
    EXPECT_LE(ring->front_n(64).size(), 4u);
    EXPECT_LE(ring->reserve_n(64).size(), 4u);
    EXPECT_LE(ring->size(), 4u);
    ring->layout()->consumer_index.store(damage * 3 + 1);
    EXPECT_LE(ring->try_push_n(items, 64), 4u);
    EXPECT_LE(ring->reserve_n(64).size(), 4u);
  }
}

TEST(SpscRing, AWaitEndsAtItsDeadline) {
  auto ring = make(2);
  uint32_t item;
  EXPECT_EQ(ring->pop_wait(&item, DeadlineIdle(SpinIdle(), 1'000'000)), RingOp::kEmpty);
  EXPECT_EQ(ring->try_push(1), RingOp::kOk);
  EXPECT_EQ(ring->try_push(2), RingOp::kOk);
  EXPECT_EQ(ring->push(3, DeadlineIdle(YieldIdle(), 1'000'000)), RingOp::kFull);
}

TEST(SpscRing, AParkedConsumerIsWokenByAPushAndByAClose) {
  auto ring = make(2, {.parking = true});
  ASSERT_EQ(ring->claim(RingRole::kProducer), RingStatus::kOk);
  RingOp first = RingOp::kEmpty, last = RingOp::kEmpty;
  uint32_t item = 0;
  std::thread consumer([&] {
    // Sleeps that are an hour long: only a eventcount ends them.
    ParkIdle idle(0, 3'600'000'000'000);
    first = ring->pop_wait(&item, idle);
    uint32_t none;
    last = ring->pop_wait(&none, idle);
  });
  while (ring->layout()->consumers_waiting.load() == 0) std::this_thread::yield();
  EXPECT_EQ(ring->try_push(7), RingOp::kOk);
  while (ring->size() != 0 || ring->layout()->consumers_waiting.load() == 0) std::this_thread::yield();
  ring->close(RingRole::kProducer);
  consumer.join();
  EXPECT_EQ(first, RingOp::kOk);
  EXPECT_EQ(item, 7u);
  EXPECT_EQ(last, RingOp::kClosed);
}

}  // namespace
}  // namespace hermes
