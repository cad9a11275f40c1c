#include "core/metrics/metrics_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/metrics/book.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kPage = 4096;
/// The header, the intent and the members: what is there from the beginning.
constexpr uint64_t kFixedBytes = offsetof(MetricsBlock, series);

/// The part of the header that is checked as a whole.
struct Head {
  uint64_t magic = kMetricsMagic;
  uint32_t version = kMetricsVersion;
  uint32_t members = kMetricsMembers;
  uint32_t series = kMetricsSeries;
  uint32_t wide = kWideCells;
  uint32_t narrow = kNarrowCells;
  uint32_t zero0 = 0;
  uint64_t created_ns = 0;
  uint32_t zeros[5] = {};
  uint32_t crc = 0;
};
static_assert(sizeof(Head) == 64);

Status check_head(const File& file, const std::string& path) {
  const std::string remedy =
      ". Nothing is counted. Move the file away while no process has the place open: it is made again";
  uint64_t bytes = 0;
  Head head;
  Status status = file.size(&bytes);
  if (!status.ok()) return status;
  if (bytes != sizeof(MetricsBlock))
    return Status::error(Code::kCorrupt, path + " has not the size of a metrics file" + remedy);
  status = file.read_at(0, &head, sizeof head);
  if (!status.ok()) return status;
  if (head.magic == kMetricsMagic && head.version != kMetricsVersion) {
    return Status::error(Code::kVersionMismatch, path + " has metrics format version " + std::to_string(head.version) +
                                                     "; this build reads version 1");
  }
  const bool sound = head.magic == kMetricsMagic && head.members == kMetricsMembers && head.series == kMetricsSeries &&
                     head.wide == kWideCells && head.narrow == kNarrowCells &&
                     crc32(0, &head, offsetof(Head, crc)) == head.crc;
  return sound ? status : Status::error(Code::kCorrupt, path + " is damaged" + remedy);
}

}  // namespace

bool is_series_name(const char* name, size_t bytes) noexcept {
  if (bytes == 0 || bytes > kSeriesNameBytes || name[0] == '.' || name[0] == '-') return false;
  for (size_t i = 0; i < bytes; ++i) {
    const char c = name[i];
    const bool good =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!good) return false;
  }
  return true;
}

Status MetricsFile::create(const std::string& path, uint32_t file_mode) {
  Head head;
  head.created_ns = realtime_ns();
  head.crc = crc32(0, &head, offsetof(Head, crc));
  const uint32_t used[3] = {2, 0, 0};
  const uint32_t taken = 1;
  File file;
  std::string temporary;
  Status status = File::create_temporary(path, file_mode, &file, &temporary);
  if (!status.ok()) return status;
  status = file.resize(sizeof(MetricsBlock));
  // `other` and the brokers' series are there from the beginning.
  if (status.ok()) status = file.allocate(0, (kFixedBytes + 2 * sizeof(SeriesEntry) + kPage - 1) / kPage * kPage);
  if (status.ok()) status = file.write_at(0, &head, sizeof head);
  if (status.ok()) status = file.write_at(offsetof(MetricsBlock, series_used), used, sizeof used);
  for (uint32_t i = 0; i < 2 && status.ok(); ++i) {
    status = file.write_at(offsetof(MetricsBlock, series) + i * sizeof(SeriesEntry), &taken, sizeof taken);
  }
  bool won = false;
  if (status.ok()) return File::publish(temporary, path, &won);
  std::remove(temporary.c_str());
  status.context = "make " + path + ": " + status.context;
  return status;
}

Status MetricsFile::open(const std::string& root, uint32_t file_mode, std::shared_ptr<MetricsFile>* out) {
  const std::string path = root + "/metrics";
  auto metrics = std::make_shared<MetricsFile>();
  metrics->root_ = root;
  Status status = LockFile::open(path, &metrics->locks_);
  if (status.code == Code::kNotFound && file_mode != 0) {
    status = create(path, file_mode);
    if (status.ok()) status = LockFile::open(path, &metrics->locks_);
  }
  if (status.ok()) status = check_head(metrics->locks_.file(), path);
  if (!status.ok()) return status;
  status =
      MappedFile::map(metrics->locks_.file(), sizeof(MetricsBlock), MappedFile::Access::kReadWrite, &metrics->map_);
  metrics->writable_ = status.ok();
  if (status.code == Code::kAccessDenied) {
    status = MappedFile::map(metrics->locks_.file(), sizeof(MetricsBlock), MappedFile::Access::kRead, &metrics->map_);
  }
  if (status.ok()) *out = std::move(metrics);
  return status;
}

