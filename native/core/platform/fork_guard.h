#pragma once

#include <cstdint>

namespace hermes {

/// Tells a forked child from the process that made the guard, for the price of one load: the guard's page is one that the
/// kernel wipes in a child (madvise MADV_WIPEONFORK). A child must not publish in its parent's slot.
class ForkGuard {
 public:
  ForkGuard() noexcept;
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;
  ~ForkGuard();

  bool in_child() const noexcept { return *page_ == 0; }

 private:
  volatile uint32_t* page_;
};

}  // namespace hermes
