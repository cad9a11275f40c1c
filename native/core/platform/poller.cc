#include "core/platform/poller.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/platform/pause.h"

#if defined(__linux__)
#include <sys/epoll.h>
#include <unistd.h>
#endif

namespace hermes {

#if defined(__linux__)

namespace {

constexpr size_t kMostAtOnce = 64;

uint32_t wanted(uint32_t interest) noexcept {
  return ((interest & Poller::kReadable) != 0 ? uint32_t{EPOLLIN} : 0) |
         ((interest & Poller::kWritable) != 0 ? uint32_t{EPOLLOUT} : 0);
}

uint32_t found(uint32_t events) noexcept {
  // After a failure both are told, also if only one was asked for: trying the other one does no harm.
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Poller::kReadable | Poller::kWritable;
  return ((events & EPOLLIN) != 0 ? uint32_t{Poller::kReadable} : 0) |
         ((events & EPOLLOUT) != 0 ? uint32_t{Poller::kWritable} : 0);
}

}  // namespace

Status Poller::open() {
  if (is_open()) return Status::success();
  descriptor_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (descriptor_ >= 0) return Status::success();
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
    return {Code::kLimit, errno, "the system gives this process no further descriptor for epoll"};
  }
  return Status::from_errno(errno, "make an epoll");
}

void Poller::close() noexcept {
  if (is_open()) (void)::close(descriptor_);
  descriptor_ = -1;
}

Status Poller::change(int descriptor, uint32_t key, uint32_t before, uint32_t now) noexcept {
  if (before == now) return Status::success();
  epoll_event event = {};
  event.events = wanted(now);
  event.data.u64 = key;
  const int operation = now == kNothing ? EPOLL_CTL_DEL : before == kNothing ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(descriptor_, operation, descriptor, &event) == 0) return Status::success();
  return Status::from_errno(errno, "watch a socket");
}

size_t Poller::look(std::span<Event> out, uint32_t looks) noexcept {
  std::array<epoll_event, kMostAtOnce> events;
  const int most = static_cast<int>(std::min(out.size(), events.size()));
  for (uint32_t look = 0; look < looks; ++look) {
    if (look > 0) cpu_pause();
    const int count = ::epoll_wait(descriptor_, events.data(), most, 0);
    if (count == 0) continue;
    for (int i = 0; i < count; ++i)
      out[static_cast<size_t>(i)] = {static_cast<uint32_t>(events[static_cast<size_t>(i)].data.u64),
                                     found(events[static_cast<size_t>(i)].events)};
    return count > 0 ? static_cast<size_t>(count) : 0;
  }
  return 0;
}

#else

Status Poller::open() { return Status::error(Code::kUnsupported, "this system has no epoll"); }
void Poller::close() noexcept {}
Status Poller::change(int, uint32_t, uint32_t, uint32_t) noexcept { return Status::error(Code::kClosed, "not open"); }
size_t Poller::look(std::span<Event>, uint32_t) noexcept { return 0; }

#endif

}  // namespace hermes
