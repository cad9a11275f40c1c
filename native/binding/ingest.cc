// The broker's way into a topic: batches from a network, one call each. Members of AppenderHandle
// and LogHandle.

#include "binding/appender_handle.h"
#include "binding/errors.h"
#include "binding/log_handle.h"
#include "binding/scratch_layout.h"
#include "binding/task.h"
#include "core/log/producers.h"
#include "core/net/publish_intake.h"

namespace hermes::binding {
namespace {

using namespace ingest_scratch;

/// Walks the log off the event loop.
class TraceProducers final : public Task {
 public:
  TraceProducers(napi_env env, std::shared_ptr<Log> log, ProducerTraces traces)
      : Task(env), log_(std::move(log)), traces_(std::move(traces)) {}

 protected:
  Status work() override { return trace_producers(log_, &traces_); }
  napi_value result(napi_env env) override {
    ArrayBuilder result(env);
    for (const auto& [slot, trace] : traces_) {
      ObjectBuilder entry(env);
      entry.set("slot", to_number(env, static_cast<uint32_t>(slot)));
      entry.set("last", to_bigint(env, trace.last_number));
      ArrayBuilder runs(env);
      for (const ProducerRun& run : trace.runs) {
        ObjectBuilder one(env);
        one.set("first", to_bigint(env, run.first_number));
        one.set("count", to_number(env, static_cast<double>(run.count)));
        one.set("sequence", to_number(env, run.sequence));
        runs.push(one.value());
      }
      entry.set("runs", runs.value());
      result.push(entry.value());
    }
    return result.value();
  }

 private:
  std::shared_ptr<Log> log_;
  ProducerTraces traces_;
};

}  // namespace

/// ingestFunction(scratch: ArrayBuffer) → (bytes: Uint8Array) => void, through ingest_scratch in scratch_layout.h. The status is
/// minus kInvalidArgument if the bytes are not the frames that the protocol wants. The function must not outlive this object.
napi_value AppenderHandle::ingest_function(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (appender_ == nullptr) return throw_closed(env, "publisher");
  if (!ingest_scratch_.hold(env, info[0], kBytes)) {
    return throw_usage(env, "ingestFunction(scratch: ArrayBuffer of 64 bytes)");
  }
  return to_function(env, "ingest", &AppenderHandle::ingest, this);
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
  if (napi_get_buffer_info(env, bytes_given, &data, &length) == napi_ok && offset + bytes <= length) {
    const std::byte* const frames = static_cast<const std::byte*>(data) + offset;
    BatchStamp stamp = {static_cast<uint16_t>(scratch.get<uint32_t>(kSlotAt)), 0, 1};
    code = check_publish({frames, bytes}, count, self->appender_->max_payload(), &stamp.first_timestamp_ns);
    if (code == Code::kOk) code = self->appender_->append_batch(frames, bytes, count, stamp);
  }
  self->last_code_ = code;
  if (code != Code::kOk) {
    scratch.set<int32_t>(kStatusAt, -static_cast<int32_t>(code));
    return nullptr;
  }
  scratch.set<int32_t>(kStatusAt, self->appender_->under_pressure() ? 1 : 0);
  scratch.set<double>(kSequenceAt, static_cast<double>(self->appender_->last_sequence() + 1 - count));
  return nullptr;
}

/// traceProducers([{ slot, since }]) → Promise<[{ slot, last: bigint, runs: [{ first: bigint,
/// count, sequence }] }]>
napi_value LogHandle::trace_producers(const Napi::CallbackInfo& info) {
  const napi_env env = info.Env();
  if (log_ == nullptr) return throw_closed(env, "topic");
  constexpr const char* kUsage = "traceProducers([{ slot: number, since: number }])";
  ProducerTraces traces;
  uint32_t count = 0;
  if (napi_get_array_length(env, info[0], &count) != napi_ok) return throw_usage(env, kUsage);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value entry = nullptr;
    uint32_t slot = 0;
    uint64_t since = 0;
    if (napi_get_element(env, info[0], i, &entry) != napi_ok || !read_property(env, entry, "slot", &slot) ||
        !read_property(env, entry, "since", &since)) {
      return throw_usage(env, kUsage);
    }
    traces[static_cast<uint16_t>(slot)].since = since;
  }
  // A getter may have closed the topic.
  if (log_ == nullptr) return throw_closed(env, "topic");
  return Task::start("hermes:trace-producers", std::make_unique<TraceProducers>(env, log_, std::move(traces)));
}

}  // namespace hermes::binding
