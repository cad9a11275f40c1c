#include "binding/appender_handle.h"

#include "binding/addon.h"
#include "binding/errors.h"
#include "core/log/settle.h"
#include "core/log/syncer.h"

namespace hermes::binding {
namespace {

constexpr size_t kLengthAt = 0;
constexpr size_t kBytesAt = 4;
constexpr size_t kStatusAt = 8;
constexpr size_t kSequenceAt = 16;
constexpr size_t kTimestampAt = 24;
constexpr size_t kFramesAt = 64;

}  // namespace

Napi::Function AppenderHandle::define(Napi::Env env) {
  return DefineClass(env, "Appender",
                     {InstanceMethod<&AppenderHandle::attach>("attach"),
                      InstanceMethod<&AppenderHandle::ingest_function>("ingestFunction"),
                      InstanceMethod<&AppenderHandle::last_error>("lastError"),
                      InstanceMethod<&AppenderHandle::has_room>("hasRoom"), InstanceMethod<&AppenderHandle::sync>("sync"),
                      InstanceMethod<&AppenderHandle::settle>("settle"),
                      InstanceMethod<&AppenderHandle::check_interval>("checkInterval"),
                      InstanceMethod<&AppenderHandle::close>("close")});
}

void AppenderHandle::adopt(std::unique_ptr<Appender> appender, uint32_t sync_interval_ms) {
  appender_ = std::move(appender);
  if (sync_interval_ms == 0) return;
  interval_ = std::make_shared<Interval>();
  interval_sync_ = std::make_unique<IntervalSync>(appender_->log().shared_from_this(), sync_interval_ms,
                                                  [interval = interval_](const Status& status) {
                                                    interval->status = status;
                                                    // Release: who sees the flag sees the status.
                                                    interval->failed.store(true, std::memory_order_release);
                                                  });
}

/// attach(scratch: ArrayBuffer) → { append, appendBatch }. The functions must not outlive this object (lib/ keeps both together).
Napi::Value AppenderHandle::attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr) return throw_closed(env, "publisher");
  if (!info[0].IsArrayBuffer() ||
      info[0].As<Napi::ArrayBuffer>().ByteLength() < kFramesAt + frame_span(appender_->max_payload())) {
    return throw_status(env, Status::error(Code::kInvalidArgument, "the scratch memory is too small"));
  }
  scratch_.hold(info[0].As<Napi::ArrayBuffer>());
  napi_value append_function = nullptr;
  napi_value batch_function = nullptr;
  if (napi_create_function(env, "append", NAPI_AUTO_LENGTH, &AppenderHandle::append, this, &append_function) != napi_ok ||
      napi_create_function(env, "appendBatch", NAPI_AUTO_LENGTH, &AppenderHandle::append_batch, this, &batch_function) !=
          napi_ok) {
    return throw_status(env, Status::error(Code::kIoFailed, "Node-API made no function"));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("append", Napi::Value(env, append_function));
  result.Set("appendBatch", Napi::Value(env, batch_function));
  return result;
}

void AppenderHandle::finish(Code code) noexcept {
  last_code_ = code;
  if (code != Code::kOk) [[unlikely]] {
    scratch_.set<int32_t>(kStatusAt, -static_cast<int32_t>(code));
    return;
  }
  scratch_.set<int32_t>(kStatusAt, appender_->under_pressure() ? 1 : 0);
  scratch_.set<double>(kSequenceAt, static_cast<double>(appender_->last_sequence()));
  scratch_.set<uint64_t>(kTimestampAt, appender_->last_timestamp_ns());
}

napi_value AppenderHandle::append(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<AppenderHandle*>(data);
  Scratch& scratch = self->scratch_;
  const uint32_t length = scratch.get<uint32_t>(kLengthAt);
  if (self->interval_failed()) [[unlikely]] {
    self->finish(self->interval_->status.code);
    return nullptr;
  }
  // The scratch memory has room for the largest payload (see attach), and append refuses a larger one.
  self->finish(self->appender_->append(scratch.bytes() + kFramesAt + kFrameHeaderBytes, length));
  return nullptr;
}

