#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/net/outbox.h"
#include "core/platform/poller.h"
#include "core/platform/socket.h"

namespace hermes {

/// One connection that was accepted: its socket, what waits to be written, and what its poller is asked for.
///
/// Invariants: the poller is asked for what can be read exactly while it is to be read and the other side has not ended; and for room to write
/// exactly while something waits that the kernel has not taken.
///
/// Thread safety: one thread at a time, that of its poller.
class Connection {
 public:
  Connection(Socket socket, Poller& poller, uint32_t key) noexcept
      : socket_(std::move(socket)), poller_(poller), key_(key) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Begins, or begins again, to ask for what can be read.
  Status resume() noexcept;
  void pause() noexcept;
  /// Reads once, up to `bytes`. After kEnded and kFailed nothing more is read.
  TransferResult receive(std::byte* into, size_t bytes) noexcept;

  /// Writes the bytes behind what waits. What the kernel does not take at once is copied, or `keeper` keeps it. `hold`: nothing is written yet,
  /// so that more can go out with it. kFailed: the connection is of no more use.
  TransferResult write(const std::byte* bytes, size_t count, bool hold, std::shared_ptr<const void> keeper = nullptr);
  /// Writes what waits, as far as there is room. kDone: nothing waits any more.
  TransferResult flush() noexcept;
  /// Nothing more will be written, and the other side is told once everything has gone. Idempotent.
  TransferResult end() noexcept;
  /// Closes at once. Idempotent.
  void close() noexcept;

  size_t waiting() const noexcept { return outbox_.waiting(); }
  /// Whether both directions are over: nothing is left to do but to close it.
  bool is_over() const noexcept { return read_ended_ && write_ended_; }
  const Socket& socket() const noexcept { return socket_; }
  uint64_t received() const noexcept { return received_; }
  uint64_t sent() const noexcept { return sent_; }

 private:
  Status watch(uint32_t interest) noexcept;
  TransferResult fail(int error) noexcept;

  Socket socket_;
  Outbox outbox_;
  Poller& poller_;
  const uint32_t key_;
  uint32_t interest_ = Poller::kNothing;
  bool reads_ = false;
  bool blocked_ = false;  // the kernel has no room: the poller tells when it has
  bool ending_ = false;   // to be ended once nothing waits
  bool read_ended_ = false;
  bool write_ended_ = false;
  int failed_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace hermes
