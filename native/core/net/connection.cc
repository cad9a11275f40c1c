#include "core/net/connection.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace hermes {
namespace {

/// Pieces of one system call.
constexpr size_t kMostPieces = 64;

}  // namespace

Status Connection::watch(uint32_t interest) noexcept {
  if (!socket_.is_open()) return Status::success();
  Status status = poller_.change(socket_.descriptor(), key_, interest_, interest);
  if (status.ok()) interest_ = interest;
  return status;
}

Status Connection::resume() noexcept {
  reads_ = true;
  return read_ended_ ? Status::success() : watch(interest_ | Poller::kReadable);
}

void Connection::pause() noexcept {
  reads_ = false;
  // (Taking something away from what is watched does not fail.)
  (void)watch(interest_ & ~uint32_t{Poller::kReadable});
}

TransferResult Connection::fail(int error) noexcept {
  failed_ = error;
  read_ended_ = true;
  write_ended_ = true;
  outbox_.clear();
  (void)watch(Poller::kNothing);
  return {Transfer::kFailed, 0, error};
}

TransferResult Connection::receive(std::byte* into, size_t bytes) noexcept {
  if (failed_ != 0) return {Transfer::kFailed, 0, failed_};
  if (!socket_.is_open() || read_ended_ || !reads_) return {};
  const TransferResult result = socket_.receive(into, bytes);
  if (result.outcome == Transfer::kFailed) return fail(result.error);
  if (result.outcome == Transfer::kEnded) {
    read_ended_ = true;
    (void)watch(interest_ & ~uint32_t{Poller::kReadable});
  }
  received_ += result.bytes;
  return result;
}

TransferResult Connection::write(const std::byte* bytes, size_t count, bool hold, std::shared_ptr<const void> keeper) {
  if (failed_ != 0) return {Transfer::kFailed, 0, failed_};
  if (!socket_.is_open() || ending_) return {};
  TransferResult result;
  std::array<iovec, kMostPieces> pieces;
  const size_t before = hold || blocked_ ? kMostPieces : outbox_.pieces(pieces.data(), kMostPieces);
  if (before < kMostPieces) {
    // Straight from where it lies, behind what was held: most of what is written goes out at once.
    pieces[before] = {const_cast<std::byte*>(bytes), count};
    result = socket_.send(pieces.data(), before + 1);
    if (result.outcome == Transfer::kFailed) return fail(result.error);
    sent_ += result.bytes;
    const size_t held = std::min(result.bytes, outbox_.waiting());
    outbox_.gone(held);
    bytes += result.bytes - held;
    count -= result.bytes - held;
    if (count == 0) return result;
  }
  if (keeper != nullptr) {
    outbox_.lend(bytes, count, std::move(keeper));
  } else {
    outbox_.copy(bytes, count);
  }
  if (hold || blocked_) return result;
  const size_t sent = result.bytes;
  result = flush();
  result.bytes += sent;
  return result;
}

TransferResult Connection::flush() noexcept {
  if (failed_ != 0) return {Transfer::kFailed, 0, failed_};
  if (!socket_.is_open()) return {};
  TransferResult all = {Transfer::kDone, 0, 0};
  std::array<iovec, kMostPieces> pieces;
  while (!outbox_.is_empty()) {
    const TransferResult result = socket_.send(pieces.data(), outbox_.pieces(pieces.data(), pieces.size()));
    if (result.outcome == Transfer::kFailed) return fail(result.error);
    if (result.outcome == Transfer::kLater) {
      all.outcome = Transfer::kLater;
      break;
    }
    outbox_.gone(result.bytes);
    sent_ += result.bytes;
    all.bytes += result.bytes;
  }
  blocked_ = all.outcome == Transfer::kLater;
  const uint32_t readable = interest_ & Poller::kReadable;
  const Status status = watch(blocked_ ? readable | Poller::kWritable : readable);
  if (!status.ok()) return fail(status.sys_errno);
  if (ending_ && outbox_.is_empty() && !write_ended_) {
    write_ended_ = true;
    socket_.end_writing();
  }
  return all;
}

TransferResult Connection::end() noexcept {
  ending_ = true;
  return flush();
}

void Connection::close() noexcept {
  (void)watch(Poller::kNothing);
  outbox_.clear();
  read_ended_ = true;
  write_ended_ = true;
  socket_.close();
}

}  // namespace hermes
