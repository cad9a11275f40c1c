#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <string>

#include "binding/wrapped.h"
#include "core/metrics/metrics_file.h"
#include "core/metrics/place_scan.h"

namespace hermes::binding {

/// A participant's cell in the metrics file. An appender or a reader that counts in it keeps it, also after `release`.
class MetricsCellHandle final : public Wrapped<MetricsCellHandle> {
 public:
  static napi_value define(napi_env env);
  bool construct(const Napi::CallbackInfo&) { return true; }
  void adopt(std::shared_ptr<MetricsCell> cell) { cell_ = std::move(cell); }
  const std::shared_ptr<MetricsCell>& cell() const noexcept { return cell_; }

 private:
  napi_value region(const Napi::CallbackInfo& info);
  napi_value release(const Napi::CallbackInfo& info);

  std::shared_ptr<MetricsCell> cell_;
  Kept region_;
};

/// The metrics of a place. Opens the file when it is first needed.
class MetricsHandle final : public Wrapped<MetricsHandle> {
 public:
  /// Shared with what is under way on other threads.
  struct State {
    explicit State(std::string path) : root(std::move(path)), scan(root) {}
    /// The file; made if `file_mode` is not 0.
    Status file(uint32_t file_mode, std::shared_ptr<MetricsFile>* out);

    const std::string root;
    std::mutex scanning;  // for the three that follow
    PlaceScan scan;
    // Of the look before: their memory is used again.
    MetricsReport report;
    std::vector<TopicSample> topics;

   private:
    std::mutex opening_;
    std::shared_ptr<MetricsFile> file_;
  };

  static napi_value define(napi_env env);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value take(const Napi::CallbackInfo& info);
  napi_value collect(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);

  std::shared_ptr<State> state_;
};

}  // namespace hermes::binding
