#pragma once

#include <napi.h>

#include "binding/js.h"
#include "core/status.h"

namespace hermes::binding {

/// A JavaScript Error with the stable `code`; lib/native-error.ts makes a HermesError of it. nullptr: the environment is ending.
inline napi_value to_error(napi_env env, const Status& status) {
  napi_value error = nullptr;
  if (napi_create_error(env, to_text(env, code_name(status.code)), to_text(env, status.context), &error) != napi_ok)
    return nullptr;
  if (status.sys_errno == 0) return error;
  ObjectBuilder object(env, error);
  object.set("errno", to_number(env, static_cast<double>(status.sys_errno)));
  return object.value();
}

inline napi_value throw_status(napi_env env, const Status& status) {
  const napi_value error = to_error(env, status);
  if (error != nullptr) (void)napi_throw(env, error);
  return nullptr;
}

inline napi_value throw_closed(napi_env env, const char* what) {
  return throw_status(env, Status::error(Code::kClosed, std::string("the ") + what + " is closed"));
}

/// For arguments that lib/ never gives: a TypeError that names the call.
inline napi_value throw_usage(napi_env env, const char* usage) {
  (void)napi_throw_type_error(env, nullptr, (std::string("wrong arguments; to be called as ") + usage).c_str());
  return nullptr;
}

}  // namespace hermes::binding
