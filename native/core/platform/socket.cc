#include "core/platform/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace hermes {
namespace {

#if defined(MSG_NOSIGNAL)
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;
#endif

/// Room for an address of either family.
struct Address {
  sockaddr_storage storage = {};
  socklen_t bytes = 0;

  sockaddr* any() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// Also knows an address of one interface, as fe80::1%eth0.
bool parse(const std::string& text, uint16_t port, Address* out) noexcept {
  addrinfo asked = {};
  asked.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  asked.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(text.c_str(), std::to_string(port).c_str(), &asked, &found) != 0) return false;
  std::memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
  out->bytes = found->ai_addrlen;
  ::freeaddrinfo(found);
  return true;
}

bool set_up(int descriptor) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 &&
         ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}

void turn(int descriptor, int level, int option, int how) noexcept {
  (void)::setsockopt(descriptor, level, option, &how, sizeof how);
}

void turn_on(int descriptor, int level, int option) noexcept { turn(descriptor, level, option, 1); }

TransferResult failure(int error) noexcept {
  if (error == EAGAIN || error == EWOULDBLOCK) return {Transfer::kLater, 0, 0};
  return {Transfer::kFailed, 0, error};
}

/// Whether accept() tells of a connection that has failed before it was taken, as Linux does: the next one may be sound.
bool is_of_connection(int error) noexcept {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
#if defined(ENONET)
    case ENONET:
#endif
      return true;
    default:
      return false;
  }
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = other.release();
  }
  return *this;
}

int Socket::release() noexcept { return std::exchange(descriptor_, -1); }

Status Socket::listen(const std::string& address, uint16_t port, int backlog, Socket* out) {
  Address at;
  if (!parse(address, port, &at)) return Status::error(Code::kInvalidArgument, "'" + address + "' is no address");
  Socket socket(::socket(at.storage.ss_family, SOCK_STREAM, 0));
  if (!socket.is_open() || !set_up(socket.descriptor_)) return Status::from_errno(errno, "make a socket");
  // As every server does: connections of the program before, which the kernel still remembers, are not in the way.
  turn_on(socket.descriptor_, SOL_SOCKET, SO_REUSEADDR);
  // As Node's: at :: also clients that have an IPv4 address are served, whatever the system is set to.
  if (at.storage.ss_family == AF_INET6) turn(socket.descriptor_, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (::bind(socket.descriptor_, at.any(), at.bytes) != 0 || ::listen(socket.descriptor_, backlog) != 0)
    return Status::from_errno(errno, "listen at " + address);
  *out = std::move(socket);
  return Status::success();
}

TransferResult Socket::accept(Socket* out) const noexcept {
  for (;;) {
#if defined(__linux__)
    Socket accepted(::accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
#else
    Socket accepted(::accept(descriptor_, nullptr, nullptr));
    if (accepted.is_open() && !set_up(accepted.descriptor_)) return {Transfer::kFailed, 0, errno};
#endif
    if (accepted.is_open()) {
      turn_on(accepted.descriptor_, IPPROTO_TCP, TCP_NODELAY);
#if defined(SO_NOSIGPIPE)
      turn_on(accepted.descriptor_, SOL_SOCKET, SO_NOSIGPIPE);
#endif
      *out = std::move(accepted);
      return {Transfer::kDone, 0, 0};
    }
    if (errno == EINTR) continue;
    // The poller tells if there is another one.
    if (is_of_connection(errno)) return {};
    return failure(errno);
  }
}

TransferResult Socket::receive(std::byte* into, size_t bytes) const noexcept {
  for (;;) {
    const ssize_t got = ::recv(descriptor_, into, bytes, 0);
    if (got > 0) return {Transfer::kDone, static_cast<size_t>(got), 0};
    if (got == 0) return {Transfer::kEnded, 0, 0};
    if (errno != EINTR) return failure(errno);
  }
}

TransferResult Socket::send(const iovec* pieces, size_t count) const noexcept {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(pieces);  // the kernel only reads it
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
  for (;;) {
    const ssize_t sent = ::sendmsg(descriptor_, &message, kSendFlags);
    if (sent >= 0) return {Transfer::kDone, static_cast<size_t>(sent), 0};
    // For want of the kernel's memory: what waits is written later, as without room.
    if (errno == ENOBUFS || errno == ENOMEM) return {Transfer::kLater, 0, 0};
    if (errno != EINTR) return failure(errno);
  }
}

void Socket::end_writing() const noexcept { (void)::shutdown(descriptor_, SHUT_WR); }

void Socket::close() noexcept {
  if (descriptor_ >= 0) (void)::close(release());
}

uint16_t Socket::port() const noexcept {
  Address at;
  at.bytes = sizeof at.storage;
  if (::getsockname(descriptor_, at.any(), &at.bytes) != 0) return 0;
  return ntohs(at.storage.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&at.storage)->sin_port
                                               : reinterpret_cast<sockaddr_in6*>(&at.storage)->sin6_port);
}

std::string Socket::peer() const {
  Address at;
  at.bytes = sizeof at.storage;
  char text[INET6_ADDRSTRLEN] = {};
  if (::getpeername(descriptor_, at.any(), &at.bytes) != 0) return {};
  const void* const bytes = at.storage.ss_family == AF_INET
                                ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&at.storage)->sin_addr)
                                : &reinterpret_cast<sockaddr_in6*>(&at.storage)->sin6_addr;
  return ::inet_ntop(at.storage.ss_family, bytes, text, sizeof text) != nullptr ? text : "";
}

}  // namespace hermes
