#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/crc32/crc32_constants.h"

namespace hermes {
namespace {

using crc32_detail::kSlicing;

bool available() noexcept { return true; }

// The eight bytes of `word`, each followed by `after` more bytes of the same step and the bytes of
// `word` behind it.
std::uint32_t slice(std::uint64_t word, std::size_t after) noexcept {
  return kSlicing[after + 7][word & 0xFF] ^ kSlicing[after + 6][word >> 8 & 0xFF] ^
         kSlicing[after + 5][word >> 16 & 0xFF] ^ kSlicing[after + 4][word >> 24 & 0xFF] ^
         kSlicing[after + 3][word >> 32 & 0xFF] ^ kSlicing[after + 2][word >> 40 & 0xFF] ^
         kSlicing[after + 1][word >> 48 & 0xFF] ^ kSlicing[after][word >> 56];
}

// Carries the register over `length` bytes; no inversions.
std::uint32_t advance(std::uint32_t state, const std::byte* bytes, std::size_t length) noexcept {
  std::uint64_t words[2];
  for (; length >= 16; bytes += 16, length -= 16) {
    std::memcpy(words, bytes, 16);
    state = slice(words[0] ^ state, 8) ^ slice(words[1], 0);
  }
  if (length >= 8) {
    std::memcpy(words, bytes, 8);
    state = slice(words[0] ^ state, 0);
    bytes += 8;
    length -= 8;
  }
  for (; length != 0; ++bytes, --length) {
    state = (state >> 8) ^ kSlicing[0][(state ^ static_cast<std::uint32_t>(*bytes)) & 0xFF];
  }
  return state;
}

std::uint32_t crc32_portable(std::uint32_t seed, const void* data, std::size_t length) noexcept {
  return ~advance(~seed, static_cast<const std::byte*>(data), length);
}

std::uint32_t words_portable(std::uint64_t word0, std::uint64_t word1, std::uint64_t word2, const void* data,
                             std::size_t length) noexcept {
  std::uint32_t state = slice(word0 ^ 0xFFFFFFFF, 0);
  state = slice(word1 ^ state, 0);
  state = slice(word2 ^ state, 0);
  return ~advance(state, static_cast<const std::byte*>(data), length);
}

}  // namespace

constinit const Crc32Path kCrc32Portable = {"portable", "nothing special", &available, &crc32_portable,
                                            &words_portable};

}  // namespace hermes
