#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/crc32/crc32_constants.h"
#include "core/platform/cpu_features.h"

#if defined(__aarch64__) && defined(__GNUC__)

namespace hermes {
namespace {

// GCC and clang differ in the names of the extension and of the built-in functions. The standard
// names of arm_acle.h won't do: clang before 15 declares them only if the whole file is compiled
// for processors that have the instructions.
#if defined(__clang__)
#define HERMES_TARGET_CRC32 "crc"
#define HERMES_CRC32_8 __builtin_arm_crc32b
#define HERMES_CRC32_16 __builtin_arm_crc32h
#define HERMES_CRC32_32 __builtin_arm_crc32w
#define HERMES_CRC32_64 __builtin_arm_crc32d
#else
#define HERMES_TARGET_CRC32 "+crc"
#define HERMES_CRC32_8 __builtin_aarch64_crc32b
#define HERMES_CRC32_16 __builtin_aarch64_crc32h
#define HERMES_CRC32_32 __builtin_aarch64_crc32w
#define HERMES_CRC32_64 __builtin_aarch64_crc32x
#endif

using crc32_detail::multiply;
using crc32_detail::x_to_bytes;

// The instruction takes 8 bytes in one cycle, but its result 2 to 3 cycles: three independent
// streams keep it busy. Joining two streams costs about 100 cycles, little beside the 1,500 that
// three of this size take.
constexpr std::size_t kStreamBytes = 4096;
constexpr std::uint32_t kOneStream = x_to_bytes(kStreamBytes);
constexpr std::uint32_t kTwoStreams = x_to_bytes(2 * kStreamBytes);

bool available() noexcept { return cpu_features().arm_crc32; }

std::uint64_t load64(const std::byte* bytes) noexcept {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Carries the register over `length` bytes; no inversions.
[[gnu::target(HERMES_TARGET_CRC32)]] std::uint32_t advance(std::uint32_t state, const std::byte* bytes,
                                                           std::size_t length) noexcept {
  for (; length >= 3 * kStreamBytes; bytes += 3 * kStreamBytes, length -= 3 * kStreamBytes) {
    std::uint32_t second = 0;
    std::uint32_t third = 0;
    for (std::size_t i = 0; i < kStreamBytes; i += 8) {
      state = HERMES_CRC32_64(state, load64(bytes + i));
      second = HERMES_CRC32_64(second, load64(bytes + kStreamBytes + i));
      third = HERMES_CRC32_64(third, load64(bytes + 2 * kStreamBytes + i));
    }
    state = multiply(state, kTwoStreams) ^ multiply(second, kOneStream) ^ third;
  }
  for (; length >= 8; bytes += 8, length -= 8) state = HERMES_CRC32_64(state, load64(bytes));
  if ((length & 4) != 0) {
    std::uint32_t word;
    std::memcpy(&word, bytes, sizeof word);
    state = HERMES_CRC32_32(state, word);
    bytes += 4;
  }
  if ((length & 2) != 0) {
    std::uint16_t word;
    std::memcpy(&word, bytes, sizeof word);
    state = HERMES_CRC32_16(state, word);
    bytes += 2;
  }
  if ((length & 1) != 0) state = HERMES_CRC32_8(state, static_cast<std::uint8_t>(*bytes));
  return state;
}

[[gnu::target(HERMES_TARGET_CRC32)]] std::uint32_t crc32_arm(std::uint32_t seed, const void* data,
                                                             std::size_t length) noexcept {
  return ~advance(~seed, static_cast<const std::byte*>(data), length);
}

[[gnu::target(HERMES_TARGET_CRC32)]] std::uint32_t words_arm(std::uint64_t word0, std::uint64_t word1,
                                                             std::uint64_t word2, const void* data,
                                                             std::size_t length) noexcept {
  std::uint32_t state = HERMES_CRC32_64(0xFFFFFFFF, word0);
  state = HERMES_CRC32_64(state, word1);
  state = HERMES_CRC32_64(state, word2);
  return ~advance(state, static_cast<const std::byte*>(data), length);
}

}  // namespace

constinit const Crc32Path kCrc32Arm = {"arm_crc32", "AArch64 with the CRC32 instructions", &available, &crc32_arm,
                                       &words_arm};

}  // namespace hermes

#else

namespace hermes {
namespace {
bool available() noexcept { return false; }
}  // namespace

constinit const Crc32Path kCrc32Arm = {"arm_crc32", "AArch64 with the CRC32 instructions", &available, nullptr,
                                       nullptr};

}  // namespace hermes

#endif
