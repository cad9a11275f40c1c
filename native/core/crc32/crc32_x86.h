#pragma once

// Steps that the two carry-less-multiply paths share. Included by their .cc files only.
//
// Source of the method: V. Gopal, E. Ozturk, J. Guilford, G. Wolrich, W. Feghali, M. Dixon, D.
// Karakoyunlu, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel,
// 2009. Differences from the paper: words are folded by their distance, all at once, rather than
// one onto the next, and the last reduction starts from 96 bits (crc32_constants.h says why that is
// right).

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/crc32/crc32_constants.h"

namespace hermes::crc32_detail {
namespace {

// The constants of the two words of a 16-byte lane that ends `distance` bytes before the end.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline __m128i lane_constants(const std::uint32_t* last) noexcept {
  return _mm_cvtepu32_epi64(_mm_loadu_si64(last - 1));
}

// The terms that a 16-byte lane adds to Y.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline __m128i lane_terms(__m128i lane,
                                                                               __m128i constants) noexcept {
  return _mm_xor_si128(_mm_clmulepi64_si128(lane, constants, 0x00), _mm_clmulepi64_si128(lane, constants, 0x11));
}

// The term that one word adds to Y.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline __m128i word_term(std::uint64_t word,
                                                                              std::uint32_t constant) noexcept {
  return _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(word)),
                              _mm_cvtsi32_si128(static_cast<int>(constant)), 0x00);
}

// The terms of a 24-byte header in front of `length` bytes. The initial inversion falls on its
// first 4 bytes.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline __m128i header_terms(std::uint64_t word0,
                                                                                 std::uint64_t word1,
                                                                                 std::uint64_t word2,
                                                                                 std::size_t length) noexcept {
  const std::uint32_t* last = constant_at(static_cast<std::ptrdiff_t>(length));
  const __m128i words12 =
      _mm_insert_epi64(_mm_cvtsi64_si128(static_cast<long long>(word1)), static_cast<long long>(word2), 1);
  return _mm_xor_si128(word_term(word0 ^ 0xFFFFFFFF, last[-2]), lane_terms(words12, lane_constants(last)));
}

// Y mod P, inverted: the CRC.
[[gnu::target("sse4.1,pclmul"), gnu::always_inline]] inline std::uint32_t reduce(__m128i sum) noexcept {
  const __m128i barrett =
      _mm_set_epi64x(static_cast<long long>(kBarrettPolynomial), static_cast<long long>(kBarrettQuotient));
  const __m128i quotient = _mm_clmulepi64_si128(sum, barrett, 0x00);
  const __m128i multiple = _mm_clmulepi64_si128(quotient, barrett, 0x10);
  return ~static_cast<std::uint32_t>(_mm_extract_epi32(_mm_xor_si128(sum, multiple), 2));
}

}  // namespace
}  // namespace hermes::crc32_detail

#endif
