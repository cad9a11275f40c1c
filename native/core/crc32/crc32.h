#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hermes {

// IEEE CRC-32 (polynomial 0x04C11DB7, reflected, inverted before and after): the value of zlib's
// crc32().
//
// Thread safety: every function may be called from any thread at any time, static initialisation
// included. The fastest path that the processor offers is chosen at the first call; after that a
// call costs one load and one indirect jump. See docs/decisions/0002-crc32.md.

using Crc32Function = std::uint32_t (*)(std::uint32_t seed, const void* data, std::size_t length) noexcept;
using Crc32WordsFunction = std::uint32_t (*)(std::uint64_t word0, std::uint64_t word1, std::uint64_t word2,
                                             const void* data, std::size_t length) noexcept;

// One implementation. Each is exported under its own name so that tests and benches can run it by
// itself.
struct Crc32Path {
  const char* name;
  const char* needs;             // what the processor must have, for messages
  bool (*available)() noexcept;  // the functions below may be called only if this is true
  Crc32Function crc32;
  Crc32WordsFunction words;
};

extern const Crc32Path kCrc32Portable;  // slicing by 16
extern const Crc32Path kCrc32Pclmul;    // x86-64: PCLMULQDQ, 128 bits
extern const Crc32Path kCrc32Vpclmul;   // x86-64: VPCLMULQDQ, 512 bits
extern const Crc32Path kCrc32Arm;       // AArch64: CRC32 instructions

// The path in use.
[[nodiscard]] const Crc32Path& crc32_path() noexcept;

namespace crc32_detail {
// Both begin as a function that chooses the path, replaces both and carries on. Relaxed is enough:
// the pointers lead to code and constants only, so there is nothing else to publish, and any thread
// may choose again with the same result.
extern constinit std::atomic<Crc32Function> g_crc32;
extern constinit std::atomic<Crc32WordsFunction> g_words;
}  // namespace crc32_detail

// The CRC of `length` bytes. `seed` is 0 to start with, or the result for the bytes before these.
// `data` may be null if `length` is 0.
[[nodiscard]] inline std::uint32_t crc32(std::uint32_t seed, const void* data, std::size_t length) noexcept {
  return crc32_detail::g_crc32.load(std::memory_order_relaxed)(seed, data, length);
}

// The CRC of 24 bytes, given as three little-endian words, followed by `length` bytes: a frame's
// header, then its payload. Made for short payloads: up to 256 bytes nothing waits for anything but
// the last reduction.
[[nodiscard]] inline std::uint32_t crc32_words(std::uint64_t word0, std::uint64_t word1, std::uint64_t word2,
                                               const void* data, std::size_t length) noexcept {
  return crc32_detail::g_words.load(std::memory_order_relaxed)(word0, word1, word2, data, length);
}

// crc32(A then B), from crc32(A), crc32(B) and the length of B in bytes.
[[nodiscard]] std::uint32_t crc32_combine(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b) noexcept;

}  // namespace hermes
