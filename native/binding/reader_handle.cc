#include "binding/reader_handle.h"

#include "binding/errors.h"
#include "core/log/repair.h"

namespace hermes::binding {
namespace {

constexpr size_t kOffsetAt = 0;
constexpr size_t kLimitAt = 4;
constexpr size_t kMessagesAt = 8;
constexpr size_t kEndAt = 12;
constexpr size_t kStopAt = 16;
constexpr size_t kSequenceAt = 24;
constexpr size_t kScratchBytes = 64;

}  // namespace

Napi::Function ReaderHandle::define(Napi::Env env) {
  return DefineClass(env, "Reader",
                     {InstanceMethod<&ReaderHandle::scan_function>("scanFunction"),
                      InstanceMethod<&ReaderHandle::region>("region"), InstanceMethod<&ReaderHandle::seek>("seek"),
                      InstanceMethod<&ReaderHandle::next_segment>("nextSegment"),
                      InstanceMethod<&ReaderHandle::skip_damage>("skipDamage"),
                      InstanceMethod<&ReaderHandle::repair>("repair"), InstanceMethod<&ReaderHandle::wait>("wait"),
                      InstanceMethod<&ReaderHandle::cancel>("cancel"), InstanceMethod<&ReaderHandle::close>("close")});
}

/// Made by openReader(verify).
ReaderHandle::ReaderHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ReaderHandle>(info) {
  verify_ = info[0].ToBoolean();
}

void ReaderHandle::adopt(std::shared_ptr<Log> log, std::shared_ptr<Dispatcher> dispatcher) {
  log_ = log;
  dispatcher_ = std::move(dispatcher);
  max_payload_ = log->control().max_payload;
  // A mapping of its own and read-only: what JavaScript is given can't change the log, and no address is wrapped twice.
  reader_ = std::make_unique<Reader>(std::move(log), MappedFile::Access::kRead);
}

/// scanFunction(scratch: ArrayBuffer) → the function. It must not outlive this object (lib/ keeps both together).
Napi::Value ReaderHandle::scan_function(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer() || info[0].As<Napi::ArrayBuffer>().ByteLength() < kScratchBytes) {
    return throw_status(env, Status::error(Code::kInvalidArgument, "the scratch memory is too small"));
  }
  scratch_.hold(info[0].As<Napi::ArrayBuffer>());
  napi_value function = nullptr;
  if (napi_create_function(env, "scan", NAPI_AUTO_LENGTH, &ReaderHandle::scan, this, &function) != napi_ok) {
    return throw_status(env, Status::error(Code::kIoFailed, "Node-API made no function"));
  }
  return Napi::Value(env, function);
}

napi_value ReaderHandle::scan(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<ReaderHandle*>(data);
  Scratch& scratch = self->scratch_;
  const uint32_t offset = scratch.get<uint32_t>(kOffsetAt);
  Scan result;
  const Segment* segment = self->reader_ != nullptr ? self->reader_->segment().get() : nullptr;
  if (segment != nullptr && offset >= kSegmentHeaderBytes && offset <= segment->bytes() && offset % kFrameAlign == 0) {
    const Status readable = self->reader_->read_ahead(offset);
    if (!readable.ok()) [[unlikely]] {
      throw_status(env, readable);
      return nullptr;
    }
    result = self->stream_.scan(*segment, offset, static_cast<uint64_t>(scratch.get<double>(kSequenceAt)),
                          scratch.get<uint32_t>(kLimitAt), self->max_payload_, self->verify_);
  } else {
    result.end = offset;
    result.sequence = static_cast<uint64_t>(scratch.get<double>(kSequenceAt));
  }
  scratch.set<uint32_t>(kMessagesAt, result.messages);
  scratch.set<uint32_t>(kEndAt, static_cast<uint32_t>(result.end));
  scratch.set<int32_t>(kStopAt, static_cast<int32_t>(result.stop));
  scratch.set<double>(kSequenceAt, static_cast<double>(result.sequence));
  return nullptr;
}

/// The mapped segment as an ArrayBuffer, for lib/ only: a store into it would be a fault. Null before the first segment.
/// It's detached by close() and when the reader goes to another segment; the mapping lives until then at least.
Napi::Value ReaderHandle::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!region_.IsEmpty()) {
    Napi::ArrayBuffer old = region_.Value();
    if (!old.IsDetached()) old.Detach();
    region_.Reset();
  }
  if (reader_ == nullptr || reader_->segment() == nullptr) return env.Null();
  auto* keep = new std::shared_ptr<Segment>(reader_->segment());
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, (*keep)->data(), (*keep)->bytes(),
      [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Segment>*>(hint); }, keep, &buffer);
  if (status != napi_ok) {
    delete keep;
    return throw_status(env, Status::error(Code::kUnsupported, "this JavaScript engine forbids external memory (Electron does)"));
  }
  region_ = Napi::Persistent(Napi::ArrayBuffer(env, buffer));
  return Napi::Value(env, buffer);
}

