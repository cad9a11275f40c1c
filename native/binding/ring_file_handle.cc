#include "binding/ring_file_handle.h"

#include <algorithm>
#include <cstring>

#include "binding/addon.h"
#include "binding/errors.h"
#include "binding/shared_memory.h"

namespace hermes::binding {
namespace {

/// The shape and options of a ring, from an object; false if one of them is missing.
bool read_shape(napi_env env, napi_value given, RingShape* shape, RingOptions* options, uint32_t* mode) {
  uint32_t kind = 0;
  napi_typedarray_type type = napi_int8_array;
  size_t tag_bytes = 0;
  void* tag = nullptr;
  if (!read_property(env, given, "kind", &kind) || !read_property(env, given, "itemBytes", &shape->item_size) ||
      !read_property(env, given, "capacity", &shape->capacity) ||
      !read_property(env, given, "startIndex", &options->start_index) ||
      !read_property(env, given, "participants", &options->participants) ||
      !read_property(env, given, "fileMode", mode) ||
      napi_get_typedarray_info(env, property(env, given, "tag"), &type, &tag_bytes, &tag, nullptr, nullptr) !=
          napi_ok ||
      type != napi_uint8_array) {
    return false;
  }
  shape->kind = static_cast<RingKind>(kind);
  options->parking = is_true(env, property(env, given, "parking"));
  // Last: a getter may have taken the memory away until here.
  if (napi_get_typedarray_info(env, property(env, given, "tag"), &type, &tag_bytes, &tag, nullptr, nullptr) != napi_ok)
    return false;
  if (tag_bytes != 0) std::memcpy(&options->tag, tag, std::min(sizeof options->tag, tag_bytes));
  return true;
}

}  // namespace

napi_value RingFileHandle::define(napi_env env) {
  return define_class(env, "RingFile",
                      {method<&RingFileHandle::region>("region"), method<&RingFileHandle::attach>("attach"),
                       method<&RingFileHandle::join>("join"), method<&RingFileHandle::probe>("probe"),
                       method<&RingFileHandle::wake>("wake"), method<&RingFileHandle::sleep>("sleep"),
                       method<&RingFileHandle::park>("park"), method<&RingFileHandle::cancel>("cancel"),
                       method<&RingFileHandle::close>("close")});
}

/// new RingFile(path, { kind, itemBytes, capacity, tag, startIndex, participants, parking, fileMode
/// } | null): null opens whatever ring is there, for lib/ to check.
bool RingFileHandle::construct(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  constexpr const char* kUsage = "new RingFile(path: string, shape: object | null)";
  std::string path;
  RingShape shape{};
  RingOptions options;
  uint32_t mode = 0;
  const bool any = is_of_type(env, info[1], napi_null);
  if (!read(env, info[0], &path) || (!any && !read_shape(env, info[1], &shape, &options, &mode))) {
    throw_usage(env, kUsage);
    return false;
  }
  dispatcher_ = Addon::of(env).dispatcher();
  auto file = std::make_shared<RingFile>();
  const Status status = any ? file->open_any(path) : file->open(path, shape, options, mode);
  if (!status.ok()) {
    throw_status(env, status);
    return false;
  }
  file_ = std::move(file);
  return true;
}

RingEventcount RingFileHandle::eventcount(bool room) const {
  auto* layout = static_cast<RingLayout*>(file_->memory());
  return room ? RingEventcount{&layout->producers_waiting, &layout->room_event}
              : RingEventcount{&layout->consumers_waiting, &layout->items_event};
}

/// region() → the mapping as an ArrayBuffer, once: V8 must not see the same addresses in two
/// buffers. `close` detaches it.
napi_value RingFileHandle::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  if (!region_.is_empty()) return region_.value();
  const napi_value buffer = share_memory(env, file_->memory(), file_->bytes(), file_->mapping());
  if (buffer != nullptr) (void)region_.keep(env, buffer);
  return buffer;
}

