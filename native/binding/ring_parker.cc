#include "binding/ring_parker.h"

#include <algorithm>
#include <utility>

#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

/// Between two looks at whether the others live.
constexpr uint64_t kProbeNs = 10'000'000;
constexpr uint64_t kLongestNs = uint64_t{1} << 60;

class RingSleeper final : public Sleeper {
 public:
  RingSleeper(std::shared_ptr<RingFile> file, RingEventcount eventcount, uint32_t seen, uint64_t timeout_ns,
              RingParker::Done done)
      : file_(std::move(file)),
        eventcount_(eventcount),
        seen_(seen),
        probed_ns_(monotonic_ns()),
        deadline_ns_(probed_ns_ + std::min(timeout_ns, kLongestNs)),
        done_(std::move(done)) {}

 protected:
  bool is_over(uint64_t now_ns) override {
    if (now_ns - std::min(now_ns, probed_ns_) >= kProbeNs) {
      probed_ns_ = now_ns;
      (void)file_->probe();
    }
    // Acquire: who wakes by the event's change sees what was published before it.
    return eventcount_.event->load(std::memory_order_acquire) != seen_ || now_ns >= deadline_ns_;
  }
  /// JavaScript has announced the sleep, and looked again.
  Nap lie_down(uint64_t now_ns) override {
    return {eventcount_.event, seen_, std::min(now_ns + kProbeNs, deadline_ns_), false};
  }
  void nudge() override {
    // Others who sleep here look up once for nothing.
    futex_wake_all(eventcount_.event);
  }
  void finish() override { done_(); }

 private:
  const std::shared_ptr<RingFile> file_;
  const RingEventcount eventcount_;
  const uint32_t seen_;
  uint64_t probed_ns_;
  const uint64_t deadline_ns_;
  const RingParker::Done done_;
};

}  // namespace

RingParker::~RingParker() {
  if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().remove(*sleeper);
}

Status RingParker::wait(RingEventcount eventcount, uint32_t seen, uint64_t timeout_ns, Done done) {
  const auto sleeper = std::make_shared<RingSleeper>(file_, eventcount, seen, timeout_ns, std::move(done));
  sleeper_ = sleeper;
  return SleeperPool::shared().add(sleeper);
}

void RingParker::cancel() {
  if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().cancel(*sleeper);
}

}  // namespace hermes::binding
