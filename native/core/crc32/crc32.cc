#include "core/crc32/crc32.h"

#include "core/crc32/crc32_constants.h"

namespace hermes {
namespace {

const Crc32Path& choose() noexcept {
  for (const Crc32Path* path : {&kCrc32Vpclmul, &kCrc32Pclmul, &kCrc32Arm}) {
    if (path->available()) return *path;
  }
  return kCrc32Portable;
}

const Crc32Path& install() noexcept {
  const Crc32Path& path = choose();
  crc32_detail::g_crc32.store(path.crc32, std::memory_order_relaxed);
  crc32_detail::g_words.store(path.words, std::memory_order_relaxed);
  return path;
}

std::uint32_t first_crc32(std::uint32_t seed, const void* data, std::size_t length) noexcept {
  return install().crc32(seed, data, length);
}

std::uint32_t first_words(std::uint64_t word0, std::uint64_t word1, std::uint64_t word2, const void* data,
                          std::size_t length) noexcept {
  return install().words(word0, word1, word2, data, length);
}

}  // namespace

namespace crc32_detail {
constinit std::atomic<Crc32Function> g_crc32{&first_crc32};
constinit std::atomic<Crc32WordsFunction> g_words{&first_words};
}  // namespace crc32_detail

const Crc32Path& crc32_path() noexcept { return choose(); }

std::uint32_t crc32_combine(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b) noexcept {
  // Appending n bytes multiplies the polynomial before them by x^8n. The inversions before and
  // after cancel out.
  return crc32_detail::multiply(crc_a, crc32_detail::x_to_bytes(length_b)) ^ crc_b;
}

}  // namespace hermes
