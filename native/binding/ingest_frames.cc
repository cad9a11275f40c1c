#include "binding/ingest_frames.h"

#include <memory>
#include <string>

#include "binding/errors.h"
#include "binding/scratch.h"
#include "binding/scratch_layout.h"
#include "core/frame/frame.h"
#include "core/platform/clock.h"
#include "core/platform/lock_file.h"

namespace hermes::binding {
namespace {

/// A buffer, the scratch memory of the function that works on it, and what else that needs.
struct FrameMemory {
  Scratch buffer;
  Scratch scratch;
  FastClock clock;
  uint32_t max_payload = 0;
  bool verify = true;
};

FrameMemory* memory_of(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  return static_cast<FrameMemory*>(data);
}

napi_value seal(napi_env env, napi_callback_info info) {
  using namespace seal_scratch;
  FrameMemory* const memory = memory_of(env, info);
  Scratch& scratch = memory->scratch;
  const uint64_t offset = scratch.get<uint32_t>(kOffsetAt);
  const uint64_t bytes = scratch.get<uint32_t>(kBytesAt);
  const uint32_t count = scratch.get<uint32_t>(kCountAt);
  scratch.set<int32_t>(kDoneAt, 0);
  if (offset + bytes > memory->buffer.size()) return nullptr;
  FrameFields fields;
  fields.timestamp_ns = std::max(scratch.get<uint64_t>(kTimestampAt), memory->clock.now_ns());
  scratch.set<uint64_t>(kTimestampAt, fields.timestamp_ns);
  uint64_t at = 0;
  for (uint32_t i = 0; i < count; ++i, ++fields.timestamp_ns) {
    if (at + kFrameHeaderBytes > bytes) return nullptr;
    std::byte* const frame = memory->buffer.bytes() + offset + at;
    std::memcpy(&fields.payload_len, frame + offsetof(FrameHeader, payload_len), sizeof fields.payload_len);
    const uint64_t span = frame_span(fields.payload_len);
    if (span > bytes - at) return nullptr;
    encode_header(frame, fields, frame + kFrameHeaderBytes);
    at += span;
  }
  scratch.set<int32_t>(kDoneAt, at == bytes ? 1 : 0);
  return nullptr;
}

napi_value scan(napi_env env, napi_callback_info info) {
  using namespace frame_scan_scratch;
  FrameMemory* const memory = memory_of(env, info);
  Scratch& scratch = memory->scratch;
  const uint64_t end = scratch.get<uint32_t>(kEndAt);
  const uint32_t limit = scratch.get<uint32_t>(kLimitAt);
  uint64_t at = scratch.get<uint32_t>(kOffsetAt);
  auto sequence = static_cast<uint64_t>(scratch.get<double>(kSequenceAt));
  uint32_t messages = 0;
  bool sound = end <= memory->buffer.size() && at <= end;
  while (sound && messages < limit && at < end) {
    FrameHeader header;
    sound = at + sizeof header <= end;
    if (!sound) break;
    const std::byte* const frame = memory->buffer.bytes() + at;
    std::memcpy(&header, frame, sizeof header);
    const auto type = static_cast<FrameType>(header.type);
    const uint64_t span = frame_span(header.payload_len);
    const bool is_data = type == FrameType::kData;
    sound = header.magic == kFrameMagic && header.version == kFrameVersion && header.sequence == sequence &&
            span <= end - at && (is_data ? header.payload_len <= memory->max_payload : type == FrameType::kVoid) &&
            (!memory->verify || frame_crc(frame, crc_payload_bytes(type, header.payload_len)) == header.crc32);
    if (!sound) break;
    uint32_t count = 1;
    if (is_data) {
      ++messages;
    } else if (header.payload_len >= sizeof(VoidBody)) {
      std::memcpy(&count, frame + kFrameHeaderBytes, sizeof count);
    }
    sequence += count;
    at += span;
  }
  scratch.set<uint32_t>(kMessagesAt, messages);
  scratch.set<uint32_t>(kFoundAt, static_cast<uint32_t>(at));
  scratch.set<int32_t>(kDamageAt, sound ? 0 : 1);
  scratch.set<double>(kSequenceAt, static_cast<double>(sequence));
  return nullptr;
}

/// A function that owns `data`, which is destroyed with it. nullptr: the environment is ending.
template <typename T>
napi_value make_owning_function(napi_env env, const char* name, napi_callback callback, std::unique_ptr<T> data) {
  const napi_value function = to_function(env, name, callback, data.get());
  if (function == nullptr ||
      napi_add_finalizer(
          env, function, data.get(), [](napi_env, void* owned, void*) { delete static_cast<T*>(owned); }, nullptr,
          nullptr) != napi_ok) {
    return nullptr;
  }
  (void)data.release();
  return function;
}

template <napi_callback work, size_t scratch_bytes>
napi_value make_function(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  auto memory = std::make_unique<FrameMemory>();
  if (!memory->buffer.hold(env, info[0], 0) || !memory->scratch.hold(env, info[1], scratch_bytes)) {
    return throw_usage(env, "frameSealer or frameScanner(buffer: ArrayBuffer, scratch: ArrayBuffer of 64 bytes, ...)");
  }
  (void)read(env, info[2], &memory->max_payload);
  bool verify = true;
  if (napi_get_value_bool(env, info[3], &verify) == napi_ok) memory->verify = verify;
  return make_owning_function(env, "frames", work, std::move(memory));
}

napi_value release_lock(napi_env env, napi_callback_info info) {
  void* lock = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &lock) == napi_ok) static_cast<LockFile*>(lock)->close();
  return nullptr;
}

napi_value hold_lock(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  std::string path;
  if (!read(env, info[0], &path)) return throw_usage(env, "holdLock(path: string)");
  auto lock = std::make_unique<LockFile>();
  Status status = LockFile::open(path, lock.get());
  if (status.ok()) status = lock->try_lock(0, LockFile::Mode::kExclusive);
  if (status.code == Code::kBusy) return to_null(env);
  if (!status.ok()) return throw_status(env, status);
  ObjectBuilder result(env);
  // The function keeps the lock: it is given back by release(), by the garbage collector, or by the
  // kernel.
  result.set("release", make_owning_function(env, "release", release_lock, std::move(lock)));
  return result.value();
}

}  // namespace

void define_ingest(napi_env env, ObjectBuilder& exports) {
  exports.set("frameSealer", to_function(env, "frameSealer", make_function<&seal, seal_scratch::kBytes>));
  exports.set("frameScanner", to_function(env, "frameScanner", make_function<&scan, frame_scan_scratch::kBytes>));
  exports.set("holdLock", to_function(env, "holdLock", hold_lock));
}

}  // namespace hermes::binding
