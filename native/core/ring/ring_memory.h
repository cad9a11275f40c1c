#pragma once

#include <cstddef>
#include <cstdlib>
#include <utility>

#include "core/ring/ring_layout.h"

namespace hermes {

/// A ring in heap memory of its own, for threads of one process.
///
///   HeapRing<SpscRing<Order>> orders;
///   if (orders.create(1024) != RingStatus::kOk) …
///   orders->try_push(order);
///
/// Thread safety: create and destroy while no other thread uses the ring.
template <class Ring>
class HeapRing {
 public:
  HeapRing() = default;
  HeapRing(HeapRing&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        ring_(std::exchange(other.ring_, Ring())) {}
  HeapRing& operator=(HeapRing&& other) noexcept {
    if (this != &other) {
      std::free(memory_);
      memory_ = std::exchange(other.memory_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      ring_ = std::exchange(other.ring_, Ring());
    }
    return *this;
  }
  HeapRing(const HeapRing&) = delete;
  HeapRing& operator=(const HeapRing&) = delete;
  ~HeapRing() { std::free(memory_); }

  RingStatus create(uint32_t capacity, const RingOptions& options = {}) noexcept {
    const uint64_t bytes = Ring::required_bytes(capacity);
    void* memory = std::aligned_alloc(kRingLine, bytes);
    if (memory == nullptr) return RingStatus::kTooSmall;
    Ring ring;
    const RingStatus status = Ring::create(memory, bytes, capacity, &ring, options);
    if (status != RingStatus::kOk) {
      std::free(memory);
      return status;
    }
    std::free(memory_);
    memory_ = memory;
    bytes_ = bytes;
    ring_ = ring;
    return status;
  }

  Ring& operator*() noexcept { return ring_; }
  Ring* operator->() noexcept { return &ring_; }
  void* memory() const noexcept { return memory_; }
  size_t bytes() const noexcept { return bytes_; }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  Ring ring_;
};

}  // namespace hermes
