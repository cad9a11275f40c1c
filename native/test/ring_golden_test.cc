// The images in test/ring/golden are read and made by every implementation of docs/ring-layout.md.
// HERMES_GOLDEN_WRITE=1 writes them anew; look at the difference before keeping it.

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/ring/mpmc_ring.h"
#include "core/ring/spsc_byte_ring.h"
#include "core/ring/spsc_ring.h"

namespace hermes {
namespace {

struct Order {
  uint64_t id;
  uint32_t size;
  uint32_t check;
};
struct Small {
  uint32_t values[3];
};

constexpr size_t kBytes = 4096;
struct alignas(kRingLine) Image {
  std::byte bytes[kBytes] = {};
};

std::string file_name(const std::string& name) {
  const std::string here = __FILE__;
  return here.substr(0, here.rfind("native/test/")) + "test/ring/golden/" + name + ".hex";
}

// 16 bytes a line, "offset: hex"; lines of zeros are left out. The private copies of the indices
// are not part of the contract.
std::string dump(const Image& image, size_t total) {
  std::ostringstream out;
  for (size_t at = 0; at < total; at += 16) {
    const bool is_private = (at >= 256 && at < 384) || (at >= 512 && at < 640);
    const std::byte zeros[16] = {};
    if (is_private || std::memcmp(image.bytes + at, zeros, 16) == 0) continue;
    char text[48];
    std::snprintf(text, sizeof text, "%04zx:", at);
    out << text;
    for (size_t i = 0; i < 16; ++i) {
      std::snprintf(text, sizeof text, " %02x", std::to_integer<unsigned>(image.bytes[at + i]));
      out << text;
    }
    out << "\n";
  }
  return out.str();
}

std::string read_golden(const std::string& name) {
  std::ifstream in(file_name(name));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void load(const std::string& text, Image* image) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    size_t at = std::stoul(line.substr(0, 4), nullptr, 16);
    std::istringstream bytes(line.substr(5));
    std::string byte;
    while (bytes >> byte) image->bytes[at++] = std::byte(std::stoul(byte, nullptr, 16));
  }
}

void compare(const std::string& name, const Image& image, size_t total) {
  if (std::getenv("HERMES_GOLDEN_WRITE") != nullptr) std::ofstream(file_name(name)) << dump(image, total);
  EXPECT_EQ(dump(image, total), read_golden(name));
}

TEST(RingGolden, SpscIsMadeAndReadByteForByte) {
  Image image;
  SpscRing<Order> ring;
  ASSERT_EQ(SpscRing<Order>::create(image.bytes, kBytes, 8, &ring,
                                    {.tag = 0x0123456789ABCDEF, .start_index = 0xFFFFFFFC, .parking = true}),
            RingStatus::kOk);
  ASSERT_EQ(ring.claim(RingRole::kProducer), RingStatus::kOk);
  for (uint32_t i = 0; i < 6; ++i) ASSERT_EQ(ring.try_push({1000 + i, i, ~i}), RingOp::kOk);
  Order order;
  for (int i = 0; i < 2; ++i) ASSERT_EQ(ring.try_pop(&order), RingOp::kOk);
  compare("spsc", image, SpscRing<Order>::required_bytes(8));

  Image golden;
  load(read_golden("spsc"), &golden);
  SpscRing<Order> reader;
  const uint64_t tag = 0x0123456789ABCDEF;
  ASSERT_EQ(SpscRing<Order>::attach(golden.bytes, kBytes, &reader, &tag), RingStatus::kOk);
  EXPECT_EQ(reader.claim(RingRole::kProducer), RingStatus::kBusy);
  ASSERT_EQ(reader.claim(RingRole::kConsumer), RingStatus::kOk);
  EXPECT_EQ(reader.size(), 4u);
  for (uint32_t i = 2; i < 6; ++i) {
    ASSERT_EQ(reader.try_pop(&order), RingOp::kOk);
    EXPECT_EQ(order.id, 1000 + i);
    EXPECT_EQ(order.size, i);
    EXPECT_EQ(order.check, ~i);
  }
}

TEST(RingGolden, BytesAreMadeAndReadByteForByte) {
  Image image;
  SpscByteRing ring;
  ASSERT_EQ(SpscByteRing::create(image.bytes, kBytes, 256, &ring, {.start_index = 0xFFFFFFC0}), RingStatus::kOk);
  ASSERT_EQ(ring.claim_role(RingRole::kProducer), RingStatus::kOk);
  const auto push = [&ring](uint32_t length, uint32_t label) {
    std::vector<uint8_t> payload(length);
    for (uint32_t i = 0; i < length; ++i) payload[i] = static_cast<uint8_t>(label * 16 + i);
    return ring.try_push(payload.data(), length, label);
  };
  ASSERT_EQ(push(5, 1), RingOp::kOk);
  ASSERT_EQ(push(0, 2), RingOp::kOk);
  ASSERT_EQ(push(24, 3), RingOp::kOk);  // 8 before the end
  ASSERT_EQ(push(40, 4), RingOp::kOk);  // behind padding
  SpscByteRing::Frame frame;
  ASSERT_EQ(ring.front(&frame), RingOp::kOk);
  ring.pop();
  compare("bytes", image, SpscByteRing::required_bytes(256));

  Image golden;
  load(read_golden("bytes"), &golden);
  SpscByteRing reader;
  ASSERT_EQ(SpscByteRing::attach(golden.bytes, kBytes, &reader), RingStatus::kOk);
  ASSERT_EQ(reader.claim_role(RingRole::kConsumer), RingStatus::kOk);
  uint32_t label = 2;
  const uint32_t lengths[] = {0, 0, 0, 24, 40};
  size_t done;
  ASSERT_EQ(reader.poll(
                [&](const SpscByteRing::Frame& got) {
                  EXPECT_EQ(got.label, label);
                  EXPECT_EQ(got.length, lengths[label]);
                  for (uint32_t i = 0; i < got.length; ++i) {
                    EXPECT_EQ(std::to_integer<uint32_t>(got.data[i]), (label * 16 + i) & 0xFF);
                  }
                  ++label;
                },
                10, &done),
            RingOp::kOk);
  EXPECT_EQ(done, 3u);
}

TEST(RingGolden, MpmcIsMadeAndReadByteForByte) {
  Image image;
  MpmcRing<Small> ring;
  ASSERT_EQ(MpmcRing<Small>::create(image.bytes, kBytes, 4, &ring, {.start_index = 0xFFFFFFFE, .participants = 3}),
            RingStatus::kOk);
  ASSERT_EQ(ring.join(), RingStatus::kOk);
  Small small;
  for (uint32_t i = 0; i < 4; ++i) ASSERT_EQ(ring.try_push({{i, 10 * i, 100 * i}}), RingOp::kOk);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(ring.try_pop(&small), RingOp::kOk);
  ASSERT_EQ(ring.try_push({{4, 40, 400}}), RingOp::kOk);
  ASSERT_EQ(ring.try_end(), RingOp::kOk);
  compare("mpmc", image, MpmcRing<Small>::required_bytes(4));

  Image golden;
  load(read_golden("mpmc"), &golden);
  MpmcRing<Small> reader;
  ASSERT_EQ(MpmcRing<Small>::attach(golden.bytes, kBytes, &reader), RingStatus::kOk);
  ASSERT_EQ(reader.join(), RingStatus::kOk);
  EXPECT_EQ(reader.participant(), 1u);
  EXPECT_EQ(reader.try_push({}), RingOp::kClosed);
  for (uint32_t i = 2; i < 5; ++i) {
    ASSERT_EQ(reader.try_pop(&small), RingOp::kOk);
    EXPECT_EQ(small.values[0], i);
    EXPECT_EQ(small.values[2], 100 * i);
  }
  EXPECT_EQ(reader.try_pop(&small), RingOp::kClosed);
}

}  // namespace
}  // namespace hermes
