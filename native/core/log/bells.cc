#include "core/log/bells.h"

#include <bit>

#include "core/platform/bell.h"

namespace hermes {
namespace {

constexpr uint64_t bit_of(uint32_t seat) noexcept { return uint64_t{1} << seat; }

}  // namespace

int take_bell_seat(ControlBlock& control, uint64_t name, uint64_t tag) noexcept {
  const auto take = [&](uint32_t seat, uint64_t from) {
    if (!control.bells[seat].name.compare_exchange_strong(from, name, std::memory_order_acq_rel)) return false;
    // Ordered before the bit that the owner sets when it first sleeps. A waker that had read the bit of the former owner rings with one's name and the
    // other's tag: that is a ring for nothing.
    control.bells[seat].tag.store(tag, std::memory_order_relaxed);
    control.bells_armed.fetch_and(~bit_of(seat), std::memory_order_acq_rel);
    return true;
  };
  for (uint32_t seat = 0; seat < kBellSeats; ++seat) {
    if (take(seat, 0)) return static_cast<int>(seat);
  }
  for (uint32_t seat = 0; seat < kBellSeats; ++seat) {
    const uint64_t there = control.bells[seat].name.load(std::memory_order_acquire);
    // (whom it concerns looks once for nothing)
    if (there != 0 && ring_bell(there, control.bells[seat].tag.load(std::memory_order_relaxed)) == Rung::kGone &&
        take(seat, there))
      return static_cast<int>(seat);
  }
  return -1;
}

void leave_bell_seat(ControlBlock& control, int seat, uint64_t name) noexcept {
  BellSeat& own = control.bells[seat];
  if (own.name.load(std::memory_order_acquire) != name) return;
  control.bells_armed.fetch_and(~bit_of(static_cast<uint32_t>(seat)), std::memory_order_acq_rel);
  own.name.compare_exchange_strong(name, 0, std::memory_order_acq_rel);
}

bool arm_bell(ControlBlock& control, int seat, uint64_t name) noexcept {
  if (control.bells[seat].name.load(std::memory_order_acquire) != name) return false;
  // Release: a waker that sees the bit sees whose it is.
  control.bells_armed.fetch_or(bit_of(static_cast<uint32_t>(seat)), std::memory_order_acq_rel);
  return true;
}

void ring_bells(ControlBlock& control) noexcept {
  if (control.bells_armed.load(std::memory_order_relaxed) == 0) return;
  // Acquire: pairs with arm_bell(). Each bit is taken by one waker. The owner arms before it makes `parked` odd, and a waker comes here after it has
  // seen `parked` odd: so either it finds the bit, or another waker has, and rings.
  uint64_t armed = control.bells_armed.exchange(0, std::memory_order_acq_rel);
  while (armed != 0) {
    const auto seat = static_cast<uint32_t>(std::countr_zero(armed));
    armed &= armed - 1;
    if (seat >= kBellSeats) break;
    uint64_t name = control.bells[seat].name.load(std::memory_order_acquire);
    if (name == 0) continue;
    if (ring_bell(name, control.bells[seat].tag.load(std::memory_order_relaxed)) == Rung::kGone) {
      // Its process is gone; or it lives where this one can't reach it, and then finds the seat lost, and sleeps in another way from now on.
      control.bells[seat].name.compare_exchange_strong(name, 0, std::memory_order_acq_rel);
    }
  }
}

}  // namespace hermes
