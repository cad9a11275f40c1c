#include "core/net/outbox.h"

#include <algorithm>

namespace hermes {
namespace {

/// Of memory for copies so much is kept by a connection to which nothing is due.
constexpr size_t kKeptBytes = size_t{64} << 10;
/// So many that have gone are taken out at once.
constexpr size_t kKeptPieces = 256;

}  // namespace

void Outbox::copy(const std::byte* bytes, size_t count) {
  if (count == 0) return;
  copied_.insert(copied_.end(), bytes, bytes + count);
  waiting_ += count;
  if (first_ < pieces_.size() && pieces_.back().keeper == nullptr) {
    pieces_.back().bytes += count;
  } else {
    pieces_.push_back({nullptr, count, nullptr});
  }
}

void Outbox::lend(const std::byte* bytes, size_t count, std::shared_ptr<const void> keeper) {
  if (count == 0) return;
  pieces_.push_back({bytes, count, std::move(keeper)});
  waiting_ += count;
}

size_t Outbox::pieces(iovec* out, size_t most) const noexcept {
  size_t copied = copied_gone_;
  size_t count = 0;
  for (size_t at_piece = first_; at_piece < pieces_.size() && count < most; ++at_piece) {
    const Piece& piece = pieces_[at_piece];
    const std::byte* at = piece.lent;
    if (piece.keeper == nullptr) {
      at = copied_.data() + copied;
      copied += piece.bytes;
    }
    out[count++] = {const_cast<std::byte*>(at), piece.bytes};
  }
  return count;
}

void Outbox::gone(size_t bytes) noexcept {
  waiting_ -= bytes;
  while (bytes > 0) {
    Piece& first = pieces_[first_];
    const size_t part = std::min(bytes, first.bytes);
    if (first.keeper == nullptr) {
      copied_gone_ += part;
    } else {
      first.lent += part;
    }
    first.bytes -= part;
    bytes -= part;
    if (first.bytes > 0) break;
    first.keeper.reset();
    ++first_;
  }
  settle();
}

/// Takes what has gone out of the memory for copies: once nothing of it waits, or when that is the greater part.
void Outbox::settle() noexcept {
  if (first_ == pieces_.size()) {
    pieces_.clear();
    first_ = 0;
  } else if (first_ > kKeptPieces) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  if (copied_gone_ == copied_.size()) {
    copied_.clear();
    copied_gone_ = 0;
    if (copied_.capacity() > kKeptBytes) copied_.shrink_to_fit();
  } else if (copied_gone_ > kKeptBytes && copied_gone_ > copied_.size() / 2) {
    copied_.erase(copied_.begin(), copied_.begin() + static_cast<std::ptrdiff_t>(copied_gone_));
    copied_gone_ = 0;
  }
}

void Outbox::clear() noexcept {
  pieces_.clear();
  first_ = 0;
  copied_.clear();
  copied_.shrink_to_fit();
  copied_gone_ = 0;
  waiting_ = 0;
}

}  // namespace hermes
