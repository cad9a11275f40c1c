// Two threads, one ring: a producer of orders and a consumer that adds them up.

#include <cstdint>
#include <cstdio>
#include <thread>

#include "core/ring/idle.h"
#include "core/ring/ring_memory.h"
#include "core/ring/spsc_ring.h"

struct Order {
  uint64_t id;
  double price;
  uint32_t size;
};

int main() {
  constexpr uint64_t kOrders = 1'000'000;
  hermes::HeapRing<hermes::SpscRing<Order>> ring;
  if (ring.create(4096, {.parking = true}) != hermes::RingStatus::kOk) return 1;

  std::thread producer([view = *ring]() mutable {
    if (view.claim(hermes::RingRole::kProducer) != hermes::RingStatus::kOk) return;
    hermes::ParkIdle idle;  // spins a little, then sleeps
    for (uint64_t id = 0; id < kOrders; ++id) {
      if (view.push({id, 100.0, 3}, idle) != hermes::RingOp::kOk) return;
    }
    view.close(hermes::RingRole::kProducer);
  });

  if (ring->claim(hermes::RingRole::kConsumer) != hermes::RingStatus::kOk) return 1;
  hermes::ParkIdle idle;
  Order order;
  uint64_t count = 0, sizes = 0;
  while (ring->pop_wait(&order, idle) == hermes::RingOp::kOk) {  // kClosed at the end
    ++count;
    sizes += order.size;
  }
  producer.join();
  std::printf("%llu orders, %llu in all\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(sizes));
  return count == kOrders ? 0 : 1;
}
