#pragma once

#include <napi.h>

#include <memory>

#include "binding/js.h"
#include "core/status.h"

namespace hermes::binding {

/// Has the event loop call a function of JavaScript whenever a descriptor can be read. The loop lives as long as the watch does.
///
/// Thread safety: the environment's thread.
/// Lifetime: an environment that ends, ends the watch, before anything that belongs to it is destroyed; libuv's handle lives on until the loop has
/// let go of it.
class LoopWatch {
 public:
  LoopWatch() = default;
  ~LoopWatch() { end(); }
  LoopWatch(const LoopWatch&) = delete;
  LoopWatch& operator=(const LoopWatch&) = delete;

  Status begin(napi_env env, int descriptor, napi_value ready);
  /// The function is not called any more. To be called before the descriptor is closed. Idempotent.
  void end() noexcept;

 private:
  struct Watched;
  std::weak_ptr<Watched> watched_;  // libuv's while it lasts
};

}  // namespace hermes::binding
