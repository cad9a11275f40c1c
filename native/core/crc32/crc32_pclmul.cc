#include "core/crc32/crc32.h"
#include "core/crc32/crc32_x86.h"
#include "core/platform/cpu_features.h"

#if defined(__x86_64__) && defined(__GNUC__)

namespace hermes {
namespace {

using namespace crc32_detail;  // NOLINT(google-build-using-namespace): the internals of this very
                               // module

constexpr std::size_t kShortBytes = 256;

bool available() noexcept { return cpu_features().pclmul; }

template <typename Word>
std::uint64_t load(const std::byte* bytes) noexcept {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// 1..7 bytes as the end of a word that begins with zeros. Loads overlap where they must, and never
// leave the bytes.
std::uint64_t load_partial(const std::byte* bytes, std::size_t length) noexcept {
  if (length >= 4) {
    return load<std::uint32_t>(bytes + length - 4) << 32 | load<std::uint32_t>(bytes) << (64 - 8 * length);
  }
  return load<std::uint8_t>(bytes + length - 1) << 56 |
         load<std::uint8_t>(bytes + length / 2) << (64 - 8 * (length - length / 2)) |
         load<std::uint8_t>(bytes) << (64 - 8 * length);
}

// The terms of up to kShortBytes bytes at the end of the message. Lanes are counted from the end,
// so that only the first one can be partial; zeros in front of it change nothing.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline __m128i short_terms(const std::byte* bytes,
                                                                                std::size_t length) noexcept {
  __m128i sum = _mm_setzero_si128();
  const std::uint32_t* last = constant_at(0);
  for (; length >= 16; length -= 16, last -= 2) {
    const __m128i lane = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + length - 16));
    sum = _mm_xor_si128(sum, lane_terms(lane, lane_constants(last)));
  }
  if (length >= 8) {
    sum = _mm_xor_si128(sum, word_term(load<std::uint64_t>(bytes + length - 8), *last));
    length -= 8;
    --last;
  }
  if (length != 0) sum = _mm_xor_si128(sum, word_term(load_partial(bytes, length), *last));
  return sum;
}

// More than kShortBytes: four accumulators, each folded 64 bytes onward until fewer than 64 bytes
// are left. Then accumulators and rest are the words of one short message.
[[gnu::target("sse4.1,pclmul")]] std::uint32_t crc32_long(std::uint32_t seed, const std::byte* bytes,
                                                          std::size_t length) noexcept {
  constexpr FoldConstants kFold = fold_by(64);
  const __m128i fold = _mm_set_epi64x(static_cast<long long>(kFold.second), static_cast<long long>(kFold.first));
  const auto* lanes = reinterpret_cast<const __m128i*>(bytes);
  __m128i sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = _mm_loadu_si128(lanes + i);
  sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128(static_cast<int>(~seed)));
  for (length -= 64, lanes += 4; length >= 64; length -= 64, lanes += 4) {
    for (int i = 0; i < 4; ++i) {
      sums[i] = _mm_xor_si128(lane_terms(sums[i], fold), _mm_loadu_si128(lanes + i));
    }
  }
  __m128i sum = short_terms(reinterpret_cast<const std::byte*>(lanes), length);
  const std::uint32_t* last = constant_at(static_cast<std::ptrdiff_t>(length));
  for (int i = 0; i < 4; ++i) {
    sum = _mm_xor_si128(sum, lane_terms(sums[i], lane_constants(last - 2 * (3 - i))));
  }
  return reduce(sum);
}

[[gnu::target("sse4.1,pclmul")]] std::uint32_t crc32_pclmul(std::uint32_t seed, const void* data,
                                                            std::size_t length) noexcept {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (length > kShortBytes) return crc32_long(seed, bytes, length);
  // The seed is a word of 4 bytes whose value, unlike that of the message, is not multiplied by
  // x^32: it ends 4 bytes nearer to the end.
  const __m128i seed_term =
      word_term(std::uint64_t{~seed} << 32, *constant_at(static_cast<std::ptrdiff_t>(length) - 4));
  return reduce(_mm_xor_si128(seed_term, short_terms(bytes, length)));
}

[[gnu::target("sse4.1,pclmul")]] std::uint32_t words_pclmul(std::uint64_t word0, std::uint64_t word1,
                                                            std::uint64_t word2, const void* data,
                                                            std::size_t length) noexcept {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (length > kShortBytes) return crc32_long(reduce(header_terms(word0, word1, word2, 0)), bytes, length);
  return reduce(_mm_xor_si128(header_terms(word0, word1, word2, length), short_terms(bytes, length)));
}

}  // namespace

constinit const Crc32Path kCrc32Pclmul = {"pclmul", "x86-64 with SSE4.1 and PCLMULQDQ", &available, &crc32_pclmul,
                                          &words_pclmul};

}  // namespace hermes

#else

namespace hermes {
namespace {
bool available() noexcept { return false; }
}  // namespace

constinit const Crc32Path kCrc32Pclmul = {"pclmul", "x86-64 with SSE4.1 and PCLMULQDQ", &available, nullptr, nullptr};

}  // namespace hermes

#endif
