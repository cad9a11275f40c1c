#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace hermes::binding {

// Node-API for this binding. A worker thread may be terminated in the middle of any native call: from then on everything that
// could run JavaScript fails, without an exception to see. node-addon-api answers that with empty values and uninitialised
// pointers, whose use ends the whole process; so the binding calls nothing of it but what test/package/binding.test.ts lists.
// The functions here say whether they worked, and accept the empty values (nullptr) that earlier failures left.

// Values from JavaScript. False: not such a value, or the environment is ending.

inline bool read(napi_env env, napi_value value, double* out) {
  return napi_get_value_double(env, value, out) == napi_ok;
}

/// The lower 32 bits, as JavaScript's `>>> 0`.
inline bool read(napi_env env, napi_value value, uint32_t* out) {
  return napi_get_value_uint32(env, value, out) == napi_ok;
}

inline bool read(napi_env env, napi_value value, uint64_t* out) {
  int64_t number = 0;
  if (napi_get_value_int64(env, value, &number) != napi_ok || number < 0) return false;
  *out = static_cast<uint64_t>(number);
  return true;
}

/// A text without NUL: what follows one would be lost in a path.
inline bool read(napi_env env, napi_value value, std::string* out) {
  size_t bytes = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &bytes) != napi_ok) return false;
  out->resize(bytes + 1);
  if (napi_get_value_string_utf8(env, value, out->data(), bytes + 1, &bytes) != napi_ok) return false;
  out->resize(bytes);
  return out->find('\0') == std::string::npos;
}

/// A duration in milliseconds, as nanoseconds; more than a year is a year.
inline bool read_ms(napi_env env, napi_value value, uint64_t* out_ns) {
  constexpr double kYearMs = 366.0 * 24 * 3600 * 1000;
  double ms = 0;
  if (!read(env, value, &ms) || std::isnan(ms)) return false;
  *out_ns = static_cast<uint64_t>(std::fmin(std::fmax(ms, 0), kYearMs) * 1e6);
  return true;
}

/// Whether it is `true`. Anything else, as all that is not a boolean, is not.
inline bool is_true(napi_env env, napi_value value) {
  bool result = false;
  return napi_get_value_bool(env, value, &result) == napi_ok && result;
}

inline bool is_of_type(napi_env env, napi_value value, napi_valuetype wanted) {
  napi_valuetype type = napi_undefined;
  return napi_typeof(env, value, &type) == napi_ok && type == wanted;
}

/// A property's value; nullptr if it can't be had.
inline napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  return napi_get_named_property(env, object, name, &value) == napi_ok ? value : nullptr;
}

template <typename T>
bool read_property(napi_env env, napi_value object, const char* name, T* out) {
  return read(env, property(env, object, name), out);
}

// Values for JavaScript. nullptr: the environment is ending.

inline napi_value to_number(napi_env env, double number) {
  napi_value value = nullptr;
  return napi_create_double(env, number, &value) == napi_ok ? value : nullptr;
}
inline napi_value to_number(napi_env env, uint64_t number) { return to_number(env, static_cast<double>(number)); }
inline napi_value to_number(napi_env env, uint32_t number) { return to_number(env, static_cast<double>(number)); }

inline napi_value to_bigint(napi_env env, uint64_t number) {
  napi_value value = nullptr;
  return napi_create_bigint_uint64(env, number, &value) == napi_ok ? value : nullptr;
}

inline napi_value to_boolean(napi_env env, bool boolean) {
  napi_value value = nullptr;
  return napi_get_boolean(env, boolean, &value) == napi_ok ? value : nullptr;
}

inline napi_value to_text(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  return napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok ? value : nullptr;
}

inline napi_value to_null(napi_env env) {
  napi_value value = nullptr;
  return napi_get_null(env, &value) == napi_ok ? value : nullptr;
}

inline napi_value to_undefined(napi_env env) {
  napi_value value = nullptr;
  return napi_get_undefined(env, &value) == napi_ok ? value : nullptr;
}

inline napi_value to_function(napi_env env, const char* name, napi_callback callback, void* data = nullptr) {
  napi_value value = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &value) == napi_ok ? value : nullptr;
}

/// Makes an object, property by property.
class ObjectBuilder {
 public:
  explicit ObjectBuilder(napi_env env) : env_(env) {
    if (napi_create_object(env, &object_) != napi_ok) object_ = nullptr;
  }
  /// Adds to an object that exists.
  ObjectBuilder(napi_env env, napi_value object) : env_(env), object_(object) {}

  void set(const char* name, napi_value value) {
    if (value == nullptr || object_ == nullptr || napi_set_named_property(env_, object_, name, value) != napi_ok)
      object_ = nullptr;
  }
  /// nullptr if anything failed.
  napi_value value() const { return object_; }

 private:
  napi_env env_;
  napi_value object_ = nullptr;
};

/// Makes an array, element by element.
class ArrayBuilder {
 public:
  explicit ArrayBuilder(napi_env env) : env_(env) {
    if (napi_create_array(env, &array_) != napi_ok) array_ = nullptr;
  }
  void push(napi_value value) {
    if (value == nullptr || array_ == nullptr || napi_set_element(env_, array_, size_++, value) != napi_ok)
      array_ = nullptr;
  }
  /// nullptr if anything failed.
  napi_value value() const { return array_; }

 private:
  napi_env env_;
  napi_value array_ = nullptr;
  uint32_t size_ = 0;
};

/// Keeps a JavaScript value alive. REQUIRES: used on the environment's thread.
class Kept {
 public:
  Kept() = default;
  ~Kept() { release(); }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  bool keep(napi_env env, napi_value value) {
    release();
    env_ = env;
    if (napi_create_reference(env, value, 1, &reference_) != napi_ok) reference_ = nullptr;
    return reference_ != nullptr;
  }
  void release() {
    if (reference_ != nullptr) (void)napi_delete_reference(env_, reference_);
    reference_ = nullptr;
  }
  bool is_empty() const noexcept { return reference_ == nullptr; }
  /// nullptr if nothing is kept.
  napi_value value() const {
    napi_value value = nullptr;
    return reference_ != nullptr && napi_get_reference_value(env_, reference_, &value) == napi_ok ? value : nullptr;
  }

 private:
  napi_env env_ = nullptr;
  napi_ref reference_ = nullptr;
};

/// A promise to be settled once, on the environment's thread. An environment that ends forgets it.
class Deferred {
 public:
  explicit Deferred(napi_env env) : env_(env) {
    if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) deferred_ = nullptr, promise_ = nullptr;
  }
  /// Valid in the call that made it; nullptr if there is none.
  napi_value promise() const { return promise_; }
  void resolve(napi_value value) {
    if (deferred_ != nullptr && value != nullptr)
      (void)napi_resolve_deferred(env_, deferred_, value), deferred_ = nullptr;
  }
  void reject(napi_value error) {
    if (deferred_ != nullptr && error != nullptr)
      (void)napi_reject_deferred(env_, deferred_, error), deferred_ = nullptr;
  }

 private:
  napi_env env_;
  napi_deferred deferred_ = nullptr;
  napi_value promise_ = nullptr;
};

}  // namespace hermes::binding
