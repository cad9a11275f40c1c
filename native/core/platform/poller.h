#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/status.h"

namespace hermes {

/// Tells which of many descriptors can be read or written, by the kernel's epoll.
///
/// It has a descriptor of its own, which can be read while it has news: so a poller can be one of those that another one watches, as an event
/// loop's.
///
/// Thread safety: one thread at a time.
class Poller {
 public:
  enum Interest : uint32_t {
    kNothing = 0,
    kReadable = 1,
    kWritable = 2,
  };
  /// `what` holds Interest bits. A descriptor that has failed has all of those that were asked for: reading or writing tells what it is.
  struct Event {
    uint32_t key = 0;
    uint32_t what = kNothing;
  };

  Poller() = default;
  ~Poller() { close(); }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// kUnsupported where there is no epoll; kLimit if no descriptor is to be had.
  Status open();
  void close() noexcept;
  bool is_open() const noexcept { return descriptor_ >= 0; }
  int descriptor() const noexcept { return descriptor_; }

  /// Changes what is asked of `descriptor`, from `before` (kNothing: it is not known yet) to `now` (kNothing: it is forgotten, with its failures). `key`
  /// comes back in its events.
  Status change(int descriptor, uint32_t key, uint32_t before, uint32_t now) noexcept;

  /// Looks up to `looks` times, without sleeping, and fills `out` with what has news. Returns how many that are.
  size_t look(std::span<Event> out, uint32_t looks) noexcept;

 private:
  int descriptor_ = -1;
};

}  // namespace hermes
