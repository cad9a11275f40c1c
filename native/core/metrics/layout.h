#pragma once

// The byte layout of docs/metrics-format.md, and nothing else.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hermes {

inline constexpr uint64_t kMetricsMagic = 0x3154454D4D524548;  // "HERMMET1"
inline constexpr uint32_t kMetricsVersion = 1;
inline constexpr uint32_t kMetricsMembers = 256;
inline constexpr uint32_t kMetricsSeries = 1024;
inline constexpr uint32_t kWideCells = 1024;
inline constexpr uint32_t kNarrowCells = 4096;
inline constexpr uint32_t kOtherSeries = 0;
inline constexpr uint32_t kBrokerSeries = 1;
inline constexpr uint32_t kSeriesNameBytes = 128;
inline constexpr uint32_t kPublisherTotals = 16;
inline constexpr uint32_t kWideCounters = 32;
inline constexpr uint32_t kWideStates = 8;
inline constexpr uint32_t kOctaves = 26;
inline constexpr uint32_t kStepsPerOctave = 8;
inline constexpr uint32_t kBucketsPerHistogram = kOctaves * kStepsPerOctave;

/// Bytes of the file that are locked.
inline constexpr uint64_t kBookByte = 0;
inline constexpr uint64_t kMetricsMemberByte = 16;

enum class CellState : uint32_t { kFree = 0, kInUse = 1, kLeft = 2 };
enum class WideKind : uint32_t { kSubscriber = 1, kBroker = 2 };

/// Which counter of a subscriber is which.
enum SubscriberCounter : uint32_t { kSubMessages, kSubBytes, kSubScans, kSubVoids, kSubDamage, kSubSamples, kSubSumUs };
enum SubscriberState : uint32_t { kSubNext, kSubFoundNs };
/// Which total of publishers is which.
enum PublisherTotal : uint32_t { kPubMessages, kPubBytes, kPubWaits, kPubFailures, kPubTotals };

struct CellHead {
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> member;
  std::atomic<uint32_t> series;
  std::atomic<uint32_t> pid;
  std::atomic<uint64_t> since_ns;
};

/// What a publisher has counted, with the message or batch whose place it names. Of the two in a cell, the one with more messages is the newer one.
struct PublisherRecord {
  std::atomic<uint64_t> bytes;
  std::atomic<uint64_t> place;  // claim_note() of the claim
  std::atomic<uint64_t> messages;
};

struct NarrowCell {
  CellHead head;
  PublisherRecord records[2];
  std::atomic<uint64_t> waits;
  std::atomic<uint64_t> failures;
  uint8_t reserved[40];
};
static_assert(sizeof(NarrowCell) == 128 && offsetof(NarrowCell, records) == 24 && offsetof(NarrowCell, waits) == 72);

struct WideCell {
  CellHead head;
  std::atomic<uint32_t> kind;
  uint8_t reserved[36];
  std::atomic<uint64_t> counters[kWideCounters];
  std::atomic<uint64_t> states[kWideStates];
  std::atomic<uint64_t> histogram[kBucketsPerHistogram];
};
static_assert(sizeof(WideCell) == 2048 && offsetof(WideCell, counters) == 64 && offsetof(WideCell, states) == 320);
static_assert(offsetof(WideCell, histogram) == 384);

struct SeriesEntry {
  std::atomic<uint32_t> state;  // 0 free, 1 taken
  std::atomic<uint32_t> name_bytes;
  std::atomic<uint64_t> name[kSeriesNameBytes / 8];
  uint8_t reserved0[120];
  std::atomic<uint64_t> publishers[kPublisherTotals];
  std::atomic<uint64_t> counters[kWideCounters];
  uint8_t reserved1[64];
  std::atomic<uint64_t> histogram[kBucketsPerHistogram];
  uint8_t reserved2[192];
};
static_assert(sizeof(SeriesEntry) == 2560 && offsetof(SeriesEntry, publishers) == 256 &&
              offsetof(SeriesEntry, counters) == 384);
