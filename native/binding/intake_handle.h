#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "binding/appender_handle.h"
#include "binding/scratch.h"
#include "binding/wrapped.h"
#include "core/net/publish_intake.h"

namespace hermes::binding {

/// Where an intake tells what it took: offsets in bytes. JavaScript compares them with its own when it makes one.
namespace intake_scratch {
constexpr size_t kCountAt = 0;      // u32 out  packets that were taken
constexpr size_t kTakenAt = 64;     // of each packet:
constexpr size_t kFirstAt = 0;      // u64 out  the producer's number of its first message
constexpr size_t kAckedAt = 8;      // u64 out  the highest number whose acknowledgement the client has seen
constexpr size_t kSequenceAt = 16;  // f64 out  that its first message got
constexpr size_t kChannelAt = 24;   // u32 out
constexpr size_t kMessagesAt = 28;  // u32 out
constexpr size_t kFlagsAt = 32;     // u32 out  of PUBLISH
constexpr size_t kBodyAt = 36;      // u32 out  bytes of its body
constexpr size_t kTakenBytes = 64;
constexpr size_t kMostTaken = 16;
constexpr size_t kBytes = kTakenAt + kMostTaken * kTakenBytes;
}  // namespace intake_scratch

/// Takes one connection's PUBLISH packets: see PublishIntake.
class IntakeHandle final : public Wrapped<IntakeHandle> {
 public:
  static napi_value define(napi_env env);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value attach(const Napi::CallbackInfo& info);
  napi_value detach(const Napi::CallbackInfo& info);
  napi_value set_stored(const Napi::CallbackInfo& info);
  napi_value take(const Napi::CallbackInfo& info);

  /// Keeps an appender's object, and with it the appender, until its channel is detached.
  struct Publisher {
    uint32_t channel = 0;
    AppenderHandle* handle = nullptr;
    Kept object;
  };
  bool close_lanes() noexcept;

  PublishIntake intake_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  Scratch scratch_;
};

}  // namespace hermes::binding
