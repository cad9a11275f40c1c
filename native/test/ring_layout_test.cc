#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/ring/mpmc_ring.h"
#include "core/ring/ring_memory.h"
#include "core/ring/spsc_byte_ring.h"
#include "core/ring/spsc_ring.h"

namespace hermes {
namespace {

struct alignas(kRingLine) Memory {
  std::byte bytes[16384] = {};
};

using Ring = SpscRing<uint64_t>;

class RingLayout : public ::testing::Test {
 protected:
  void SetUp() override {
    Ring ring;
    ASSERT_EQ(Ring::create(memory_.bytes, sizeof memory_.bytes, 64, &ring, {.tag = 7}), RingStatus::kOk);
  }
  RingStatus attach() {
    Ring ring;
    return Ring::attach(memory_.bytes, sizeof memory_.bytes, &ring);
  }
  RingHeader& header() { return reinterpret_cast<hermes::RingLayout*>(memory_.bytes)->header; }
  void seal() { header().header_crc = ring_detail::small_crc32(&header(), offsetof(RingHeader, header_crc)); }
  Memory memory_;
};

TEST_F(RingLayout, ChecksumIsThatOfZlib) { EXPECT_EQ(ring_detail::small_crc32("123456789", 9), 0xCBF43926u); }

TEST_F(RingLayout, AttachesToWhatItCreated) { EXPECT_EQ(attach(), RingStatus::kOk); }

TEST_F(RingLayout, RefusesCapacitiesThatAreNoPowerOfTwo) {
  Ring ring;
  for (uint32_t capacity : {0u, 1u, 3u, 63u, 65u, 100u, 0x40000001u, 0x80000000u, 0xFFFFFFFFu}) {
    EXPECT_EQ(Ring::create(memory_.bytes, sizeof memory_.bytes, capacity, &ring), RingStatus::kBadCapacity) << capacity;
  }
  SpscByteRing bytes;
  EXPECT_EQ(SpscByteRing::create(memory_.bytes, sizeof memory_.bytes, 32, &bytes), RingStatus::kBadCapacity);
}

TEST_F(RingLayout, RefusesMemoryThatIsTooSmallAtCreation) {
  Ring ring;
  const uint64_t needed = Ring::required_bytes(64);
  EXPECT_EQ(Ring::create(memory_.bytes, needed - 1, 64, &ring), RingStatus::kTooSmall);
  EXPECT_EQ(Ring::create(memory_.bytes, needed, 64, &ring), RingStatus::kOk);
}

TEST_F(RingLayout, RefusesMemoryThatIsTooSmallAtAttach) {
  Ring ring;
  for (size_t bytes : {size_t{0}, size_t{64}, size_t{2047}, size_t{2048}, Ring::required_bytes(64) - 1}) {
    EXPECT_EQ(Ring::attach(memory_.bytes, bytes, &ring), RingStatus::kTooSmall) << bytes;
  }
}

TEST_F(RingLayout, RefusesMisalignedMemory) {
  Ring ring;
  EXPECT_EQ(Ring::create(memory_.bytes + 64, 8192, 64, &ring), RingStatus::kMisaligned);
  EXPECT_EQ(Ring::attach(memory_.bytes + 64, 8192, &ring), RingStatus::kMisaligned);
}

TEST_F(RingLayout, RefusesSomethingThatIsNoRing) {
  std::memset(memory_.bytes, 0, sizeof memory_.bytes);
  EXPECT_EQ(attach(), RingStatus::kNotRing);
  std::memset(memory_.bytes, 0x5A, sizeof memory_.bytes);
  EXPECT_EQ(attach(), RingStatus::kNotRing);
}

TEST_F(RingLayout, RefusesAnotherVersion) {
  header().version = 2;
  seal();
  EXPECT_EQ(attach(), RingStatus::kVersion);
}

TEST_F(RingLayout, RefusesAnotherKind) {
  SpscByteRing bytes;
  EXPECT_EQ(SpscByteRing::attach(memory_.bytes, sizeof memory_.bytes, &bytes), RingStatus::kKind);
  MpmcRing<uint64_t> mpmc;
  EXPECT_EQ(MpmcRing<uint64_t>::attach(memory_.bytes, sizeof memory_.bytes, &mpmc), RingStatus::kKind);
}

TEST_F(RingLayout, RefusesAnotherItemSize) {
  SpscRing<uint32_t> ring;
  EXPECT_EQ(SpscRing<uint32_t>::attach(memory_.bytes, sizeof memory_.bytes, &ring), RingStatus::kItemSize);
}

TEST_F(RingLayout, RefusesAnotherTagIfAsked) {
  Ring ring;
  const uint64_t right = 7, wrong = 8;
  EXPECT_EQ(Ring::attach(memory_.bytes, sizeof memory_.bytes, &ring, &right), RingStatus::kOk);
  EXPECT_EQ(Ring::attach(memory_.bytes, sizeof memory_.bytes, &ring, &wrong), RingStatus::kTag);
}

TEST_F(RingLayout, RefusesEveryFlippedBitOfTheHeader) {
  for (size_t bit = 0; bit < sizeof(RingHeader) * 8; ++bit) {
    memory_.bytes[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_NE(attach(), RingStatus::kOk) << "bit " << bit;
    memory_.bytes[bit / 8] ^= std::byte(1 << (bit % 8));
  }
  EXPECT_EQ(attach(), RingStatus::kOk);
}

TEST_F(RingLayout, RefusesAHostileHeaderWithARightChecksum) {
  const RingHeader good = header();
  const auto refuses = [&](auto change) {
    header() = good;
    change(header());
    seal();
    return attach() != RingStatus::kOk;
  };
  EXPECT_TRUE(refuses([](RingHeader& h) { h.capacity = 0; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.capacity = 1u << 30; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.capacity = 63; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.item_size = 0; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.item_size = 0xFFFFFFFF; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.slot_size = 16; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.data_offset = 0; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.total_bytes = ~0ull; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.total_bytes = 0; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.participants = 0; }));
  EXPECT_TRUE(refuses([](RingHeader& h) { h.flags = 2; }));
  EXPECT_FALSE(refuses([](RingHeader&) {}));
}

TEST_F(RingLayout, RefusesIndicesFurtherApartThanTheCapacity) {
  auto* layout = reinterpret_cast<hermes::RingLayout*>(memory_.bytes);
  layout->producer_index.store(64);
  EXPECT_EQ(attach(), RingStatus::kOk);
  layout->producer_index.store(65);
  EXPECT_EQ(attach(), RingStatus::kCorrupt);
  layout->producer_index.store(0xFFFFFFFF);
  EXPECT_EQ(attach(), RingStatus::kCorrupt);
}

TEST_F(RingLayout, RefusesOptionsOutOfRange) {
  MpmcRing<uint32_t> ring;
  for (uint32_t participants : {0u, 1u, 255u, ~0u}) {
    EXPECT_EQ(MpmcRing<uint32_t>::create(memory_.bytes, sizeof memory_.bytes, 4, &ring, {.participants = participants}),
              RingStatus::kBadOption);
  }
  SpscByteRing bytes;
  EXPECT_EQ(SpscByteRing::create(memory_.bytes, sizeof memory_.bytes, 64, &bytes, {.start_index = 4}),
            RingStatus::kBadOption);
}

TEST(HeapRing, MovesAndFreesItsMemory) {
  HeapRing<SpscRing<int>> first;
  ASSERT_EQ(first.create(8), RingStatus::kOk);
  EXPECT_EQ(first.create(7), RingStatus::kBadCapacity);
  ASSERT_EQ(first->try_push(42), RingOp::kOk);
  HeapRing<SpscRing<int>> second = std::move(first);
  int value = 0;
  EXPECT_EQ(second->try_pop(&value), RingOp::kOk);
  EXPECT_EQ(value, 42);
}

}  // namespace
}  // namespace hermes
