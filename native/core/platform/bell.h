#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/status.h"

namespace hermes {

/// How a process is told to look at shared memory again when it sleeps in an event loop: a descriptor that any other process can make readable. A
/// datagram socket with a name of its own in the kernel (abstract, unix(7)): no file is left when its process is killed, and who rings needs no
/// right to anything but the name. Names are random, so that none is given out twice; whoever learns one can wake the process for nothing, no more.
///
/// Thread safety: hear() by one thread at a time.
class Bell {
 public:
  /// How many rings one call takes.
  static constexpr uint32_t kAtOnce = 16;
  struct Heard {
    uint32_t count = 0;
    std::array<uint64_t, kAtOnce> tags{};
    bool perhaps_more = false;  ///< so many that some may have been lost for want of room
  };

  static Status create(std::unique_ptr<Bell>* out);
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  uint64_t name() const noexcept { return name_; }
  /// Can be read once it was rung.
  int descriptor() const noexcept { return descriptor_; }
  /// The oldest rings, without waiting: one system call.
  Heard hear() noexcept;

 private:
  Bell(int descriptor, uint64_t name, uint32_t room) : descriptor_(descriptor), name_(name), room_(room) {}

  const int descriptor_;
  const uint64_t name_;
  const uint32_t room_;
};

enum class Rung : uint8_t {
  kHeard,   ///< it will be heard, or enough is waiting there that all is looked at
  kGone,    ///< nobody has this bell, as far as can be seen from this process
  kFailed,  ///< this process can't ring at present
};

/// Rings the bell of that name; its owner is given `tag`. One system call. Any thread.
Rung ring_bell(uint64_t name, uint64_t tag) noexcept;

}  // namespace hermes
