#include "core/platform/bell.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>

namespace hermes {
namespace {

/// The kernel's default for net.unix.max_dgram_qlen since 2.6.
constexpr uint32_t kUsualRoom = 10;

socklen_t address_of(uint64_t name, sockaddr_un* out) noexcept {
  *out = {};
  out->sun_family = AF_UNIX;
  // The first byte stays 0: a name of the kernel's, not of a file.
  const int bytes = std::snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "hermes-bell-%016llx",
                                  static_cast<unsigned long long>(name));
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<size_t>(bytes));
}

int open_socket() noexcept { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

/// How many rings wait for one who does not look.
uint32_t room_of_sockets() noexcept {
  const int file = ::open("/proc/sys/net/unix/max_dgram_qlen", O_RDONLY | O_CLOEXEC);
  if (file < 0) return kUsualRoom;
  char text[16] = {};
  const ssize_t bytes = ::read(file, text, sizeof(text) - 1);
  ::close(file);
  uint32_t room = 0;
  for (ssize_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; ++i)
    room = room * 10 + static_cast<uint32_t>(text[i] - '0');
  return bytes > 0 ? room : kUsualRoom;
}

/// The socket by which this process rings all bells; a forked child may use its parent's.
int ringing_socket() noexcept {
  static std::atomic<int> known{-1};
  int there = known.load(std::memory_order_acquire);
  if (there >= 0) return there;
  const int made = open_socket();
  if (made < 0) return -1;
  if (known.compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return made;
  ::close(made);
  return there;
}

}  // namespace

Status Bell::create(std::unique_ptr<Bell>* out) {
  uint64_t name = 0;
  // Not by the library's function of this name, which glibc has since 2.25 only.
  if (::syscall(SYS_getrandom, &name, sizeof(name), 0) != static_cast<long>(sizeof(name)) || name == 0)
    return Status::from_errno(errno, "name a bell");
  const int descriptor = open_socket();
  if (descriptor < 0) return Status::from_errno(errno, "make a socket to be woken by");
  sockaddr_un address;
  const socklen_t bytes = address_of(name, &address);
  if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), bytes) != 0) {
    const Status status = Status::from_errno(errno, "name a socket to be woken by");
    ::close(descriptor);
    return status;
  }
  out->reset(new Bell(descriptor, name, room_of_sockets()));
  return Status::success();
}

Bell::~Bell() { ::close(descriptor_); }

Bell::Heard Bell::hear() noexcept {
  Heard heard;
  std::array<mmsghdr, kAtOnce> messages{};
  std::array<iovec, kAtOnce> places{};
  for (uint32_t i = 0; i < kAtOnce; ++i) {
    places[i] = {&heard.tags[i], sizeof(heard.tags[i])};
    messages[i].msg_hdr.msg_iov = &places[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int count = ::recvmmsg(descriptor_, messages.data(), kAtOnce, MSG_DONTWAIT, nullptr);
  if (count > 0) heard.count = static_cast<uint32_t>(count);
  heard.perhaps_more = heard.count >= std::min(room_, kAtOnce);
  return heard;
}

Rung ring_bell(uint64_t name, uint64_t tag) noexcept {
  const int socket = ringing_socket();
  if (socket < 0) return Rung::kFailed;
  sockaddr_un address;
  const socklen_t bytes = address_of(name, &address);
  const ssize_t sent = ::sendto(socket, &tag, sizeof(tag), MSG_DONTWAIT | MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&address), bytes);
  if (sent == static_cast<ssize_t>(sizeof(tag)) || errno == EAGAIN) return Rung::kHeard;
  // (EPROTOTYPE: a socket of another kind has the name; EPERM: a security module keeps the two apart)
  return errno == ECONNREFUSED || errno == EPROTOTYPE || errno == EPERM || errno == EACCES ? Rung::kGone
                                                                                           : Rung::kFailed;
}

}  // namespace hermes
