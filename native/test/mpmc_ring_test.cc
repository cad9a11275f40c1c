#include "core/ring/mpmc_ring.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/ring/idle.h"
#include "core/ring/ring_memory.h"

namespace hermes {

/// Stops a participant half-way through an operation.
struct MpmcRingProbe {
  /// Claims a position for writing and goes no further. `pass` false: not even the index is
  /// advanced.
  template <class T>
  static void claim_write(MpmcRing<T>& ring, bool pass) {
    const uint32_t before = ring.layout_->producer_index.load();
    uint32_t position;
    EXPECT_EQ(ring.claim_write(ring.me_, &position), RingOp::kOk);
    if (!pass) ring.layout_->producer_index.store(before);
  }
  template <class T>
  static void claim_read(MpmcRing<T>& ring, bool pass) {
    const uint32_t position = ring.layout_->consumer_index.load();
    auto& word = ring.slots_[position & ring.mask_].word;
    EXPECT_EQ(word.load(), ring.make(ring.turn(position) + 1, 0));
    word.store(ring.make(ring.turn(position) + 1, ring.me_));
    if (pass) ring.layout_->consumer_index.store(position + 1);
  }
};

namespace {

using Ring = MpmcRing<uint64_t>;

HeapRing<Ring> make(uint32_t capacity, RingOptions options = {}) {
  HeapRing<Ring> ring;
  EXPECT_EQ(ring.create(capacity, options), RingStatus::kOk);
  EXPECT_EQ(ring->join(), RingStatus::kOk);
  return ring;
}

Ring join(HeapRing<Ring>& ring) {
  Ring other;
  EXPECT_EQ(Ring::attach(ring.memory(), ring.bytes(), &other), RingStatus::kOk);
  EXPECT_EQ(other.join(), RingStatus::kOk);
  return other;
}

TEST(MpmcRing, HoldsItsWholeCapacityAndThenIsFull) {
  auto ring = make(4);
  uint64_t item;
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(ring->try_push(i), RingOp::kOk);
  EXPECT_EQ(ring->try_push(4), RingOp::kFull);
  EXPECT_EQ(ring->size(), 4u);
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, i);
  }
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
  EXPECT_EQ(ring->size(), 0u);
}

TEST(MpmcRing, CrossesTheEdgeOf32BitsAndOfTheTurns) {
  // Capacity 2: the 24 bits of the turn wrap every 2^24 positions; 1024: with the index.
  for (uint32_t capacity : {2u, 4u, 512u, 1024u}) {
    for (uint32_t edge : {0u, 1u << 24, 1u << 25}) {
      auto ring = make(capacity, {.start_index = edge - capacity - 1});
      uint64_t item, next = 0, expected = 0;
      for (int round = 0; round < 4; ++round) {
        while (ring->try_push(next) == RingOp::kOk) ++next;
        ASSERT_EQ(ring->try_push(0), RingOp::kFull);
        while (ring->try_pop(&item) == RingOp::kOk) ASSERT_EQ(item, expected++);
        ASSERT_EQ(ring->try_pop(&item), RingOp::kEmpty);
      }
      EXPECT_EQ(expected, 4u * capacity);
    }
  }
}

TEST(MpmcRing, BatchesStopAtFullAndEmpty) {
  auto ring = make(8);
  uint64_t in[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, out[12] = {};
  EXPECT_EQ(ring->try_push_n(in, 12), 8u);
  EXPECT_EQ(ring->try_pop_n(out, 12), 8u);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(out[i], i);
}

TEST(MpmcRing, EntriesRunOutAndComeBack) {
  auto ring = make(4, {.participants = 2});
  Ring second = join(ring);
  Ring third;
  ASSERT_EQ(Ring::attach(ring.memory(), ring.bytes(), &third), RingStatus::kOk);
  EXPECT_EQ(third.join(), RingStatus::kNoRoom);
  second.close();
  EXPECT_EQ(third.join(), RingStatus::kOk);
}

TEST(MpmcRing, UseWithoutJoiningOrAfterCloseIsRefused) {
  auto ring = make(4);
  ring->close();
  uint64_t item;
  EXPECT_EQ(ring->try_push(1), RingOp::kClosed);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kClosed);
}

