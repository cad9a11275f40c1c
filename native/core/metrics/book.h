#pragma once

#include <string>

#include "core/log/crash_point.h"
#include "core/metrics/metrics_file.h"

namespace hermes {

/// Whether a topic can have this name.
[[nodiscard]] bool is_series_name(const char* name, size_t bytes) noexcept;

/// The book lock, for the length of a scope. Its new holder finishes the fold in which another process was killed.
class MetricsFile::Book {
 public:
  explicit Book(MetricsFile& file)
      : file_(file), guard_(file.mutex_, std::defer_lock), lock_(&file.locks_, kBookByte) {}
  /// kTimedOut after `timeout_ms`: another process keeps it, which may be stopped.
  Status open(uint32_t timeout_ms) {
    guard_.lock();
    Status status = lock_.acquire(timeout_ms);
    if (status.code == Code::kTimedOut)
      status.context = "another process keeps the book lock of " + file_.root_ + "/metrics: it may be stopped";
    if (status.ok()) file_.finish_intent();
    return status;
  }

 private:
  MetricsFile& file_;
  std::unique_lock<std::mutex> guard_;
  ScopedLock lock_;  // given back before the mutex
};

}  // namespace hermes
