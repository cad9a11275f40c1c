#include "binding/ring_file_handle.h"

#include <algorithm>
#include <cstring>

#include "binding/addon.h"
#include "binding/errors.h"

namespace hermes::binding {
namespace {

uint32_t number_of(const Napi::Object& from, const char* name) {
  return from.Get(name).As<Napi::Number>().Uint32Value();
}

}  // namespace

Napi::Function RingFileHandle::define(Napi::Env env) {
  return DefineClass(env, "RingFile",
                     {InstanceMethod<&RingFileHandle::region>("region"),
                      InstanceMethod<&RingFileHandle::attach>("attach"),
                      InstanceMethod<&RingFileHandle::join>("join"),
                      InstanceMethod<&RingFileHandle::probe>("probe"),
                      InstanceMethod<&RingFileHandle::wake>("wake"),
                      InstanceMethod<&RingFileHandle::sleep>("sleep"),
                      InstanceMethod<&RingFileHandle::park>("park"),
                      InstanceMethod<&RingFileHandle::cancel>("cancel"),
                      InstanceMethod<&RingFileHandle::close>("close")});
}

/// new RingFile(path, { kind, itemBytes, capacity, tag, startIndex, participants, parking, fileMode
/// } | null): null opens whatever ring is there, for lib/ to check.
RingFileHandle::RingFileHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<RingFileHandle>(info), dispatcher_(Addon::of(info.Env()).dispatcher()) {
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  auto file = std::make_shared<RingFile>();
  Status status;
  if (info[1].IsObject()) {
    const Napi::Object given = info[1].As<Napi::Object>();
    RingShape shape{static_cast<RingKind>(number_of(given, "kind")), number_of(given, "itemBytes"),
                    number_of(given, "capacity")};
    RingOptions options;
    const Napi::Uint8Array tag = given.Get("tag").As<Napi::Uint8Array>();
    std::memcpy(&options.tag, tag.Data(), std::min(sizeof options.tag, tag.ByteLength()));
    options.start_index = number_of(given, "startIndex");
    options.participants = number_of(given, "participants");
    options.parking = given.Get("parking").ToBoolean();
    status = file->open(path, shape, options, number_of(given, "fileMode"));
  } else {
    status = file->open_any(path);
  }
  if (status.ok()) {
    file_ = std::move(file);
  } else {
    throw_status(info.Env(), status);
  }
}

RingBell RingFileHandle::bell(const Napi::Value& room) const {
  auto* image = static_cast<RingImage*>(file_->memory());
  return room.ToBoolean() ? RingBell{&image->producers_waiting, &image->room_bell}
                          : RingBell{&image->consumers_waiting, &image->items_bell};
}

/// region() → the mapping as an ArrayBuffer, once: V8 must not see the same addresses in two
/// buffers. `close` detaches it.
Napi::Value RingFileHandle::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  if (!region_.IsEmpty()) return region_.Value();
  auto* keep = new std::shared_ptr<MappedFile>(file_->mapping());
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, file_->memory(), file_->bytes(),
      [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<MappedFile>*>(hint); },
      keep, &buffer);
  if (status != napi_ok) {
    delete keep;
    return throw_status(
        env, Status::error(Code::kUnsupported,
                           "this JavaScript engine forbids external memory (Electron does)"));
  }
  region_ = Napi::Persistent(Napi::ArrayBuffer(env, buffer));
  return Napi::Value(env, buffer);
}

/// attach(role: 0 producer, 1 consumer)
Napi::Value RingFileHandle::attach(const Napi::CallbackInfo& info) {
  if (file_ == nullptr) return throw_closed(info.Env(), "ring");
  const bool consumer = info[0].As<Napi::Number>().Uint32Value() == 1;
  const Status status = file_->attach(consumer ? RingRole::kConsumer : RingRole::kProducer);
  return status.ok() ? info.Env().Undefined() : throw_status(info.Env(), status);
}

/// join() → { entry, unclean }: any free participant's place of an MPMC ring.
Napi::Value RingFileHandle::join(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  uint32_t entry = 0;
  bool unclean = false;
  const Status status = file_->join(&entry, &unclean);
  if (!status.ok()) return throw_status(env, status);
  Napi::Object joined = Napi::Object::New(env);
  joined.Set("entry", Napi::Number::New(env, entry));
  joined.Set("unclean", Napi::Boolean::New(env, unclean));
  return joined;
}

/// probe() → how many participants were found dead and marked.
Napi::Value RingFileHandle::probe(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), file_ == nullptr ? 0 : file_->probe());
}

/// wake(room: boolean): wakes who sleeps on the bell. The words themselves are JavaScript's affair.
Napi::Value RingFileHandle::wake(const Napi::CallbackInfo& info) {
  if (file_ != nullptr) futex_wake_all(bell(info[0]).bell);
  return info.Env().Undefined();
}

/// sleep(room, seen, timeoutMs): blocks this thread while the bell holds `seen`.
Napi::Value RingFileHandle::sleep(const Napi::CallbackInfo& info) {
  if (file_ == nullptr) return throw_closed(info.Env(), "ring");
  const auto timeout_ns = static_cast<uint64_t>(info[2].As<Napi::Number>().DoubleValue() * 1e6);
  (void)futex_wait(bell(info[0]).bell, info[1].As<Napi::Number>().Uint32Value(), timeout_ns);
  return info.Env().Undefined();
}

/// park(room, seen, timeoutMs) → Promise: the same on a thread of its own, which also looks after
/// the others. One at a time.
Napi::Value RingFileHandle::park(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  if (*parked_)
    return throw_status(env,
                        Status::error(Code::kBusy, "this side of the ring is waiting already"));
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  const auto timeout_ns = static_cast<uint64_t>(info[2].As<Napi::Number>().DoubleValue() * 1e6);
  if (parker_ == nullptr) parker_ = std::make_unique<RingParker>(file_);
  dispatcher_->expect();
  *parked_ = true;
  // The thread and the delivered work hold nothing of this object, which may be gone by then.
  parker_->wait(bell(info[0]), info[1].As<Napi::Number>().Uint32Value(), timeout_ns,
                [deferred, parked = parked_, dispatcher = dispatcher_] {
                  dispatcher->post([deferred, parked](Napi::Env loop) {
                    *parked = false;
                    deferred->Resolve(loop.Undefined());
                  });
                });
  return deferred->Promise();
}

Napi::Value RingFileHandle::cancel(const Napi::CallbackInfo& info) {
  if (parker_ != nullptr && *parked_) parker_->cancel();
  return info.Env().Undefined();
}

/// Gives the role up in an orderly way. Views of the region have no bytes from then on.
Napi::Value RingFileHandle::close(const Napi::CallbackInfo& info) {
  parker_.reset();  // its thread looks at the file
  if (!region_.IsEmpty()) {
    Napi::ArrayBuffer buffer = region_.Value();
    if (!buffer.IsDetached()) buffer.Detach();
    region_.Reset();
  }
  if (file_ != nullptr) file_->close();
  file_.reset();
  return info.Env().Undefined();
}

}  // namespace hermes::binding
