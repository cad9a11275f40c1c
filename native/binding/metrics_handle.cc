#include "binding/metrics_handle.h"

#include <cstring>
#include <vector>

#include "binding/addon.h"
#include "binding/errors.h"
#include "binding/shared_memory.h"
#include "binding/task.h"
#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

/// How long the last attempt to get a cell waits for the book lock. Those before it do not wait: threads of the pool are few, and all of the
/// process's files and names need them.
constexpr uint32_t kLastTimeoutMs = 1;

enum : uint32_t { kPublisher = 0, kSubscriber = 1, kBroker = 2 };

/// Numbers in rows, as JavaScript gets them: in one buffer.
class Table {
 public:
  void reserve(size_t numbers) { numbers_.reserve(numbers); }
  void add(double number) { numbers_.push_back(number); }
  void add(uint64_t number) { numbers_.push_back(static_cast<double>(number)); }
  napi_value value(napi_env env) const {
    void* data = nullptr;
    napi_value buffer = nullptr;
    napi_value array = nullptr;
    const size_t bytes = numbers_.size() * sizeof(double);
    if (napi_create_arraybuffer(env, bytes, &data, &buffer) != napi_ok) return nullptr;
    if (bytes != 0) std::memcpy(data, numbers_.data(), bytes);
    return napi_create_typedarray(env, napi_float64_array, numbers_.size(), buffer, 0, &array) == napi_ok ? array
                                                                                                          : nullptr;
  }

 private:
  std::vector<double> numbers_;
};

class TakeCell final : public Task {
 public:
  TakeCell(napi_env env, std::shared_ptr<MetricsHandle::State> state, uint32_t kind, std::string topic,
           uint32_t file_mode, bool is_last)
      : Task(env),
        state_(std::move(state)),
        kind_(kind),
        topic_(std::move(topic)),
        file_mode_(file_mode),
        timeout_ms_(is_last ? kLastTimeoutMs : 0) {}

 protected:
  Status work() override {
    std::shared_ptr<MetricsFile> file;
    Status status = state_->file(file_mode_, &file);
    if (!status.ok()) return status;
    if (kind_ == kPublisher) return file->take_narrow(topic_, timeout_ms_, &cell_);
    return file->take_wide(kind_ == kBroker ? WideKind::kBroker : WideKind::kSubscriber, topic_, timeout_ms_, &cell_);
  }
  napi_value result(napi_env env) override {
    const napi_value handle = make_object(env, Addon::of(env).metrics_cell_class);
    MetricsCellHandle* const native = MetricsCellHandle::of(env, handle);
    if (native != nullptr) native->adopt(std::move(cell_));
    return handle;
  }

 private:
  std::shared_ptr<MetricsHandle::State> state_;
  uint32_t kind_;
  std::string topic_;
  uint32_t file_mode_;
  uint32_t timeout_ms_;
  std::shared_ptr<MetricsCell> cell_;
};

/// Looks at all that is counted, and at all topics: off the event loop.
class Collect final : public Task {
 public:
  Collect(napi_env env, std::shared_ptr<MetricsHandle::State> state) : Task(env), state_(std::move(state)) {}

 protected:
  Status work() override {
    const std::lock_guard<std::mutex> guard(state_->scanning);
    // First what was counted and how far subscribers are, then how far the logs are: so no lag is negative.
    MetricsReport& report = state_->report;
    std::shared_ptr<MetricsFile> file;
    Status status = state_->file(0, &file);
    if (status.ok()) status = file->read(&report);
    // Without a file nothing was counted yet.
    if (!status.ok() && status.code != Code::kNotFound) return status;
    if (!status.ok()) report = {};
    unmeasured_ = report.unmeasured;
    unnamed_ = report.unnamed;
    created_ns_ = report.created_ns;
    status = state_->scan.look(&state_->topics);
    now_ns_ = realtime_ns();
    write_out(report, state_->topics);
    return status;
  }

  napi_value result(napi_env env) override {
    ObjectBuilder result(env);
    result.set("seriesNames", to_text(env, series_names_));
    result.set("series", series_.value(env));
    result.set("histograms", histograms_.value(env));
    result.set("cells", cells_.value(env));
    result.set("topicNames", to_text(env, topic_names_));
    result.set("topics", topics_.value(env));
    result.set("groupNames", to_text(env, group_names_));
    result.set("groups", groups_.value(env));
    result.set("unmeasured", to_number(env, unmeasured_));
    result.set("unnamed", to_number(env, unnamed_));
    result.set("createdMs", to_number(env, created_ns_ / 1'000'000));
    result.set("nowMs", to_number(env, static_cast<double>(now_ns_) / 1e6));
    return result.value();
  }

