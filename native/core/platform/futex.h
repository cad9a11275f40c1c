#pragma once

#include <atomic>
#include <cstdint>

namespace hermes {

enum class [[nodiscard]] WaitResult : uint8_t { kWoken, kTimedOut };

/// Sleeps while `*word == expected`, for `timeout_ns` at most. May wake without cause. The word may lie in shared memory.
WaitResult futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, uint64_t timeout_ns) noexcept;
/// A word and the value that it is slept on for.
struct Watched {
  const std::atomic<uint32_t>* word;
  uint32_t expected;
};

/// How many words one thread can sleep on at once.
inline constexpr uint32_t kMaxWatched = 128;

/// Whether this kernel, and what confines this process, allows futex_wait_any (Linux 5.16).
bool can_wait_any() noexcept;
/// Sleeps while each of the `count` words holds what is expected of it, until `until_ns` of the monotonic clock at most. May wake without
/// cause. REQUIRES: can_wait_any(), count from 1 to kMaxWatched.
void futex_wait_any(const Watched* watched, uint32_t count, uint64_t until_ns) noexcept;
/// Wakes everyone who sleeps on `word`.
void futex_wake_all(const std::atomic<uint32_t>* word) noexcept;

/// Asymmetric fences (membarrier(2)). A process that registered needs no full fence between its stores and its next
/// loads towards a process that calls `heavy_barrier` between its own: the kernel runs the fence on every running thread of the
/// registered processes. So the sleeper pays, and the publisher's hot path has no fence.
bool register_for_heavy_barriers() noexcept;  ///< false: this process must fence by itself
bool heavy_barrier() noexcept;                ///< false: the caller must not rely on it, and poll instead

}  // namespace hermes
