#pragma once

#include <cstdint>

#include "core/log/layout.h"

namespace hermes {

/// Gives the bell `name` a seat in the topic: who wakes its sleepers rings it, with `tag`, once for each arm_bell(). -1: all seats are taken by living
/// processes. A seat of a process that is gone is given to the next.
int take_bell_seat(ControlBlock& control, uint64_t name, uint64_t tag) noexcept;
/// REQUIRES: `seat` from take_bell_seat() with that name.
void leave_bell_seat(ControlBlock& control, int seat, uint64_t name) noexcept;
/// Announces that the owner is about to sleep. False: the seat was taken from it. The sleeper then makes `parked` odd, orders both before its next look at
/// the log by a heavy barrier, and looks.
bool arm_bell(ControlBlock& control, int seat, uint64_t name) noexcept;
/// Rings all that are armed: what wakes sleepers on `parked` calls it first. One load if there is none.
void ring_bells(ControlBlock& control) noexcept;

}  // namespace hermes