TEST(MpmcRing, TheEndRefusesPushesAndIsReadAfterTheLastItem) {
  auto ring = make(2);
  Ring other = join(ring);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  ASSERT_EQ(ring->try_push(2), RingOp::kOk);
  EXPECT_EQ(ring->try_end(), RingOp::kFull);
  uint64_t item;
  ASSERT_EQ(other.try_pop(&item), RingOp::kOk);
  EXPECT_EQ(ring->try_end(), RingOp::kOk);
  EXPECT_EQ(ring->try_end(), RingOp::kOk);
  EXPECT_EQ(other.try_push(3), RingOp::kClosed);
  ASSERT_EQ(other.try_pop(&item), RingOp::kOk);
  EXPECT_EQ(item, 2u);
  EXPECT_EQ(other.try_pop(&item), RingOp::kClosed);
  EXPECT_EQ(other.try_pop(&item), RingOp::kClosed);
}

TEST(MpmcRing, ASlowWriterHoldsItsPlaceAndADeadOneIsSkipped) {
  for (bool pass : {false, true}) {
    auto ring = make(4);
    Ring victim = join(ring);
    MpmcRingProbe::claim_write(victim, pass);
    ASSERT_EQ(ring->try_push(7), RingOp::kOk);
    uint64_t item = 0;
    EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);  // alive: its item comes first
    EXPECT_EQ(ring->voided(), 0u);
    ring->evict(victim.participant());
    ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, 7u);
    EXPECT_EQ(ring->voided(), 1u);
    EXPECT_EQ(ring->size(), 0u);
    for (uint64_t i = 0; i < 9; ++i) {
      ASSERT_EQ(ring->try_push(i), RingOp::kOk);
      ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
      EXPECT_EQ(item, i);
    }
  }
}

TEST(MpmcRing, ADeadReaderTakesItsItemWithItAndFreesTheSlot) {
  for (bool pass : {false, true}) {
    auto ring = make(2);
    Ring victim = join(ring);
    ASSERT_EQ(ring->try_push(1), RingOp::kOk);
    ASSERT_EQ(ring->try_push(2), RingOp::kOk);
    MpmcRingProbe::claim_read(victim, pass);
    EXPECT_EQ(ring->try_push(3), RingOp::kFull);
    ring->evict(victim.participant());
    ASSERT_EQ(ring->try_push(3), RingOp::kOk);
    uint64_t item;
    ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, 2u);
    ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, 3u);
    EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
  }
}

TEST(MpmcRing, ASuccessorResolvesItsPredecessorsClaims) {
  auto ring = make(8);
  Ring victim = join(ring);
  ASSERT_EQ(ring->try_push(1), RingOp::kOk);
  MpmcRingProbe::claim_read(victim, true);
  MpmcRingProbe::claim_write(victim, true);
  MpmcRingProbe::claim_write(victim, false);
  ASSERT_EQ(ring->try_push(2), RingOp::kOk);
  const uint32_t entry = victim.participant();
  ring->evict(entry);
  Ring successor = join(ring);
  ASSERT_EQ(successor.participant(), entry);
  EXPECT_EQ(ring->voided(), 3u);
  uint64_t item;
  ASSERT_EQ(ring->try_pop(&item), RingOp::kOk);
  EXPECT_EQ(item, 2u);
  EXPECT_EQ(ring->try_pop(&item), RingOp::kEmpty);
}

TEST(MpmcRing, DamagedWordsAreCorruptNotAHang) {
  for (uint32_t shift : {1u, 3u, 10u}) {
    auto ring = make(1u << shift);
    auto* word = reinterpret_cast<RingWord*>(static_cast<char*>(ring.memory()) + kRingDataOffset);
    word->store(0x00400000u << 8 >> 1);
    uint64_t item;
    EXPECT_EQ(ring->try_push(1), RingOp::kCorrupt);
    EXPECT_EQ(ring->try_pop(&item), RingOp::kCorrupt);
  }
}

TEST(MpmcRing, CarriesItemsOfOddSizes) {
  struct Odd {
    char bytes[13];
  };
  HeapRing<MpmcRing<Odd>> ring;
  ASSERT_EQ(ring.create(4), RingStatus::kOk);
  ASSERT_EQ(ring->join(), RingStatus::kOk);
  for (char c = 'a'; c < 'k'; ++c) {
    Odd in{}, out{};
    std::fill_n(in.bytes, 13, c);
    ASSERT_EQ(ring->try_push(in), RingOp::kOk);
    ASSERT_EQ(ring->try_pop(&out), RingOp::kOk);
    EXPECT_EQ(std::string(out.bytes, 13), std::string(13, c));
  }
}

}  // namespace
}  // namespace hermes
