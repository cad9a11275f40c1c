#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/status.h"

namespace hermes {

/// Tells when an event loop has turned.
struct Beat {
  std::atomic<uint64_t> turned_ns{0};  ///< monotonic; stored by the loop
  std::function<void()> ask;           ///< has the loop store it soon; called on the keeper's thread
};

/// One thread of the process that renews the leases of its members, each from the last turn of the event loop that it depends on: a loop that
/// hangs loses its work when the lease is over that began with its last turn, one whose handlers are slow does not.
///
/// Thread safety: all methods may be called from any thread. A forked child gets a keeper of its own, with nothing to keep.
class LeaseKeeper {
 public:
  struct Lease {
    std::shared_ptr<void> owner;            // keeps `word` mapped
    std::atomic<uint64_t>* word = nullptr;  // monotonic ns until which the member counts as working
    uint64_t lease_ns = 0;
    std::shared_ptr<Beat> beat;
    uint64_t due_ns = 0;
  };

  static LeaseKeeper& shared();
  /// kLimit if the process gets no thread for it.
  Status add(std::shared_ptr<Lease> lease);
  /// Afterwards the lease is not renewed any more, and its beat not asked.
  void remove(const std::shared_ptr<Lease>& lease);
  uint32_t leases() const;

 private:
  static void main(void* self);
  void work();
  static pid_t own_pid() noexcept;

  const pid_t pid_ = own_pid();
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Lease>> leases_;
  bool running_ = false;
};

}  // namespace hermes
