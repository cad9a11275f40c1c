#pragma once

#include <napi.h>

#include <memory>

#include "binding/wrapped.h"
#include "core/group/group.h"

namespace hermes::binding {

/// A consumer group's file, opened, as lib/store sees it.
class GroupHandle final : public Wrapped<GroupHandle> {
 public:
  static napi_value define(napi_env env);
  /// An object without a group is closed; `adopt` gives it one.
  bool construct(const Napi::CallbackInfo&) { return true; }
  void adopt(std::shared_ptr<Group> group) { group_ = std::move(group); }

 private:
  napi_value join(const Napi::CallbackInfo& info);
  napi_value describe(const Napi::CallbackInfo& info);
  napi_value reset(const Napi::CallbackInfo& info);
  napi_value configure(const Napi::CallbackInfo& info);
  napi_value sync(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Group> group_;
};

/// removeGroup(path, force) → Promise.
napi_value remove_group(napi_env env, napi_callback_info raw);

}  // namespace hermes::binding
