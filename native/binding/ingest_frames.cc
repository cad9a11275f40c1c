#include "binding/ingest_frames.h"

#include "binding/errors.h"
#include "binding/scratch.h"
#include "core/frame/frame.h"
#include "core/platform/clock.h"
#include "core/platform/lock_file.h"

namespace hermes::binding {
namespace {

constexpr size_t kScratchBytes = 64;

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
  FrameMemory* const memory = memory_of(env, info);
  Scratch& scratch = memory->scratch;
  const uint64_t offset = scratch.get<uint32_t>(0);
  const uint64_t bytes = scratch.get<uint32_t>(4);
  const uint32_t count = scratch.get<uint32_t>(8);
  scratch.set<int32_t>(12, 0);
  if (offset + bytes > memory->buffer.size()) return nullptr;
  FrameFields fields;
  fields.timestamp_ns = std::max(scratch.get<uint64_t>(16), memory->clock.now_ns());
  scratch.set<uint64_t>(16, fields.timestamp_ns);
  uint64_t at = 0;
  for (uint32_t i = 0; i < count; ++i, ++fields.timestamp_ns) {
    if (at + kFrameHeaderBytes > bytes) return nullptr;
    std::byte* const frame = memory->buffer.bytes() + offset + at;
    std::memcpy(&fields.payload_len, frame + offsetof(FrameHeader, payload_len),
                sizeof fields.payload_len);
    const uint64_t span = frame_span(fields.payload_len);
    if (span > bytes - at) return nullptr;
    encode_header(frame, fields, frame + kFrameHeaderBytes);
    at += span;
  }
  scratch.set<int32_t>(12, at == bytes ? 1 : 0);
  return nullptr;
}

napi_value scan(napi_env env, napi_callback_info info) {
  FrameMemory* const memory = memory_of(env, info);
  Scratch& scratch = memory->scratch;
  const uint64_t end = scratch.get<uint32_t>(4);
  const uint32_t limit = scratch.get<uint32_t>(8);
  uint64_t at = scratch.get<uint32_t>(0);
  auto sequence = static_cast<uint64_t>(scratch.get<double>(24));
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
    sound = header.magic == kFrameMagic && header.version == kFrameVersion &&
            header.sequence == sequence && span <= end - at &&
            (is_data ? header.payload_len <= memory->max_payload : type == FrameType::kVoid) &&
            (!memory->verify ||
             frame_crc(frame, crc_payload_bytes(type, header.payload_len)) == header.crc32);
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
  scratch.set<uint32_t>(12, messages);
  scratch.set<uint32_t>(16, static_cast<uint32_t>(at));
  scratch.set<int32_t>(20, sound ? 0 : 1);
  scratch.set<double>(24, static_cast<double>(sequence));
  return nullptr;
}

template <napi_callback work>
Napi::Value make_function(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer() || !info[1].IsArrayBuffer() ||
      info[1].As<Napi::ArrayBuffer>().ByteLength() < kScratchBytes) {
    return throw_status(env, Status::error(Code::kInvalidArgument, "two ArrayBuffers are needed"));
  }
  auto* const memory = new FrameMemory;
  memory->buffer.hold(info[0].As<Napi::ArrayBuffer>());
  memory->scratch.hold(info[1].As<Napi::ArrayBuffer>());
  if (info[2].IsNumber()) memory->max_payload = info[2].As<Napi::Number>().Uint32Value();
  if (info[3].IsBoolean()) memory->verify = info[3].As<Napi::Boolean>().Value();
  napi_value function = nullptr;
  if (napi_create_function(env, nullptr, 0, work, memory, &function) != napi_ok ||
      napi_add_finalizer(
          env, function, memory,
          [](napi_env, void* data, void*) { delete static_cast<FrameMemory*>(data); }, nullptr,
          nullptr) != napi_ok) {
    delete memory;
    return throw_status(env, Status::error(Code::kIoFailed, "Node-API made no function"));
  }
  return Napi::Value(env, function);
}

Napi::Value hold_lock(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto lock = std::make_shared<LockFile>();
  Status status = LockFile::open(info[0].As<Napi::String>().Utf8Value(), lock.get());
  if (status.ok()) status = lock->try_lock(0, LockFile::Mode::kExclusive);
  if (status.code == Code::kBusy) return env.Null();
  if (!status.ok()) return throw_status(env, status);
  Napi::Object result = Napi::Object::New(env);
  // The function keeps the lock: it is given back by release(), by the garbage collector, or by the
  // kernel.
  result.Set("release", Napi::Function::New(
                            env, [lock](const Napi::CallbackInfo&) { lock->close(); }, "release"));
  return result;
}

}  // namespace

void define_ingest(Napi::Env env, Napi::Object exports) {
  exports.Set("frameSealer", Napi::Function::New<&make_function<&seal>>(env, "frameSealer"));
  exports.Set("frameScanner", Napi::Function::New<&make_function<&scan>>(env, "frameScanner"));
  exports.Set("holdLock", Napi::Function::New(env, hold_lock, "holdLock"));
}

}  // namespace hermes::binding
