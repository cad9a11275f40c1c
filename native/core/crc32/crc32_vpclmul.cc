#include "core/crc32/crc32.h"
#include "core/crc32/crc32_x86.h"
#include "core/platform/cpu_features.h"

#if defined(__x86_64__) && defined(__GNUC__)

#define HERMES_TARGET_VPCLMUL "avx512f,avx512bw,avx512vl,vpclmulqdq,sse4.1,pclmul"

namespace hermes {
namespace {

using namespace crc32_detail;  // NOLINT(google-build-using-namespace): the internals of this very
                               // module

// Zero-masking forms with full masks stand below where plain forms would do: GCC 12 warns of
// uninitialised values inside its own header for the plain ones (its bug 105593). The code that
// comes out is the same.

constexpr std::size_t kBlockBytes = 64;
constexpr std::size_t kShortBytes = 4 * kBlockBytes;

bool available() noexcept { return cpu_features().vpclmul512; }

// The constants of the eight words of a 64-byte block.
[[gnu::target(HERMES_TARGET_VPCLMUL), gnu::always_inline]] inline __m512i block_constants(
    const std::uint32_t* last) noexcept {
  return _mm512_maskz_cvtepu32_epi64(0xFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(last - 7)));
}

// sum ^ the terms that a 64-byte block adds to Y.
[[gnu::target(HERMES_TARGET_VPCLMUL), gnu::always_inline]] inline __m512i add_terms(__m512i sum, __m512i block,
                                                                                    __m512i constants) noexcept {
  constexpr int kXor3 = 0x96;
  return _mm512_ternarylogic_epi64(sum, _mm512_clmulepi64_epi128(block, constants, 0x00),
                                   _mm512_clmulepi64_epi128(block, constants, 0x11), kXor3);
}

[[gnu::target(HERMES_TARGET_VPCLMUL), gnu::always_inline]] inline __m128i join(__m512i sum) noexcept {
  const __m256i half =
      _mm256_xor_si256(_mm512_maskz_extracti64x4_epi64(0xF, sum, 0), _mm512_maskz_extracti64x4_epi64(0xF, sum, 1));
  return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// sum ^ the terms of up to kShortBytes bytes at the end of the message. Blocks are counted from the
// end, so that only the first one can be partial. It is loaded under a mask: bytes in front of the
// message are neither read nor able to fault, and zeros take their place.
[[gnu::target(HERMES_TARGET_VPCLMUL), gnu::always_inline]] inline __m512i add_short(__m512i sum, const std::byte* bytes,
                                                                                    std::size_t length) noexcept {
  const std::uint32_t* last = constant_at(0);
  for (; length >= kBlockBytes; length -= kBlockBytes, last -= 8) {
    sum = add_terms(sum, _mm512_loadu_si512(bytes + length - kBlockBytes), block_constants(last));
  }
  if (length == 0) return sum;
  const __mmask64 mask = ~std::uint64_t{0} << (kBlockBytes - length);
  // Through an integer: a pointer before the start of an object must not even be computed.
  const auto* start = reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(bytes) + length - kBlockBytes);
  return add_terms(sum, _mm512_maskz_loadu_epi8(mask, start), block_constants(last));
}

// More than kShortBytes: four accumulators, each folded 256 bytes onward until fewer than 256 bytes
// are left. Then accumulators and rest are the words of one short message.
[[gnu::target(HERMES_TARGET_VPCLMUL)]] std::uint32_t crc32_long(std::uint32_t seed, const std::byte* bytes,
                                                                std::size_t length) noexcept {
  constexpr FoldConstants kFold = fold_by(kShortBytes);
  const __m512i fold = _mm512_maskz_broadcast_i32x4(
      0xFFFF, _mm_set_epi64x(static_cast<long long>(kFold.second), static_cast<long long>(kFold.first)));
  __m512i sums[4];
  for (std::size_t i = 0; i < 4; ++i) sums[i] = _mm512_loadu_si512(bytes + i * kBlockBytes);
  sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(~seed))));
  for (length -= kShortBytes, bytes += kShortBytes; length >= kShortBytes;
       length -= kShortBytes, bytes += kShortBytes) {
    for (std::size_t i = 0; i < 4; ++i) {
      sums[i] = add_terms(_mm512_loadu_si512(bytes + i * kBlockBytes), sums[i], fold);
    }
  }
  __m512i sum = add_short(_mm512_setzero_si512(), bytes, length);
  const std::uint32_t* last = constant_at(static_cast<std::ptrdiff_t>(length));
  for (int i = 0; i < 4; ++i) sum = add_terms(sum, sums[i], block_constants(last - 8 * (3 - i)));
  return reduce(join(sum));
}

[[gnu::target(HERMES_TARGET_VPCLMUL)]] std::uint32_t crc32_vpclmul(std::uint32_t seed, const void* data,
                                                                   std::size_t length) noexcept {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (length > kShortBytes) return crc32_long(seed, bytes, length);
  // The seed is a word of 4 bytes whose value, unlike that of the message, is not multiplied by
  // x^32: it ends 4 bytes nearer to the end.
  const __m128i seed_term =
      word_term(std::uint64_t{~seed} << 32, *constant_at(static_cast<std::ptrdiff_t>(length) - 4));
  return reduce(join(add_short(_mm512_zextsi128_si512(seed_term), bytes, length)));
}

[[gnu::target(HERMES_TARGET_VPCLMUL)]] std::uint32_t words_vpclmul(std::uint64_t word0, std::uint64_t word1,
                                                                   std::uint64_t word2, const void* data,
                                                                   std::size_t length) noexcept {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (length > kShortBytes) return crc32_long(reduce(header_terms(word0, word1, word2, 0)), bytes, length);
  const __m128i header = header_terms(word0, word1, word2, length);
  return reduce(join(add_short(_mm512_zextsi128_si512(header), bytes, length)));
}

}  // namespace

constinit const Crc32Path kCrc32Vpclmul = {"vpclmul512", "x86-64 with AVX-512 (F, BW, VL) and VPCLMULQDQ", &available,
                                           &crc32_vpclmul, &words_vpclmul};

}  // namespace hermes

#else

namespace hermes {
namespace {
bool available() noexcept { return false; }
}  // namespace

constinit const Crc32Path kCrc32Vpclmul = {"vpclmul512", "x86-64 with AVX-512 (F, BW, VL) and VPCLMULQDQ", &available,
                                           nullptr, nullptr};

}  // namespace hermes

#endif
