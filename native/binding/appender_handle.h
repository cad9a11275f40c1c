#pragma once

#include <napi.h>

#include <atomic>
#include <memory>

#include "binding/scratch.h"
#include "binding/wrapped.h"
#include "core/log/appender.h"
#include "core/log/interval_sync.h"
#include "core/metrics/metrics_file.h"

namespace hermes::binding {

/// A publisher's native half. `append` and `appendBatch` take no arguments and return nothing: all goes through the
/// scratch memory given to `attach` (append_scratch in scratch_layout.h), because each argument would cost as much as the append itself.
class AppenderHandle final : public Wrapped<AppenderHandle> {
 public:
  static napi_value define(napi_env env);
  /// An object without an appender is closed; `adopt` gives it one.
  bool construct(const Napi::CallbackInfo&) { return true; }
  void adopt(std::unique_ptr<Appender> appender, uint32_t sync_interval_ms);
  /// Null once it is closed.
  Appender* appender() const noexcept { return appender_.get(); }

 private:
  static napi_value append(napi_env env, napi_callback_info info);
  static napi_value append_batch(napi_env env, napi_callback_info info);
  static napi_value ingest(napi_env env, napi_callback_info info);  // this and the next one: ingest.cc
  napi_value ingest_function(const Napi::CallbackInfo& info);
  napi_value attach(const Napi::CallbackInfo& info);
  napi_value count_in(const Napi::CallbackInfo& info);
  napi_value last_error(const Napi::CallbackInfo& info);
  napi_value has_room(const Napi::CallbackInfo& info);
  napi_value sync(const Napi::CallbackInfo& info);
  napi_value close_sync(const Napi::CallbackInfo& info);
  napi_value check_interval(const Napi::CallbackInfo& info);
  napi_value prepare_to_close(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);
  void finish(Code code) noexcept;
  napi_value start_sync(napi_env env, uint64_t sequence);
  bool interval_failed() const noexcept {
    return interval_ != nullptr && interval_->failed.load(std::memory_order_acquire);
  }

  /// How interval syncing is doing, told by another thread.
  struct Interval {
    std::atomic<bool> failed{false};
    Status status;  // set once, before `failed`
  };

  std::shared_ptr<MetricsCell> cell_;  // outlives the appender, which counts in it
  std::unique_ptr<Appender> appender_;
  std::shared_ptr<Interval> interval_;  // null without interval syncing
  std::unique_ptr<IntervalSync> interval_sync_;
  Scratch scratch_;
  Scratch ingest_scratch_;
  Code last_code_ = Code::kOk;
};

}  // namespace hermes::binding
