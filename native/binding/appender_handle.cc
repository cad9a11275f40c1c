#include "binding/appender_handle.h"

#include "binding/addon.h"
#include "binding/errors.h"
#include "binding/metrics_handle.h"
#include "binding/scratch_layout.h"
#include "core/log/closing_sync.h"
#include "core/log/syncer.h"

namespace hermes::binding {

using namespace append_scratch;

napi_value AppenderHandle::define(napi_env env) {
  return define_class(
      env, "Appender",
      {method<&AppenderHandle::attach>("attach"), method<&AppenderHandle::ingest_function>("ingestFunction"),
       method<&AppenderHandle::count_in>("countIn"), method<&AppenderHandle::last_error>("lastError"),
       method<&AppenderHandle::has_room>("hasRoom"), method<&AppenderHandle::sync>("sync"),
       method<&AppenderHandle::close_sync>("closeSync"), method<&AppenderHandle::check_interval>("checkInterval"),
       method<&AppenderHandle::prepare_to_close>("prepareToClose"), method<&AppenderHandle::close>("close")});
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
napi_value AppenderHandle::attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr) return throw_closed(env, "publisher");
  if (!scratch_.hold(env, info[0], kFramesAt + frame_span(appender_->max_payload()))) {
    return throw_usage(env, "attach(scratch: ArrayBuffer with room for a batch)");
  }
  ObjectBuilder result(env);
  result.set("append", to_function(env, "append", &AppenderHandle::append, this));
  result.set("appendBatch", to_function(env, "appendBatch", &AppenderHandle::append_batch, this));
  return result.value();
}

/// countIn(cell): before the first append.
napi_value AppenderHandle::count_in(const Napi::CallbackInfo& info) {
  MetricsCellHandle* const handle = MetricsCellHandle::of(info.Env(), info[0]);
  if (appender_ == nullptr || appender_->is_closed()) return throw_closed(info.Env(), "publisher");
  if (cell_ != nullptr || handle == nullptr || handle->cell() == nullptr || handle->cell()->is_wide()) {
    return throw_usage(info.Env(), "countIn(cell of a publisher), once");
  }
  cell_ = handle->cell();
  appender_->count_in(cell_->narrow());
  return nullptr;
}

void AppenderHandle::finish(Code code) noexcept {
  last_code_ = code;
  if (code != Code::kOk) [[unlikely]] {
    scratch_.set<int32_t>(kStatusAt, -static_cast<int32_t>(code));
    return;
  }
  scratch_.set<int32_t>(kStatusAt, appender_->under_pressure() ? 1 : 0);
  // Through a signed number, which the processor converts in one instruction.
  scratch_.set<double>(kSequenceAt, static_cast<double>(static_cast<int64_t>(appender_->last_sequence())));
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
  self->finish(fits
                   ? self->appender_->append_batch(scratch.bytes() + kFramesAt, bytes, scratch.get<uint32_t>(kLengthAt))
                   : Code::kInvalidArgument);
  return nullptr;
}

/// Throws what made the last append fail.
napi_value AppenderHandle::last_error(const Napi::CallbackInfo& info) {
  if (interval_failed()) return throw_status(info.Env(), interval_->status);
  Status status = appender_ != nullptr ? appender_->last_error() : Status::success();
  if (status.code != last_code_) status = Status::error(last_code_, "");
  switch (last_code_) {
    case Code::kOk:
      return nullptr;
    case Code::kClosed:
      status.context = "the publisher is closed";
      break;
    case Code::kForked:
      status.context = "this publisher belongs to the parent process; open one of your own after fork()";
      break;
    case Code::kPayloadTooLarge:
      status.context =
          "the payload is larger than " + std::to_string(appender_->max_payload()) + " bytes (maxPayloadBytes)";
      break;
    case Code::kInvalidArgument:
      status.context = "the frames of the batch are not laid out as they should be";
      break;
    default:
      break;
  }
  return throw_status(info.Env(), status);
}

napi_value AppenderHandle::has_room(const Napi::CallbackInfo& info) {
  return to_boolean(info.Env(), appender_ == nullptr || appender_->has_room());
}

/// sync(sequence) → Promise of the sequence before which everything is on stable storage, above `sequence`.
napi_value AppenderHandle::sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr || appender_->is_closed()) return throw_closed(env, "publisher");
  uint64_t sequence = 0;
  if (!read(env, info[0], &sequence)) return throw_usage(env, "sync(sequence: number)");
  return start_sync(env, sequence + 1);
}

/// closeSync() → Promise of a sync if this is the last publisher and so much was written that a reboot should not have to check it; else
/// undefined. To be awaited before close().
napi_value AppenderHandle::close_sync(const Napi::CallbackInfo& info) {
  if (appender_ == nullptr || appender_->is_closed()) return nullptr;
  uint64_t sequence = 0;
  // A failure to look does not prevent closing.
  if (!needs_closing_sync(appender_->log(), appender_->slot(), kClosingSyncBytes, &sequence).ok() || sequence == 0)
    return nullptr;
  return start_sync(info.Env(), sequence);
}

/// Throws what ended interval syncing.
napi_value AppenderHandle::check_interval(const Napi::CallbackInfo& info) {
  if (interval_failed()) return throw_status(info.Env(), interval_->status);
  return nullptr;
}

/// A Promise of the sequence before which everything is on stable storage: `sequence` or more.
napi_value AppenderHandle::start_sync(napi_env env, uint64_t sequence) {
  const auto deferred = std::make_shared<Deferred>(env);
  const napi_value promise = deferred->promise();
  if (promise == nullptr) return nullptr;
  const std::shared_ptr<Dispatcher> dispatcher = Addon::of(env).dispatcher();
  dispatcher->expect();
  appender_->log().syncer().request(sequence, [deferred, dispatcher](const Status& status, const Position& synced) {
    dispatcher->post([deferred, status, next = synced.sequence](Napi::Env loop) {
      if (status.ok()) {
        deferred->resolve(to_number(loop, next));
      } else {
        deferred->reject(to_error(loop, status));
      }
    });
  });
  return promise;
}

/// prepareToClose() → false if another participant is in the way for a moment: better try again before close(), which does not wait.
napi_value AppenderHandle::prepare_to_close(const Napi::CallbackInfo& info) {
  return to_boolean(info.Env(), appender_ == nullptr || appender_->prepare_to_close());
}

napi_value AppenderHandle::close(const Napi::CallbackInfo& info) {
  // The object stays, closed: `append` may still be called and then says so.
  interval_sync_.reset();
  if (appender_ != nullptr) {
    const Status status = appender_->close(0);
    if (!status.ok()) return throw_status(info.Env(), status);
    appender_->count_in(nullptr);
    cell_.reset();
  }
  return nullptr;
}

}  // namespace hermes::binding
