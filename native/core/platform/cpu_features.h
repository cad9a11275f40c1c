#pragma once

namespace hermes {

// What the processor offers and the operating system lets programs use. Thread safety: asked of the
// hardware once, when first needed; safe from any thread.
struct CpuFeatures {
  // x86-64
  bool pclmul = false;      // SSE4.1 and PCLMULQDQ
  bool vpclmul512 = false;  // AVX-512 F, BW, VL with VPCLMULQDQ, and the system saves the 512-bit registers
  // AArch64
  bool arm_crc32 = false;  // the CRC32 instructions
};

[[nodiscard]] const CpuFeatures& cpu_features() noexcept;

}  // namespace hermes
