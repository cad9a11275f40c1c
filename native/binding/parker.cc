#include "binding/parker.h"

#include <utility>

namespace hermes::binding {

Parker::~Parker() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
  }
  waiter_.cancel();
  wanted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Parker::wait(std::shared_ptr<Segment> segment, const Position& at, uint64_t timeout_ns, Done done) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    waiter_.prepare();
    request_ = std::make_unique<Request>(Request{std::move(segment), at, timeout_ns, std::move(done)});
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  wanted_.notify_one();
}

void Parker::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stop_ || request_ != nullptr; });
    if (request_ == nullptr) return;
    const std::unique_ptr<Request> request = std::move(request_);
    lock.unlock();
    request->done(waiter_.wait(request->segment, request->at, request->timeout_ns));
    lock.lock();
  }
}

}  // namespace hermes::binding
