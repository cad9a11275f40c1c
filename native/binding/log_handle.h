#pragma once

#include <napi.h>

#include <memory>

#include "binding/wrapped.h"
#include "core/log/log.h"
#include "core/log/log_end.h"

namespace hermes::binding {

/// A topic's folder, opened, as lib/transport sees it.
class LogHandle final : public Wrapped<LogHandle> {
 public:
  static napi_value define(napi_env env);
  static napi_value make(napi_env env, napi_callback_info given);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value open_appender(const Napi::CallbackInfo& info);
  napi_value open_reader(const Napi::CallbackInfo& info);
  napi_value open_group(const Napi::CallbackInfo& info);  // group_handle.cc
  napi_value next_sequence(const Napi::CallbackInfo& info);
  napi_value synced_sequence(const Napi::CallbackInfo& info);
  napi_value info(const Napi::CallbackInfo& info);
  napi_value control(const Napi::CallbackInfo& info);
  napi_value verify_segment(const Napi::CallbackInfo& info);
  napi_value repair(const Napi::CallbackInfo& info);
  napi_value participants(const Napi::CallbackInfo& info);
  napi_value set_retention(const Napi::CallbackInfo& info);
  napi_value prepare_seek(const Napi::CallbackInfo& info);
  napi_value trace_producers(const Napi::CallbackInfo& info);  // ingest.cc
  napi_value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Log> log_;
  LogEnd end_;
};

}  // namespace hermes::binding
