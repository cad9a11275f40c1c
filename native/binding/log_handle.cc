#include "binding/log_handle.h"

#include "binding/addon.h"
#include "binding/appender_handle.h"
#include "binding/errors.h"
#include "binding/maintenance.h"
#include "binding/reader_handle.h"
#include "binding/reports.h"
#include "core/log/recovery.h"
#include "core/log/retention.h"
#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

/// Opens an appender off the event loop: another publisher's recovery may have to be waited for, or done here.
class OpenAppender final : public Napi::AsyncWorker {
 public:
  OpenAppender(Napi::Env env, std::shared_ptr<Log> log, const Appender::Options& options, uint32_t sync_interval_ms)
      : Napi::AsyncWorker(env, "hermes:open-publisher"),
        deferred_(env),
        log_(std::move(log)),
        options_(options),
        sync_interval_ms_(sync_interval_ms) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { status_ = Appender::open(log_, options_, &appender_, &report_); }
  void OnOK() override {
    const Napi::Env env = Env();
    if (!status_.ok()) {
      deferred_.Reject(to_error(env, status_).Value());
      return;
    }
    Napi::Object handle = Addon::of(env).appender_class.New({});
    // A worker that is being terminated makes no objects any more. The appender closes itself.
    if (handle.IsEmpty()) return;
    AppenderHandle::Unwrap(handle)->adopt(std::move(appender_), sync_interval_ms_);
    handle.Set("recovery", to_object(env, report_));
    deferred_.Resolve(handle);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<Log> log_;
  Appender::Options options_;
  uint32_t sync_interval_ms_;
  Status status_;
  std::unique_ptr<Appender> appender_;
  RecoveryReport report_;
};

}  // namespace

Napi::Function LogHandle::define(Napi::Env env) {
  return DefineClass(env, "Log",
                     {InstanceMethod<&LogHandle::open_appender>("openAppender"),
                      InstanceMethod<&LogHandle::open_reader>("openReader"), InstanceMethod<&LogHandle::info>("info"),
                      InstanceMethod<&LogHandle::next_sequence>("nextSequence"),
                      InstanceMethod<&LogHandle::verify_segment>("verifySegment"),
                      InstanceMethod<&LogHandle::repair>("repair"),
                      InstanceMethod<&LogHandle::participants>("participants"),
                      InstanceMethod<&LogHandle::set_retention>("setRetention"),
                      InstanceMethod<&LogHandle::trace_producers>("traceProducers"),
                      InstanceMethod<&LogHandle::close>("close")});
}

/// new openLog(folder, { segmentBytes, maxPayloadBytes, fileMode } | null, { lowWaterBytes? })
LogHandle::LogHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LogHandle>(info) {
  const std::string folder = info[0].As<Napi::String>().Utf8Value();
  TopicSettings settings;
  const bool create = info[1].IsObject();
  if (create) {
    const Napi::Object given = info[1].As<Napi::Object>();
    settings.segment_bytes = static_cast<uint64_t>(given.Get("segmentBytes").As<Napi::Number>().Int64Value());
    settings.max_payload = given.Get("maxPayloadBytes").As<Napi::Number>().Uint32Value();
    settings.file_mode = given.Get("fileMode").As<Napi::Number>().Uint32Value();
  }
  LogOptions options;
  if (info[2].IsObject()) {
    const Napi::Value low = info[2].As<Napi::Object>().Get("lowWaterBytes");
    if (low.IsNumber()) options.low_water_bytes = static_cast<uint64_t>(low.As<Napi::Number>().Int64Value());
  }
  const Status status = Log::open(folder, create ? &settings : nullptr, options, &log_);
  if (!status.ok()) throw_status(info.Env(), status);
}

