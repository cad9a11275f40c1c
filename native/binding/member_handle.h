#pragma once

#include <napi.h>

#include <memory>

#include "binding/dispatcher.h"
#include "binding/scratch.h"
#include "binding/wrapped.h"
#include "core/group/group_sleeper.h"
#include "core/group/member.h"

namespace hermes::binding {

/// A member's native half. `claim`, `settle` and `peek` take no arguments and return nothing: all goes through the scratch memory (member_scratch in
/// scratch_layout.h).
class MemberHandle final : public Wrapped<MemberHandle> {
 public:
  static napi_value define(napi_env env);
  /// An object without a member is closed; `adopt` gives it one.
  bool construct(const Napi::CallbackInfo&) { return true; }
  void adopt(std::unique_ptr<Member> member, std::shared_ptr<Dispatcher> dispatcher);
  ~MemberHandle() { end(); }

 private:
  static napi_value claim(napi_env env, napi_callback_info info);
  static napi_value settle(napi_env env, napi_callback_info info);
  static napi_value peek(napi_env env, napi_callback_info info);
  napi_value attach(const Napi::CallbackInfo& info);
  napi_value last_error(const Napi::CallbackInfo& info);
  napi_value enter(const Napi::CallbackInfo& info);
  napi_value slot(const Napi::CallbackInfo& info);
  napi_value renew(const Napi::CallbackInfo& info);
  napi_value is_late(const Napi::CallbackInfo& info);
  napi_value skip(const Napi::CallbackInfo& info);
  napi_value activate(const Napi::CallbackInfo& info);
  napi_value commit(const Napi::CallbackInfo& info);
  napi_value check_held(const Napi::CallbackInfo& info);
  napi_value committed(const Napi::CallbackInfo& info);
  napi_value note_lost(const Napi::CallbackInfo& info);
  napi_value wait(const Napi::CallbackInfo& info);
  napi_value cancel(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);
  void report(const Status& status, const ClaimResult& result) noexcept;
  ClaimBuffer buffer() noexcept;
  void end() noexcept;

  std::unique_ptr<Member> member_;
  std::shared_ptr<Dispatcher> dispatcher_;
  std::weak_ptr<GroupSleeper> sleeper_;                            // the newest; the pool's while it lasts
  std::shared_ptr<bool> waiting_ = std::make_shared<bool>(false);  // used on the environment's thread only
  Scratch scratch_;
  Status last_;
};

}  // namespace hermes::binding
