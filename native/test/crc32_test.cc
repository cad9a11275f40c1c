#include "core/crc32/crc32.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/crc32/crc32_constants.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hermes {
namespace {

// The definition, one bit at a time. Shares nothing with the code under test.
std::uint32_t reference(std::uint32_t seed, const std::uint8_t* bytes, std::size_t length) {
  std::uint32_t state = seed ^ 0xFFFFFFFF;
  for (std::size_t i = 0; i < length; ++i) {
    state ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) {
      const bool carry = (state & 1) != 0;
      state >>= 1;
      if (carry) state ^= 0xEDB88320;
    }
  }
  return state ^ 0xFFFFFFFF;
}

std::vector<std::uint8_t> random_bytes(std::size_t length, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(length);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// Every path runs the same suite. One that the processor lacks is skipped by name.
class Crc32PathTest : public testing::TestWithParam<const Crc32Path*> {
 protected:
  void SetUp() override {
    if (!path().available())
      GTEST_SKIP() << "this machine is not " << path().needs
                   << "; the suites native and arm64 run all paths between them";
  }
  [[nodiscard]] const Crc32Path& path() const { return *GetParam(); }
  [[nodiscard]] std::uint32_t crc(std::string_view text) const { return path().crc32(0, text.data(), text.size()); }
};

std::string path_name(const testing::TestParamInfo<const Crc32Path*>& info) { return info.param->name; }
INSTANTIATE_TEST_SUITE_P(Every, Crc32PathTest,
                         testing::Values(&kCrc32Portable, &kCrc32Pclmul, &kCrc32Vpclmul, &kCrc32Arm), path_name);

TEST_P(Crc32PathTest, GivesThePublishedValues) {
  EXPECT_EQ(crc(""), 0u);
  EXPECT_EQ(crc("a"), 0xE8B7BE43u);
  EXPECT_EQ(crc("abc"), 0x352441C2u);
  EXPECT_EQ(crc("123456789"), 0xCBF43926u);
  EXPECT_EQ(crc("message digest"), 0x20159D7Fu);
  EXPECT_EQ(crc("abcdefghijklmnopqrstuvwxyz"), 0x4C2750BDu);
  EXPECT_EQ(crc("The quick brown fox jumps over the lazy dog"), 0x414FA339u);
  EXPECT_EQ(crc(std::string(32, '\0')), 0x190A55ADu);
  EXPECT_EQ(crc(std::string(32, '\xFF')), 0xFF6CAB0Bu);
}

TEST_P(Crc32PathTest, ReturnsTheSeedForNoBytesAndNoPointer) {
  EXPECT_EQ(path().crc32(0, nullptr, 0), 0u);
  EXPECT_EQ(path().crc32(0x12345678, nullptr, 0), 0x12345678u);
  EXPECT_EQ(path().crc32(0xFFFFFFFF, nullptr, 0), 0xFFFFFFFFu);
}

TEST_P(Crc32PathTest, AgreesWithTheDefinitionAtEveryLengthAndAlignment) {
  constexpr std::size_t kMax = 1024;
  const auto bytes = random_bytes(kMax + 16, 1);
  for (std::size_t align = 0; align < 16; ++align) {
    const std::uint8_t* start = bytes.data() + align;
    std::uint32_t expected = 0;
    std::uint32_t expected_seeded = 0xDEADBEEF;
    for (std::size_t length = 0; length <= kMax; ++length) {
      ASSERT_EQ(path().crc32(0, start, length), expected) << length << " bytes, alignment " << align;
      ASSERT_EQ(path().crc32(0xDEADBEEF, start, length), expected_seeded)
          << length << " bytes, alignment " << align << ", seeded";
      expected = reference(expected, start + length, 1);
      expected_seeded = reference(expected_seeded, start + length, 1);
    }
  }
}

TEST_P(Crc32PathTest, SeesEveryBitOfAMessage) {
  for (const std::size_t length : {1u, 7u, 24u, 63u, 64u, 65u, 255u, 257u, 600u}) {
    auto bytes = random_bytes(length, 2);
    const std::uint32_t whole = path().crc32(0, bytes.data(), length);
    for (std::size_t bit = 0; bit < 8 * length; ++bit) {
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      ASSERT_NE(path().crc32(0, bytes.data(), length), whole) << "bit " << bit << " of " << length;
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    }
  }
}

TEST_P(Crc32PathTest, ChainsOverRandomSplits) {
  const auto bytes = random_bytes(5000, 3);
  const std::uint32_t whole = reference(0, bytes.data(), bytes.size());
  std::mt19937 random(4);
  for (int round = 0; round < 500; ++round) {
    std::uint32_t crc = 0;
    const std::size_t most = 1 + random() % 1500;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t step = std::min<std::size_t>(random() % (most + 1), bytes.size() - at);
      crc = path().crc32(crc, bytes.data() + at, step);
      at += step;
    }
    ASSERT_EQ(crc, whole) << "round " << round;
  }
}

TEST_P(Crc32PathTest, AgreesWithTheDefinitionOverAMebibyte) {
  const auto bytes = random_bytes((1 << 20) + 77, 5);
  EXPECT_EQ(path().crc32(0, bytes.data(), 1 << 20), reference(0, bytes.data(), 1 << 20));
  EXPECT_EQ(path().crc32(0, bytes.data() + 13, (1 << 20) + 64), reference(0, bytes.data() + 13, (1 << 20) + 64));
}

