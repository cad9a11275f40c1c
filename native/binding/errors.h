#pragma once

#include <napi.h>

#include "core/status.h"

namespace hermes::binding {

/// A JavaScript Error with the stable `code`; lib/native-error.ts makes a HermesError of it.
inline Napi::Error to_error(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.context);
  error.Set("code", Napi::String::New(env, code_name(status.code)));
  if (status.sys_errno != 0) error.Set("errno", Napi::Number::New(env, status.sys_errno));
  return error;
}

inline Napi::Value throw_status(Napi::Env env, const Status& status) {
  to_error(env, status).ThrowAsJavaScriptException();
  return {};
}

inline Napi::Value throw_closed(Napi::Env env, const char* what) {
  return throw_status(env, Status::error(Code::kClosed, std::string("the ") + what + " is closed"));
}

}  // namespace hermes::binding
