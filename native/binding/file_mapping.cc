#include "binding/file_mapping.h"

#include <sys/mman.h>

#include "binding/errors.h"

namespace hermes::binding {
namespace {

Napi::Object make_mapping_constants(Napi::Env env) {
  Napi::Object constants = Napi::Object::New(env);
  const auto set = [&](const char* name, double value) {
    constants.Set(name, Napi::Number::New(env, value));
  };
  set("PROT_NONE", PROT_NONE);
  set("PROT_READ", PROT_READ);
  set("PROT_WRITE", PROT_WRITE);
  set("PROT_EXEC", PROT_EXEC);
  set("MAP_SHARED", MAP_SHARED);
  set("MAP_PRIVATE", MAP_PRIVATE);
  set("MAP_NONBLOCK", MAP_NONBLOCK);
  set("MAP_POPULATE", MAP_POPULATE);
  set("MADV_NORMAL", MADV_NORMAL);
  set("MADV_RANDOM", MADV_RANDOM);
  set("MADV_SEQUENTIAL", MADV_SEQUENTIAL);
  set("MADV_WILLNEED", MADV_WILLNEED);
  set("MADV_DONTNEED", MADV_DONTNEED);
  set("PAGESIZE", static_cast<double>(FileView::page_size()));
  return constants;
}

uint64_t to_size(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

/// A stretch within the view, from arguments 0 and 1: lib/ has checked them, and a wrong one must
/// not be a fault.
bool take_range(const Napi::CallbackInfo& info, const FileView& view, uint64_t* offset,
                uint64_t* bytes) {
  *offset = to_size(info[0]);
  *bytes = to_size(info[1]);
  return *offset <= view.bytes() && *bytes <= view.bytes() - *offset;
}

Napi::Value throw_range(Napi::Env env) {
  return throw_status(
      env, Status::error(Code::kInvalidArgument, "the stretch is not within the mapping"));
}

}  // namespace

void FileMapping::define(Napi::Env env, Napi::Object exports) {
  exports.Set("FileMapping", DefineClass(env, "FileMapping",
                                         {InstanceMethod<&FileMapping::region>("region"),
                                          InstanceMethod<&FileMapping::advise>("advise"),
                                          InstanceMethod<&FileMapping::sync>("sync"),
                                          InstanceMethod<&FileMapping::incore>("incore"),
                                          InstanceMethod<&FileMapping::unmap>("unmap")}));
  exports.Set("mappingConstants", make_mapping_constants(env));
}

/// new FileMapping(fd, size, offset, storesReachTheFile, populate)
FileMapping::FileMapping(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FileMapping>(info) {
  const bool numbers = info[0].IsNumber() && info[1].IsNumber() && info[2].IsNumber();
  auto view = std::make_shared<FileView>();
  Status status = Status::error(Code::kInvalidArgument, "a mapping needs fd, size and offset");
  if (numbers) {
    const auto stores =
        info[3].ToBoolean() ? FileView::Stores::kReachTheFile : FileView::Stores::kPrivate;
    const auto populate = info[4].ToBoolean() ? FileView::Populate::kYes : FileView::Populate::kNo;
    status = view->map(info[0].As<Napi::Number>().Int32Value(), to_size(info[2]), to_size(info[1]),
                       stores, populate);
  }
  if (status.ok()) {
    view_ = std::move(view);
  } else {
    throw_status(info.Env(), status);
  }
}

/// region() → the memory as an ArrayBuffer, once: V8 must not see the same addresses in two
/// buffers.
Napi::Value FileMapping::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (handed_out_)
    return throw_status(env, Status::error(Code::kBusy, "the mapping has a buffer already"));
  auto* keep = new std::shared_ptr<FileView>(view_);
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, view_->data(), view_->bytes(),
      [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<FileView>*>(hint); },
      keep, &buffer);
  if (status != napi_ok) {
    delete keep;
    return throw_status(
        env, Status::error(Code::kUnsupported,
                           "this JavaScript engine forbids external memory (Electron does)"));
  }
  handed_out_ = true;
  return Napi::Value(env, buffer);
}

/// advise(offset, bytes, advice)
Napi::Value FileMapping::advise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  const Status status = view_->advise(offset, bytes, info[2].As<Napi::Number>().Int32Value());
  return status.ok() ? env.Undefined() : throw_status(env, status);
}

/// sync(offset, bytes, blocking, invalidate)
Napi::Value FileMapping::sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  const Status status = view_->sync(offset, bytes, info[2].ToBoolean(), info[3].ToBoolean());
  return status.ok() ? env.Undefined() : throw_status(env, status);
}

/// incore(offset, bytes) → [absent, present]
Napi::Value FileMapping::incore(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  uint64_t absent = 0;
  uint64_t present = 0;
  const Status status = view_->count_resident(offset, bytes, &absent, &present);
  if (!status.ok()) return throw_status(env, status);
  Napi::Array counts = Napi::Array::New(env, 2);
  counts.Set(0u, Napi::Number::New(env, static_cast<double>(absent)));
  counts.Set(1u, Napi::Number::New(env, static_cast<double>(present)));
  return counts;
}

/// unmap(buffer): detaches the mapping's ArrayBuffer and lets go of the file.
Napi::Value FileMapping::unmap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info[0].IsArrayBuffer()) {
    Napi::ArrayBuffer buffer = info[0].As<Napi::ArrayBuffer>();
    if (!buffer.IsDetached()) buffer.Detach();
  }
  const Status status = view_->release();
  return status.ok() ? env.Undefined() : throw_status(env, status);
}

}  // namespace hermes::binding
