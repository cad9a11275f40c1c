#include "core/platform/fork_guard.h"

#include <sys/mman.h>

#include <cstddef>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace hermes {
namespace {

constexpr size_t kPage = 4096;
uint32_t always_parent = 1;  // used where the kernel can't wipe: fork is then not noticed

}  // namespace

ForkGuard::ForkGuard() noexcept : page_(&always_parent) {
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (::madvise(page, kPage, MADV_WIPEONFORK) != 0) {
    ::munmap(page, kPage);
    return;
  }
  page_ = static_cast<volatile uint32_t*>(page);
  *page_ = 1;
}

ForkGuard::~ForkGuard() {
  if (page_ != &always_parent) ::munmap(const_cast<uint32_t*>(page_), kPage);
}

}  // namespace hermes