/// attach(role: 0 producer, 1 consumer)
napi_value RingFileHandle::attach(const Napi::CallbackInfo& info) {
  if (file_ == nullptr) return throw_closed(info.Env(), "ring");
  uint32_t role = 0;
  if (!read(info.Env(), info[0], &role) || role > 1) return throw_usage(info.Env(), "attach(role: 0 | 1)");
  const Status status = file_->attach(role == 1 ? RingRole::kConsumer : RingRole::kProducer);
  return status.ok() ? nullptr : throw_status(info.Env(), status);
}

/// join() → { entry, unclean }: any free participant's place of an MPMC ring.
napi_value RingFileHandle::join(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  uint32_t entry = 0;
  bool unclean = false;
  const Status status = file_->join(&entry, &unclean);
  if (!status.ok()) return throw_status(env, status);
  ObjectBuilder joined(env);
  joined.set("entry", to_number(env, entry));
  joined.set("unclean", to_boolean(env, unclean));
  return joined.value();
}

/// probe() → how many participants were found dead and marked.
napi_value RingFileHandle::probe(const Napi::CallbackInfo& info) {
  return to_number(info.Env(), static_cast<uint32_t>(file_ == nullptr ? 0 : file_->probe()));
}

/// wake(room: boolean): wakes who sleeps on the eventcount. The words themselves are JavaScript's affair.
napi_value RingFileHandle::wake(const Napi::CallbackInfo& info) {
  if (file_ != nullptr) futex_wake_all(eventcount(is_true(info.Env(), info[0])).event);
  return nullptr;
}

/// sleep(room, seen, timeoutMs): blocks this thread while the eventcount holds `seen`.
napi_value RingFileHandle::sleep(const Napi::CallbackInfo& info) {
  if (file_ == nullptr) return throw_closed(info.Env(), "ring");
  uint32_t seen = 0;
  uint64_t timeout_ns = 0;
  if (!read(info.Env(), info[1], &seen) || !read_ms(info.Env(), info[2], &timeout_ns)) {
    return throw_usage(info.Env(), "sleep(room: boolean, seen: number, timeoutMs: number)");
  }
  (void)futex_wait(eventcount(is_true(info.Env(), info[0])).event, seen, timeout_ns);
  return nullptr;
}

/// park(room, seen, timeoutMs) → Promise: the same off this thread, where a sleeper thread also looks after
/// the others. One at a time.
napi_value RingFileHandle::park(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return throw_closed(env, "ring");
  if (*parked_) return throw_status(env, Status::error(Code::kBusy, "this side of the ring is waiting already"));
  uint32_t seen = 0;
  uint64_t timeout_ns = 0;
  if (!read(env, info[1], &seen) || !read_ms(env, info[2], &timeout_ns)) {
    return throw_usage(env, "park(room: boolean, seen: number, timeoutMs: number)");
  }
  const auto deferred = std::make_shared<Deferred>(env);
  const napi_value promise = deferred->promise();
  if (promise == nullptr) return nullptr;
  if (parker_ == nullptr) parker_ = std::make_unique<RingParker>(file_);
  // The pool and the delivered work hold nothing of this object, which may be gone by then.
  const Status status = parker_->wait(eventcount(is_true(env, info[0])), seen, timeout_ns,
                                      [deferred, parked = parked_, dispatcher = dispatcher_] {
                                        dispatcher->post([deferred, parked](Napi::Env loop) {
                                          *parked = false;
                                          deferred->resolve(to_undefined(loop));
                                        });
                                      });
  if (status.ok()) {
    // What is posted meanwhile is delivered on this thread, so not before.
    dispatcher_->expect();
    *parked_ = true;
  } else {
    deferred->reject(to_error(env, status));
  }
  return promise;
}

napi_value RingFileHandle::cancel(const Napi::CallbackInfo&) {
  if (parker_ != nullptr && *parked_) parker_->cancel();
  return nullptr;
}

/// Gives the role up in an orderly way. Views of the region have no bytes from then on.
napi_value RingFileHandle::close(const Napi::CallbackInfo& info) {
  parker_.reset();  // its thread looks at the file
  if (!region_.is_empty()) {
    detach(info.Env(), region_.value());
    region_.release();
  }
  if (file_ != nullptr) file_->close();
  file_.reset();
  return nullptr;
}

}  // namespace hermes::binding
