#include "binding/dispatcher.h"

namespace hermes::binding {

std::shared_ptr<Dispatcher> Dispatcher::create(Napi::Env env) {
  auto dispatcher = std::make_shared<Dispatcher>();
  dispatcher->env_ = env;
  const Napi::String name = Napi::String::New(env, "hermes");
  napi_threadsafe_function function = nullptr;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, dispatcher.get(),
                                      &Dispatcher::run, &function) != napi_ok) {
    return dispatcher;
  }
  napi_unref_threadsafe_function(env, function);
  dispatcher->function_ = function;
  // Other threads may hold the dispatcher beyond the environment: tell them that no receiver is left.
  auto* held = new std::shared_ptr<Dispatcher>(dispatcher);
  env.AddCleanupHook(
      [](std::shared_ptr<Dispatcher>* self) {
        (*self)->close();
        delete self;
      },
      held);
  return dispatcher;
}

void Dispatcher::expect() {
  if (expected_++ == 0 && function_ != nullptr) napi_ref_threadsafe_function(env_, function_);
}

void Dispatcher::deliver(Work work, bool announced) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (function_ == nullptr) return;
  auto* boxed = new Parcel{std::move(work), announced};
  if (napi_call_threadsafe_function(function_, boxed, napi_tsfn_nonblocking) != napi_ok) delete boxed;
}

void Dispatcher::run(napi_env env, napi_value, void* context, void* data) {
  auto* parcel = static_cast<Parcel*>(data);
  // A null environment says that it is ending: the work can only be dropped.
  if (env != nullptr) {
    auto* self = static_cast<Dispatcher*>(context);
    const Napi::HandleScope scope(env);
    parcel->work(Napi::Env(env));
    if (parcel->announced && --self->expected_ == 0) napi_unref_threadsafe_function(env, self->function_);
  }
  delete parcel;
}

void Dispatcher::close() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (function_ == nullptr) return;
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
  function_ = nullptr;
}

}  // namespace hermes::binding
