#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/ring/ring_bell.h"
#include "core/ring/ring_file.h"

namespace hermes::binding {

/// A thread that sleeps on a ring's bell for one participant, started with its first wait. While it
/// sleeps it asks the kernel every 10 ms whether the others live: a dead one rings the bell by
/// being marked.
///
/// Thread safety: `wait`, `cancel` and destruction on one thread; `done` runs on the parker's own.
class RingParker {
 public:
  using Done = std::function<void()>;

  explicit RingParker(std::shared_ptr<RingFile> file) : file_(std::move(file)) {}
  /// Ends a wait under way, which is still reported, and the thread.
  ~RingParker();

  /// Sleeps while `bell` holds `seen`, then calls `done`. REQUIRES: no other wait is under way.
  void wait(RingBell bell, uint32_t seen, uint64_t timeout_ns, Done done);
  /// Ends the wait under way, if there is one, soon.
  void cancel() noexcept;

 private:
  struct Request {
    RingBell bell;
    uint32_t seen;
    uint64_t timeout_ns;
    Done done;
  };
  void run();
  void sleep(const Request& request);

  std::shared_ptr<RingFile> file_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::unique_ptr<Request> request_;
  RingWord* word_ = nullptr;  // of the newest wait; used by the owner's thread
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace hermes::binding
