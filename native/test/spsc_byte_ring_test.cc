#include "core/ring/spsc_byte_ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/ring/idle.h"
#include "core/ring/ring_memory.h"

namespace hermes {
namespace {

HeapRing<SpscByteRing> make(uint32_t capacity, RingOptions options = {}) {
  HeapRing<SpscByteRing> ring;
  EXPECT_EQ(ring.create(capacity, options), RingStatus::kOk);
  return ring;
}

RingOp push(SpscByteRing& ring, const std::string& text, uint32_t label = 0) {
  return ring.try_push(text.data(), static_cast<uint32_t>(text.size()), label);
}

std::string pop(SpscByteRing& ring) {
  SpscByteRing::Frame frame;
  const RingOp op = ring.front(&frame);
  if (op != RingOp::kOk) return "<" + std::to_string(static_cast<int>(op)) + ">";
  std::string text(reinterpret_cast<const char*>(frame.data), frame.length);
  ring.pop();
  return text;
}

const std::string kEmptyVerdict = "<" + std::to_string(static_cast<int>(RingOp::kEmpty)) + ">";

TEST(SpscByteRing, CarriesFramesOfEveryLengthWithTheirLabels) {
  auto ring = make(1024);
  for (uint32_t length = 0; length <= ring->max_payload(); ++length) {
    const std::string text(length, static_cast<char>('a' + length % 26));
    ASSERT_EQ(push(*ring, text, length * 3), RingOp::kOk) << length;
    SpscByteRing::Frame frame;
    ASSERT_EQ(ring->front(&frame), RingOp::kOk) << length;
    EXPECT_EQ(frame.label, length * 3);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(frame.data) % 8, 0u);
    ASSERT_EQ(pop(*ring), text);
  }
  EXPECT_EQ(pop(*ring), kEmptyVerdict);
  EXPECT_EQ(ring->used_bytes(), 0u);
}

TEST(SpscByteRing, RefusesAFrameOverTheLimit) {
  auto ring = make(64);
  EXPECT_EQ(ring->max_payload(), 24u);
  EXPECT_EQ(push(*ring, std::string(24, 'x')), RingOp::kOk);
  EXPECT_EQ(push(*ring, std::string(25, 'x')), RingOp::kTooLarge);
  std::byte* place;
  EXPECT_EQ(ring->claim(0xFFFFFFFF, &place), RingOp::kTooLarge);
  EXPECT_EQ(ring->claim(0xFFFFFFF8, &place), RingOp::kTooLarge);
}

TEST(SpscByteRing, TheLargestFrameFitsAtEveryPosition) {
  for (uint32_t start = 0; start < 128; start += 8) {
    auto ring = make(64, {.start_index = 0u - start});
    for (int i = 0; i < 10; ++i) {
      const std::string text(24, static_cast<char>('0' + i));
      ASSERT_EQ(push(*ring, text), RingOp::kOk) << start;
      ASSERT_EQ(pop(*ring), text) << start;
    }
  }
}

TEST(SpscByteRing, CrossesTheWrapAtEveryEdge) {
  // Every start and pair of lengths: head exactly at the end, 8 before it, 16 before it, …
  for (uint32_t start = 0; start < 64; start += 8) {
    for (uint32_t a = 0; a <= 24; ++a) {
      for (uint32_t b = 0; b <= 24; ++b) {
        auto ring = make(64, {.start_index = 0u - start});
        const std::string first(a, 'a'), second(b, 'b');
        ASSERT_EQ(push(*ring, first), RingOp::kOk);
        const bool fits = push(*ring, second) == RingOp::kOk;
        ASSERT_EQ(pop(*ring), first);
        if (!fits) {
          ASSERT_EQ(push(*ring, second), RingOp::kOk);
        }
        ASSERT_EQ(pop(*ring), second);
        ASSERT_EQ(pop(*ring), kEmptyVerdict);
      }
    }
  }
}

TEST(SpscByteRing, APaddingFrameFillsTheRoomBeforeTheEnd) {
  auto ring = make(64);
  ASSERT_EQ(push(*ring, std::string(24, 'a')), RingOp::kOk);
  ASSERT_EQ(push(*ring, std::string(16, 'b')), RingOp::kOk);  // 56 used, 8 before the end
  EXPECT_EQ(push(*ring, "12345678"), RingOp::kFull);
  EXPECT_EQ(pop(*ring), std::string(24, 'a'));
  ASSERT_EQ(push(*ring, "12345678"), RingOp::kOk);
  uint32_t padding;
  std::memcpy(&padding, static_cast<char*>(ring.memory()) + kRingDataOffset + 56, 4);
  EXPECT_EQ(padding, 0x80000000u);
  EXPECT_EQ(ring->used_bytes(), 24u + 8u + 16u);
  EXPECT_EQ(pop(*ring), std::string(16, 'b'));
  EXPECT_EQ(pop(*ring), "12345678");
  EXPECT_EQ(ring->used_bytes(), 0u);
}

TEST(SpscByteRing, AClaimIsInvisibleUntilCommittedAndMayShrink) {
  auto ring = make(128);
  std::byte* place;
  ASSERT_EQ(ring->claim(40, &place), RingOp::kOk);
  std::memcpy(place, "hello", 5);
  EXPECT_EQ(pop(*ring), kEmptyVerdict);
  ring->commit(5);
  EXPECT_EQ(ring->used_bytes(), 16u);
  EXPECT_EQ(pop(*ring), "hello");
}

TEST(SpscByteRing, AnAbortedClaimLeavesNothingBehind) {
  auto ring = make(64, {.start_index = 48});
  std::byte* place;
  ASSERT_EQ(ring->claim(24, &place), RingOp::kOk);  // behind padding
  ring->abort();
  EXPECT_EQ(ring->used_bytes(), 0u);
  EXPECT_EQ(pop(*ring), kEmptyVerdict);
  ASSERT_EQ(push(*ring, "next"), RingOp::kOk);
  EXPECT_EQ(pop(*ring), "next");
}

TEST(SpscByteRing, ABatchIsPublishedAtOnceAndSaysWhereItStopped) {
  auto ring = make(64);
  const std::string text = "0123456789";  // 24 bytes a frame
  SpscByteRing::Piece pieces[4];
  for (uint32_t i = 0; i < 4; ++i) pieces[i] = {text.data(), 10, i};
  size_t done;
  EXPECT_EQ(ring->try_push_n(pieces, 4, &done), RingOp::kFull);
  EXPECT_EQ(done, 2u);
  std::vector<uint32_t> labels;
  EXPECT_EQ(ring->poll([&](const SpscByteRing::Frame& frame) { labels.push_back(frame.label); }, 10, &done),
            RingOp::kOk);
  EXPECT_EQ(done, 2u);
  EXPECT_EQ(labels, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(ring->poll([](const SpscByteRing::Frame&) {}, 10, &done), RingOp::kEmpty);
}

TEST(SpscByteRing, PollGivesBackOnlyWhatItHandedOut) {
  auto ring = make(256);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(push(*ring, std::to_string(i)), RingOp::kOk);
  size_t done;
  EXPECT_EQ(ring->poll([](const SpscByteRing::Frame&) {}, 2, &done), RingOp::kOk);
  EXPECT_EQ(done, 2u);
  EXPECT_EQ(pop(*ring), "2");
}

TEST(SpscByteRing, ASecondProducerIsRefusedAndACloseEnds) {
  auto ring = make(64);
  EXPECT_EQ(ring->claim_role(RingRole::kProducer), RingStatus::kOk);
  EXPECT_EQ(ring->claim_role(RingRole::kProducer), RingStatus::kBusy);
  ASSERT_EQ(push(*ring, "last"), RingOp::kOk);
  ring->close(RingRole::kProducer);
  EXPECT_EQ(push(*ring, "late"), RingOp::kClosed);
  EXPECT_EQ(pop(*ring), "last");
  SpscByteRing::Frame frame;
  EXPECT_EQ(ring->front(&frame), RingOp::kClosed);
  ring->close(RingRole::kConsumer);
  EXPECT_EQ(ring->front(&frame), RingOp::kClosed);
}

TEST(SpscByteRing, ADeadProducersClaimVanishes) {
  auto ring = make(64);
  ASSERT_EQ(ring->claim_role(RingRole::kProducer), RingStatus::kOk);
  std::byte* place;
  ASSERT_EQ(ring->claim(24, &place), RingOp::kOk);
  std::memset(place, 0xEE, 24);
  ring->evict(RingRole::kProducer);
  SpscByteRing::Frame frame;
  EXPECT_EQ(ring->front(&frame), RingOp::kDead);
  SpscByteRing successor;
  ASSERT_EQ(SpscByteRing::attach(ring.memory(), ring.bytes(), &successor), RingStatus::kOk);
  ASSERT_EQ(successor.claim_role(RingRole::kProducer), RingStatus::kOk);
  ASSERT_EQ(push(successor, "new"), RingOp::kOk);
  EXPECT_EQ(pop(*ring), "new");
}

TEST(SpscByteRing, HostileLengthsAreCorruptAndNeverReadOutside) {
  for (uint32_t length :
       {25u, 56u, 57u, 1000u, 0x7FFFFFFFu, 0x7FFFFFF8u, 0x80000000u, 0x80000001u, 0xFFFFFFFFu, 0x80000039u}) {
    auto ring = make(64);
    ASSERT_EQ(push(*ring, "12345678"), RingOp::kOk);
    std::memcpy(static_cast<char*>(ring.memory()) + kRingDataOffset, &length, 4);
    SpscByteRing::Frame frame;
    EXPECT_EQ(ring->front(&frame), RingOp::kCorrupt) << length;
    size_t done;
    EXPECT_EQ(ring->poll([](const SpscByteRing::Frame&) { ADD_FAILURE(); }, 5, &done), RingOp::kCorrupt) << length;
  }
}

TEST(SpscByteRing, AFrameOverTheLimitIsCorruptEvenIfItsBytesAreThere) {
  auto ring = make(64);
  ASSERT_EQ(push(*ring, std::string(24, 'a')), RingOp::kOk);
  ASSERT_EQ(push(*ring, std::string(24, 'b')), RingOp::kOk);
  const uint32_t length = 48;
  std::memcpy(static_cast<char*>(ring.memory()) + kRingDataOffset, &length, 4);
  SpscByteRing::Frame frame;
  EXPECT_EQ(ring->front(&frame), RingOp::kCorrupt);
}

TEST(SpscByteRing, DamagedIndicesAreCorrupt) {
  for (uint32_t damage : {4u, 72u, 0x80000000u, 0xFFFFFFF8u}) {
    auto ring = make(64);
    ring->layout()->producer_index.store(damage);
    SpscByteRing::Frame frame;
    EXPECT_EQ(ring->front(&frame), RingOp::kCorrupt) << damage;
  }
}

}  // namespace
}  // namespace hermes
