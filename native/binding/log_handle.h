#pragma once

#include <napi.h>

#include <memory>

#include "core/log/log.h"

namespace hermes::binding {

/// A topic's folder, opened, as lib/transport sees it.
class LogHandle final : public Napi::ObjectWrap<LogHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit LogHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value open_appender(const Napi::CallbackInfo& info);
  Napi::Value open_reader(const Napi::CallbackInfo& info);
  Napi::Value next_sequence(const Napi::CallbackInfo& info);
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value verify_segment(const Napi::CallbackInfo& info);
  Napi::Value repair(const Napi::CallbackInfo& info);
  Napi::Value participants(const Napi::CallbackInfo& info);
  Napi::Value set_retention(const Napi::CallbackInfo& info);
  Napi::Value trace_producers(const Napi::CallbackInfo& info);  // ingest.cc
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Log> log_;
};

}  // namespace hermes::binding
