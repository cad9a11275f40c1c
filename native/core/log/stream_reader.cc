#include "core/log/stream_reader.h"

#include "core/platform/pause.h"

namespace hermes {
namespace {

/// Nanoseconds from one message to the next, on average over a scan.
constexpr uint64_t kDenseNs = 250;
/// So many scans in a row, lest a short burst be held up.
constexpr uint32_t kDenseScans = 8;
/// Who finds more than this at once is not at the publisher's heels.
constexpr uint32_t kFewMessages = 16;
constexpr int kLooks = 2;
/// About half a microsecond to two, by processor.
constexpr int kPauses = 40;

}  // namespace

bool StreamReader::is_dense(const Scan& found) noexcept {
  // Also false if the clock was set back.
  const bool dense = found.timestamp_ns - last_ns_ < kDenseNs * found.messages;
  last_ns_ = found.timestamp_ns;
  dense_ = dense ? dense_ + 1 : 0;
  return dense_ >= kDenseScans;
}

Scan StreamReader::scan(const Segment& segment, uint64_t from, uint64_t sequence, uint32_t limit, uint32_t max_payload,
                        bool verify) noexcept {
  Scan all = hermes::scan(segment, from, sequence, limit, max_payload, verify);
  if (all.messages == 0 || !is_dense(all)) return all;
  for (int look = 0; look < kLooks && all.stop == ScanStop::kEmpty && all.messages < kFewMessages; ++look) {
    for (int pause = 0; pause < kPauses; ++pause) cpu_pause();
    const Scan more = hermes::scan(segment, all.end, all.sequence, limit - all.messages, max_payload, verify);
    const uint32_t messages = all.messages + more.messages;
    const uint64_t timestamp_ns = more.messages > 0 ? more.timestamp_ns : all.timestamp_ns;
    all = more;
    all.messages = messages;
    all.timestamp_ns = timestamp_ns;
    if (more.messages == 0) break;
  }
  last_ns_ = all.timestamp_ns;
  return all;
}

}  // namespace hermes
