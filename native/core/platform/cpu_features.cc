#include "core/platform/cpu_features.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>

#include <cstdint>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace hermes {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)

// Which register sets the system saves and restores. Only allowed where CPUID reports OSXSAVE.
std::uint64_t read_xcr0() noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

CpuFeatures detect() noexcept {
  constexpr std::uint32_t kLeaf1Pclmul = 1u << 1;
  constexpr std::uint32_t kLeaf1Sse41 = 1u << 19;
  constexpr std::uint32_t kLeaf1Osxsave = 1u << 27;
  constexpr std::uint32_t kLeaf7EbxAvx512F = 1u << 16;
  constexpr std::uint32_t kLeaf7EbxAvx512Bw = 1u << 30;
  constexpr std::uint32_t kLeaf7EbxAvx512Vl = 1u << 31;
  constexpr std::uint32_t kLeaf7EcxVpclmul = 1u << 10;
  constexpr std::uint64_t kXcr0Avx512 = 0xE6;  // SSE, AVX, and the three parts of AVX-512

  CpuFeatures features;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return features;
  features.pclmul = (ecx & kLeaf1Pclmul) != 0 && (ecx & kLeaf1Sse41) != 0;

  const bool wide_registers = (ecx & kLeaf1Osxsave) != 0 && (read_xcr0() & kXcr0Avx512) == kXcr0Avx512;
  if (!wide_registers || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return features;
  constexpr std::uint32_t kLeaf7Ebx = kLeaf7EbxAvx512F | kLeaf7EbxAvx512Bw | kLeaf7EbxAvx512Vl;
  features.vpclmul512 = features.pclmul && (ebx & kLeaf7Ebx) == kLeaf7Ebx && (ecx & kLeaf7EcxVpclmul) != 0;
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect() noexcept {
  CpuFeatures features;
  features.arm_crc32 = (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
  return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

CpuFeatures detect() noexcept {
  CpuFeatures features;
  features.arm_crc32 = true;  // every 64-bit Mac: ARMv8.1 made the instructions mandatory
  return features;
}

#else

CpuFeatures detect() noexcept { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures kFeatures = detect();
  return kFeatures;
}

}  // namespace hermes
