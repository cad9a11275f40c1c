// All that is counted, as it was at about one moment.

#include <time.h>

#include <algorithm>

#include "core/metrics/book.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Longer than any fold takes; then it is looked at what the intent says.
constexpr uint64_t kMostWaitNs = 20'000'000;
/// Totals that still change after that are damaged. The wait holds up a thread of a pool.
constexpr uint64_t kDamagedAfterNs = 10 * kMostWaitNs;

}  // namespace

Status MetricsFile::read(MetricsReport* out) {
  if (writable_ && !in_child()) {
    // A fold in which a process died ends by this, and what the dead had counted is made exact.
    Book book(*this);
    if (book.open(0).ok()) (void)fold_where(0, true);
  }
  const uint64_t begun = monotonic_ns();
  for (;;) {
    const bool last = monotonic_ns() - begun > kMostWaitNs;
    if (read_once(out, last)) return Status::success();
    if (last && monotonic_ns() - begun > kDamagedAfterNs) {
      return Status::error(Code::kCorrupt, "the totals in " + root_ + "/metrics change all the time, or are damaged");
    }
    const timespec pause = {0, last ? 1'000'000 : 50'000};
    ::nanosleep(&pause, nullptr);
  }
}

/// False if a fold came between. `last`: one that is under way is taken as done, since no process may be there to end it.
bool MetricsFile::read_once(MetricsReport* out, bool last) const {
  // (the memory of an earlier report is used again: it is megabytes)
  out->cells.clear();
  const MetricsBlock& b = block();
  const uint64_t generation = b.generation.load(std::memory_order_acquire);
  bool intent_wide = false;
  uint32_t intent_cell = 0;
  uint32_t intent_series = 0;
  Tally intended;
  bool overlay = false;
  if ((generation & 1) != 0) {
    overlay = last && load_intent(&intent_wide, &intent_cell, &intent_series, &intended);
    if (!overlay) return false;
  }
  const uint32_t used = std::clamp(b.series_used.load(std::memory_order_acquire), 2u, kMetricsSeries);
  out->series.resize(used);
  for (uint32_t s = 0; s < used; ++s) {
    const SeriesEntry& entry = b.series[s];
    SeriesReport& report = out->series[s];
    if (s != kBrokerSeries && s != kOtherSeries) report.name = topic_of(s);
    report.is_broker = s == kBrokerSeries;
    // Acquire, each: so the look at the generation afterwards comes after them.
    for (uint32_t i = 0; i < kPubTotals; ++i)
      report.publishers[i] = entry.publishers[i].load(std::memory_order_acquire);
    for (uint32_t i = 0; i < kWideCounters; ++i) report.counters[i] = entry.counters[i].load(std::memory_order_acquire);
    for (uint32_t i = 0; i < kBucketsPerHistogram; ++i)
      report.histogram[i] = entry.histogram[i].load(std::memory_order_acquire);
  }
  if (overlay && intent_series < used) {
    SeriesReport& report = out->series[intent_series];
    if (intent_wide) {
      std::copy_n(intended.words, kWideCounters, report.counters);
      std::copy_n(intended.words + kWideCounters, kBucketsPerHistogram, report.histogram);
    } else {
      std::copy_n(intended.words, kPubTotals, report.publishers);
    }
  }
  bool asked[kMetricsMembers] = {};
  bool alive[kMetricsMembers] = {};
  for (const bool wide : {false, true}) {
    const uint32_t cells = this->used(wide);
    for (uint32_t i = 0; i < cells; ++i) {
      const CellHead& h = head(wide, i);
      const uint32_t state = h.state.load(std::memory_order_acquire);
      const uint32_t series = h.series.load(std::memory_order_relaxed);
      const uint32_t member = h.member.load(std::memory_order_relaxed);
      if (state == static_cast<uint32_t>(CellState::kFree) || series >= used) continue;
      if (overlay && wide == intent_wide && i == intent_cell) continue;
      CellReport report;
      report.wide = wide;
      report.series = series;
      report.pid = h.pid.load(std::memory_order_relaxed);
      report.since_ns = h.since_ns.load(std::memory_order_relaxed);
      if (member < kMetricsMembers) {
        if (!asked[member]) alive[member] = is_alive(member);
        asked[member] = true;
        report.alive = alive[member] && state == static_cast<uint32_t>(CellState::kInUse);
      }
      Tally counted;
      const bool dead = !report.alive && state == static_cast<uint32_t>(CellState::kInUse);
      // What can't be found out counts as it stands there.
      if (!tally(wide, i, dead, &counted).ok()) (void)tally(wide, i, false, &counted);
      SeriesReport& total = out->series[series];
      if (!wide) {
        for (uint32_t k = 0; k < kPubTotals; ++k) {
          report.totals[k] = counted.words[k];
          total.publishers[k] += counted.words[k];
        }
      } else {
        const WideCell& cell = b.wide[i];
        report.kind = static_cast<WideKind>(cell.kind.load(std::memory_order_relaxed));
        const bool doubles = report.kind == WideKind::kBroker;
        const auto add = [doubles](uint64_t& to, uint64_t by) {
          to = doubles ? std::bit_cast<uint64_t>(std::bit_cast<double>(to) + std::bit_cast<double>(by)) : to + by;
        };
        for (uint32_t k = 0; k < kWideCounters; ++k) {
          report.totals[k] = counted.words[k];
          add(total.counters[k], counted.words[k]);
        }
        for (uint32_t k = 0; k < kWideStates; ++k) report.states[k] = cell.states[k].load(std::memory_order_relaxed);
        for (uint32_t k = 0; k < kBucketsPerHistogram; ++k) add(total.histogram[k], counted.words[kWideCounters + k]);
      }
      if (report.alive) out->cells.push_back(report);
    }
  }
  out->unmeasured = b.unmeasured.load(std::memory_order_relaxed);
  out->unnamed = b.unnamed.load(std::memory_order_relaxed);
  out->folded = b.folded.load(std::memory_order_relaxed);
  out->created_ns = b.created_ns;
  // Acquire in all loads above: this one comes after them.
  return b.generation.load(std::memory_order_acquire) == generation;
}

}  // namespace hermes