napi_value AppenderHandle::append_batch(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<AppenderHandle*>(data);
  Scratch& scratch = self->scratch_;
  const uint32_t bytes = scratch.get<uint32_t>(kBytesAt);
  if (self->interval_failed()) [[unlikely]] {
    self->finish(self->interval_->status.code);
    return nullptr;
  }
  const bool fits = bytes <= scratch.size() - kFramesAt;
  self->finish(fits ? self->appender_->append_batch(scratch.bytes() + kFramesAt, bytes, scratch.get<uint32_t>(kLengthAt))
                    : Code::kInvalidArgument);
  return nullptr;
}

/// Throws what made the last append fail.
Napi::Value AppenderHandle::last_error(const Napi::CallbackInfo& info) {
  if (interval_failed()) return throw_status(info.Env(), interval_->status);
  Status status = appender_ != nullptr ? appender_->last_error() : Status::success();
  if (status.code != last_code_) status = Status::error(last_code_, "");
  switch (last_code_) {
    case Code::kOk: return info.Env().Undefined();
    case Code::kClosed: status.context = "the publisher is closed"; break;
    case Code::kForked:
      status.context = "this publisher belongs to the parent process; open one of your own after fork()";
      break;
    case Code::kPayloadTooLarge:
      status.context = "the payload is larger than " + std::to_string(appender_->max_payload()) + " bytes (maxPayloadBytes)";
      break;
    case Code::kInvalidArgument: status.context = "the frames of the batch are not laid out as they should be"; break;
    default: break;
  }
  return throw_status(info.Env(), status);
}

Napi::Value AppenderHandle::has_room(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), appender_ == nullptr || appender_->has_room());
}

/// sync(sequence) → Promise of the sequence before which everything is on stable storage, above `sequence`.
Napi::Value AppenderHandle::sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr || appender_->is_closed()) return throw_closed(env, "publisher");
  return start_sync(env, static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()) + 1);
}

/// settle() → Promise of a sync if this is the last publisher and so much was written that a reboot should not have to check it; else
/// undefined. To be awaited before close().
Napi::Value AppenderHandle::settle(const Napi::CallbackInfo& info) {
  if (appender_ == nullptr || appender_->is_closed()) return info.Env().Undefined();
  uint64_t sequence = 0;
  // What keeps us from looking keeps nobody from closing.
  if (!needs_settling(appender_->log(), appender_->slot(), kSettledBytes, &sequence).ok() || sequence == 0) return info.Env().Undefined();
  return start_sync(info.Env(), sequence);
}

/// Throws what ended interval syncing.
Napi::Value AppenderHandle::check_interval(const Napi::CallbackInfo& info) {
  if (interval_failed()) return throw_status(info.Env(), interval_->status);
  return info.Env().Undefined();
}

/// A Promise of the sequence before which everything is on stable storage: `sequence` or more.
Napi::Value AppenderHandle::start_sync(Napi::Env env, uint64_t sequence) {
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  const std::shared_ptr<Dispatcher> dispatcher = Addon::of(env).dispatcher();
  dispatcher->expect();
  appender_->log().syncer().request(sequence, [deferred, dispatcher](const Status& status, const Position& synced) {
    dispatcher->post([deferred, status, next = synced.sequence](Napi::Env loop) {
      if (status.ok()) {
        deferred->Resolve(Napi::Number::New(loop, static_cast<double>(next)));
      } else {
        deferred->Reject(to_error(loop, status).Value());
      }
    });
  });
  return deferred->Promise();
}

Napi::Value AppenderHandle::close(const Napi::CallbackInfo& info) {
  // The object stays, closed: `append` may still be called and then says so.
  interval_sync_.reset();
  if (appender_ != nullptr) {
    const Status status = appender_->close();
    if (!status.ok()) return throw_status(info.Env(), status);
  }
  return info.Env().Undefined();
}

}  // namespace hermes::binding
