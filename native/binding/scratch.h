#pragma once

#include <napi.h>

#include <cstring>

namespace hermes::binding {

/// Memory that JavaScript and native code share for arguments, results and payloads, so that a hot call needs neither. It's an
/// ArrayBuffer made by JavaScript, kept alive here. REQUIRES: nobody detaches it (lib/ never hands it out).
class Scratch {
 public:
  void hold(Napi::ArrayBuffer buffer) {
    reference_ = Napi::Persistent(buffer);
    bytes_ = static_cast<std::byte*>(buffer.Data());
    size_ = buffer.ByteLength();
  }
  void release() {
    reference_.Reset();
    bytes_ = nullptr;
    size_ = 0;
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
  Napi::Reference<Napi::ArrayBuffer> reference_;
  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hermes::binding
