#include "core/log/claim_watch.h"

namespace hermes {
namespace {

/// From the first look at a claim until the owner's progress counts as made since: any store that the owner made before the claim is seen by then.
constexpr uint64_t kBaselineNs = 100'000'000;

}  // namespace

bool ClaimWatch::is_refuted(const Position& at, uint64_t word, const ParticipantSlot& slot, uint64_t now_ns) {
  // Acquire: another owner of the slot has dealt with the claims of the one before.
  const uint64_t taken_ns = slot.taken_ns.load(std::memory_order_acquire);
  const uint64_t messages = slot.messages.load(std::memory_order_relaxed);
  const std::lock_guard<std::mutex> guard(mutex_);
  if (at.segment != at_.segment || at.offset != at_.offset || word != word_ || taken_ns != taken_ns_) {
    at_ = at;
    word_ = word;
    taken_ns_ = taken_ns;
    since_ns_ = now_ns;
    has_baseline_ = false;
    return false;
  }
  if (!has_baseline_) {
    has_baseline_ = now_ns - since_ns_ >= kBaselineNs;
    messages_ = messages;
    return false;
  }
  return messages != messages_;
}

}  // namespace hermes
