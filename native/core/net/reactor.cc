#include "core/net/reactor.h"

#include <fcntl.h>

#include <cerrno>

namespace hermes {
namespace {

/// Connections that the kernel keeps for us until they are accepted; as Node's own server is asked for by the broker.
constexpr int kBacklog = 511;

/// A descriptor of nothing.
Socket make_spare() noexcept { return Socket(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Status Reactor::open() {
  Status status = poller_.open();
  if (status.ok()) spare_ = make_spare();
  return status;
}

void Reactor::close() noexcept {
  stop();
  connections_.resize(1);
  free_.clear();
  spare_.close();
  poller_.close();
}

Status Reactor::listen(const std::string& address, uint16_t port) {
  Socket socket;
  Status status = Socket::listen(address, port, kBacklog, &socket);
  if (status.ok()) status = poller_.change(socket.descriptor(), kListener, Poller::kNothing, Poller::kReadable);
  if (!status.ok()) return status;
  listener_ = std::move(socket);
  listening_ = Poller::kReadable;
  return status;
}

bool Reactor::ask_listener(uint32_t interest) noexcept {
  if (!listener_.is_open()) return true;
  const bool asked = poller_.change(listener_.descriptor(), kListener, listening_, interest).ok();
  if (asked) listening_ = interest;
  return asked;
}

void Reactor::stop() noexcept {
  if (!listener_.is_open()) return;
  (void)ask_listener(Poller::kNothing);
  listener_.close();
}

TransferResult Reactor::accept(uint32_t* key) {
  if (!listener_.is_open()) return {};
  Socket socket;
  const TransferResult result = listener_.accept(&socket);
  if (result.outcome == Transfer::kFailed) {
    if ((result.error == EMFILE || result.error == ENFILE) && turn_away()) return result;
    // It would be told of again and again, and nothing could be done.
    return {Transfer::kLater, 0, result.error};
  }
  if (result.outcome != Transfer::kDone) return result;
  if (free_.empty()) {
    *key = static_cast<uint32_t>(connections_.size());
    connections_.emplace_back();
  } else {
    *key = free_.back();
    free_.pop_back();
  }
  connections_[*key] = std::make_unique<Connection>(std::move(socket), poller_, *key);
  return result;
}

/// Closes the connection that waits, by a descriptor that was kept for this. False if there is none.
bool Reactor::turn_away() noexcept {
  if (!spare_.is_open()) spare_ = make_spare();
  if (!spare_.is_open()) return false;
  spare_.close();
  {
    Socket unwanted;
    (void)listener_.accept(&unwanted);
  }
  spare_ = make_spare();
  return true;
}

void Reactor::remove(uint32_t key) noexcept {
  if (find(key) == nullptr) return;
  connections_[key].reset();
  free_.push_back(key);
}

}  // namespace hermes
