#include "core/log/rewrite.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/log/crash_point.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kCopyBytes = uint64_t{1} << 20;

Status sync_folder(Log& log) {
  File folder;
  Status status = File::open_folder(log.folder(), &folder);
  if (!status.ok()) return status;
  status = folder.sync_names();
  return status.ok() ? status : log.fail_sync(status);
}

/// Ends the segment at `end` with padding, as a publisher that rotates does.
Status seal(Log& log, const Position& end) {
  std::shared_ptr<Segment> segment;
  Status status = log.segment(end.segment, &segment);
  if (!status.ok() || segment->bytes() - end.offset < kFrameHeaderBytes) return status;
  status = segment->file().allocate(end.offset, kFrameHeaderBytes);
  if (!status.ok()) return status;
  FrameFields fields;
  fields.type = FrameType::kPadding;
  fields.sequence = end.sequence;
  fields.timestamp_ns = realtime_ns();
  fields.payload_len = static_cast<uint32_t>(segment->bytes() - end.offset - kFrameHeaderBytes);
  const uint64_t word = stamp(*segment->frame(end.offset), fields, nullptr);
  // Release: readers that see the magic see the header.
  segment->word(end.offset).store(word, std::memory_order_release);
  crash_point("rewrite:sealed");
  return status;
}

Status copy_content(const Segment& from, const File& to) {
  Status status = to.resize(from.bytes());
  for (uint64_t offset = 0; status.ok() && offset < from.bytes();) {
    // What the file has no data for reads as zero in the copy, too.
    offset = std::min(std::max(offset, from.file().next_data(offset) / 4096 * 4096), from.bytes());
    const uint64_t bytes = std::min(kCopyBytes, from.bytes() - offset);
    if (bytes > 0 && !from.is_zero(offset, offset + bytes)) status = to.write_at(offset, from.data() + offset, bytes);
    offset += bytes;
  }
  // The header's page and the first frames have blocks in every segment.
  return status.ok() ? to.allocate(0, 4096) : status;
}

Status renew(Log& log, uint64_t number) {
  std::shared_ptr<Segment> old;
  Status status = log.segment(number, &old);
  if (!status.ok()) return status;
  const std::string path = Segment::path(log.folder(), number);
  File file;
  std::string temporary;
  status = File::create_temporary(path, log.file_mode(), &file, &temporary);
  if (!status.ok()) return status;
  status = copy_content(*old, file);
  if (status.ok()) {
    status = file.sync_data();
    if (!status.ok()) status = log.fail_sync(status);
  }
  crash_point("rewrite:copied");
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    status = Status::from_errno(errno, "name " + path);
  if (!status.ok()) {
    std::remove(temporary.c_str());
    status.context = "write " + path + " anew: " + status.context;
    return status;
  }
  log.forget(number);
  crash_point("rewrite:renewed");
  return status;
}

}  // namespace

Status write_out(Log& log, const Position& from, const Position& to) {
  for (uint64_t number = from.segment; number <= to.segment; ++number) {
    std::shared_ptr<Segment> segment;
    Status status = log.segment(number, &segment);
    if (!status.ok()) return status;
    status = segment->file().sync_data();
    if (!status.ok()) return log.fail_sync(status);
  }
  return sync_folder(log);
}

Status write_anew(Log& log, const Position& from, Position* end) {
  Status status = seal(log, *end);
  for (uint64_t number = from.segment; status.ok() && number <= end->segment; ++number) status = renew(log, number);
  if (!status.ok()) return status;
  // Those that were prepared are in the same state as the others, and hold nothing: recovery has looked.
  std::vector<uint64_t> numbers;
  status = list_segments(log.folder(), &numbers);
  if (!status.ok()) return status;
  for (const uint64_t number : numbers) {
    const std::string path = Segment::path(log.folder(), number);
    if (number > end->segment && std::remove(path.c_str()) != 0) return Status::from_errno(errno, "remove " + path);
    if (number > end->segment) log.forget(number);
  }
  const Position next = {end->segment + 1, kSegmentHeaderBytes, end->sequence};
  status = Segment::create(log.folder(), next.segment, log.control(), log.file_mode());
  std::shared_ptr<Segment> segment;
  if (status.ok()) status = log.segment(next.segment, &segment);
  if (!status.ok()) return status;
  segment->header().base_sequence.store(next.sequence, std::memory_order_release);
  status = segment->file().sync_data();
  if (!status.ok()) return log.fail_sync(status);
  status = sync_folder(log);
  if (!status.ok()) return status;
  crash_point("rewrite:based");
  raise_to(log.control().active, next.segment);
  *end = next;
  return status;
}

}  // namespace hermes
