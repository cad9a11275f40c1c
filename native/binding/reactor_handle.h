#pragma once

#include <napi.h>

#include "binding/loop_watch.h"
#include "binding/scratch.h"
#include "binding/wrapped.h"
#include "core/net/reactor.h"

namespace hermes::binding {

/// Where the results of a reactor's calls lie in its scratch memory: offsets in bytes. JavaScript compares them with its own when it makes one.
namespace reactor_scratch {
constexpr size_t kOutcomeAt = 0;      // i32 out  0 done, 1 later, 2 ended, 3 failed
constexpr size_t kErrorAt = 4;        // i32 out  errno, if it failed
constexpr size_t kKeyAt = 8;          // u32 out  of the connection that was accepted
constexpr size_t kDescriptorAt = 12;  // i32 out  its descriptor
constexpr size_t kBytesAt = 16;       // f64 out  received or sent by the call
constexpr size_t kWaitingAt = 24;     // f64 out  bytes that wait to be written
constexpr size_t kOverAt = 32;        // i32 out  1: both directions of the connection are over
constexpr size_t kBytes = 64;
/// Of what look() finds, for each: u32 key, u32 what (1 can be read, 2 can be written).
constexpr size_t kEventBytes = 8;
}  // namespace reactor_scratch

/// A listening socket and its connections, without a thread: the environment's event loop calls `ready`, and JavaScript looks.
///
/// All calls leave their results in the scratch memory. A connection is named by its key; a key that is not in use does nothing.
class ReactorHandle final : public Wrapped<ReactorHandle> {
 public:
  static napi_value define(napi_env env);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value listen(const Napi::CallbackInfo& info);
  napi_value stop(const Napi::CallbackInfo& info);
  napi_value pause_listening(const Napi::CallbackInfo& info);
  napi_value resume_listening(const Napi::CallbackInfo& info);
  napi_value port(const Napi::CallbackInfo& info);
  napi_value look(const Napi::CallbackInfo& info);
  napi_value accept(const Napi::CallbackInfo& info);
  napi_value peer(const Napi::CallbackInfo& info);
  napi_value resume(const Napi::CallbackInfo& info);
  napi_value pause(const Napi::CallbackInfo& info);
  napi_value receive(const Napi::CallbackInfo& info);
  napi_value write(const Napi::CallbackInfo& info);
  napi_value deliver(const Napi::CallbackInfo& info);
  napi_value flush(const Napi::CallbackInfo& info);
  napi_value end(const Napi::CallbackInfo& info);
  napi_value remove(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);
  Connection* connection(const Napi::CallbackInfo& info, uint32_t* key) const;
  void report(const TransferResult& result, const Connection* connection) noexcept;

  Reactor reactor_;
  LoopWatch watch_;  // behind the reactor: it ends before the descriptor is closed
  Scratch scratch_;
  Scratch events_;
  Scratch buffer_;
};

}  // namespace hermes::binding
