// What people are told of a group.

#include <cstring>

#include "core/group/group_file.h"
#include "core/platform/clock.h"

namespace hermes {

Status Group::describe(GroupReport* out) {
  *out = {};
  const GroupBlock& b = block();
  Status status = end_of_log(*log_, &out->end);
  if (!status.ok()) return status;
  out->kind = kind_;
  out->window = window_;
  out->up_to_synced = up_to_synced_;
  out->created_ms = b.created_ns / 1'000'000;
  const uint64_t raw = b.floor.load(std::memory_order_acquire);
  out->floor = raw & kSequenceMask;
  out->next = kind_ == GroupKind::kDurable ? out->floor : b.next.load(std::memory_order_acquire);
  uint32_t active = kind_ == GroupKind::kDurable ? owner_of(raw) : 0;
  if (kind_ == GroupKind::kExclusive) active = unpack_turn(b.turn.load(std::memory_order_acquire)).owner;
  uint64_t oldest_of[kMemberSlots] = {};
  if (window_ > 0) {
    if (!load_span(&out->floor, &out->next)) return group_damaged(path_);
    for (uint64_t s = out->floor; s < out->next; ++s) {
      const uint64_t word = entry(s).word.load(std::memory_order_acquire);
      if (!belongs(word, lap(s))) continue;
      const EntryWord e = unpack(word);
      out->claimed += e.state == EntryState::kClaimed ? 1 : 0;
      out->returned += e.state == EntryState::kReturned ? 1 : 0;
      out->delayed += e.state == EntryState::kDelayed ? 1 : 0;
      if (e.state == EntryState::kClaimed && oldest_of[e.member] == 0) oldest_of[e.member] = s;
      if (s != out->floor) continue;
      const Place place = unpack_place(entry(s).place.load(std::memory_order_relaxed));
      out->oldest_state = e.state;
      out->oldest_member = e.member;
      out->oldest_deliveries = e.deliveries;
      out->oldest_bucket = place.lap == (lap(s) & 0x3FF) ? place.bucket : 0;
    }
  }
  out->settled_total = b.totals.settled.load(std::memory_order_relaxed);
  out->redelivered = b.totals.redelivered.load(std::memory_order_relaxed);
  out->late = b.totals.late.load(std::memory_order_relaxed);
  out->rejected = b.totals.rejected.load(std::memory_order_relaxed);
  out->lost = b.totals.lost.load(std::memory_order_relaxed);
  out->taken = b.totals.taken.load(std::memory_order_relaxed);
  out->cut = b.totals.cut.load(std::memory_order_relaxed);
  out->rules = rules();
  out->settings = settings();
  const uint64_t now = monotonic_ns();
  for (uint32_t slot = 0; slot < kMemberSlots; ++slot) {
    const Condition is = condition(slot, now);
    if (is == Condition::kFree) continue;
    const MemberSlot& m = b.slots[slot];
    MemberReport report;
    report.slot = slot;
    report.pid = m.pid.load(std::memory_order_relaxed);
    char name[kMemberNameBytes + 1] = {};
    for (uint32_t i = 0; i < kMemberNameBytes / 8; ++i) {
      const uint64_t part = m.name[i].load(std::memory_order_relaxed);
      std::memcpy(name + i * 8, &part, sizeof part);
    }
    report.name = name;
    report.taken_ms = m.taken_ns.load(std::memory_order_relaxed) / 1'000'000;
    report.alive = is != Condition::kDead;
    report.late = is == Condition::kLate;
    report.active = active == slot + 1;
    report.in_flight = m.in_flight.load(std::memory_order_relaxed);
    report.oldest = oldest_of[slot];
    report.claimed = m.claimed.load(std::memory_order_relaxed);
    report.settled = m.settled.load(std::memory_order_relaxed);
    out->members.push_back(std::move(report));
  }
  return status;
}

}  // namespace hermes