 private:
  /// Columns are named in lib/native/metrics-types.ts. Names have no line breaks in them.
  void write_out(const MetricsReport& report, const std::vector<TopicSample>& topics) {
    size_t groups = 0;
    for (const TopicSample& t : topics) groups += t.groups.size();
    series_.reserve(report.series.size() * (kPubTotals + kWideCounters));
    topics_.reserve(topics.size() * 11);
    groups_.reserve(groups * 15);
    topic_names_.reserve(topics.size() * 32);
    group_names_.reserve(groups * 16);
    for (size_t i = 0; i < report.series.size(); ++i) {
      const SeriesReport& s = report.series[i];
      series_names_ += s.name;
      series_names_ += '\n';
      for (const uint64_t total : s.publishers) series_.add(total);
      for (const uint64_t counter : s.counters) add(series_, counter, s.is_broker);
      // Few buckets of few series are filled.
      for (uint32_t bucket = 0; bucket < kBucketsPerHistogram; ++bucket) {
        if (s.histogram[bucket] == 0) continue;
        histograms_.add(static_cast<uint64_t>(i));
        histograms_.add(static_cast<double>(bucket));
        add(histograms_, s.histogram[bucket], s.is_broker);
      }
    }
    for (const CellReport& c : report.cells) {
      const bool doubles = c.wide && c.kind == WideKind::kBroker;
      cells_.add(static_cast<double>(c.wide ? (doubles ? kBroker : kSubscriber) : kPublisher));
      cells_.add(static_cast<double>(c.series));
      cells_.add(static_cast<double>(c.pid));
      cells_.add(static_cast<double>(c.since_ns) / 1e6);
      for (const uint64_t total : c.totals) add(cells_, total, doubles);
      for (const uint64_t state : c.states) add(cells_, state, doubles);
    }
    for (size_t i = 0; i < topics.size(); ++i) {
      const TopicSample& t = topics[i];
      topic_names_ += t.name;
      topic_names_ += '\n';
      for (const uint64_t number :
           {t.first, t.claimed, t.written, t.synced, t.segments, t.disk_bytes, t.used_bytes, t.quarantined})
        topics_.add(number);
      for (const bool flag : {t.disk_alarm, t.sync_failed, t.unreadable}) topics_.add(flag ? 1.0 : 0.0);
      for (const GroupSample& g : t.groups) {
        group_names_ += g.name;
        group_names_ += '\n';
        groups_.add(static_cast<uint64_t>(i));
        groups_.add(static_cast<double>(g.kind));
        for (const uint64_t number : {g.floor, g.next, g.lag}) groups_.add(number);
        groups_.add(g.behind_ns == 0 ? -1.0 : static_cast<double>(g.behind_ns) / 1e6);
        for (const uint64_t number :
             {g.in_flight, g.settled, g.redelivered, g.late, g.rejected, g.lost, g.taken, uint64_t{g.members}})
          groups_.add(number);
        groups_.add(g.full ? 1.0 : 0.0);
      }
    }
  }
  static void add(Table& table, uint64_t word, bool is_double) {
    if (is_double)
      table.add(std::bit_cast<double>(word));
    else
      table.add(word);
  }

  std::shared_ptr<MetricsHandle::State> state_;
  uint64_t unmeasured_ = 0;
  uint64_t unnamed_ = 0;
  uint64_t created_ns_ = 0;
  uint64_t now_ns_ = 0;
  std::string series_names_, topic_names_, group_names_;
  Table series_, histograms_, cells_, topics_, groups_;
};

}  // namespace

napi_value MetricsCellHandle::define(napi_env env) {
  return define_class(env, "MetricsCell",
                      {method<&MetricsCellHandle::region>("region"), method<&MetricsCellHandle::release>("release")});
}

/// region() → the counters, states and histogram of a wide cell, for one who counts from JavaScript. Detached by release().
napi_value MetricsCellHandle::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (cell_ == nullptr || !cell_->is_wide()) return throw_closed(env, "cell");
  if (!region_.is_empty()) return region_.value();
  WideCell* const cell = cell_->wide();
  const napi_value buffer = share_memory(env, cell->counters, sizeof(WideCell) - offsetof(WideCell, counters), cell_);
  if (buffer != nullptr) (void)region_.keep(env, buffer);
  return buffer;
}

/// release(): what was counted is added to the totals, once no other owner uses the cell.
napi_value MetricsCellHandle::release(const Napi::CallbackInfo& info) {
  if (!region_.is_empty()) {
    detach(info.Env(), region_.value());
    region_.release();
  }
  cell_.reset();
  return nullptr;
}

Status MetricsHandle::State::file(uint32_t file_mode, std::shared_ptr<MetricsFile>* out) {
  const std::lock_guard<std::mutex> guard(opening_);
  if (file_ == nullptr) {
    Status status = MetricsFile::open(root, file_mode, &file_);
    if (!status.ok()) return status;
  }
  *out = file_;
  return Status::success();
}

napi_value MetricsHandle::define(napi_env env) {
  return define_class(env, "Metrics",
                      {method<&MetricsHandle::take>("take"), method<&MetricsHandle::collect>("collect"),
                       method<&MetricsHandle::close>("close")});
}

/// new Metrics(root)
bool MetricsHandle::construct(const Napi::CallbackInfo& info) {
  std::string root;
  if (!read(info.Env(), info[0], &root)) {
    throw_usage(info.Env(), "new Metrics(root: string)");
    return false;
  }
  state_ = std::make_shared<State>(std::move(root));
  return true;
}

/// take(kind, topic, fileMode, isLast) → Promise of a cell. TIMED_OUT: another process keeps the file's lock; if this is not the last attempt, the
/// caller comes again. LIMIT, CORRUPT, DISK_FULL, …: the participant goes without.
napi_value MetricsHandle::take(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (state_ == nullptr) return throw_closed(env, "place");
  uint32_t kind = 0;
  uint32_t file_mode = 0;
  std::string topic;
  if (!read(env, info[0], &kind) || !read(env, info[1], &topic) || !read(env, info[2], &file_mode) ||
      !is_of_type(env, info[3], napi_boolean)) {
    return throw_usage(env, "take(kind: number, topic: string, fileMode: number, isLast: boolean)");
  }
  return Task::start("hermes:metrics-cell",
                     std::make_unique<TakeCell>(env, state_, kind, std::move(topic), file_mode, is_true(env, info[3])));
}

napi_value MetricsHandle::collect(const Napi::CallbackInfo& info) {
  if (state_ == nullptr) return throw_closed(info.Env(), "place");
  return Task::start("hermes:metrics", std::make_unique<Collect>(info.Env(), state_));
}

napi_value MetricsHandle::close(const Napi::CallbackInfo&) {
  state_.reset();
  return nullptr;
}

}  // namespace hermes::binding
