#include "binding/file_mapping.h"

#include <sys/mman.h>

#include "binding/errors.h"
#include "binding/shared_memory.h"

namespace hermes::binding {
namespace {

napi_value make_mapping_constants(napi_env env) {
  ObjectBuilder constants(env);
  const auto set = [&](const char* name, double value) { constants.set(name, to_number(env, value)); };
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
  return constants.value();
}

/// A stretch within the view, from arguments 0 and 1: lib/ has checked them, and a wrong one must
/// not be a fault.
bool take_range(const Napi::CallbackInfo& info, const FileView& view, uint64_t* offset, uint64_t* bytes) {
  return read(info.Env(), info[0], offset) && read(info.Env(), info[1], bytes) && *offset <= view.bytes() &&
         *bytes <= view.bytes() - *offset;
}

napi_value throw_range(napi_env env) {
  return throw_status(env, Status::error(Code::kInvalidArgument, "the stretch is not within the mapping"));
}

}  // namespace

void FileMapping::define(napi_env env, ObjectBuilder& exports) {
  exports.set("FileMapping",
              define_class(env, "FileMapping",
                           {method<&FileMapping::region>("region"), method<&FileMapping::advise>("advise"),
                            method<&FileMapping::sync>("sync"), method<&FileMapping::incore>("incore"),
                            method<&FileMapping::unmap>("unmap")}));
  exports.set("mappingConstants", make_mapping_constants(env));
}

/// new FileMapping(fd, size, offset, storesReachTheFile, populate)
bool FileMapping::construct(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint32_t fd = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
  if (!read(env, info[0], &fd) || !read(env, info[1], &size) || !read(env, info[2], &offset)) {
    throw_usage(env, "new FileMapping(fd: number, size: number, offset: number, ...)");
    return false;
  }
  const auto stores = is_true(env, info[3]) ? FileView::Stores::kReachTheFile : FileView::Stores::kPrivate;
  const auto populate = is_true(env, info[4]) ? FileView::Populate::kYes : FileView::Populate::kNo;
  auto view = std::make_shared<FileView>();
  const Status status = view->map(static_cast<int>(fd), offset, size, stores, populate);
  if (!status.ok()) {
    throw_status(env, status);
    return false;
  }
  view_ = std::move(view);
  return true;
}

/// region() → the memory as an ArrayBuffer, once: V8 must not see the same addresses in two
/// buffers.
napi_value FileMapping::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (handed_out_) return throw_status(env, Status::error(Code::kBusy, "the mapping has a buffer already"));
  const napi_value buffer = share_memory(env, view_->data(), view_->bytes(), view_);
  handed_out_ = buffer != nullptr;
  return buffer;
}

/// advise(offset, bytes, advice)
napi_value FileMapping::advise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  uint32_t advice = 0;
  if (!read(env, info[2], &advice)) return throw_usage(env, "advise(offset: number, bytes: number, advice: number)");
  const Status status = view_->advise(offset, bytes, static_cast<int>(advice));
  return status.ok() ? nullptr : throw_status(env, status);
}

/// sync(offset, bytes, blocking, invalidate)
napi_value FileMapping::sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  const Status status = view_->sync(offset, bytes, is_true(env, info[2]), is_true(env, info[3]));
  return status.ok() ? nullptr : throw_status(env, status);
}

/// incore(offset, bytes) → [absent, present]
napi_value FileMapping::incore(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!take_range(info, *view_, &offset, &bytes)) return throw_range(env);
  uint64_t absent = 0;
  uint64_t present = 0;
  const Status status = view_->count_resident(offset, bytes, &absent, &present);
  if (!status.ok()) return throw_status(env, status);
  ArrayBuilder counts(env);
  counts.push(to_number(env, absent));
  counts.push(to_number(env, present));
  return counts.value();
}

/// unmap(buffer): detaches the mapping's ArrayBuffer and lets go of the file.
napi_value FileMapping::unmap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  detach(env, info[0]);
  const Status status = view_->release();
  return status.ok() ? nullptr : throw_status(env, status);
}

}  // namespace hermes::binding