uint32_t MetricsFile::used(bool wide) const noexcept {
  // Acquire: what is counted as used is filled. Bounded: the number may be damaged.
  const uint32_t most = wide ? kWideCells : kNarrowCells;
  const uint32_t used = (wide ? block().wide_used : block().narrow_used).load(std::memory_order_acquire);
  return used < most ? used : most;
}

bool MetricsFile::is_alive(uint32_t member) const noexcept {
  if (member >= kMetricsMembers) return false;
  if (member == member_ && !in_child()) return true;  // (one's own lock is not seen by asking)
  bool held = true;
  return !locks_.is_held(kMetricsMemberByte + member, &held).ok() || held;
}

/// Gives the pages disk blocks: a store to a hole on a full disk would be a SIGBUS.
Status MetricsFile::allocate(const void* from, uint64_t bytes) {
  const auto begin = static_cast<uint64_t>(static_cast<const std::byte*>(from) - map_.data()) / kPage * kPage;
  const auto end =
      (static_cast<uint64_t>(static_cast<const std::byte*>(from) - map_.data()) + bytes + kPage - 1) / kPage * kPage;
  return locks_.file().allocate(begin, end - begin);
}

/// Takes a member's place, unless this object has one. REQUIRES: the book lock.
Status MetricsFile::join() {
  if (member_ != kMetricsMembers) return Status::success();
  for (uint32_t n = 0; n < kMetricsMembers; ++n) {
    Status status = locks_.try_lock(kMetricsMemberByte + n, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy) continue;
    if (!status.ok()) return status;
    MetricsMember& member = block().members[n];
    // Its former owner has ended. Its counts must not count as ours.
    if (member.state.load(std::memory_order_relaxed) != 0) status = fold_where(n, false);
    if (!status.ok()) {
      locks_.unlock(kMetricsMemberByte + n);
      return status;
    }
    member.pid.store(static_cast<uint32_t>(::getpid()), std::memory_order_relaxed);
    member.since_ns.store(realtime_ns(), std::memory_order_relaxed);
    member.state.store(1, std::memory_order_release);
    member_ = n;
    return status;
  }
  return Status::error(Code::kLimit, "256 processes and worker threads count in this place already");
}

/// REQUIRES: the book lock. The series of `topic`, which is made if there is room for it.
Status MetricsFile::find_series(const std::string& topic, uint32_t* index) {
  MetricsBlock& b = block();
  *index = kOtherSeries;
  if (topic.empty()) {
    *index = kBrokerSeries;
    return Status::success();
  }
  const uint32_t used = std::min(b.series_used.load(std::memory_order_relaxed), kMetricsSeries);
  for (uint32_t i = 2; i < used; ++i) {
    if (topic_of(i) == topic) {
      *index = i;
      return Status::success();
    }
  }
  if (!is_series_name(topic.data(), topic.size()) || used >= kMetricsSeries || used < 2) {
    b.unnamed.fetch_add(1, std::memory_order_relaxed);
    return Status::success();
  }
  SeriesEntry& entry = b.series[used];
  Status status = allocate(&entry, sizeof entry);
  if (!status.ok()) return status;
  uint64_t words[kSeriesNameBytes / 8] = {};
  std::memcpy(words, topic.data(), topic.size());
  for (uint32_t i = 0; i < kSeriesNameBytes / 8; ++i) entry.name[i].store(words[i], std::memory_order_relaxed);
  entry.name_bytes.store(static_cast<uint32_t>(topic.size()), std::memory_order_relaxed);
  entry.state.store(1, std::memory_order_release);
  b.series_used.store(used + 1, std::memory_order_release);
  *index = used;
  return status;
}

std::string MetricsFile::topic_of(uint32_t series) const {
  const SeriesEntry& entry = block().series[series];
  const uint32_t bytes = entry.name_bytes.load(std::memory_order_acquire);
  char name[kSeriesNameBytes];
  for (uint32_t i = 0; i < kSeriesNameBytes / 8; ++i) {
    const uint64_t word = entry.name[i].load(std::memory_order_relaxed);
    std::memcpy(name + i * 8, &word, sizeof word);
  }
  return is_series_name(name, bytes) ? std::string(name, bytes) : std::string();
}

