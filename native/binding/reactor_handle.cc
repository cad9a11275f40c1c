#include "binding/reactor_handle.h"

#include <algorithm>
#include <array>

#include "binding/errors.h"
#include "binding/reader_handle.h"

namespace hermes::binding {

using namespace reactor_scratch;

namespace {

constexpr size_t kMostEvents = 64;

}  // namespace

napi_value ReactorHandle::define(napi_env env) {
  const napi_value made =
      define_class(env, "Reactor",
                   {method<&ReactorHandle::listen>("listen"), method<&ReactorHandle::stop>("stop"),
                    method<&ReactorHandle::pause_listening>("pauseListening"),
                    method<&ReactorHandle::resume_listening>("resumeListening"), method<&ReactorHandle::port>("port"),
                    method<&ReactorHandle::look>("look"), method<&ReactorHandle::accept>("accept"),
                    method<&ReactorHandle::peer>("peer"), method<&ReactorHandle::resume>("resume"),
                    method<&ReactorHandle::pause>("pause"), method<&ReactorHandle::receive>("receive"),
                    method<&ReactorHandle::write>("write"), method<&ReactorHandle::deliver>("deliver"),
                    method<&ReactorHandle::flush>("flush"), method<&ReactorHandle::end>("end"),
                    method<&ReactorHandle::remove>("remove"), method<&ReactorHandle::close>("close")});
  if (made == nullptr) return nullptr;
  ObjectBuilder layout(env);
  layout.set("outcome", to_number(env, double{kOutcomeAt}));
  layout.set("error", to_number(env, double{kErrorAt}));
  layout.set("key", to_number(env, double{kKeyAt}));
  layout.set("descriptor", to_number(env, double{kDescriptorAt}));
  layout.set("bytes", to_number(env, double{kBytesAt}));
  layout.set("waiting", to_number(env, double{kWaitingAt}));
  layout.set("over", to_number(env, double{kOverAt}));
  layout.set("size", to_number(env, double{kBytes}));
  ObjectBuilder object(env, made);
  object.set("layout", layout.value());
  return object.value();
}

/// new Reactor(scratch: ArrayBuffer, events: ArrayBuffer, buffer: ArrayBuffer, ready: () => void)
bool ReactorHandle::construct(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!scratch_.hold(env, info[0], kBytes) || !events_.hold(env, info[1], kEventBytes) ||
      !buffer_.hold(env, info[2], 1) || !is_of_type(env, info[3], napi_function)) {
    throw_usage(env, "new Reactor(scratch: ArrayBuffer, events: ArrayBuffer, buffer: ArrayBuffer, ready: () => void)");
    return false;
  }
  Status status = reactor_.open();
  if (status.ok()) status = watch_.begin(env, reactor_.descriptor(), info[3]);
  if (status.ok()) return true;
  reactor_.close();
  throw_status(env, status);
  return false;
}

Connection* ReactorHandle::connection(const Napi::CallbackInfo& info, uint32_t* key) const {
  return read(info.Env(), info[0], key) ? reactor_.find(*key) : nullptr;
}

void ReactorHandle::report(const TransferResult& result, const Connection* connection) noexcept {
  scratch_.set<int32_t>(kOutcomeAt, static_cast<int32_t>(result.outcome));
  scratch_.set<int32_t>(kErrorAt, result.error);
  scratch_.set<double>(kBytesAt, static_cast<double>(result.bytes));
  scratch_.set<double>(kWaitingAt, connection != nullptr ? static_cast<double>(connection->waiting()) : 0);
  scratch_.set<int32_t>(kOverAt, connection != nullptr && connection->is_over() ? 1 : 0);
}

/// listen(address: string, port: number): throws what the system says.
napi_value ReactorHandle::listen(const Napi::CallbackInfo& info) {
  std::string address;
  uint32_t port = 0;
  if (!read(info.Env(), info[0], &address) || !read(info.Env(), info[1], &port) || port > 65535)
    return throw_usage(info.Env(), "listen(address: string, port: number)");
  const Status status = reactor_.listen(address, static_cast<uint16_t>(port));
  return status.ok() ? nullptr : throw_status(info.Env(), status);
}

napi_value ReactorHandle::stop(const Napi::CallbackInfo&) {
  reactor_.stop();
  return nullptr;
}

napi_value ReactorHandle::pause_listening(const Napi::CallbackInfo&) {
  reactor_.pause_listening();
  return nullptr;
}

/// resumeListening() → whether it listens again.
napi_value ReactorHandle::resume_listening(const Napi::CallbackInfo& info) {
  return to_boolean(info.Env(), reactor_.resume_listening());
}

