#pragma once

#include <span>

// Named places where a test may kill the process (SIGKILL) or stop it (SIGSTOP), to see what the others make of it. Compiled in only when
// HERMES_CRASH_POINTS is defined: a release build has none.

namespace hermes {

#ifdef HERMES_CRASH_POINTS
/// Kills this process at the n-th passage of the point named by the environment variable HERMES_CRASH ("name@n"), or stops it, all of its
/// threads, at the one named by HERMES_STOP.
void crash_point(const char* name) noexcept;
/// The names of all points, sorted.
std::span<const char* const> crash_points() noexcept;
#else
inline void crash_point(const char*) noexcept {}
inline std::span<const char* const> crash_points() noexcept { return {}; }
#endif

}  // namespace hermes
