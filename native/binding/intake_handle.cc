#include "binding/intake_handle.h"

#include <algorithm>
#include <array>

#include "binding/errors.h"

namespace hermes::binding {

using namespace intake_scratch;

napi_value IntakeHandle::define(napi_env env) {
  const napi_value made =
      define_class(env, "Intake",
                   {method<&IntakeHandle::attach>("attach"), method<&IntakeHandle::detach>("detach"),
                    method<&IntakeHandle::set_stored>("setStored"), method<&IntakeHandle::take>("take")});
  if (made == nullptr) return nullptr;
  ObjectBuilder layout(env);
  layout.set("count", to_number(env, double{kCountAt}));
  layout.set("taken", to_number(env, double{kTakenAt}));
  layout.set("first", to_number(env, double{kFirstAt}));
  layout.set("acked", to_number(env, double{kAckedAt}));
  layout.set("sequence", to_number(env, double{kSequenceAt}));
  layout.set("channel", to_number(env, double{kChannelAt}));
  layout.set("messages", to_number(env, double{kMessagesAt}));
  layout.set("flags", to_number(env, double{kFlagsAt}));
  layout.set("body", to_number(env, double{kBodyAt}));
  layout.set("takenBytes", to_number(env, double{kTakenBytes}));
  layout.set("size", to_number(env, double{kBytes}));
  ObjectBuilder object(env, made);
  object.set("layout", layout.value());
  return object.value();
}

/// new Intake(scratch: ArrayBuffer)
bool IntakeHandle::construct(const Napi::CallbackInfo& info) {
  if (scratch_.hold(info.Env(), info[0], kBytes)) return true;
  throw_usage(info.Env(), "new Intake(scratch: ArrayBuffer)");
  return false;
}

/// attach(channel, appender, slot, maxBatchBytes, stored: bigint)
napi_value IntakeHandle::attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto publisher = std::make_unique<Publisher>();
  PublishIntake::Lane lane;
  uint32_t slot = 0;
  bool lossless = false;
  publisher->handle = AppenderHandle::of(env, info[1]);
  if (!read(env, info[0], &lane.channel) || publisher->handle == nullptr || !read(env, info[2], &slot) || slot == 0 ||
      slot > UINT16_MAX || !read(env, info[3], &lane.max_batch_bytes) ||
      napi_get_value_bigint_uint64(env, info[4], &lane.stored, &lossless) != napi_ok || !lossless ||
      intake_.find(lane.channel) != nullptr) {
    return throw_usage(env, "attach(channel, appender, slot, maxBatchBytes, stored: bigint), once for a channel");
  }
  lane.appender = publisher->handle->appender();
  if (lane.appender == nullptr) return throw_closed(env, "publisher");
  lane.slot = static_cast<uint16_t>(slot);
  publisher->channel = lane.channel;
  if (!publisher->object.keep(env, info[1])) return nullptr;
  publishers_.push_back(std::move(publisher));
  intake_.attach(lane);
  return nullptr;
}

napi_value IntakeHandle::detach(const Napi::CallbackInfo& info) {
  uint32_t channel = 0;
  if (!read(info.Env(), info[0], &channel)) return throw_usage(info.Env(), "detach(channel: number)");
  intake_.detach(channel);
  std::erase_if(publishers_, [channel](const auto& publisher) { return publisher->channel == channel; });
  return nullptr;
}

/// setStored(channel, stored: bigint): JavaScript has stored something of the channel's producer.
napi_value IntakeHandle::set_stored(const Napi::CallbackInfo& info) {
  uint32_t channel = 0;
  uint64_t stored = 0;
  bool lossless = false;
  if (!read(info.Env(), info[0], &channel) ||
      napi_get_value_bigint_uint64(info.Env(), info[1], &stored, &lossless) != napi_ok) {
    return throw_usage(info.Env(), "setStored(channel: number, stored: bigint)");
  }
  if (PublishIntake::Lane* const lane = intake_.find(channel)) lane->stored = stored;
  return nullptr;
}

/// Ends the lanes whose appenders were closed: those who look after them say why.
bool IntakeHandle::close_lanes() noexcept {
  for (const auto& publisher : publishers_)
    if (publisher->handle->appender() == nullptr) intake_.detach(publisher->channel);
  return !publishers_.empty();
}

/// take(bytes: Uint8Array, start: number) → how many bytes were taken from `start` on; the scratch memory says of which packets.
napi_value IntakeHandle::take(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  void* data = nullptr;
  size_t length = 0;
  uint32_t start = 0;
  if (napi_get_buffer_info(env, info[0], &data, &length) != napi_ok || !read(env, info[1], &start) || start > length)
    return throw_usage(env, "take(bytes: Uint8Array, start: number)");
  size_t count = 0;
  size_t size = 0;
  std::array<PublishIntake::Taken, kMostTaken> taken;
  if (close_lanes()) size = intake_.take({static_cast<const std::byte*>(data) + start, length - start}, taken, &count);
  scratch_.set<uint32_t>(kCountAt, static_cast<uint32_t>(count));
  for (size_t i = 0; i < count; ++i) {
    const size_t at = kTakenAt + i * kTakenBytes;
    scratch_.set<uint64_t>(at + kFirstAt, taken[i].first_number);
    scratch_.set<uint64_t>(at + kAckedAt, taken[i].acked);
    scratch_.set<double>(at + kSequenceAt, static_cast<double>(taken[i].sequence));
    scratch_.set<uint32_t>(at + kChannelAt, taken[i].channel);
    scratch_.set<uint32_t>(at + kMessagesAt, taken[i].count);
    scratch_.set<uint32_t>(at + kFlagsAt, taken[i].flags);
    scratch_.set<uint32_t>(at + kBodyAt, taken[i].bytes);
  }
  return to_number(env, static_cast<double>(size));
}

}  // namespace hermes::binding
