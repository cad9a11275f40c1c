#pragma once

#include <napi.h>

#include <cstring>

#include "binding/js.h"

namespace hermes::binding {

/// Memory that JavaScript and native code share for arguments, results and payloads, so that a hot call needs neither. It's an
/// ArrayBuffer made by JavaScript, kept alive here. REQUIRES: it is never detached (lib/ never hands it out).
class Scratch {
 public:
  /// False if `buffer` is no ArrayBuffer of at least `least_bytes`.
  bool hold(napi_env env, napi_value buffer, size_t least_bytes) {
    void* data = nullptr;
    size_t size = 0;
    bool is_buffer = false;
    if (napi_is_arraybuffer(env, buffer, &is_buffer) != napi_ok || !is_buffer ||
        napi_get_arraybuffer_info(env, buffer, &data, &size) != napi_ok || size < least_bytes ||
        !buffer_.keep(env, buffer)) {
      return false;
    }
    bytes_ = static_cast<std::byte*>(data);
    size_ = size;
    return true;
  }

  std::byte* bytes() const noexcept { return bytes_; }
  size_t size() const noexcept { return size_; }

  template <typename T>
  T get(size_t offset) const noexcept {
    T value;
    std::memcpy(&value, bytes_ + offset, sizeof value);
    return value;
  }
  template <typename T>
  void set(size_t offset, T value) noexcept {
    std::memcpy(bytes_ + offset, &value, sizeof value);
  }

 private:
  Kept buffer_;
  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hermes::binding
