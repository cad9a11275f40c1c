#include "core/metrics/topic_scan.h"

#include <sys/stat.h>

#include <algorithm>

#include "core/group/entry.h"
#include "core/log/cuts.h"

namespace hermes {
namespace {

/// Frames that one look walks over to find how old the message at a group's floor is. Where it is farther, the next look goes on.
constexpr uint32_t kMostSteps = 2'000'000;

/// A file of ours, mapped to be read, without opening it as its users do.
Status map_for_reading(const std::string& path, uint64_t least, uint64_t most, FileIdentity* identity,
                       MappedFile* out) {
  File file;
  uint64_t bytes = 0;
  Status status = File::open(path, false, &file);
  if (status.ok()) status = file.size(&bytes);
  if (status.ok() && (bytes < least || bytes > most))
    return Status::error(Code::kCorrupt, path + " has not the size that it should have");
  if (status.ok()) status = file.identity(identity);
  if (status.ok()) status = MappedFile::map(file, bytes, MappedFile::Access::kRead, out);
  return status;
}

}  // namespace

bool TopicScan::open(int topics) {
  const FolderChange change = change_of(topics, name_);
  has_changed_ = !change.is_same(folder_change_);
  folder_change_ = change;
  // Where no name has changed, the control file is the same, and folders that were not there are not there.
  if (!has_changed_ && control_.data() != nullptr) return true;
  FileIdentity now;
  if (!FileIdentity::of(topics, control_path_, &now).ok()) {
    control_.unmap();
    return false;
  }
  if (control_.data() != nullptr && now == identity_) return true;
  // Another topic of the same name, or a control file that was made anew: nothing of what is known counts.
  control_.unmap();
  segment_.reset();
  older_.reset();
  written_ = {};
  oldest_base_ = 0;
  groups_.clear();
  groups_change_ = {};
  if (!map_for_reading(folder_ + "/control", kControlBytes, kControlBytes, &identity_, &control_).ok()) return false;
  const ControlBlock& c = control();
  const bool sound = c.magic == kControlMagic && c.version == kLogVersion && c.slot_count == kSlots &&
                     c.segment_bytes >= kMinSegmentBytes && c.segment_bytes <= kMaxSegmentBytes;
  if (!sound) control_.unmap();
  return sound;
}

bool TopicScan::look(int topics, TopicSample* out) {
  if (!open(topics)) {
    struct stat info;
    out->unreadable = true;
    return ::stat((folder_ + "/topic.json").c_str(), &info) == 0;
  }
  const ControlBlock& c = control();
  const uint64_t cut = newest_cut(c);
  if (cut != cut_) {
    // Recovery has cut the tail: what was there may be other messages now.
    cut_ = cut;
    written_ = {};
    segment_.reset();
    for (auto& group : groups_) group->at = {};
  }
  // In this order, as each only rises: a group's floor, what is synced, what is written. So no difference is ever negative.
  look_at_groups(topics, &out->groups);
  Position synced;
  if (load_position(c.synced, &synced)) out->synced = std::max<uint64_t>(synced.sequence, 1);
  const uint64_t active = c.active.load(std::memory_order_acquire);
  const uint64_t first = c.first.load(std::memory_order_acquire);
  out->disk_alarm = c.disk_alarm.load(std::memory_order_relaxed) != 0;
  out->sync_failed = load_sync_failure(c) != 0;
  const bool may_hold_damage = has_changed_ || quarantine_change_.is_there();
  const FolderChange quarantine = may_hold_damage ? change_of(topics, quarantine_path_) : FolderChange();
  if (!quarantine.is_same(quarantine_change_)) quarantined_ = names_in(folder_ + "/quarantine", ".json").size();
  quarantine_change_ = quarantine;
  out->quarantined = quarantined_;
  if (active == 0) return true;
  Position at = written_;
  if (!walk(false, &at).ok()) {
    out->unreadable = true;
    return true;
  }
  written_ = at;
  out->written = at.sequence;
  Position claimed = at;
  out->claimed = walk(true, &claimed).ok() ? std::max(claimed.sequence, at.sequence) : at.sequence;
  out->synced = std::min(out->synced, out->written);
  out->segments = active >= first ? active - first + 1 : 1;
  out->disk_bytes = out->segments * c.segment_bytes;
  out->used_bytes = (out->segments - 1) * c.segment_bytes + at.offset;
  out->first = first_sequence(first, active, out->written);
  for (size_t i = 0; i < out->groups.size(); ++i) {
    GroupSample& group = out->groups[i];
    group.lag = out->written > group.floor ? out->written - group.floor : 0;
    if (group.lag != 0) group.behind_ns = time_of(*groups_[i], std::max(group.floor, out->first));
  }
  return true;
}

/// The first sequence that is still there. A base never changes: each is read once.
uint64_t TopicScan::first_sequence(uint64_t first, uint64_t active, uint64_t written) {
  if (oldest_ == first && oldest_base_ != 0) return oldest_base_;
  uint64_t base = 0;
  uint64_t ignored = 0;
  // Retention may go on meanwhile.
  for (uint64_t number = first; number <= active && number < first + 4; ++number) {
    if (Segment::peek(folder_, number, &base, &ignored).ok() && base != 0) break;
  }
  oldest_ = first;
  oldest_base_ = base;
  return base == 0 ? written : base;
}

Status TopicScan::segment(uint64_t number, std::shared_ptr<Segment>* out) {
  // (by reference: a copy counts in memory that other processors share)
  for (const std::shared_ptr<Segment>* known : {&segment_, &older_}) {
    if (*known != nullptr && (*known)->number() == number) {
      *out = *known;
      return Status::success();
    }
  }
  return Segment::open(folder_, number, control(), MappedFile::Access::kRead, out);
}

/// As Log::walk(), from `*at` or from what the control file vouches for.
Status TopicScan::walk(bool over_claims, Position* at) {
  const ControlBlock& c = control();
  const auto first_segment = [&] { return c.first.load(std::memory_order_acquire); };
  if (at->segment < first_segment() || at->segment == 0) {
    Position checkpoint;
    const bool usable = load_position(c.checkpoint, &checkpoint) && checkpoint.segment >= first_segment() &&
                        checkpoint.segment <= c.active.load(std::memory_order_acquire) &&
                        checkpoint.offset >= kSegmentHeaderBytes && checkpoint.offset <= c.segment_bytes &&
                        checkpoint.offset % kFrameAlign == 0 && checkpoint.sequence != 0;
    *at = usable ? checkpoint : Position{std::max<uint64_t>(first_segment(), 1), kSegmentHeaderBytes, 0};
  }
  for (int tries = 0; tries < 1'000'000; ++tries) {
    std::shared_ptr<Segment> segment;
    Status status = this->segment(at->segment, &segment);
    if (status.code == Code::kBehindRetention) {
      *at = {first_segment(), kSegmentHeaderBytes, 0};
      continue;
    }
    if (!status.ok()) return status;
    if (!over_claims) segment_ = segment;
    const uint64_t base = segment->header().base_sequence.load(std::memory_order_acquire);
    if (base == 0) return Status::error(Code::kCorrupt, "no base sequence");
    if (at->offset == kSegmentHeaderBytes) at->sequence = base;
    if (!over_claims) (void)segment->find_noted_tail(at->offset, &at->offset, &at->sequence);
    for (;;) {
      const Step step = segment->step(at->offset);
      if (step.kind == Step::Kind::kSegmentEnd || step.kind == Step::Kind::kPadding) {
        if (at->segment >= c.active.load(std::memory_order_acquire)) return Status::success();
        *at = {at->segment + 1, kSegmentHeaderBytes, at->sequence};
        break;
      }
      const bool goes_on = step.kind == Step::Kind::kData || step.kind == Step::Kind::kVoid ||
                           (over_claims && step.kind == Step::Kind::kClaim);
      if (!goes_on) return Status::success();
      at->offset += step.span;
      at->sequence += step.count;
    }
  }
  return Status::error(Code::kTimedOut, "the log is longer than it can be");
}

void TopicScan::look_at_groups(int topics, std::vector<GroupSample>* out) {
  const bool may_be_there = has_changed_ || groups_change_.is_there();
  const FolderChange change = may_be_there ? change_of(topics, groups_path_) : FolderChange();
  if (!change.is_same(groups_change_)) {
    const std::string folder = folder_ + "/groups";
    groups_.clear();
    const std::vector<std::string> names = change.ns < 0 ? std::vector<std::string>() : names_in(folder, ".grp");
    for (const std::string& name : names) {
      auto view = std::make_unique<GroupView>();
      FileIdentity ignored;
      view->name = name;
      const Status status = map_for_reading(folder + "/" + name + ".grp", sizeof(GroupBlock), group_bytes(kMaxWindow),
                                            &ignored, &view->map);
      if (!status.ok()) continue;
      const GroupBlock& b = view->block();
      const bool sound = b.magic == kGroupMagic && b.version == kGroupVersion && b.topic_id == control().topic_id &&
                         b.kind <= static_cast<uint32_t>(GroupKind::kDurable) && (b.window & (b.window - 1)) == 0 &&
                         b.window <= kMaxWindow && view->map.bytes() == group_bytes(b.window);
      if (!sound) continue;
      view->kind = static_cast<GroupKind>(b.kind);
      view->window = b.window;
      groups_.push_back(std::move(view));
    }
    groups_change_ = change;
  }
  out->reserve(groups_.size());
  for (const auto& view : groups_) {
    const GroupBlock& b = view->block();
    GroupSample& sample = out->emplace_back();
    sample.name = view->name;
    sample.kind = view->kind;
    sample.floor = std::max<uint64_t>(b.floor.load(std::memory_order_acquire) & kSequenceMask, 1);
    sample.next = view->is_durable() ? sample.floor : std::max(b.next.load(std::memory_order_acquire), sample.floor);
    for (const MemberSlot& slot : b.slots) {
      // Nothing is in flight in a group where all is settled; and few members are the rule, in the first slots.
      if (slot.state.load(std::memory_order_relaxed) == 0) {
        if (sample.next == sample.floor) break;
        continue;
      }
      ++sample.members;
      sample.in_flight += slot.in_flight.load(std::memory_order_relaxed);
    }
    sample.settled = b.totals.settled.load(std::memory_order_relaxed);
    sample.redelivered = b.totals.redelivered.load(std::memory_order_relaxed);
    sample.late = b.totals.late.load(std::memory_order_relaxed);
    sample.rejected = b.totals.rejected.load(std::memory_order_relaxed);
    sample.lost = b.totals.lost.load(std::memory_order_relaxed);
    sample.taken = b.totals.taken.load(std::memory_order_relaxed);
    sample.full = view->window != 0 && sample.next - sample.floor >= view->window;
  }
}

/// When the message of this sequence was published; 0 if it was not found within what one look may walk.
uint64_t TopicScan::time_of(GroupView& group, uint64_t sequence) {
  const uint64_t active = control().active.load(std::memory_order_acquire);
  const auto time_at = [&](const Segment& segment, uint64_t offset) -> uint64_t {
    if (offset < kSegmentHeaderBytes || offset + kFrameHeaderBytes > segment.bytes() || offset % kFrameAlign != 0)
      return 0;
    const Step step = segment.step(offset);
    if (step.kind != Step::Kind::kData && step.kind != Step::Kind::kVoid) return 0;
    const FrameHeader* const header = segment.frame(offset);
    return header->sequence == sequence ? header->timestamp_ns : 0;
  };
  std::shared_ptr<Segment> segment;
  if (!group.is_durable() && group.window != 0) {
    // A message that was handed out has its place noted: a hint.
    const GroupEntry& entry = group.entry(sequence);
    const Place place = unpack_place(entry.place.load(std::memory_order_relaxed));
    const uint64_t number = segment_of(place, active);
    if (place.offset != 0 && number != 0 && this->segment(number, &segment).ok()) {
      const uint64_t time = time_at(*segment, place.offset);
      if (time != 0) return time;
    }
  }
  Position& at = group.at;
  if (at.segment < control().first.load(std::memory_order_acquire) || at.sequence > sequence) at = {};
  if (at.segment == 0) {
    for (uint64_t number = active; number >= 1 && number >= control().first.load(std::memory_order_acquire); --number) {
      uint64_t base = 0;
      uint64_t ignored = 0;
      if (!Segment::peek(folder_, number, &base, &ignored).ok()) break;
      if (base == 0 || base > sequence) continue;
      at = {number, kSegmentHeaderBytes, base};
      break;
    }
  }
  for (uint32_t steps = 0; at.segment != 0 && steps < kMostSteps;) {
    if (!this->segment(at.segment, &segment).ok()) break;
    if (older_ != segment) older_ = segment;
    bool left = false;
    for (; steps < kMostSteps; ++steps) {
      const Step step = segment->step(at.offset);
      if (step.kind == Step::Kind::kSegmentEnd || step.kind == Step::Kind::kPadding) {
        left = true;
        break;
      }
      if (step.kind != Step::Kind::kData && step.kind != Step::Kind::kVoid) return 0;
      // A void stands for several.
      if (at.sequence <= sequence && sequence < at.sequence + step.count)
        return segment->frame(at.offset)->timestamp_ns;
      at.offset += step.span;
      at.sequence += step.count;
    }
    if (left) at = {at.segment + 1, kSegmentHeaderBytes, at.sequence};
    if (at.segment > active) break;
  }
  return 0;
}

}  // namespace hermes
