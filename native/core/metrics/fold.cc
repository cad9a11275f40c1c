// How a cell whose owner is gone is added to its series, exactly once: see "Folding" in docs/metrics-format.md.

#include <algorithm>
#include <bit>

#include "core/metrics/book.h"
#include "core/metrics/claim_fate.h"

namespace hermes {
namespace {

constexpr uint64_t kSalt = 0x48524D5350415245;
constexpr uint32_t kWideTotals = kWideCounters + kBucketsPerHistogram;

uint32_t totals_of(bool wide) noexcept { return wide ? kWideTotals : kPubTotals; }

/// The total that word `i` of a tally goes to.
std::atomic<uint64_t>& total(SeriesEntry& entry, bool wide, uint32_t i) noexcept {
  if (!wide) return entry.publishers[i];
  return i < kWideCounters ? entry.counters[i] : entry.histogram[i - kWideCounters];
}

/// Words of brokers are doubles, as JavaScript counts.
uint64_t sum(uint64_t a, uint64_t b, bool doubles) noexcept {
  if (!doubles) return a + b;
  return std::bit_cast<uint64_t>(std::bit_cast<double>(a) + std::bit_cast<double>(b));
}

uint64_t check_of(bool wide, uint32_t cell, uint32_t series, const uint64_t* words) noexcept {
  uint64_t check = kSalt ^ (wide ? 2 : 1) ^ uint64_t { cell } << 8 ^ uint64_t { series } << 40;
  for (uint32_t i = 0; i < totals_of(wide); ++i) check = std::rotl(check, 1) ^ words[i];
  return check;
}

}  // namespace

/// What a cell counts. `dead`: its owner did not leave in order.
Status MetricsFile::tally(bool wide, uint32_t index, bool dead, Tally* out) const {
  if (wide) {
    const WideCell& cell = block().wide[index];
    for (uint32_t i = 0; i < kWideCounters; ++i) out->words[i] = cell.counters[i].load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < kBucketsPerHistogram; ++i)
      out->words[kWideCounters + i] = cell.histogram[i].load(std::memory_order_relaxed);
    return Status::success();
  }
  const NarrowCell& cell = block().narrow[index];
  for (;;) {
    // Acquire: who sees a count of messages sees the bytes and the place that go with it.
    const uint64_t a = cell.records[0].messages.load(std::memory_order_acquire);
    const uint64_t b = cell.records[1].messages.load(std::memory_order_acquire);
    uint32_t newer = b > a ? 1 : 0;
    const uint64_t messages = b > a ? b : a;
    if (dead && messages != 0) {
      ClaimFate fate;
      const uint32_t series = cell.head.series.load(std::memory_order_relaxed);
      const std::string topic = series < kMetricsSeries ? topic_of(series) : std::string();
      const uint64_t place = cell.records[newer].place.load(std::memory_order_relaxed);
      // `other` does not keep which topic it was.
      Status status = topic.empty() ? Status::success() : fate_of_claim(root_ + "/topics/" + topic, place, &fate);
      if (!status.ok()) return status;
      if (!topic.empty() && fate == ClaimFate::kVoid) newer ^= 1;
    }
    const PublisherRecord& record = cell.records[newer];
    out->words[kPubMessages] = record.messages.load(std::memory_order_acquire);
    out->words[kPubBytes] = record.bytes.load(std::memory_order_acquire);
    out->words[kPubWaits] = cell.waits.load(std::memory_order_relaxed);
    out->words[kPubFailures] = cell.failures.load(std::memory_order_acquire);
    // The owner may have written this record anew meanwhile, if it is there.
    if (dead || record.messages.load(std::memory_order_acquire) == out->words[kPubMessages]) return Status::success();
  }
}

/// REQUIRES: the book lock, and no owner stores to the cell any more.
Status MetricsFile::fold_cell(bool wide, uint32_t index, bool dead) {
  MetricsBlock& b = block();
  CellHead& h = head(wide, index);
  const uint32_t series = h.series.load(std::memory_order_relaxed);
  const auto free = static_cast<uint32_t>(CellState::kFree);
  const uint32_t used = std::min(b.series_used.load(std::memory_order_relaxed), kMetricsSeries);
  if (series >= used) {  // damaged
    h.state.store(free, std::memory_order_release);
    return Status::success();
  }
  Tally counted;
  Status status = tally(wide, index, dead, &counted);
  // What can't be found out now is found out later: until then the cell counts as it stands there.
  if (!status.ok()) return status;
  const bool doubles =
      wide && b.wide[index].kind.load(std::memory_order_relaxed) == static_cast<uint32_t>(WideKind::kBroker);
  SeriesEntry& entry = b.series[series];
  for (uint32_t i = 0; i < totals_of(wide); ++i) {
    counted.words[i] = sum(total(entry, wide, i).load(std::memory_order_relaxed), counted.words[i], doubles);
  }
  FoldIntent& intent = b.intent;
  intent.kind.store(wide ? 2 : 1, std::memory_order_relaxed);
  intent.cell.store(index, std::memory_order_relaxed);
  intent.series.store(series, std::memory_order_relaxed);
  for (uint32_t i = 0; i < totals_of(wide); ++i) intent.totals[i].store(counted.words[i], std::memory_order_relaxed);
  intent.check.store(check_of(wide, index, series, counted.words), std::memory_order_relaxed);
  crash_point("metrics:arming");
  // Release: a process that sees it armed sees what is to be stored. From here on the fold will be completed, by this process or another.
  intent.armed.store(1, std::memory_order_release);
  crash_point("metrics:armed");
  finish_intent();
  return status;
}