static_assert(offsetof(SeriesEntry, histogram) == 704);

struct MetricsMember {
  std::atomic<uint32_t> state;  // 0 free, 1 taken
  std::atomic<uint32_t> pid;
  std::atomic<uint64_t> since_ns;
  uint8_t reserved[48];
};
static_assert(sizeof(MetricsMember) == 64);

/// A fold that is under way: the totals as they will be.
struct FoldIntent {
  std::atomic<uint64_t> armed;
  std::atomic<uint32_t> kind;  // 1 narrow, 2 wide
  std::atomic<uint32_t> cell;
  std::atomic<uint32_t> series;
  std::atomic<uint32_t> zero;
  std::atomic<uint64_t> check;
  std::atomic<uint64_t> totals[kWideCounters + kBucketsPerHistogram];
  uint8_t reserved[2144];
};
static_assert(sizeof(FoldIntent) == 4096 && offsetof(FoldIntent, totals) == 32);

struct MetricsBlock {
  uint64_t magic;
  uint32_t version;
  uint32_t members_count;
  uint32_t series_count;
  uint32_t wide_count;
  uint32_t narrow_count;
  uint32_t zero0;
  uint64_t created_ns;
  uint8_t zeros[20];
  uint32_t crc;  // of the 60 bytes before
  uint8_t reserved0[64];
  std::atomic<uint64_t> generation;  // odd while a fold changes totals
  uint8_t reserved1[120];
  std::atomic<uint64_t> unmeasured;  // participants that got no cell
  std::atomic<uint64_t> unnamed;     // participants whose topic got no series
  std::atomic<uint64_t> folded;
  std::atomic<uint32_t> series_used;  // so many have ever been used: of those behind not even the page is touched
  std::atomic<uint32_t> wide_used;
  std::atomic<uint32_t> narrow_used;
  uint8_t reserved2[3804];
  FoldIntent intent;
  MetricsMember members[kMetricsMembers];
  SeriesEntry series[kMetricsSeries];
  WideCell wide[kWideCells];
  NarrowCell narrow[kNarrowCells];
};
static_assert(offsetof(MetricsBlock, crc) == 60 && offsetof(MetricsBlock, generation) == 128 &&
              offsetof(MetricsBlock, unmeasured) == 256);
static_assert(offsetof(MetricsBlock, series_used) == 280 && offsetof(MetricsBlock, intent) == 4096 &&
              offsetof(MetricsBlock, members) == 8192);
static_assert(offsetof(MetricsBlock, series) == 24'576 && offsetof(MetricsBlock, wide) == 2'646'016);
static_assert(offsetof(MetricsBlock, narrow) == 4'743'168 && sizeof(MetricsBlock) == 5'267'456);

/// The bucket that a value in microseconds belongs to: eight in each octave. 0 counts as 1, 2^26 and more as a little less.
[[nodiscard]] constexpr uint32_t bucket_of(uint64_t us) noexcept {
  const uint64_t value = us == 0 ? 1 : us >= uint64_t{1} << kOctaves ? (uint64_t{1} << kOctaves) - 1 : us;
  const auto octave = static_cast<uint32_t>(std::bit_width(value)) - 1;
  return octave * kStepsPerOctave + static_cast<uint32_t>(((value - (uint64_t{1} << octave)) << 3) >> octave);
}
static_assert(bucket_of(0) == 0 && bucket_of(1) == 0 && bucket_of(2) == 8 && bucket_of(3) == 12 &&
              bucket_of(16) == 32 && bucket_of(17) == 32);
static_assert(bucket_of(18) == 33 && bucket_of(~uint64_t{0}) == kBucketsPerHistogram - 1);

/// Adds to a word that only this thread stores to.
inline void count_up(std::atomic<uint64_t>& word, uint64_t by = 1) noexcept {
  // Relaxed: nothing else is read because of it.
  word.store(word.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace hermes
