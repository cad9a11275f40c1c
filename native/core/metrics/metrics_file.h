#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/metrics/layout.h"
#include "core/platform/fork_guard.h"
#include "core/platform/lock_file.h"
#include "core/platform/mapped_file.h"

namespace hermes {

class MetricsCell;
struct MetricsReport;

/// The metrics file of a place, mapped: see docs/metrics-format.md. Each object is one member of it, from its first cell on.
///
/// Thread safety: all methods may be called from any thread; a cell is stored to by one thread at a time.
/// Invariants: cells, series and members change hands under the book lock only; the totals of a series plus what its cells hold is what was
/// counted, at every moment and whichever process is killed.
class MetricsFile : public std::enable_shared_from_this<MetricsFile> {
 public:
  /// Opens the file in the place `root`; makes it first if `file_mode` is not 0. Read-only without the right to write. kNotFound if there is none.
  static Status open(const std::string& root, uint32_t file_mode, std::shared_ptr<MetricsFile>* out);

  /// A cell for a publisher of `topic`. kTimedOut if another process keeps the book lock for so long; with a timeout of 0 the participant does not
  /// count as one without a cell yet: the caller comes again.
  Status take_narrow(const std::string& topic, uint32_t timeout_ms, std::shared_ptr<MetricsCell>* out);
  /// A cell for a subscriber of `topic`, or for a broker.
  Status take_wide(WideKind kind, const std::string& topic, uint32_t timeout_ms, std::shared_ptr<MetricsCell>* out);

  /// Adds the cells of those who are gone to their series. kTimedOut if another process keeps the book lock: it may be stopped.
  Status fold(uint32_t timeout_ms);
  /// All that is counted. Folds first, if this process may write and gets the lock.
  Status read(MetricsReport* out);

  MetricsBlock& block() const noexcept { return *reinterpret_cast<MetricsBlock*>(map_.data()); }
  bool writable() const noexcept { return writable_; }
  bool in_child() const noexcept { return fork_guard_.in_child(); }

 private:
  friend class MetricsCell;
  class Book;
  /// What a cell counts, whichever participant holds it.
  struct Tally {
    uint64_t words[kWideCounters + kBucketsPerHistogram] = {};
  };

  static Status create(const std::string& path, uint32_t file_mode);
  Status join();
  Status take(bool wide, WideKind kind, const std::string& topic, uint32_t timeout_ms,
              std::shared_ptr<MetricsCell>* out);
  Status find_cell(bool wide, uint32_t* index);
  Status find_series(const std::string& topic, uint32_t* index);
  Status allocate(const void* from, uint64_t bytes);
  std::string topic_of(uint32_t series) const;

  CellHead& head(bool wide, uint32_t index) const noexcept {
    return wide ? block().wide[index].head : block().narrow[index].head;
  }
  uint32_t used(bool wide) const noexcept;
  bool is_alive(uint32_t member) const noexcept;
  Status fold_where(uint32_t member, bool any_dead);
  Status fold_cell(bool wide, uint32_t index, bool dead);
  Status tally(bool wide, uint32_t index, bool dead, Tally* out) const;
  void finish_intent() noexcept;
  bool load_intent(bool* wide, uint32_t* cell, uint32_t* series, Tally* out) const noexcept;
  bool read_once(MetricsReport* out, bool last) const;
  void leave(bool wide, uint32_t index) noexcept;

  std::string root_;
  MappedFile map_;
  LockFile locks_;    // holds the member's byte, and now and then the book lock
  std::mutex mutex_;  // the locks of one object don't exclude its threads
  ForkGuard fork_guard_;
  bool writable_ = false;
  uint32_t member_ = kMetricsMembers;
};

/// A participant's cell, until it is destroyed. Then what it has counted is added to the totals, now or by the next process.
class MetricsCell {
 public:
  MetricsCell(std::shared_ptr<MetricsFile> file, bool wide, uint32_t index)
      : file_(std::move(file)), wide_(wide), index_(index) {}
  MetricsCell(const MetricsCell&) = delete;
  MetricsCell& operator=(const MetricsCell&) = delete;
  ~MetricsCell() { file_->leave(wide_, index_); }

  bool is_wide() const noexcept { return wide_; }
  /// REQUIRES: not is_wide().
  NarrowCell* narrow() const noexcept { return &file_->block().narrow[index_]; }
  /// REQUIRES: is_wide().
  WideCell* wide() const noexcept { return &file_->block().wide[index_]; }

 private:
  std::shared_ptr<MetricsFile> file_;
  bool wide_;
  uint32_t index_;
};

/// Of publishers: kPubTotals numbers. Of subscribers and brokers: counters, then the histogram.
struct SeriesReport {
  std::string name;  ///< empty: `other`
  bool is_broker = false;
  uint64_t publishers[kPubTotals] = {};
  uint64_t counters[kWideCounters] = {};
  uint64_t histogram[kBucketsPerHistogram] = {};
};

/// A cell that is in use.
struct CellReport {
  bool wide = false;
  WideKind kind = WideKind::kSubscriber;
  uint32_t series = 0;  ///< index in MetricsReport::series
  uint32_t pid = 0;
  uint64_t since_ns = 0;
  bool alive = false;
  uint64_t totals[kWideCounters] = {};  ///< as SeriesReport::publishers or ::counters
  uint64_t states[kWideStates] = {};
};

struct MetricsReport {
  std::vector<SeriesReport> series;  ///< totals: of those who are gone and of those who are there
  std::vector<CellReport> cells;
  uint64_t unmeasured = 0;
  uint64_t unnamed = 0;
  uint64_t folded = 0;
  uint64_t created_ns = 0;
};

}  // namespace hermes
