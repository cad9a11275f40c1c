// The broker's way into a topic: batches from a network, one call each. Members of AppenderHandle
// and LogHandle.

#include "binding/addon.h"
#include "binding/appender_handle.h"
#include "binding/errors.h"
#include "binding/log_handle.h"
#include "core/log/producers.h"
#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

constexpr size_t kOffsetAt = 0;
constexpr size_t kBytesAt = 4;
constexpr size_t kCountAt = 8;
constexpr size_t kSlotAt = 12;
constexpr size_t kStatusAt = 16;
constexpr size_t kSequenceAt = 24;
constexpr size_t kScratchBytes = 64;
constexpr uint64_t kMostAhead = uint64_t{24} * 3600 * 1'000'000'000;

/// Whether `bytes` holds `count` frames as the wire protocol wants them. Finds out the first one's
/// number.
Code check_batch(std::span<const std::byte> bytes, uint32_t count, uint32_t max_payload,
                 uint64_t* first_number) noexcept {
  DecodeLimits limits;
  limits.max_payload = max_payload;
  uint64_t number = 0;
  if (count == 0) return Code::kInvalidArgument;
  for (uint32_t i = 0; i < count; ++i) {
    FrameView view;
    switch (decode_frame(bytes, limits, view)) {
      case FrameStatus::kOk:
        break;
      case FrameStatus::kTooLarge:
        return Code::kPayloadTooLarge;
      default:
        return Code::kInvalidArgument;
    }
    if (i == 0) *first_number = number = view.timestamp_ns;
    if (number == 0 || view.timestamp_ns != number || view.sequence != 0 || view.flags != 0)
      return Code::kInvalidArgument;
    ++number;
    bytes = bytes.subspan(view.span);
  }
  return bytes.empty() && number <= realtime_ns() + kMostAhead ? Code::kOk : Code::kInvalidArgument;
}

/// Walks the log off the event loop.
class TraceProducers final : public Napi::AsyncWorker {
 public:
  TraceProducers(Napi::Env env, std::shared_ptr<Log> log, ProducerTraces traces)
      : Napi::AsyncWorker(env, "hermes:trace-producers"),
        deferred_(env),
        log_(std::move(log)),
        traces_(std::move(traces)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { status_ = trace_producers(log_, &traces_); }
  void OnOK() override {
    const Napi::Env env = Env();
    if (!status_.ok()) {
      deferred_.Reject(to_error(env, status_).Value());
      return;
    }
    Napi::Array result = Napi::Array::New(env);
    uint32_t index = 0;
    for (const auto& [slot, trace] : traces_) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("slot", Napi::Number::New(env, slot));
      entry.Set("last", Napi::BigInt::New(env, trace.last_number));
      Napi::Array runs = Napi::Array::New(env);
      uint32_t n = 0;
      for (const ProducerRun& run : trace.runs) {
        Napi::Object one = Napi::Object::New(env);
        one.Set("first", Napi::BigInt::New(env, run.first_number));
        one.Set("count", Napi::Number::New(env, run.count));
        one.Set("sequence", Napi::Number::New(env, static_cast<double>(run.sequence)));
        runs.Set(n++, one);
      }
      entry.Set("runs", runs);
      result.Set(index++, entry);
    }
    deferred_.Resolve(result);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<Log> log_;
  ProducerTraces traces_;
  Status status_;
};

}  // namespace

/// ingestFunction(scratch: ArrayBuffer) → (bytes: Uint8Array) => void. The function must not
/// outlive this object.
///
///   0  u32 in      offset of the frames in `bytes`
///   4  u32 in      how many bytes they take
///   8  u32 in      how many they are
///  12  u32 in      producer slot
///  16  i32 out     0, 1 (accepted, but rather wait for room) or minus the code; kInvalidArgument:
///  not the frames that the protocol wants 24  f64 out     sequence of the first message
Napi::Value AppenderHandle::ingest_function(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr) return throw_closed(env, "publisher");
  if (!info[0].IsArrayBuffer() || info[0].As<Napi::ArrayBuffer>().ByteLength() < kScratchBytes) {
    return throw_status(env,
                        Status::error(Code::kInvalidArgument, "the scratch memory is too small"));
  }
  ingest_scratch_.hold(info[0].As<Napi::ArrayBuffer>());
  napi_value function = nullptr;
  if (napi_create_function(env, "ingest", NAPI_AUTO_LENGTH, &AppenderHandle::ingest, this,
                           &function) != napi_ok) {
    return throw_status(env, Status::error(Code::kIoFailed, "Node-API made no function"));
  }
  return Napi::Value(env, function);
}

napi_value AppenderHandle::ingest(napi_env env, napi_callback_info info) {
  void* self_pointer;
  size_t argc = 1;
  napi_value bytes_given = nullptr;
  napi_get_cb_info(env, info, &argc, &bytes_given, nullptr, &self_pointer);
  auto* self = static_cast<AppenderHandle*>(self_pointer);
  Scratch& scratch = self->ingest_scratch_;
  void* data = nullptr;
  size_t length = 0;
  Code code = Code::kInvalidArgument;
  const uint64_t offset = scratch.get<uint32_t>(kOffsetAt);
  const uint64_t bytes = scratch.get<uint32_t>(kBytesAt);
  const uint32_t count = scratch.get<uint32_t>(kCountAt);
  if (napi_get_buffer_info(env, bytes_given, &data, &length) == napi_ok &&
      offset + bytes <= length) {
    const std::byte* const frames = static_cast<const std::byte*>(data) + offset;
    BatchStamp stamp = {static_cast<uint16_t>(scratch.get<uint32_t>(kSlotAt)), 0, 1};
    code = check_batch({frames, bytes}, count, self->appender_->max_payload(),
                       &stamp.first_timestamp_ns);
    if (code == Code::kOk) code = self->appender_->append_batch(frames, bytes, count, stamp);
  }
  self->last_code_ = code;
  if (code != Code::kOk) {
    scratch.set<int32_t>(kStatusAt, -static_cast<int32_t>(code));
    return nullptr;
  }
  scratch.set<int32_t>(kStatusAt, self->appender_->under_pressure() ? 1 : 0);
  scratch.set<double>(kSequenceAt,
                      static_cast<double>(self->appender_->last_sequence() + 1 - count));
  return nullptr;
}

/// traceProducers([{ slot, since }]) → Promise<[{ slot, last: bigint, runs: [{ first: bigint,
/// count, sequence }] }]>
Napi::Value LogHandle::trace_producers(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  ProducerTraces traces;
  const auto entries = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < entries.Length(); ++i) {
    const auto entry = entries.Get(i).As<Napi::Object>();
    ProducerTrace& trace =
        traces[static_cast<uint16_t>(entry.Get("slot").As<Napi::Number>().Uint32Value())];
    trace.since = static_cast<uint64_t>(entry.Get("since").As<Napi::Number>().Int64Value());
  }
  auto* worker = new TraceProducers(info.Env(), log_, std::move(traces));
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace hermes::binding
