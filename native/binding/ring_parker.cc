#include "binding/ring_parker.h"

#include <algorithm>
#include <utility>

#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

/// Between two looks at whether the others live, and the longest that a cancelled wait goes on.
constexpr uint64_t kProbeNs = 10'000'000;

}  // namespace

RingParker::~RingParker() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
  }
  cancel();
  wanted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void RingParker::wait(RingBell bell, uint32_t seen, uint64_t timeout_ns, Done done) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    cancelled_.store(false, std::memory_order_relaxed);
    word_ = bell.bell;
    request_ = std::make_unique<Request>(Request{bell, seen, timeout_ns, std::move(done)});
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  wanted_.notify_one();
}

void RingParker::cancel() noexcept {
  cancelled_.store(true, std::memory_order_release);
  // Others who sleep here look up once for nothing.
  if (word_ != nullptr) futex_wake_all(word_);
}

void RingParker::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stop_ || request_ != nullptr; });
    if (request_ == nullptr) return;
    const std::unique_ptr<Request> request = std::move(request_);
    lock.unlock();
    sleep(*request);
    request->done();
    lock.lock();
  }
}

void RingParker::sleep(const Request& request) {
  const uint64_t begun = monotonic_ns();
  for (;;) {
    if (cancelled_.load(std::memory_order_acquire)) return;
    // Acquire: who wakes by the bell's change sees what was published before it.
    if (request.bell.bell->load(std::memory_order_acquire) != request.seen) return;
    const uint64_t gone = monotonic_ns() - begun;
    if (gone >= request.timeout_ns) return;
    (void)futex_wait(request.bell.bell, request.seen,
                     std::min(kProbeNs, request.timeout_ns - gone));
    (void)file_->probe();
  }
}

}  // namespace hermes::binding
