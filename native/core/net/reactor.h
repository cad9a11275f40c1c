#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/net/connection.h"
#include "core/platform/poller.h"
#include "core/platform/socket.h"

namespace hermes {

/// A listening socket, the connections that were accepted there, and the one poller that watches them all.
///
/// It has no thread of its own: its owner asks it for news, and reads and writes what there is. Its descriptor can be read while there is
/// news, so it can be watched by an event loop.
///
/// Thread safety: one thread at a time.
class Reactor {
 public:
  /// The key of the listening socket in events. Connections have others.
  static constexpr uint32_t kListener = 0;

  Status open();
  /// Ends everything at once.
  void close() noexcept;
  int descriptor() const noexcept { return poller_.descriptor(); }

  /// Listens at an address; see Socket::listen.
  Status listen(const std::string& address, uint16_t port);
  /// Accepts no more.
  void stop() noexcept;
  uint16_t port() const noexcept { return listener_.port(); }
  /// Accepts nothing for a while: what comes waits with the kernel.
  void pause_listening() noexcept { (void)ask_listener(Poller::kNothing); }
  /// False: the system has no memory for it now. To be tried again.
  [[nodiscard]] bool resume_listening() noexcept { return ask_listener(Poller::kReadable); }

  /// What has news, without sleeping: see Poller::look. A key may be that of a connection that was closed since, or of its successor.
  size_t look(std::span<Poller::Event> out, uint32_t looks) noexcept { return poller_.look(out, looks); }

  /// Takes the next connection, and nothing of what it says: see Connection::resume. kFailed: there was no descriptor for it, and it was closed. kLater with
  /// an `error`: it still waits, and would be told of at once again: see pause_listening().
  TransferResult accept(uint32_t* key);
  /// Null if there is none (any more).
  Connection* find(uint32_t key) const noexcept {
    return key < connections_.size() ? connections_[key].get() : nullptr;
  }
  /// Closes a connection at once. Its key may be given out again from then on.
  void remove(uint32_t key) noexcept;

 private:
  bool turn_away() noexcept;
  bool ask_listener(uint32_t interest) noexcept;

  Poller poller_;
  Socket listener_;
  uint32_t listening_ = Poller::kNothing;  // what the poller is asked for
  Socket spare_;                           // a descriptor to give up when there is no other one: see turn_away()
  std::vector<std::unique_ptr<Connection>> connections_ = std::vector<std::unique_ptr<Connection>>(1);
  std::vector<uint32_t> free_;
};

}  // namespace hermes
