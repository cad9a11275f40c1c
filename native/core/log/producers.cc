#include "core/log/producers.h"

#include <algorithm>

#include "core/log/reader.h"

namespace hermes {
namespace {

/// A client has no more batches under way, so older runs are acknowledged.
constexpr size_t kMaxRuns = 4096;

void add(ProducerTrace& trace, uint64_t number, uint64_t sequence) {
  if (trace.last_number >= number) return;  // a damaged header: numbers only grow
  trace.last_number = number;
  if (!trace.runs.empty()) {
    ProducerRun& run = trace.runs.back();
    if (run.first_number + run.count == number && run.sequence + run.count == sequence && run.count != ~uint32_t{0}) {
      ++run.count;
      return;
    }
  }
  if (trace.runs.size() == 2 * kMaxRuns) trace.runs.erase(trace.runs.begin(), trace.runs.begin() + kMaxRuns);
  trace.runs.push_back({number, sequence, 1});
}

}  // namespace

Status trace_producers(std::shared_ptr<Log> log, ProducerTraces* traces) {
  if (traces->empty()) return Status::success();
  uint64_t from = ~uint64_t{0};
  for (const auto& [slot, trace] : *traces) from = std::min(from, trace.since);
  Reader reader(std::move(log), MappedFile::Access::kRead);
  Status status = reader.seek_sequence(from);
  // Retention may have removed the beginning, and a power cut the end. Both are fine: nothing is
  // there to be found.
  if (status.code == Code::kBehindRetention) status = reader.seek_earliest();
  if (status.code == Code::kNotFound || status.code == Code::kOutOfRange) return Status::success();
  while (status.ok()) {
    const Position at = reader.position();
    const Step step = reader.segment()->step(at.offset);
    switch (step.kind) {
      case Step::Kind::kData: {
        const FrameHeader* header = reader.segment()->frame(at.offset);
        if (header->flags != 0) {
          const auto found = traces->find(header->flags);
          if (found != traces->end() && at.sequence >= found->second.since) {
            add(found->second, header->timestamp_ns, at.sequence);
          }
        }
        [[fallthrough]];
      }
      case Step::Kind::kVoid:
      case Step::Kind::kClaim:  // of a local publisher, which is at work: what stands behind it may
                                // be ours
        reader.set_position(at.offset + step.span, at.sequence + step.count);
        break;
      case Step::Kind::kEmpty:
        return status;
      case Step::Kind::kDamage: {
        status = reader.skip_damage();
        if (status.code == Code::kNotFound) return Status::success();
        break;
      }
      case Step::Kind::kPadding:
      case Step::Kind::kSegmentEnd: {
        status = reader.next_segment();
        if (status.code == Code::kBehindRetention) status = reader.seek_earliest();  // what was removed can't be found
        if (status.code == Code::kNotFound) return Status::success();
        break;
      }
    }
  }
  return status;
}

}  // namespace hermes
