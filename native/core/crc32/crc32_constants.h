#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// Every constant of the CRC-32 paths, computed at compile time from the polynomial.
//
// Notation. Polynomials over GF(2), P = x^32 + x^26 + ... + 1. "Reflected" means that the lowest
// bit of a word is the coefficient of its highest power: bit i of a 32-bit word is the coefficient
// of x^(31-i), bit i of a 64-bit word that of x^(63-i). This is the order in which bytes in memory
// hold a message. With M the message (the first 32 bits inverted), the CRC is the inverse of M *
// x^32 mod P.

namespace hermes::crc32_detail {

inline constexpr std::uint32_t kPolynomial = 0xEDB88320;  // P without x^32, reflected

// a * x mod P
[[nodiscard]] constexpr std::uint32_t times_x(std::uint32_t a) noexcept {
  return (a >> 1) ^ ((a & 1) != 0 ? kPolynomial : 0);
}

// a * b mod P
[[nodiscard]] constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) noexcept {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 0x80000000; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = times_x(b);
  }
  return product;
}

// x^(2^k) mod P for k = 0..31. P is primitive, so the powers of x repeat after 2^32 - 1 and
// x^(2^32) = x.
inline constexpr std::array<std::uint32_t, 32> kSquares = [] {
  std::array<std::uint32_t, 32> squares{};
  squares[0] = 0x40000000;  // x
  for (std::size_t k = 1; k < squares.size(); ++k) squares[k] = multiply(squares[k - 1], squares[k - 1]);
  return squares;
}();
static_assert(multiply(kSquares[31], kSquares[31]) == kSquares[0]);

// x^n mod P
[[nodiscard]] constexpr std::uint32_t x_to(std::uint64_t n) noexcept {
  std::uint32_t power = 0x80000000;  // 1
  for (std::size_t k = 0; n != 0; n >>= 1, k = (k + 1) % kSquares.size()) {
    if ((n & 1) != 0) power = multiply(power, kSquares[k]);
  }
  return power;
}

// x^(8 * bytes) mod P, for any number of bytes
[[nodiscard]] constexpr std::uint32_t x_to_bytes(std::uint64_t bytes) noexcept { return x_to(bytes % 0xFFFFFFFF * 8); }

// Slicing tables (Kounavis and Berry, "A systematic approach to building high performance
// software-based CRC generators", 2005): entry [n][b] is the CRC register that the byte b leaves
// after n zero bytes.
using SlicingTables = std::array<std::array<std::uint32_t, 256>, 16>;
inline constexpr SlicingTables kSlicing = [] {
  SlicingTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
    tables[0][byte] = crc;
  }
  for (std::size_t n = 1; n < tables.size(); ++n) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[n - 1][byte];
      tables[n][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}();

// Folding constants by distance, for carry-less multiplication.
//
// The product of two reflected 64-bit words, bit i + j for bits i and j, is a 128-bit reflected
// value one place short: read as 128 bits it stands for a * b * x. A 32-bit constant k in the low
// half of a 64-bit word stands for k * x^32. So clmul(a, k) stands for a * k * x^33. A word `a`
// that ends d bytes before the end of the message adds a * x^(8d + 32) to M * x^32. With k = x^(8d
// + 31) mod P,
//
//   clmul(a, k) = a * k * x^33 = (a * x^(8d + 32)) * x^32   (mod P)
//
// Every word of a message, whatever its distance, thus becomes a term of one sum Y * x^32, where Y
// has 96 bits and is congruent to M * x^32. No term waits for another; reduce() (crc32_x86.h) takes
// Y to the CRC in two multiplications. The constants that fold a 128-bit accumulator D bytes onward
// are of the same family: a * x^(8D) = clmul(a, k) with k = x^(8D - 33) for the second word, and 8
// bytes more for the first.
//
// The table holds x^(8m - 1) for m = d + 4 = 0..511, in one row for each m mod 8 and with m falling
// along the row: a vector load yields the constants of neighbouring words of a message, in the
// order in which memory holds them.
inline constexpr std::size_t kDistanceColumns = 64;
inline constexpr std::size_t kMaxDistance = 8 * kDistanceColumns - 1 - 4;
struct DistanceTable {
  alignas(64) std::array<std::array<std::uint32_t, kDistanceColumns>, 8> rows;
};
inline constexpr DistanceTable kDistances = [] {
  DistanceTable table{};
  std::uint32_t power = x_to(0xFFFFFFFE);  // x^-1
  for (std::size_t m = 0; m < 8 * kDistanceColumns; ++m) {
    table.rows[m % 8][kDistanceColumns - 1 - m / 8] = power;
    for (int bit = 0; bit < 8; ++bit) power = times_x(power);
  }
  return table;
}();

// The constant of the word that ends `distance` bytes before the end of the message, -4 <= distance
// <= kMaxDistance. The n words before it have theirs in the n entries before this one.
[[nodiscard]] inline const std::uint32_t* constant_at(std::ptrdiff_t distance) noexcept {
  const auto m = static_cast<std::size_t>(distance + 4);
  return &kDistances.rows[m % 8][kDistanceColumns - 1 - m / 8];
}

// The two constants that fold a 128-bit accumulator `bytes` onward: {first word, second word}.
struct FoldConstants {
  std::uint64_t first;
  std::uint64_t second;
};
[[nodiscard]] constexpr FoldConstants fold_by(std::uint64_t bytes) noexcept {
  return {x_to(8 * bytes + 64 - 33), x_to(8 * bytes - 33)};
}

// Barrett reduction of a 96-bit polynomial: the quotient by P is the high part of (high 64 bits) *
// floor(x^96 / P). Both constants below are reflected with bit 0 as the coefficient of the leading
// power (x^64 and x^32), which makes the product of a 64-bit word with them come out in place. The
// 65th bit of the first one can't reach the quotient.
inline constexpr std::uint64_t kBarrettQuotient = [] {
  // Long division of x^96 by P. `rest` is the remainder so far without the power about to be
  // divided out.
  std::uint64_t quotient = 1;        // the coefficient of x^64
  std::uint32_t rest = kPolynomial;  // x^32 mod P
  for (int i = 1; i < 64; ++i) {
    const bool divides = (rest & 1) != 0;  // the coefficient of x^31, about to become x^32
    if (divides) quotient |= std::uint64_t{1} << i;
    rest = times_x(rest);
  }
  return quotient;
}();
inline constexpr std::uint64_t kBarrettPolynomial = std::uint64_t{kPolynomial} << 1 | 1;

}  // namespace hermes::crc32_detail
