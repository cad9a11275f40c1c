#pragma once

#include <napi.h>

#include <memory>

#include "binding/dispatcher.h"
#include "binding/js.h"
#include "binding/loop_bell.h"

namespace hermes::binding {

/// What the addon keeps for one Node environment: the main thread and every worker thread have their own.
///
/// Thread safety: used by its environment's thread only.
/// Lifetime: made when the environment loads the addon and destroyed when it ends. Nothing in the binding is global, so
/// that a worker that ends takes nothing away from the others.
class Addon final : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports);

  static Addon& of(Napi::Env env) { return *env.GetInstanceData<Addon>(); }
  const std::shared_ptr<Dispatcher>& dispatcher() const noexcept { return dispatcher_; }
  /// By which this environment's event loop is woken, from its first wait on; null if it has no such loop.
  const std::shared_ptr<LoopBell>& loop_bell() {
    if (!asked_for_bell_) loop_bell_ = LoopBell::create(env_);
    asked_for_bell_ = true;
    return loop_bell_;
  }

  Kept appender_class;
  Kept reader_class;
  Kept group_class;
  Kept member_class;
  Kept metrics_cell_class;

 private:
  const napi_env env_;
  std::shared_ptr<Dispatcher> dispatcher_;
  std::shared_ptr<LoopBell> loop_bell_;
  bool asked_for_bell_ = false;
};

/// A new object of a class kept by Addon; nullptr if the environment is ending.
inline napi_value make_object(napi_env env, const Kept& kept_class) {
  napi_value object = nullptr;
  return napi_new_instance(env, kept_class.value(), 0, nullptr, &object) == napi_ok ? object : nullptr;
}

}  // namespace hermes::binding
