#include "core/log/crash_point.h"

#ifdef HERMES_CRASH_POINTS

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace hermes {
namespace {

/// test/testkit/crash-points.test.ts compares them with the calls.
constexpr const char* kPoints[] = {
    "append:before-claim", "append:claimed",       "append:committed",
    "append:counting",     "append:filled",        "batch:before-claim",
    "batch:claimed",       "batch:filled",         "batch:filling",
    "group:buried",        "group:claimed",        "group:claiming",
    "group:closing",       "group:committed",      "group:entering",
    "group:filling",       "group:handed-over",    "group:joining",
    "group:noted",         "group:reclaimed",      "group:recovered",
    "group:resetting",     "group:settled",        "group:taken",
    "metrics:armed",       "metrics:arming",       "metrics:filled",
    "metrics:folding",     "metrics:freed",        "metrics:left",
    "metrics:taken",       "pad:claimed",          "pad:committed",
    "recover:checkpoint",  "recover:cut",          "recover:cutting",
    "recover:lowered",     "recover:marked",       "recover:noted",
    "recover:quarantined", "recover:replaced",     "recover:tail-quarantined",
    "recover:void",        "recover:written-anew", "remove:announced",
    "remove:held",         "remove:renamed",       "remove:told",
    "rewrite:based",       "rewrite:copied",       "rewrite:renewed",
    "rewrite:sealed",      "rotate:active",        "rotate:based",
    "sync:synced",
};

/// What the environment asks for, as long as it does: a test sets it in a child that it has forked.
struct Wanted {
  int signal = SIGKILL;
  const char* name = std::getenv("HERMES_CRASH");
  size_t length = 0;
  std::atomic<long> passages{1};
  Wanted() {
    if (name == nullptr) {
      signal = SIGSTOP;
      name = std::getenv("HERMES_STOP");
    }
    const char* colon = std::strrchr(name, '@');
    length = colon != nullptr ? static_cast<size_t>(colon - name) : std::strlen(name);
    if (colon != nullptr) passages = std::atol(colon + 1);
  }
};

bool is_wanted() noexcept { return std::getenv("HERMES_CRASH") != nullptr || std::getenv("HERMES_STOP") != nullptr; }

}  // namespace

std::span<const char* const> crash_points() noexcept { return kPoints; }

void crash_point(const char* name) noexcept {
  if (!is_wanted()) return;
  static Wanted wanted;
  if (std::strlen(name) != wanted.length || std::memcmp(name, wanted.name, wanted.length) != 0) return;
  if (wanted.passages.fetch_sub(1, std::memory_order_relaxed) == 1)
    std::raise(wanted.signal);  // to this thread: it goes no further
}

}  // namespace hermes

#endif