/// REQUIRES: the book lock.
Status MetricsFile::find_cell(bool wide, uint32_t* index) {
  MetricsBlock& b = block();
  const uint32_t used = this->used(wide);
  for (uint32_t i = 0; i < used; ++i) {
    if (head(wide, i).state.load(std::memory_order_acquire) != static_cast<uint32_t>(CellState::kFree)) continue;
    *index = i;
    return Status::success();
  }
  if (used == (wide ? kWideCells : kNarrowCells)) {
    return Status::error(Code::kLimit, wide ? "1,024 subscribers are counted in this place already"
                                            : "4,096 publishers are counted in this place already");
  }
  Status status = wide ? allocate(&b.wide[used], sizeof(WideCell)) : allocate(&b.narrow[used], sizeof(NarrowCell));
  if (!status.ok()) return status;
  (wide ? b.wide_used : b.narrow_used).store(used + 1, std::memory_order_release);
  *index = used;
  return status;
}

Status MetricsFile::take(bool wide, WideKind kind, const std::string& topic, uint32_t timeout_ms,
                         std::shared_ptr<MetricsCell>* out) {
  if (!writable_) return Status::error(Code::kAccessDenied, "this process may not write to " + root_ + "/metrics");
  if (in_child()) return Status::error(Code::kForked, "the metrics file belongs to the parent process");
  uint32_t index = 0;
  uint32_t series = 0;
  Status status;
  {
    Book book(*this);
    status = book.open(timeout_ms);
    if (status.ok()) status = join();
    // Those who died since are added now, so that their cells can be had again. One whose log can't be looked at now waits.
    if (status.ok()) (void)fold_where(0, true);
    if (status.ok()) status = find_series(topic, &series);
    if (status.ok()) status = find_cell(wide, &index);
    if (status.ok()) {
      CellHead& h = head(wide, index);
      h.member.store(member_, std::memory_order_relaxed);
      h.series.store(series, std::memory_order_relaxed);
      h.pid.store(static_cast<uint32_t>(::getpid()), std::memory_order_relaxed);
      h.since_ns.store(realtime_ns(), std::memory_order_relaxed);
      if (wide) {
        WideCell& cell = block().wide[index];
        cell.kind.store(static_cast<uint32_t>(kind), std::memory_order_relaxed);
        for (auto& word : cell.counters) word.store(0, std::memory_order_relaxed);
        for (auto& word : cell.states) word.store(0, std::memory_order_relaxed);
        for (auto& word : cell.histogram) word.store(0, std::memory_order_relaxed);
      } else {
        NarrowCell& cell = block().narrow[index];
        for (PublisherRecord& record : cell.records) {
          record.bytes.store(0, std::memory_order_relaxed);
          record.place.store(0, std::memory_order_relaxed);
          record.messages.store(0, std::memory_order_relaxed);
        }
        cell.waits.store(0, std::memory_order_relaxed);
        cell.failures.store(0, std::memory_order_relaxed);
      }
      crash_point("metrics:filled");
      // Release: who sees the cell in use sees it filled.
      h.state.store(static_cast<uint32_t>(CellState::kInUse), std::memory_order_release);
      crash_point("metrics:taken");
    }
  }
  if (!status.ok()) {
    // (a caller that would not wait for the lock comes again)
    const bool comes_again = status.code == Code::kTimedOut && timeout_ms == 0;
    if (!comes_again) block().unmeasured.fetch_add(1, std::memory_order_relaxed);
    return status;
  }
  *out = std::make_shared<MetricsCell>(shared_from_this(), wide, index);
  return status;
}

Status MetricsFile::take_narrow(const std::string& topic, uint32_t timeout_ms, std::shared_ptr<MetricsCell>* out) {
  return take(false, WideKind::kSubscriber, topic, timeout_ms, out);
}

Status MetricsFile::take_wide(WideKind kind, const std::string& topic, uint32_t timeout_ms,
                              std::shared_ptr<MetricsCell>* out) {
  return take(true, kind, kind == WideKind::kBroker ? std::string() : topic, timeout_ms, out);
}

void MetricsFile::leave(bool wide, uint32_t index) noexcept {
  // In a forked child the cell is the parent's.
  if (in_child()) return;
  // Release: who sees it left sees all that was counted.
  head(wide, index).state.store(static_cast<uint32_t>(CellState::kLeft), std::memory_order_release);
  crash_point("metrics:left");
  Book book(*this);
  // If the lock is held, the next process does it. Another one may have done it already, and assigned the cell again.
  if (book.open(0).ok() &&
      head(wide, index).state.load(std::memory_order_acquire) == static_cast<uint32_t>(CellState::kLeft)) {
    (void)fold_cell(wide, index, false);
  }
}

}  // namespace hermes