/// openAppender(exclusive, syncIntervalMs?) → Promise of a publisher's native half. 0: syncs when asked.
Napi::Value LogHandle::open_appender(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Appender::Options options;
  options.exclusive = info[0].ToBoolean();
  const uint32_t sync_interval_ms = info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : 0;
  auto* worker = new OpenAppender(info.Env(), log_, options, sync_interval_ms);
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

Napi::Value LogHandle::open_reader(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Napi::Object handle = Addon::of(info.Env()).reader_class.New({info[0]});
  if (handle.IsEmpty()) return {};
  ReaderHandle::Unwrap(handle)->adopt(log_, Addon::of(info.Env()).dispatcher());
  return handle;
}

/// The sequence that the next message will get.
Napi::Value LogHandle::next_sequence(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Position committed;
  const Status status = log_->committed(&committed);
  if (status.code == Code::kNotFound && log_->active() == 0) return Napi::Number::New(info.Env(), 1);
  if (!status.ok()) return throw_status(info.Env(), status);
  return to_number(info.Env(), committed.sequence);
}

/// verifySegment(number) → Promise of what a look at every frame of the segment found.
Napi::Value LogHandle::verify_segment(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  return binding::verify_segment(info.Env(), log_, static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
}

/// repair() → Promise of what a recovery of the whole topic did.
Napi::Value LogHandle::repair(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  return repair_topic(info.Env(), log_);
}

/// participants() → who holds what.
Napi::Value LogHandle::participants(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  return binding::participants(info.Env(), *log_);
}

/// What the control file and the disk say now. Walks from the checkpoint to the end of the log.
Napi::Value LogHandle::info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (log_ == nullptr) return throw_closed(env, "topic");
  const ControlBlock& control = log_->control();
  Napi::Object result = Napi::Object::New(env);
  const uint64_t first = log_->first();
  const uint64_t active = log_->active();
  // In this order, as they only rise: a later look never falls behind an earlier one.
  Position synced;
  if (!load_position(control.synced, &synced)) synced = {};
  Position committed;
  Position claimed;
  uint64_t earliest = 0;
  if (active != 0) {
    Status status = log_->committed(&committed);
    if (status.ok()) status = log_->claimed_from(committed, &claimed);
    if (!status.ok()) return throw_status(env, status);
    uint64_t ignored = 0;
    for (uint64_t number = first; !Segment::peek(log_->folder(), number, &earliest, &ignored).ok() && number < active;) {
      number = std::max(log_->first(), number + 1);  // retention went on
    }
  }
  uint32_t publishers = 0;
  LockFile probe;
  Status status = log_->open_lock(&probe);
  for (uint32_t slot = 0; status.ok() && slot < kSlots; ++slot) {
    if (control.slots[slot].state.load(std::memory_order_relaxed) == 0) continue;
    bool held = false;
    status = probe.is_held(kSlotByte + slot, &held);
    if (held) ++publishers;
  }
  if (!status.ok()) return throw_status(env, status);
  result.Set("segmentBytes", to_number(env, control.segment_bytes));
  result.Set("maxPayloadBytes", to_number(env, control.max_payload));
  result.Set("createdMs", to_number(env, control.created_ns / 1'000'000));
  result.Set("firstSegment", to_number(env, first));
  result.Set("activeSegment", to_number(env, active));
  result.Set("firstSequence", to_number(env, active == 0 ? 1 : earliest));
  result.Set("nextSequence", to_number(env, active == 0 ? 1 : committed.sequence));
  result.Set("claimedSequence", to_number(env, active == 0 ? 1 : claimed.sequence));
  result.Set("syncedSequence", to_number(env, synced.sequence == 0 ? 1 : synced.sequence));
  result.Set("tailOffset", to_number(env, committed.offset));
  result.Set("publishers", Napi::Number::New(env, publishers));
  result.Set("retentionBytes", to_number(env, control.retention_bytes.load(std::memory_order_relaxed)));
  result.Set("retentionAgeMs", to_number(env, control.retention_age_ns.load(std::memory_order_relaxed) / 1'000'000));
  result.Set("diskAlarm", Napi::Boolean::New(env, control.disk_alarm.load(std::memory_order_relaxed) != 0));
  result.Set("writable", Napi::Boolean::New(env, log_->writable()));
  return result;
}

/// setRetention(bytes, ageMs): 0 = unlimited. Applies at once and whenever a segment is added.
Napi::Value LogHandle::set_retention(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  if (!log_->writable()) {
    return throw_status(info.Env(), Status::error(Code::kAccessDenied, "this process may not write to " + log_->folder()));
  }
  store_retention(log_->control(), {static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()),
                                    static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value()) * 1'000'000});
  const Status status = apply_retention(*log_);
  if (!status.ok() && status.code != Code::kTimedOut) return throw_status(info.Env(), status);
  return info.Env().Undefined();
}

Napi::Value LogHandle::close(const Napi::CallbackInfo& info) {
  log_.reset();
  return info.Env().Undefined();
}

}  // namespace hermes::binding