bool MetricsFile::load_intent(bool* wide, uint32_t* cell, uint32_t* series, Tally* out) const noexcept {
  const FoldIntent& intent = block().intent;
  if (intent.armed.load(std::memory_order_acquire) != 1) return false;
  const uint32_t kind = intent.kind.load(std::memory_order_relaxed);
  *wide = kind == 2;
  *cell = intent.cell.load(std::memory_order_relaxed);
  *series = intent.series.load(std::memory_order_relaxed);
  if ((kind != 1 && kind != 2) || *cell >= (*wide ? kWideCells : kNarrowCells) || *series >= kMetricsSeries)
    return false;
  for (uint32_t i = 0; i < totals_of(*wide); ++i) out->words[i] = intent.totals[i].load(std::memory_order_relaxed);
  return check_of(*wide, *cell, *series, out->words) == intent.check.load(std::memory_order_acquire);
}

/// Does what the armed intent says, as often as it is called: the values are those that the totals will have, not what is added to them.
/// REQUIRES: the book lock.
void MetricsFile::finish_intent() noexcept {
  MetricsBlock& b = block();
  FoldIntent& intent = b.intent;
  const uint64_t generation = b.generation.load(std::memory_order_relaxed);
  if (intent.armed.load(std::memory_order_acquire) == 0) {
    if ((generation & 1) != 0) b.generation.store(generation + 1, std::memory_order_release);
    return;
  }
  bool wide = false;
  uint32_t cell = 0;
  uint32_t series = 0;
  Tally totals;
  if (load_intent(&wide, &cell, &series, &totals)) {
    b.generation.store(generation | 1, std::memory_order_relaxed);
    // Release, each: who sees one of them sees the generation odd.
    for (uint32_t i = 0; i < totals_of(wide); ++i) {
      total(b.series[series], wide, i).store(totals.words[i], std::memory_order_release);
      if (i == 1) crash_point("metrics:folding");
    }
    head(wide, cell).state.store(static_cast<uint32_t>(CellState::kFree), std::memory_order_release);
    crash_point("metrics:freed");
    b.folded.fetch_add(1, std::memory_order_relaxed);
  }
  b.generation.store((generation | 1) + 1, std::memory_order_release);
  // Release: who sees it disarmed sees the cell free. It is given out again only by who takes the book lock after this.
  intent.armed.store(0, std::memory_order_release);
}

/// Folds the cells of `member`, or of all who are dead, and those that were left. REQUIRES: the book lock.
Status MetricsFile::fold_where(uint32_t member, bool any_dead) {
  MetricsBlock& b = block();
  bool dead[kMetricsMembers] = {};
  bool asked[kMetricsMembers] = {};
  Status first = Status::success();
  for (const bool wide : {false, true}) {
    const uint32_t used = this->used(wide);
    for (uint32_t i = 0; i < used; ++i) {
      const CellHead& h = head(wide, i);
      const uint32_t state = h.state.load(std::memory_order_acquire);
      if (state == static_cast<uint32_t>(CellState::kFree)) continue;
      const uint32_t owner = h.member.load(std::memory_order_relaxed);
      bool gone = owner >= kMetricsMembers;
      if (!gone && any_dead) {
        if (!asked[owner]) dead[owner] = !is_alive(owner);
        asked[owner] = true;
        gone = dead[owner];
      } else if (!gone) {
        gone = owner == member;
      }
      const bool left = state == static_cast<uint32_t>(CellState::kLeft);
      if (!gone && !left) continue;
      Status status = fold_cell(wide, i, !left);
      if (!status.ok() && first.ok()) first = std::move(status);
    }
  }
  if (!any_dead || !first.ok()) return first;
  for (uint32_t n = 0; n < kMetricsMembers; ++n) {
    // Only of those whose cells are folded, above.
    if (asked[n] && dead[n]) b.members[n].state.store(0, std::memory_order_release);
  }
  return first;
}

Status MetricsFile::fold(uint32_t timeout_ms) {
  if (!writable_) return Status::error(Code::kAccessDenied, "this process may not write to " + root_ + "/metrics");
  Book book(*this);
  Status status = book.open(timeout_ms);
  return status.ok() ? fold_where(0, true) : status;
}

}  // namespace hermes
