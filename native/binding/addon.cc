#include "binding/addon.h"

#include "binding/appender_handle.h"
#include "binding/constants.h"
#include "binding/file_mapping.h"
#include "binding/ingest_frames.h"
#include "binding/log_handle.h"
#include "binding/maintenance.h"
#include "binding/reader_handle.h"
#include "binding/ring_file_handle.h"
#include "core/crc32/crc32.h"
#include "core/log/crash_point.h"

namespace hermes::binding {
namespace {

/// crc32(bytes, seed): zlib's value.
Napi::Value crc32_of(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray()) {
    Napi::TypeError::New(info.Env(), "crc32 needs a Uint8Array").ThrowAsJavaScriptException();
    return {};
  }
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const uint32_t seed = info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : 0;
  return Napi::Number::New(info.Env(), crc32(seed, bytes.Data(), bytes.ByteLength()));
}

/// The names of the crash points; none in a release build.
Napi::Array crash_point_names(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  for (const char* const name : crash_points()) names.Set(names.Length(), Napi::String::New(env, name));
  return names;
}

}  // namespace

Addon::Addon(Napi::Env env, Napi::Object exports) : dispatcher_(Dispatcher::create(env)) {
  exports.Set("napiVersion", Napi::Number::New(env, NAPI_VERSION));
  exports.Set("constants", make_constants(env));
  exports.Set("crashPoints", crash_point_names(env));
  exports.Set("kernelFeatures", Napi::Function::New(env, kernel_features, "kernelFeatures"));
  exports.Set("crc32", Napi::Function::New(env, crc32_of, "crc32"));
  exports.Set("openLog", LogHandle::define(env));
  exports.Set("RingFile", RingFileHandle::define(env));
  define_ingest(env, exports);
  FileMapping::define(env, exports);
  appender_class = Napi::Persistent(AppenderHandle::define(env));
  reader_class = Napi::Persistent(ReaderHandle::define(env));
}

}  // namespace hermes::binding

using HermesAddon = hermes::binding::Addon;
NODE_API_ADDON(HermesAddon)
