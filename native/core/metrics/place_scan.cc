#include "core/metrics/place_scan.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "core/group/entry.h"
#include "core/log/control.h"
#include "core/log/cuts.h"
#include "core/metrics/book.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// Frames that one look walks over to find how old the message at a group's floor is. Where it is farther, the next look goes on.
constexpr uint32_t kMostSteps = 2'000'000;
/// The clock of a file system ticks so slowly that what happened within this time of a change may have left no trace.
constexpr int64_t kTickNs = 50'000'000;

struct Change {
  int64_t ns = -1;  ///< -1: there is no such folder
  bool is_recent = false;
  friend bool operator==(const Change& a, const Change& b) { return a.ns == b.ns && !a.is_recent && !b.is_recent; }
};

/// When names in a folder changed last.
Change change_of(const std::string& folder) {
  struct stat info;
  if (::stat(folder.c_str(), &info) != 0) return {};
  const int64_t ns = static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  return {ns, static_cast<int64_t>(realtime_ns()) - ns < kTickNs};
}

/// Names in a folder that end in `ending`, without it.
std::vector<std::string> names_in(const std::string& folder, const std::string& ending) {
  std::vector<std::string> names;
  DIR* const dir = ::opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* const entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.size() <= ending.size() || !name.ends_with(ending) || name.find(".tmp") != std::string::npos) continue;
    const std::string bare = name.substr(0, name.size() - ending.size());
    if (is_series_name(bare.data(), bare.size())) names.push_back(bare);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

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

struct GroupView {
  std::string name;
  MappedFile map;
  Position at;  // a boundary at or before the floor, from an earlier look
  const GroupBlock& block() const { return *reinterpret_cast<const GroupBlock*>(map.data()); }
  const GroupEntry& entry(uint64_t sequence) const {
    return reinterpret_cast<const GroupEntry*>(map.data() + sizeof(GroupBlock))[sequence & (block().window - 1)];
  }
  bool is_durable() const { return block().kind == static_cast<uint32_t>(GroupKind::kDurable); }
};

}  // namespace

class PlaceScan::Topic {
 public:
  explicit Topic(std::string folder) : folder_(std::move(folder)) {}
  /// False if the folder is no topic any more.
  bool look(TopicSample* out);

 private:
  bool open();
  void look_at_groups(std::vector<GroupSample>* out);
  Status walk(bool over_claims, Position* at);
  Status segment(uint64_t number, std::shared_ptr<Segment>* out);
  uint64_t time_of(GroupView& group, uint64_t sequence);
  uint64_t first_sequence(uint64_t first, uint64_t active, uint64_t written);
  const ControlBlock& control() const { return *reinterpret_cast<const ControlBlock*>(control_.data()); }

  std::string folder_;
  MappedFile control_;
  FileIdentity identity_;
  uint64_t cut_ = 0;
  Position written_;
  std::shared_ptr<Segment> segment_;  // of written_
  std::shared_ptr<Segment> older_;    // that a group's floor was looked for in
  Change groups_change_;
  Change quarantine_change_;
  uint64_t quarantined_ = 0;
  uint64_t oldest_ = 0;  // number of the first segment, when its base was read
  uint64_t oldest_base_ = 0;
  std::vector<std::unique_ptr<GroupView>> groups_;
};

PlaceScan::PlaceScan(std::string root) : root_(std::move(root)) {}
PlaceScan::~PlaceScan() = default;

Status PlaceScan::look(std::vector<TopicSample>* out) {
  out->clear();
  const std::vector<std::string> names = names_in(root_ + "/topics", "");
  std::map<std::string, std::unique_ptr<Topic>> seen;
  for (const std::string& name : names) {
    auto known = topics_.find(name);
    std::unique_ptr<Topic> topic =
        known != topics_.end() ? std::move(known->second) : std::make_unique<Topic>(root_ + "/topics/" + name);
    TopicSample sample;
    sample.name = name;
    if (!topic->look(&sample)) continue;
    out->push_back(std::move(sample));
    seen.emplace(name, std::move(topic));
  }
  topics_ = std::move(seen);
  return Status::success();
}

bool PlaceScan::Topic::open() {
  FileIdentity now;
  if (!FileIdentity::of(folder_ + "/control", &now).ok()) return false;
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

bool PlaceScan::Topic::look(TopicSample* out) {
  if (!open()) {
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
  look_at_groups(&out->groups);
  Position synced;
  if (load_position(c.synced, &synced)) out->synced = std::max<uint64_t>(synced.sequence, 1);
  const uint64_t active = c.active.load(std::memory_order_acquire);
  const uint64_t first = c.first.load(std::memory_order_acquire);
  out->disk_alarm = c.disk_alarm.load(std::memory_order_relaxed) != 0;
  out->sync_failed = load_sync_failure(c) != 0;
  const Change quarantine = change_of(folder_ + "/quarantine");
  if (!(quarantine == quarantine_change_)) quarantined_ = names_in(folder_ + "/quarantine", ".json").size();
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
uint64_t PlaceScan::Topic::first_sequence(uint64_t first, uint64_t active, uint64_t written) {
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

Status PlaceScan::Topic::segment(uint64_t number, std::shared_ptr<Segment>* out) {
  for (const auto& known : {segment_, older_}) {
    if (known != nullptr && known->number() == number) {
      *out = known;
      return Status::success();
    }
  }
  return Segment::open(folder_, number, control(), MappedFile::Access::kRead, out);
}

/// As Log::walk(), from `*at` or from what the control file vouches for.
Status PlaceScan::Topic::walk(bool over_claims, Position* at) {
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

void PlaceScan::Topic::look_at_groups(std::vector<GroupSample>* out) {
  const std::string folder = folder_ + "/groups";
  const Change change = change_of(folder);
  if (!(change == groups_change_)) {
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
      if (sound) groups_.push_back(std::move(view));
    }
    groups_change_ = change;
  }
  for (const auto& view : groups_) {
    const GroupBlock& b = view->block();
    GroupSample sample;
    sample.name = view->name;
    sample.kind = static_cast<GroupKind>(b.kind);
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
    sample.full = b.window != 0 && sample.next - sample.floor >= b.window;
    out->push_back(std::move(sample));
  }
}

/// When the message of this sequence was published; 0 if it was not found within what one look may walk.
uint64_t PlaceScan::Topic::time_of(GroupView& group, uint64_t sequence) {
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
  if (!group.is_durable() && group.block().window != 0) {
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
    older_ = segment;
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