TEST_P(Crc32PathTest, AgreesWithTheDefinitionAroundBlockEdges) {
  // 12 KiB is where the ARM path begins to run three streams.
  const auto bytes = random_bytes(40000, 6);
  for (const std::size_t edge : {256u, 320u, 512u, 1024u, 4096u, 12288u, 24576u, 36864u}) {
    for (std::size_t length = edge - 18; length <= edge + 18; ++length) {
      ASSERT_EQ(path().crc32(7, bytes.data() + 1, length), reference(7, bytes.data() + 1, length)) << length;
    }
  }
}

TEST_P(Crc32PathTest, TakesThreeWordsForTheFirst24Bytes) {
  const auto bytes = random_bytes(24 + 701, 7);
  std::uint64_t words[3];
  std::memcpy(words, bytes.data(), sizeof words);
  std::uint32_t expected = reference(0, bytes.data(), 24);
  EXPECT_EQ(path().words(words[0], words[1], words[2], nullptr, 0), expected);
  for (std::size_t length = 0; length <= 700; ++length) {
    ASSERT_EQ(path().words(words[0], words[1], words[2], bytes.data() + 24, length), expected)
        << length << " bytes after the words";
    expected = reference(expected, bytes.data() + 24 + length, 1);
  }
}

#if defined(__linux__)
// The message lies between two pages that may not be touched, against the one and then the other.
TEST_P(Crc32PathTest, ReadsNoByteOutsideTheMessage) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* map = mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(map, MAP_FAILED);
  auto* middle = static_cast<std::uint8_t*>(map) + page;
  ASSERT_EQ(mprotect(middle, page, PROT_READ | PROT_WRITE), 0);
  const auto bytes = random_bytes(page, 8);
  std::memcpy(middle, bytes.data(), page);
  for (std::size_t length = 0; length <= 600; ++length) {
    const std::uint8_t* at_end = middle + page - length;
    ASSERT_EQ(path().crc32(0, middle, length), reference(0, middle, length)) << length;
    ASSERT_EQ(path().crc32(0, at_end, length), reference(0, at_end, length)) << length;
    const std::uint32_t header = reference(0, bytes.data(), 24);
    std::uint64_t words[3];
    std::memcpy(words, bytes.data(), sizeof words);
    ASSERT_EQ(path().words(words[0], words[1], words[2], middle, length), reference(header, middle, length));
    ASSERT_EQ(path().words(words[0], words[1], words[2], at_end, length), reference(header, at_end, length));
  }
  munmap(map, 3 * page);
}
#endif

TEST(Crc32, ChoosesAPathThatIsAvailable) {
  EXPECT_TRUE(crc32_path().available());
  RecordProperty("path", crc32_path().name);
}

TEST(Crc32, GivesTheValueOfTheChosenPath) {
  const auto bytes = random_bytes(3000, 9);
  EXPECT_EQ(crc32(0, "123456789", 9), 0xCBF43926u);
  EXPECT_EQ(crc32(0, bytes.data(), bytes.size()), reference(0, bytes.data(), bytes.size()));
  EXPECT_EQ(crc32_words(1, 2, 3, bytes.data(), 100), crc32_path().words(1, 2, 3, bytes.data(), 100));
}

TEST(Crc32, MayBeCalledFromManyThreadsAtOnce) {
  const auto bytes = random_bytes(512, 10);
  const std::uint32_t expected = reference(0, bytes.data(), bytes.size());
  std::vector<std::uint32_t> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] { result = crc32(0, bytes.data(), bytes.size()); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto result : results) EXPECT_EQ(result, expected);
}

TEST(Crc32Combine, JoinsTheValuesOfTwoParts) {
  const auto bytes = random_bytes(2000, 11);
  const std::uint32_t whole = reference(0, bytes.data(), bytes.size());
  for (std::size_t split = 0; split <= bytes.size(); split += 7) {
    const std::uint32_t a = reference(0, bytes.data(), split);
    const std::uint32_t b = reference(0, bytes.data() + split, bytes.size() - split);
    ASSERT_EQ(crc32_combine(a, b, bytes.size() - split), whole) << "split at " << split;
  }
}

TEST(Crc32Combine, HandlesLengthsBeyond32Bits) {
  // Zeros in place of the second part, in two steps of different size: n + m bytes = n bytes, then
  // m bytes.
  constexpr std::uint64_t kFar = (std::uint64_t{1} << 61) + 12345;
  const std::uint32_t a = 0x12345678;
  const std::uint32_t once = crc32_combine(a, 0, kFar);
  EXPECT_EQ(crc32_combine(crc32_combine(a, 0, kFar - 1000), 0, 1000), once);
  EXPECT_EQ(crc32_combine(a, 0, 0xFFFFFFFF), a) << "the powers of x repeat after 2^32 - 1";
  EXPECT_EQ(crc32_combine(a, 0, ~std::uint64_t{0}), a) << "2^64 - 1 is a multiple of 2^32 - 1";
}

TEST(Crc32Constants, AreThoseThatIntelPublished) {
  // The paper's constants for the reflected polynomial, which stand one place to the left of ours.
  EXPECT_EQ(crc32_detail::fold_by(64).first, std::uint64_t{crc32_detail::x_to(4 * 128 + 31)});
  EXPECT_EQ(std::uint64_t{crc32_detail::x_to(4 * 128 + 32)} << 1, 0x154442BD4u);
  EXPECT_EQ(std::uint64_t{crc32_detail::x_to(4 * 128 - 32)} << 1, 0x1C6E41596u);
  EXPECT_EQ(crc32_detail::kBarrettPolynomial, 0x1DB710641u);
  EXPECT_EQ(crc32_detail::kBarrettQuotient & 0x1FFFFFFFF, 0x1F7011641u);
}

}  // namespace
}  // namespace hermes
