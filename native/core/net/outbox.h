#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace hermes {

/// What waits to be written to one connection, in order: bytes of its own, and pieces of memory that others keep, as of a mapped segment.
/// Without a socket: its owner asks for the pieces, writes them, and says how much has gone.
///
/// Hot path: what is copied goes behind what was copied before, into memory that is kept; nothing is allocated once it is large enough.
class Outbox {
 public:
  /// Adds a copy of the bytes.
  void copy(const std::byte* bytes, size_t count);
  /// Adds bytes that stay where they are until they have gone: `keeper` sees to it.
  void lend(const std::byte* bytes, size_t count, std::shared_ptr<const void> keeper);

  /// Bytes that wait.
  size_t waiting() const noexcept { return waiting_; }
  bool is_empty() const noexcept { return waiting_ == 0; }

  /// Fills in up to `most` pieces from the beginning on, which are valid until the next call. Returns how many.
  size_t pieces(iovec* out, size_t most) const noexcept;
  /// So many bytes have gone. REQUIRES: no more than wait.
  void gone(size_t bytes) noexcept;
  /// Forgets everything.
  void clear() noexcept;

 private:
  /// Either lent (with a keeper) or the next `bytes` of copied_.
  struct Piece {
    const std::byte* lent = nullptr;
    size_t bytes = 0;
    std::shared_ptr<const void> keeper;
  };
  void settle() noexcept;

  std::vector<Piece> pieces_;
  size_t first_ = 0;  // of pieces_: those before have gone
  std::vector<std::byte> copied_;
  size_t copied_gone_ = 0;  // of copied_, from its beginning
  size_t waiting_ = 0;
};

}  // namespace hermes
