#include "core/log/cuts.h"

#include <algorithm>

namespace hermes {
namespace {

constexpr uint64_t kSalt = 0x48524D5350415245;

struct Cut {
  uint64_t number = 0;
  uint64_t sequence = 0;
};

/// A record that is being written, or is damaged, is taken for a cut at the very beginning: nothing is believed that could be wrong.
Cut load(const CutRecord& record) noexcept {
  // Acquire: what was cut off had gone before it was noted.
  const uint64_t check = record.check.load(std::memory_order_acquire);
  const Cut cut = {record.number.load(std::memory_order_relaxed), record.sequence.load(std::memory_order_relaxed)};
  if (check == 0 && cut.number == 0 && cut.sequence == 0) return {};
  return (cut.number ^ cut.sequence ^ kSalt) == check && cut.number != 0 ? cut : Cut{~uint64_t{0}, 1};
}

void store(CutRecord& record, const Cut& cut) noexcept {
  record.check.store(0, std::memory_order_relaxed);
  record.number.store(cut.number, std::memory_order_relaxed);
  record.sequence.store(cut.sequence, std::memory_order_relaxed);
  // Release: pairs with the acquire in load().
  record.check.store(cut.number == 0 ? 0 : cut.number ^ cut.sequence ^ kSalt, std::memory_order_release);
}

}  // namespace

void note_cut(ControlBlock& control, uint64_t sequence) noexcept {
  // In the order of their numbers, as they were written.
  Cut cuts[kCuts + 1];
  uint32_t count = 0;
  uint64_t newest = 0;
  bool damaged = false;
  for (const CutRecord& record : control.cuts) {
    const Cut cut = load(record);
    damaged = damaged || cut.number == ~uint64_t{0};
    if (cut.number == 0 || cut.number == ~uint64_t{0}) continue;
    newest = std::max(newest, cut.number);
    // A later and lower cut says all that an earlier and higher one does.
    if (cut.sequence < sequence) cuts[count++] = cut;
  }
  if (damaged) {
    count = 0;
    sequence = 1;
  }
  cuts[count++] = {newest + 1, sequence};
  if (count > kCuts) {
    // The two oldest become one, which says more than was the case. (Both are lower than this one.)
    cuts[1].sequence = std::min(cuts[0].sequence, cuts[1].sequence);
    for (uint32_t i = 1; i < count; ++i) cuts[i - 1] = cuts[i];
    --count;
  }
  for (uint32_t i = 0; i < kCuts; ++i) store(control.cuts[i], i < count ? cuts[i] : Cut{});
}

uint64_t newest_cut(const ControlBlock& control) noexcept {
  uint64_t newest = 0;
  for (const CutRecord& record : control.cuts) {
    const Cut cut = load(record);
    if (cut.number != ~uint64_t{0}) newest = std::max(newest, cut.number);
  }
  return newest;
}

uint64_t lowest_cut_after(const ControlBlock& control, uint64_t since) noexcept {
  uint64_t lowest = ~uint64_t{0};
  for (const CutRecord& record : control.cuts) {
    const Cut cut = load(record);
    if (cut.number > since) lowest = std::min(lowest, cut.sequence);
  }
  return lowest;
}

}  // namespace hermes
