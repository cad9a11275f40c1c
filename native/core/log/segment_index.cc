#include "core/log/segment_index.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "core/crc32/crc32.h"
#include "core/log/log.h"
#include "core/log/resync.h"

namespace hermes {
namespace {

constexpr uint64_t kStepBytes = uint64_t{64} << 10;
constexpr uint64_t kReadAhead = uint64_t{4} << 20;
constexpr uint64_t kMagic = 0x315844494D524548;  // "HERMIDX1"
constexpr uint32_t kVersion = 1;
constexpr uint64_t kNotKnown = ~uint64_t{0};
/// Indexes of sealed segments that are kept in memory: some 40 KiB each for 100 MiB.
constexpr size_t kKept = 8;

/// The head of an index file, as docs/log-format.md has it.
struct Head {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t number;
  TopicId topic_id;
  uint64_t base_sequence;
  uint64_t last_offset;
  uint64_t last_sequence;
  uint32_t last_crc;
  uint32_t steps;
  uint32_t steps_crc;
  uint32_t zero[2];
  uint32_t crc;
};
static_assert(sizeof(Head) == 88 && sizeof(SegmentIndex::Step) == 24);

}  // namespace

Status SegmentIndex::extend(const Segment& segment, uint32_t max_payload, Check check) {
  const uint64_t base = segment.header().base_sequence.load(std::memory_order_acquire);
  if (at_.segment == segment.number() && complete_) return Status::success();
  Position from = {segment.number(), kSegmentHeaderBytes, base};
  // The last step is walked again: a recovery may have cut the log meanwhile, and what it cut be written anew.
  if (at_.segment == segment.number() && !steps_.empty() && steps_.front().sequence == base) {
    from = {segment.number(), steps_.back().offset, steps_.back().sequence};
    steps_.pop_back();
    const hermes::Step there = segment.step(from.offset);
    if (there.span == 0 || !segment.is_whole(from.offset, there, from.sequence, max_payload)) {
      steps_.clear();
      from = {segment.number(), kSegmentHeaderBytes, base};
    }
  } else {
    steps_.clear();
  }
  at_ = from;
  complete_ = false;
  // Read in ahead, so that a disk that can't be read is an error and not a SIGBUS. In a segment that is being written, not beyond what
  // was written a while ago: a look at a hole takes memory on tmpfs.
  const uint64_t hint = (segment.header().tail_hint.load(std::memory_order_relaxed) >> 32) * kFrameAlign;
  const uint64_t written =
      check == Check::kEverything ? segment.bytes() : std::min(hint / 4096 * 4096, segment.bytes());
  uint64_t readable = at_.offset / 4096 * 4096;
  for (;;) {
    while (readable < std::min(at_.offset + kFrameHeaderBytes + max_payload, written)) {
      const uint64_t bytes = std::min(kReadAhead, written - readable);
      Status status = segment.map().populate_for_reading(readable, bytes);
      if (!status.ok()) return status;
      readable += bytes;
    }
    const hermes::Step step = segment.step(at_.offset);
    uint64_t stamp = 0;
    switch (step.kind) {
      case hermes::Step::Kind::kEmpty:
      case hermes::Step::Kind::kClaim:
        return Status::success();
      case hermes::Step::Kind::kSegmentEnd:
      case hermes::Step::Kind::kPadding:
        complete_ = true;
        return Status::success();
      case hermes::Step::Kind::kDamage:
        if (Position next;
            check == Check::kEverything && find_next_frame(segment, at_, ~uint64_t{0}, max_payload, &next)) {
          at_ = next;
          continue;
        }
        complete_ = check == Check::kEverything;
        return Status::success();
      case hermes::Step::Kind::kData:
        if (check == Check::kLengths || segment.is_whole(at_.offset, step, at_.sequence, max_payload)) {
          stamp = segment.frame(at_.offset)->timestamp_ns;
        }
        break;
      case hermes::Step::Kind::kVoid:
        break;
    }
    if (steps_.empty() || at_.offset - steps_.back().offset >= kStepBytes)
      steps_.push_back({at_.offset, at_.sequence, 0});
    steps_.back().latest_ns = std::max(steps_.back().latest_ns, stamp);
    last_ = at_.offset;
    at_.offset += step.span;
    at_.sequence += step.count;
  }
}

const SegmentIndex::Step* SegmentIndex::before(uint64_t sequence) const noexcept {
  const auto behind = std::upper_bound(steps_.begin(), steps_.end(), sequence,
                                       [](uint64_t wanted, const Step& step) { return wanted < step.sequence; });
  return behind == steps_.begin() ? nullptr : &*(behind - 1);
}

const SegmentIndex::Step* SegmentIndex::before_time(uint64_t timestamp_ns) const noexcept {
  for (const Step& step : steps_) {
    if (step.latest_ns >= timestamp_ns) return &step;
  }
  return steps_.empty() ? nullptr : &steps_.back();
}

uint64_t SegmentIndex::latest_ns() const noexcept {
  uint64_t latest = 0;
  for (const Step& step : steps_) latest = std::max(latest, step.latest_ns);
  return latest;
}

std::string SegmentIndex::path(const std::string& folder, uint64_t number) {
  const std::string name = Segment::path(folder, number);
  return name.substr(0, name.size() - 3) + "idx";
}

Status SegmentIndex::load(const Log& log, const Segment& segment) {
  const std::string name = path(log.folder(), segment.number());
  File file;
  Head head;
  uint64_t bytes = 0;
  Status status = File::open(name, false, &file);
  if (status.ok()) status = file.size(&bytes);
  if (status.ok()) status = file.read_at(0, &head, sizeof head);
  if (!status.ok()) return status;
  const Status bad = Status::error(Code::kCorrupt, name + " is not of the segment as it is");
  if (head.magic != kMagic || head.version != kVersion || head.header_bytes != sizeof head ||
      crc32(0, &head, offsetof(Head, crc)) != head.crc || head.number != segment.number() ||
      !(head.topic_id == log.control().topic_id) ||
      head.base_sequence != segment.header().base_sequence.load(std::memory_order_acquire) || head.steps == 0 ||
      bytes != sizeof head + head.steps * sizeof(Step) || head.last_offset < kSegmentHeaderBytes ||
      head.last_offset % kFrameAlign != 0 || head.last_offset + kFrameHeaderBytes > segment.bytes()) {
    return bad;
  }
  // A segment that was cut and written anew has the same number and base, but another last frame.
  const FrameHeader* const last = segment.frame(head.last_offset);
  if (last->magic != kFrameMagic || last->sequence != head.last_sequence || last->crc32 != head.last_crc) return bad;
  std::vector<Step> steps(head.steps);
  status = file.read_at(sizeof head, steps.data(), steps.size() * sizeof(Step));
  if (!status.ok()) return status;
  if (crc32(0, steps.data(), steps.size() * sizeof(Step)) != head.steps_crc) return bad;
  for (const Step& step : steps) {
    if (step.offset < kSegmentHeaderBytes || step.offset % kFrameAlign != 0 ||
        step.offset + kFrameHeaderBytes > segment.bytes())
      return bad;
  }
  steps_ = std::move(steps);
  at_ = {segment.number(), segment.bytes(), 0};
  last_ = head.last_offset;
  complete_ = true;
  return status;
}

Status SegmentIndex::store(const Log& log, const Segment& segment) const {
  const std::string name = path(log.folder(), segment.number());
  if (steps_.empty() || !complete_) return Status::success();
  const FrameHeader* const last = segment.frame(last_);
  Head head = {};
  head.magic = kMagic;
  head.version = kVersion;
  head.header_bytes = sizeof head;
  head.number = segment.number();
  head.topic_id = log.control().topic_id;
  head.base_sequence = segment.header().base_sequence.load(std::memory_order_acquire);
  head.last_offset = last_;
  head.last_sequence = last->sequence;
  head.last_crc = last->crc32;
  head.steps = static_cast<uint32_t>(steps_.size());
  head.steps_crc = crc32(0, steps_.data(), steps_.size() * sizeof(Step));
  head.crc = crc32(0, &head, offsetof(Head, crc));
  File file;
  std::string temporary;
  Status status = File::create_temporary(name, log.file_mode(), &file, &temporary);
  if (!status.ok()) return status;
  status = file.write_at(0, &head, sizeof head);
  if (status.ok()) status = file.write_at(sizeof head, steps_.data(), steps_.size() * sizeof(Step));
  // In place of one that did not fit. Not synced: what a crash leaves of it is found out by its checks.
  if (status.ok() && std::rename(temporary.c_str(), name.c_str()) != 0)
    status = Status::from_errno(errno, "name " + name);
  if (!status.ok()) std::remove(temporary.c_str());
  // Retention may have removed the segment meanwhile, and its index, which was not there yet.
  if (segment.number() < log.first()) std::remove(name.c_str());
  return status;
}

/// The index of the segment, as far as it goes now.
Status SegmentIndexes::bring(const Segment& segment, std::shared_ptr<const SegmentIndex>* out) {
  return segment.number() >= log_.active() ? bring_active(segment, out) : bring_sealed(segment, out);
}

Status SegmentIndexes::bring_active(const Segment& segment, std::shared_ptr<const SegmentIndex>* out) {
  std::shared_ptr<const SegmentIndex> before;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    before = active_;
  }
  // A copy of some hundred kilobytes at most, to be walked on: others may look at the one before.
  const auto index = before != nullptr ? std::make_shared<SegmentIndex>(*before) : std::make_shared<SegmentIndex>();
  Status status = index->extend(segment, log_.control().max_payload, SegmentIndex::Check::kLengths);
  if (!status.ok()) return status;
  *out = index;
  const std::lock_guard<std::mutex> guard(mutex_);
  active_ = index;
  return status;
}

