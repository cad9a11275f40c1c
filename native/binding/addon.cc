#include "binding/addon.h"

#include <poll.h>

#include "binding/appender_handle.h"
#include "binding/constants.h"
#include "binding/errors.h"
#include "binding/file_mapping.h"
#include "binding/group_handle.h"
#include "binding/ingest_frames.h"
#include "binding/intake_handle.h"
#include "binding/log_handle.h"
#include "binding/maintenance.h"
#include "binding/member_handle.h"
#include "binding/metrics_handle.h"
#include "binding/reactor_handle.h"
#include "binding/reader_handle.h"
#include "binding/ring_file_handle.h"
#include "core/crc32/crc32.h"
#include "core/log/crash_point.h"

namespace hermes::binding {
namespace {

/// crc32(bytes, seed): zlib's value.
napi_value crc32_of(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  uint32_t seed = 0;
  if (napi_get_typedarray_info(env, info[0], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array || (info.Length() > 1 && !read(env, info[1], &seed))) {
    return throw_usage(env, "crc32(bytes: Uint8Array, seed: number)");
  }
  return to_number(env, crc32(seed, static_cast<const std::byte*>(data), length));
}

/// isReaderGone(fd): whether all who could read from a pipe or socket have closed it. Node tells of that only at the next write.
napi_value is_reader_gone(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  uint32_t fd = 0;
  if (!read(env, info[0], &fd)) return throw_usage(env, "isReaderGone(fd: number)");
  pollfd asked{static_cast<int>(fd), 0, 0};
  // Without waiting. The kernel reports these two although nothing is asked for.
  return to_boolean(env, poll(&asked, 1, 0) == 1 && (asked.revents & (POLLERR | POLLHUP)) != 0);
}

/// The names of the crash points; none in a release build.
napi_value crash_point_names(napi_env env) {
  ArrayBuilder names(env);
  for (const char* const name : crash_points()) names.push(to_text(env, name));
  return names.value();
}

}  // namespace

Addon::Addon(Napi::Env env, Napi::Object exports) : env_(env), dispatcher_(Dispatcher::create(env)) {
  ObjectBuilder object(env, exports);
  object.set("napiVersion", to_number(env, static_cast<double>(NAPI_VERSION)));
  object.set("constants", make_constants(env));
  object.set("crashPoints", crash_point_names(env));
  object.set("kernelFeatures", to_function(env, "kernelFeatures", kernel_features));
  object.set("crc32", to_function(env, "crc32", crc32_of));
  object.set("isReaderGone", to_function(env, "isReaderGone", is_reader_gone));
  object.set("openLog", LogHandle::define(env));
  object.set("makeLog", to_function(env, "makeLog", LogHandle::make));
  object.set("RingFile", RingFileHandle::define(env));
  object.set("Reactor", ReactorHandle::define(env));
  object.set("Intake", IntakeHandle::define(env));
  define_ingest(env, object);
  FileMapping::define(env, object);
  (void)appender_class.keep(env, AppenderHandle::define(env));
  (void)reader_class.keep(env, ReaderHandle::define(env));
  object.set("removeTopic", to_function(env, "removeTopic", remove_topic));
  object.set("finishRemoval", to_function(env, "finishRemoval", finish_removal));
  object.set("removeGroup", to_function(env, "removeGroup", remove_group));
  (void)group_class.keep(env, GroupHandle::define(env));
  (void)member_class.keep(env, MemberHandle::define(env));
  object.set("Metrics", MetricsHandle::define(env));
  (void)metrics_cell_class.keep(env, MetricsCellHandle::define(env));
}

}  // namespace hermes::binding

using HermesAddon = hermes::binding::Addon;
NODE_API_ADDON(HermesAddon)
