#include "core/log/verify.h"

#include <algorithm>

#include "core/log/reader.h"
#include "core/log/resync.h"

namespace hermes {
namespace {

constexpr uint64_t kWindow = uint64_t{4} << 20;
constexpr uint64_t kPage = 4096;
constexpr uint32_t kFramesAtOnce = 4096;

}  // namespace

Status verify_segment(const Log& log, uint64_t number, SegmentReport* report) {
  *report = {};
  report->number = number;
  std::shared_ptr<Segment> segment;
  Status status = Segment::open(log.folder(), number, log.control(), MappedFile::Access::kRead, &segment);
  if (!status.ok()) return status;
  const uint32_t max_payload = log.control().max_payload;
  Position at = {number, kSegmentHeaderBytes, segment->header().base_sequence.load(std::memory_order_acquire)};
  report->first_sequence = at.sequence;
  const File file = segment->look();
  uint64_t readable = 0;
  while (at.sequence != 0) {
    // A frame may reach beyond the window; what it needs more is read in by page faults, of which few are left.
    while (readable < std::min(at.offset + kFrameHeaderBytes + max_payload, segment->bytes())) {
      // Nothing was written to a hole, and reading it in would take memory on tmpfs.
      const uint64_t data = std::min(file.next_data(readable) / kPage * kPage, segment->bytes());
      if (data > readable) {
        readable = data;
        continue;
      }
      const uint64_t hole = std::max(file.next_hole(readable), readable + 1);
      const uint64_t filled = (std::min(hole, segment->bytes()) - readable + kPage - 1) / kPage * kPage;
      const uint64_t bytes = std::min({kWindow, segment->bytes() - readable, filled});
      status = segment->map().populate_for_reading(readable, bytes);
      if (!status.ok()) return status;
      readable += bytes;
    }
    const auto limit = static_cast<uint32_t>(std::clamp<uint64_t>(
        (readable - std::min(readable, at.offset)) / (kFrameHeaderBytes + max_payload), 1, kFramesAtOnce));
    const Scan found = scan(*segment, at.offset, at.sequence, limit, max_payload, true);
    report->messages += found.messages;
    report->voids += found.sequence - at.sequence - found.messages;
    report->bytes += found.end - at.offset;
    at.offset = found.end;
    at.sequence = found.sequence;
    if (found.stop == ScanStop::kLimit) continue;
    report->sealed = found.stop == ScanStop::kSegmentEnd;
    if (found.stop != ScanStop::kDamage) break;
    Position next;
    const bool goes_on = find_next_frame(*segment, at, ~uint64_t{0}, max_payload, &next);
    if (!goes_on) next = {number, segment->bytes(), at.sequence};
    report->damage.push_back({number, at.offset, next.offset - at.offset, at.sequence, next.sequence - at.sequence,
                              "the bytes are not a valid frame", ""});
    if (!goes_on) break;
    at = next;
  }
  report->next_sequence = at.sequence;
  return Status::success();
}

}  // namespace hermes