napi_value ReactorHandle::port(const Napi::CallbackInfo& info) {
  return to_number(info.Env(), uint32_t{reactor_.port()});
}

/// look(looks: number) → how many events lie in the memory for them.
napi_value ReactorHandle::look(const Napi::CallbackInfo& info) {
  uint32_t looks = 1;
  (void)read(info.Env(), info[0], &looks);
  std::array<Poller::Event, kMostEvents> events;
  const size_t most = std::min(events.size(), events_.size() / kEventBytes);
  const size_t count = reactor_.look({events.data(), most}, looks);
  for (size_t i = 0; i < count; ++i) {
    events_.set<uint32_t>(i * kEventBytes, events[i].key);
    events_.set<uint32_t>(i * kEventBytes + sizeof(uint32_t), events[i].what);
  }
  return to_number(info.Env(), static_cast<uint32_t>(count));
}

napi_value ReactorHandle::accept(const Napi::CallbackInfo&) {
  uint32_t key = 0;
  const TransferResult result = reactor_.accept(&key);
  const Connection* const accepted = result.outcome == Transfer::kDone ? reactor_.find(key) : nullptr;
  report(result, accepted);
  scratch_.set<uint32_t>(kKeyAt, key);
  scratch_.set<int32_t>(kDescriptorAt, accepted != nullptr ? accepted->socket().descriptor() : -1);
  return nullptr;
}

/// peer(key) → the address of the other side; '' if it has none any more.
napi_value ReactorHandle::peer(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  const Connection* const found = connection(info, &key);
  return to_text(info.Env(), found != nullptr ? found->socket().peer() : "");
}

/// resume(key): reports kFailed if the poller takes no more sockets.
napi_value ReactorHandle::resume(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  TransferResult result;
  if (found != nullptr) {
    const Status status = found->resume();
    if (!status.ok()) result = {Transfer::kFailed, 0, status.sys_errno};
  }
  report(result, found);
  return nullptr;
}

napi_value ReactorHandle::pause(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  if (found != nullptr) found->pause();
  return nullptr;
}

/// receive(key): into the buffer, from its beginning on.
napi_value ReactorHandle::receive(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  TransferResult result;
  if (found != nullptr) result = found->receive(buffer_.bytes(), buffer_.size());
  report(result, found);
  return nullptr;
}

/// write(key, bytes: Uint8Array, hold: boolean): what is not taken at once is copied.
napi_value ReactorHandle::write(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  void* data = nullptr;
  size_t count = 0;
  if (napi_get_buffer_info(info.Env(), info[1], &data, &count) != napi_ok)
    return throw_usage(info.Env(), "write(key: number, bytes: Uint8Array, hold: boolean)");
  TransferResult result;
  if (found != nullptr && count > 0)
    result = found->write(static_cast<const std::byte*>(data), count, is_true(info.Env(), info[2]));
  report(result, found);
  return nullptr;
}

/// deliver(key, reader, channel, epoch, nextSequence, mostMessages, mostBytes, hold) → whether a run from the reader's position on was sent as one
/// DELIVER. The reader's scratch memory tells of it as after `scan`.
napi_value ReactorHandle::deliver(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  ReaderHandle* const reader = ReaderHandle::of(env, info[1]);
  Delivery delivery;
  if (reader == nullptr || !read(env, info[2], &delivery.channel) || !read(env, info[3], &delivery.epoch) ||
      !read(env, info[4], &delivery.next_sequence) || !read(env, info[5], &delivery.most_messages) ||
      !read(env, info[6], &delivery.most_bytes)) {
    return throw_usage(env, "deliver(key, reader, channel, epoch, nextSequence, mostMessages, mostBytes, hold)");
  }
  TransferResult result;
  const bool sent = found != nullptr && reader->deliver(*found, delivery, is_true(env, info[7]), &result);
  report(result, found);
  return to_boolean(env, sent);
}

napi_value ReactorHandle::flush(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  report(found != nullptr ? found->flush() : TransferResult{}, found);
  return nullptr;
}

napi_value ReactorHandle::end(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  Connection* const found = connection(info, &key);
  report(found != nullptr ? found->end() : TransferResult{}, found);
  return nullptr;
}

napi_value ReactorHandle::remove(const Napi::CallbackInfo& info) {
  uint32_t key = 0;
  if (connection(info, &key) != nullptr) reactor_.remove(key);
  return nullptr;
}

napi_value ReactorHandle::close(const Napi::CallbackInfo&) {
  watch_.end();
  reactor_.close();
  return nullptr;
}

}  // namespace hermes::binding
