#pragma once

#include <napi.h>

#include <initializer_list>
#include <memory>

#include "binding/js.h"

namespace hermes::binding {

/// A class of JavaScript whose objects own a T: the `napi_value` functions of T are its methods, and
/// `bool T::construct(const Napi::CallbackInfo&)` opens it, or throws and returns false.
///
/// Unlike Napi::ObjectWrap it holds while the environment ends: an object that can't be wrapped any more is destroyed at once,
/// with the locks and mappings it holds. V8 sees to it that methods are called on objects of their own class only.
template <typename T>
class Wrapped {
 public:
  /// nullptr if `object` has no T.
  static T* of(napi_env env, napi_value object) {
    void* wrapped = nullptr;
    return napi_unwrap(env, object, &wrapped) == napi_ok ? static_cast<T*>(wrapped) : nullptr;
  }

 protected:
  template <napi_value (T::*function)(const Napi::CallbackInfo&)>
  static napi_property_descriptor method(const char* name) {
    return {name, nullptr, &Wrapped::call<function>, nullptr, nullptr, nullptr, napi_default, nullptr};
  }

  /// nullptr if the environment is ending.
  static napi_value define_class(napi_env env, const char* name,
                                 std::initializer_list<napi_property_descriptor> methods) {
    napi_value constructor = nullptr;
    return napi_define_class(env, name, NAPI_AUTO_LENGTH, &Wrapped::construct_one, nullptr, methods.size(),
                             methods.begin(), &constructor) == napi_ok
               ? constructor
               : nullptr;
  }

 private:
  template <napi_value (T::*function)(const Napi::CallbackInfo&)>
  static napi_value call(napi_env env, napi_callback_info raw) {
    const Napi::CallbackInfo info(env, raw);
    T* const self = of(env, info.This());
    return self != nullptr ? (self->*function)(info) : nullptr;
  }

  static napi_value construct_one(napi_env env, napi_callback_info raw) {
    napi_value target = nullptr;
    if (napi_get_new_target(env, raw, &target) != napi_ok || target == nullptr) {
      (void)napi_throw_type_error(env, nullptr, "this class is to be called with 'new'");
      return nullptr;
    }
    const Napi::CallbackInfo info(env, raw);
    auto object = std::make_unique<T>();
    if (!object->construct(info)) return nullptr;
    if (napi_wrap(
            env, info.This(), object.get(), [](napi_env, void* data, void*) { delete static_cast<T*>(data); }, nullptr,
            nullptr) == napi_ok) {
      (void)object.release();
    }
    return info.This();
  }
};

}  // namespace hermes::binding
