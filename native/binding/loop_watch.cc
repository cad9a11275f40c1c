#include "binding/loop_watch.h"

#include <cerrno>

#include "binding/libuv.h"

namespace hermes::binding {

/// Owned by libuv from its first use to its last.
struct LoopWatch::Watched {
  napi_env env = nullptr;
  std::unique_ptr<std::byte[]> handle;
  Kept ready;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  std::shared_ptr<Watched> self;
  bool ended = false;

  uv_handle_s* any() noexcept { return reinterpret_cast<uv_handle_s*>(handle.get()); }
  uv_poll_s* poll() noexcept { return reinterpret_cast<uv_poll_s*>(handle.get()); }

  void end() noexcept {
    if (ended) return;
    ended = true;
    ready.release();
    if (context != nullptr) (void)napi_async_destroy(env, context);
    context = nullptr;
    uv_close(any(), [](uv_handle_s* closed) {
      auto* const own = static_cast<Watched*>(uv_handle_get_data(closed));
      // An environment that ends waits for this.
      if (own->cleanup != nullptr) (void)napi_remove_async_cleanup_hook(own->cleanup);
      own->self.reset();
    });
  }

  static void call(uv_poll_s* handle, int, int) noexcept {
    auto* const own = static_cast<Watched*>(uv_handle_get_data(reinterpret_cast<uv_handle_s*>(handle)));
    const std::shared_ptr<Watched> kept = own->self;  // it may end within the call
    const napi_env env = own->env;
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    napi_value global = nullptr;
    napi_value result = nullptr;
    const napi_value ready = own->ready.value();
    if (!own->ended && ready != nullptr && napi_get_global(env, &global) == napi_ok &&
        napi_make_callback(env, own->context, global, ready, 0, nullptr, &result) == napi_pending_exception) {
      napi_value thrown = nullptr;
      if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) (void)napi_fatal_exception(env, thrown);
    }
    (void)napi_close_handle_scope(env, scope);
  }
};

Status LoopWatch::begin(napi_env env, int descriptor, napi_value ready) {
  uv_loop_s* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || loop == nullptr)
    return Status::error(Code::kUnsupported, "this JavaScript engine has no event loop of libuv's");
  auto watched = std::make_shared<Watched>();
  watched->env = env;
  watched->handle = std::make_unique<std::byte[]>(uv_handle_size(kUvPoll));
  napi_value object = nullptr;
  if (!watched->ready.keep(env, ready) || napi_create_object(env, &object) != napi_ok ||
      napi_async_init(env, object, to_text(env, "hermes:reactor"), &watched->context) != napi_ok) {
    return Status::error(Code::kClosed, "the environment is ending");
  }
  const int error = uv_poll_init(loop, watched->poll(), descriptor);
  if (error != 0) {
    (void)napi_async_destroy(env, watched->context);
    return Status::from_errno(-error, "have the event loop watch the network");
  }
  // From here on the handle is the loop's, until it has been closed.
  watched->self = watched;
  watched_ = watched;
  uv_handle_set_data(watched->any(), watched.get());
  const bool cleaned = napi_add_async_cleanup_hook(
                           env, [](napi_async_cleanup_hook_handle, void* data) { static_cast<Watched*>(data)->end(); },
                           watched.get(), &watched->cleanup) == napi_ok;
  const int started = cleaned ? uv_poll_start(watched->poll(), kUvReadable, &Watched::call) : -ECANCELED;
  if (started == 0) return Status::success();
  watched->end();
  return Status::from_errno(-started, "have the event loop watch the network");
}

void LoopWatch::end() noexcept {
  if (const auto watched = watched_.lock()) watched->end();
}

}  // namespace hermes::binding