Status SegmentIndexes::bring_sealed(const Segment& segment, std::shared_ptr<const SegmentIndex>* out) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto known = sealed_.find(segment.number());
    if (known != sealed_.end()) {
      *out = known->second;
      return Status::success();
    }
  }
  auto index = std::make_shared<SegmentIndex>();
  Status status = index->load(log_, segment);
  if (!status.ok()) {
    *index = {};
    status = index->extend(segment, log_.control().max_payload, SegmentIndex::Check::kEverything);
    if (!status.ok()) return status;
    // It can be made again at any time, so what keeps it from being stored is no failure.
    if (log_.writable()) (void)index->store(log_, segment);
  }
  *out = index;
  // One that ends at a claim goes on some time.
  if (!index->is_complete()) return status;
  const std::lock_guard<std::mutex> guard(mutex_);
  sealed_.insert_or_assign(segment.number(), std::move(index));
  if (sealed_.size() > kKept)
    sealed_.erase(sealed_.begin()->first == segment.number() ? std::prev(sealed_.end()) : sealed_.begin());
  return status;
}

Status SegmentIndexes::place(const Segment& segment, bool by_time, uint64_t wanted, Position* out) {
  *out = {segment.number(), kSegmentHeaderBytes, segment.header().base_sequence.load(std::memory_order_acquire)};
  std::shared_ptr<const SegmentIndex> index;
  Status status = bring(segment, &index);
  if (!status.ok()) return status;
  const SegmentIndex::Step* const step = by_time ? index->before_time(wanted) : index->before(wanted);
  if (step == nullptr) return status;
  const Step there = segment.step(step->offset);
  const bool frame = there.kind == Step::Kind::kData || there.kind == Step::Kind::kVoid;
  if (frame && segment.is_whole(step->offset, there, step->sequence, log_.control().max_payload)) {
    out->offset = step->offset;
    out->sequence = step->sequence;
  }
  return status;
}

Status SegmentIndexes::latest_of(uint64_t number, uint64_t* latest_ns) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto known = latest_.find(number);
    if (known != latest_.end()) {
      *latest_ns = known->second;
      return Status::success();
    }
  }
  std::shared_ptr<Segment> segment;
  Status status = Segment::open(log_.folder(), number, log_.control(), MappedFile::Access::kRead, &segment);
  if (status.code == Code::kNotFound) status = Segment::missing(log_.folder(), number);
  status = log_.explained(std::move(status));
  std::shared_ptr<const SegmentIndex> index;
  if (status.ok()) status = bring(*segment, &index);
  if (!status.ok()) return status;
  *latest_ns = index->is_complete() ? index->latest_ns() : kNotKnown;
  const std::lock_guard<std::mutex> guard(mutex_);
  latest_.erase(latest_.begin(), latest_.lower_bound(log_.first()));
  if (index->is_complete()) latest_.emplace(number, *latest_ns);
  return status;
}

}  // namespace hermes
