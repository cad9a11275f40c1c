#include "core/log/closing_sync.h"

namespace hermes {
namespace {

Status is_last(const Log& log, uint32_t slot, bool* last) {
  *last = false;
  LockFile probe;
  Status status = log.open_lock(&probe);
  for (uint32_t other = 0; status.ok() && other < kSlots; ++other) {
    if (other == slot || log.control().slots[other].state.load(std::memory_order_relaxed) == 0) continue;
    bool alive = false;
    status = probe.is_held(kSlotByte + other, &alive);
    if (alive) return status;
  }
  *last = status.ok();
  return status;
}

}  // namespace

Status needs_closing_sync(Log& log, uint32_t slot, uint64_t least_bytes, uint64_t* sequence) {
  *sequence = 0;
  if (log.active() == 0) return Status::success();
  bool last = false;
  Status status = is_last(log, slot, &last);
  if (!status.ok() || !last) return status;
  Position from;
  if (!load_position(log.control().synced, &from) || !log.is_plausible(from))
    from = {log.first(), kSegmentHeaderBytes, 0};
  Position end;
  status = log.committed_from(from, &end);
  if (!status.ok()) return status;
  const uint64_t bytes = (end.segment - from.segment) * log.control().segment_bytes + end.offset - from.offset;
  if (end < from || bytes < least_bytes) return status;
  std::shared_ptr<Segment> segment;
  status = log.segment(end.segment, &segment);
  if (status.code == Code::kBehindRetention) return Status::success();  // another publisher is at work, after all
  if (status.ok() && !segment->file().in_memory()) *sequence = end.sequence;
  return status;
}

}  // namespace hermes
