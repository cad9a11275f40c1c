#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>

namespace hermes::binding {

/// Runs functions on the event loop of one Node environment, from any thread. The loop is kept alive only while something
/// that was announced with `expect` has not been delivered.
///
/// Thread safety: `post` from any thread; the rest on the environment's thread.
class Dispatcher : public std::enable_shared_from_this<Dispatcher> {
 public:
  using Work = std::function<void(Napi::Env)>;

  static std::shared_ptr<Dispatcher> create(Napi::Env env);

  /// Announces one future `post`: the process doesn't end before it is delivered.
  void expect();
  /// Delivers announced work. After the environment's end the work is dropped.
  void post(Work work) { deliver(std::move(work), true); }
  /// Delivers work that no caller waits for: if nothing else keeps the loop alive, it's dropped.
  void nudge(Work work) { deliver(std::move(work), false); }

 private:
  struct Parcel {
    Work work;
    bool announced;
  };
  void deliver(Work work, bool announced);
  static void run(napi_env env, napi_value, void* context, void* data);
  void close();

  napi_env env_ = nullptr;
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;  // null once the environment is ending
  uint32_t expected_ = 0;
};

}  // namespace hermes::binding
