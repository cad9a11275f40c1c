#pragma once

#include <napi.h>

#include <memory>

#include "binding/dispatcher.h"
#include "binding/parker.h"
#include "binding/scratch.h"
#include "binding/wrapped.h"
#include "core/log/stream_reader.h"
#include "core/metrics/metrics_file.h"
#include "core/net/delivery.h"

namespace hermes::binding {

/// A subscriber's native half. `scan` takes no arguments and returns nothing: all goes through the scratch memory (scan_scratch in
/// scratch_layout.h).
class ReaderHandle final : public Wrapped<ReaderHandle> {
 public:
  static napi_value define(napi_env env);
  /// An object without a reader is closed; `adopt` gives it one.
  bool construct(const Napi::CallbackInfo&) { return true; }
  void adopt(std::shared_ptr<Log> log, std::shared_ptr<Dispatcher> dispatcher, bool verify);
  /// Sends what comes at the position that the scratch memory says to a connection; tells of it there as `scan` does. The limits, and what is known
  /// of the topic, are those of `delivery`. False: nothing was sent, since there is none, or since it is not as simple as that.
  bool deliver(Connection& connection, const Delivery& delivery, bool hold, TransferResult* result);

 private:
  static napi_value scan(napi_env env, napi_callback_info info);
  napi_value scan_function(const Napi::CallbackInfo& info);
  napi_value region(const Napi::CallbackInfo& info);
  napi_value seek(const Napi::CallbackInfo& info);
  napi_value next_segment(const Napi::CallbackInfo& info);
  napi_value skip_damage(const Napi::CallbackInfo& info);
  napi_value repair(const Napi::CallbackInfo& info);
  napi_value wait(const Napi::CallbackInfo& info);
  napi_value cancel(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);
  napi_value check(const Napi::CallbackInfo& info);
  napi_value nothing_yet(napi_env env);
  napi_value scan_awaiting(napi_env env);
  napi_value count_in(const Napi::CallbackInfo& info);
  void report(const Scan& result, uint64_t from) noexcept;
  void count(const Scan& result, uint64_t from) noexcept;
  napi_value position(napi_env env);
  void take_position();

  std::unique_ptr<Reader> reader_;
  std::shared_ptr<Dispatcher> dispatcher_;
  std::shared_ptr<Log> log_;
  std::unique_ptr<Parker> parker_;                                 // from the first wait on
  std::shared_ptr<bool> waiting_ = std::make_shared<bool>(false);  // used on the environment's thread only
  Kept region_;
  Scratch scratch_;
  StreamReader stream_;
  std::shared_ptr<MetricsCell> cell_;
  WideCell* counted_ = nullptr;  // in cell_
  uint64_t sampled_ns_ = 0;      // the stamp of the message whose age was looked at last
  uint32_t max_payload_ = 0;
  bool verify_ = true;
};

}  // namespace hermes::binding
