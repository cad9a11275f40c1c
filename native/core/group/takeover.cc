// Who notices that members are dead or late, and returns what they hold.

#include <algorithm>
#include <bitset>

#include "core/group/group.h"
#include "core/log/crash_point.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Between two looks of all processes together.
constexpr uint64_t kLookNs = 50'000'000;
/// Between two looks at every entry, although no member is known to be dead or late: of one process.
constexpr uint64_t kDeepLookNs = 2'000'000'000;
/// So many looks in a row that the membership lock was refused, until it is done without: its holder is stopped.
constexpr uint32_t kRefusals = 10;

}  // namespace

Group::Condition Group::condition(uint32_t slot, uint64_t now_ns) const {
  const MemberSlot& member = block().slots[slot];
  // Acquire: pairs with the release of who takes the slot; the lock and the lease were there before.
  if (member.state.load(std::memory_order_acquire) != 1) return Condition::kFree;
  bool held = true;
  // Where the kernel does not tell, a member counts as alive, and its lease decides.
  if (locks_.is_held(kMemberByte + slot, &held).ok() && !held) return Condition::kDead;
  return member.lease_ns.load(std::memory_order_relaxed) < now_ns ? Condition::kLate : Condition::kAlive;
}

bool Group::look(uint64_t now_ns) {
  std::atomic<uint64_t>& looked = block().looked_ns;
  uint64_t seen = looked.load(std::memory_order_relaxed);
  // (A time to come is damage, or of another boot.)
  if (now_ns - seen < kLookNs || !looked.compare_exchange_strong(seen, now_ns, std::memory_order_relaxed)) return false;
  return look_now(now_ns);
}

bool Group::look_now(uint64_t now_ns) {
  MembershipLock lock(*this);
  const Status status = lock.try_acquire();
  if (status.ok()) {
    refused_looks_.store(0, std::memory_order_relaxed);
    return take_over(now_ns, true);
  }
  if (status.code != Code::kBusy || refused_looks_.fetch_add(1, std::memory_order_relaxed) < kRefusals) return false;
  return take_over(now_ns, false);
}

/// With the lock, a slot that is found dead or free stays so until it's over. Without, a member may just be taking it, and loses what is returned here.
bool Group::take_over(uint64_t now_ns, bool locked) {
  GroupBlock& b = block();
  std::bitset<kMemberSlots> gone;
  std::bitset<kMemberSlots> dead;
  for (uint32_t slot = 0; slot < kMemberSlots; ++slot) {
    const Condition is = condition(slot, now_ns);
    dead[slot] = is == Condition::kDead;
    gone[slot] = is == Condition::kDead || is == Condition::kLate;
  }
  const uint64_t deep = deep_look_ns_.load(std::memory_order_relaxed);
  const bool is_deep = gone.any() || now_ns - deep >= kDeepLookNs;
  if (!is_deep) return false;
  deep_look_ns_.store(now_ns, std::memory_order_relaxed);
  if (locked) {
    // An entry that names a free slot is damage, or one that was left by a close that failed half-way.
    for (uint32_t slot = 0; slot < kMemberSlots; ++slot)
      gone[slot] = gone[slot] || b.slots[slot].state.load(std::memory_order_acquire) != 1;
  }

  // Whose turn it is no more can't claim any longer: first, so that nothing is taken anew from what is returned below.
  uint64_t turn = b.turn.load(std::memory_order_seq_cst);
  const Turn held = unpack_turn(turn);
  const bool is_gone = held.owner > kMemberSlots || (held.owner != 0 && gone[held.owner - 1]);
  bool changed =
      is_gone && b.turn.compare_exchange_strong(turn, pack(Turn{0, held.ticket + 1}), std::memory_order_seq_cst);
  if (kind_ == GroupKind::kDurable) {
    uint64_t floor = b.floor.load(std::memory_order_seq_cst);
    const uint32_t owner = owner_of(floor);
    const bool leave = owner > kMemberSlots || (owner != 0 && gone[owner - 1]);
    changed =
        (leave && b.floor.compare_exchange_strong(floor, owned_floor(0, floor), std::memory_order_seq_cst)) || changed;
  }

  uint64_t floor = 0;
  uint64_t next = 0;
  uint64_t low = ~uint64_t{0};
  uint64_t high = 0;
  uint64_t taken = 0;
  if (window_ > 0 && load_span(&floor, &next)) {
    for (uint64_t s = floor; s < next; ++s) {
      std::atomic<uint64_t>& word = entry(s).word;
      uint64_t seen = word.load(std::memory_order_seq_cst);
      EntryWord e = unpack(seen);
      if (!belongs(seen, lap(s))) {
        // It was not entered: the member that took it from `next` has died, or is late and then learns that it has lost it.
        // If `floor` has passed it meanwhile, what was seen may be the word of a later lap.
        if (b.floor.load(std::memory_order_acquire) > s) continue;
        e = {EntryState::kReturned, 0, 0, lap(s), 0};
      } else if (e.state == EntryState::kClaimed && gone[e.member]) {
        e = {EntryState::kReturned, 0, e.deliveries, e.lap, 0};
      } else {
        if (e.state == EntryState::kDelayed) (void)note_due(e.number);
        if (e.state == EntryState::kReturned) {
          // Known already, unless who took the note has died.
          low = std::min(low, s);
          high = s + 1;
        }
        continue;
      }
      if (!word.compare_exchange_strong(seen, pack(e), std::memory_order_seq_cst)) continue;
      crash_point("group:taken");
      ++taken;
      low = std::min(low, s);
      high = s + 1;
    }
  }
  if (high > 0) note_returned(low, high);
  if (taken > 0) b.totals.taken.fetch_add(taken, std::memory_order_relaxed);
  if (window_ > 0) raise_floor_if_settled();
  crash_point("group:buried");
  for (uint32_t slot = 0; locked && slot < kMemberSlots; ++slot) {
    if (!dead[slot]) continue;
    b.slots[slot].in_flight.store(0, std::memory_order_relaxed);
    // Release: who takes the slot finds nothing of the one before.
    b.slots[slot].state.store(0, std::memory_order_release);
  }
  changed = changed || high > 0;
  if (changed) wake();
  return changed;
}

}  // namespace hermes
