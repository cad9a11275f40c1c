#pragma once

namespace hermes {

/// Tells the processor that this is a waiting loop: it saves power and leaves the loop without a
/// memory-order penalty.
inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

}  // namespace hermes
