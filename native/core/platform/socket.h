#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"

namespace hermes {

/// What became of an attempt to read, write or accept without waiting.
enum class Transfer : uint8_t {
  kDone,    ///< some bytes, or a connection
  kLater,   ///< nothing now: the poller tells when there is
  kEnded,   ///< the other side will send nothing more
  kFailed,  ///< `error` says why; a connection's socket is of no more use
};

struct TransferResult {
  Transfer outcome = Transfer::kLater;
  size_t bytes = 0;
  int error = 0;  ///< errno
};

/// A TCP socket that never waits. Owns its descriptor, which no program that is started inherits.
///
/// Thread safety: one thread at a time.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) noexcept : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  /// Listens at `address`, an IPv4 or IPv6 address as text, and `port`; 0 = any that is free.
  static Status listen(const std::string& address, uint16_t port, int backlog, Socket* out);

  /// Takes the next connection, with Nagle's algorithm off. kLater also for one that has gone before it was taken. kFailed: the system has
  /// nothing for it, and it still waits.
  TransferResult accept(Socket* out) const noexcept;
  /// Reads once, up to `bytes`.
  TransferResult receive(std::byte* into, size_t bytes) const noexcept;
  /// Writes the pieces, in order, as far as there is room for them.
  TransferResult send(const iovec* pieces, size_t count) const noexcept;
  /// Nothing more will be written; what was is still sent.
  void end_writing() const noexcept;
  void close() noexcept;

  int descriptor() const noexcept { return descriptor_; }
  bool is_open() const noexcept { return descriptor_ >= 0; }
  /// The port that it is bound to; 0 if none.
  uint16_t port() const noexcept;
  /// The address of the other side as text; empty if there is none any more.
  std::string peer() const;

 private:
  int release() noexcept;
  int descriptor_ = -1;
};

}  // namespace hermes