Napi::Value ReaderHandle::position(Napi::Env env) {
  const Position at = reader_->position();
  Napi::Object result = Napi::Object::New(env);
  result.Set("segment", Napi::Number::New(env, static_cast<double>(at.segment)));
  result.Set("offset", Napi::Number::New(env, static_cast<double>(at.offset)));
  result.Set("sequence", Napi::Number::New(env, static_cast<double>(at.sequence)));
  return result;
}

/// JavaScript moves the position forward by itself; learn where it is.
void ReaderHandle::take_position() {
  if (reader_->segment() == nullptr || scratch_.bytes() == nullptr) return;
  const uint32_t offset = scratch_.get<uint32_t>(kOffsetAt);
  if (offset < kSegmentHeaderBytes || offset > reader_->segment()->bytes() || offset % kFrameAlign != 0) return;
  reader_->set_position(offset, static_cast<uint64_t>(scratch_.get<double>(kSequenceAt)));
}

/// seek('earliest' | 'latest' | sequence: number | timestampNs: bigint) → position, or null if the topic has no segment yet.
Napi::Value ReaderHandle::seek(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  Status status;
  take_position();
  const Reader before = *reader_;
  if (info[0].IsNumber()) {
    status = reader_->seek_sequence(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  } else if (info[0].IsBigInt()) {
    bool lossless = true;
    status = reader_->seek_time(info[0].As<Napi::BigInt>().Uint64Value(&lossless));
  } else if (info[0].ToString().Utf8Value() == "latest") {
    status = reader_->seek_latest();
  } else {
    status = reader_->seek_earliest();
  }
  // JavaScript still reads the old segment: a search that failed half-way leaves the reader there too.
  if (!status.ok()) *reader_ = before;
  if (status.code == Code::kNotFound) return env.Null();
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// nextSegment() → position, or null while there is none.
Napi::Value ReaderHandle::next_segment(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  const Reader before = *reader_;
  const Status status = reader_->next_segment();
  if (!status.ok()) *reader_ = before;
  if (status.code == Code::kNotFound) return env.Null();
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// skipDamage() → position behind damage at the position, or null if nothing whole follows it yet.
Napi::Value ReaderHandle::skip_damage(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  const Status status = reader_->skip_damage();
  if (status.code == Code::kNotFound) return env.Null();
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// repair() → true if a dead publisher's claim stood at the position and is void now.
Napi::Value ReaderHandle::repair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  if (!log_->writable() || reader_->segment() == nullptr) return Napi::Boolean::New(env, false);
  RepairOutcome outcome;
  const Status status = repair_claim(*log_, reader_->position(), &outcome);
  if (!status.ok()) return throw_status(env, status);
  return Napi::Boolean::New(env, outcome == RepairOutcome::kRepaired);
}

/// wait(timeoutMs) → Promise<boolean>: true once there is news at the position, false after the time or cancel(). One at a time.
Napi::Value ReaderHandle::wait(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  if (*waiting_) return throw_status(env, Status::error(Code::kBusy, "the subscriber is waiting already"));
  take_position();
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  const auto timeout_ns = static_cast<uint64_t>(info[0].As<Napi::Number>().DoubleValue() * 1e6);
  if (parker_ == nullptr) parker_ = std::make_unique<Parker>(log_);
  dispatcher_->expect();
  *waiting_ = true;
  // The thread and the delivered work hold nothing of this object, which may be gone by then.
  parker_->wait(reader_->segment(), reader_->position(), timeout_ns,
                [deferred, waiting = waiting_, dispatcher = dispatcher_](bool news) {
                  dispatcher->post([deferred, waiting, news](Napi::Env loop) {
                    *waiting = false;
                    deferred->Resolve(Napi::Boolean::New(loop, news));
                  });
                });
  return deferred->Promise();
}

Napi::Value ReaderHandle::cancel(const Napi::CallbackInfo& info) {
  if (*waiting_) parker_->cancel();
  return info.Env().Undefined();
}

Napi::Value ReaderHandle::close(const Napi::CallbackInfo& info) {
  parker_.reset();
  if (!region_.IsEmpty()) {
    Napi::ArrayBuffer buffer = region_.Value();
    if (!buffer.IsDetached()) buffer.Detach();
    region_.Reset();
  }
  reader_.reset();
  log_.reset();
  return info.Env().Undefined();
}

}  // namespace hermes::binding
