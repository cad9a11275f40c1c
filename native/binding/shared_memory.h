#pragma once

#include <napi.h>

#include <memory>
#include <utility>

#include "binding/errors.h"

namespace hermes::binding {

/// Native memory as an ArrayBuffer, which keeps `owner` alive. Throws and returns nullptr if that is not possible.
/// REQUIRES: the same addresses are in one ArrayBuffer at most; V8 aborts otherwise.
template <typename T>
napi_value share_memory(napi_env env, void* data, size_t bytes, std::shared_ptr<T> owner) {
  // Held by the buffer's finalizer and by this call. In an environment that is ending the call fails, and whether the finalizer has
  // run already, will run later or never runs can't be told from that: the last owner frees it.
  struct Keep {
    std::shared_ptr<T> owner;
    int holders;

    void let_go() {
      owner.reset();
      if (--holders == 0) delete this;
    }
  };
  auto* const keep = new Keep{std::move(owner), 2};
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, data, bytes, [](napi_env, void*, void* hint) { static_cast<Keep*>(hint)->let_go(); }, keep, &buffer);
  if (status == napi_ok) {
    --keep->holders;
    return buffer;
  }
  if (status == napi_no_external_buffers_allowed) --keep->holders;  // the finalizer was never taken
  // Without a finalizer to come a few bytes stay behind, but not the memory itself.
  keep->let_go();
  return throw_status(
      env, Status::error(Code::kUnsupported, "this JavaScript engine forbids external memory (Electron does)"));
}

/// Takes the memory away from an ArrayBuffer: its views have no bytes from then on.
inline void detach(napi_env env, napi_value buffer) {
  bool detached = true;
  if (napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached)
    (void)napi_detach_arraybuffer(env, buffer);
}

}  // namespace hermes::binding
