#include "core/log/segment.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

/// The checked part of a segment's header, as plain bytes.
struct Head {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t number;
  TopicId topic_id;
  uint64_t segment_bytes;
  uint64_t created_ns;
  uint32_t zero;
  uint32_t crc;
};
static_assert(sizeof(Head) == 64);

Status check_by_itself(const std::string& path, const Head& head) {
  if (head.magic != kSegmentMagic) return Status::error(Code::kCorrupt, path + " is not a Hermes segment");
  if (head.version != kLogVersion) {
    return Status::error(Code::kVersionMismatch, path + " has log format version " + std::to_string(head.version) +
                                                     "; this build reads version 1");
  }
  if (crc32(0, &head, offsetof(Head, crc)) != head.crc || head.header_bytes != kSegmentHeaderBytes) {
    return Status::error(Code::kCorrupt, path + " has a damaged header");
  }
  return Status::success();
}

constexpr uint64_t kUseSalt = 0x48524D5350415245;

Status check(const std::string& path, const Head& head, uint64_t number, const ControlBlock& control) {
  Status status = check_by_itself(path, head);
  if (!status.ok()) return status;
  if (head.number != number || !(head.topic_id == control.topic_id) || head.segment_bytes != control.segment_bytes) {
    return Status::error(Code::kCorrupt, path + " belongs to another topic or place");
  }
  return Status::success();
}

}  // namespace

Status list_segments(const std::string& folder, std::vector<uint64_t>* numbers) {
  numbers->clear();
  DIR* directory = ::opendir(folder.c_str());
  if (directory == nullptr) return Status::from_errno(errno, "list " + folder);
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) {
    unsigned long long number = 0;
    int used = 0;
    if (std::sscanf(entry->d_name, "%10llu.seg%n", &number, &used) == 1 && used == 14 && entry->d_name[14] == '\0') {
      numbers->push_back(number);
    }
    errno = 0;
  }
  const int err = errno;
  ::closedir(directory);
  std::sort(numbers->begin(), numbers->end());
  return err == 0 ? Status::success() : Status::from_errno(err, "list " + folder);
}

Status Segment::identify(const File& file, const std::string& path, SegmentIdentity* out) {
  Head head;
  Status status = file.read_at(0, &head, sizeof head);
  if (status.ok()) status = check_by_itself(path, head);
  if (status.ok() && (head.segment_bytes < kMinSegmentBytes || head.segment_bytes > kMaxSegmentBytes)) {
    status = Status::error(Code::kCorrupt, path + " has a damaged header");
  }
  *out = {head.topic_id, head.segment_bytes};
  return status;
}

std::string Segment::path(const std::string& folder, uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "/%010llu.seg", static_cast<unsigned long long>(number));
  return folder + name;
}

Status Segment::missing(const std::string& folder, uint64_t number) {
  return Status::error(Code::kCorrupt, path(folder, number) + " is missing");
}

Status Segment::create(const std::string& folder, uint64_t number, const ControlBlock& control, uint32_t mode) {
  const std::string name = path(folder, number);
  File existing;
  if (File::open(name, false, &existing).ok()) return Status::success();
  File file;
  std::string temporary;
  Status status = File::create_temporary(name, mode, &file, &temporary);
  if (!status.ok()) return status;
  Head head = {};
  head.magic = kSegmentMagic;
  head.version = kLogVersion;
  head.header_bytes = kSegmentHeaderBytes;
  head.number = number;
  head.topic_id = control.topic_id;
  head.segment_bytes = control.segment_bytes;
  head.created_ns = realtime_ns();
  head.crc = crc32(0, &head, offsetof(Head, crc));
  status = file.resize(control.segment_bytes);
  // The header's page and the first frames: a process that opens the segment finds at least this much room.
  if (status.ok()) status = file.allocate(0, 4096);
  if (status.ok()) status = file.write_at(0, &head, sizeof head);
  if (status.ok()) status = file.sync_data();
  if (!status.ok()) {
    std::remove(temporary.c_str());
    status.context = "make " + name + ": " + status.context;
    return status;
  }
  bool won = false;
  status = File::publish(temporary, name, &won);
  if (status.ok() && won) status = sync_directory(folder);
  return status;
}

Status Segment::open(const std::string& folder, uint64_t number, const ControlBlock& control, MappedFile::Access access,
                     std::shared_ptr<Segment>* out) {
  const std::string name = path(folder, number);
  auto segment = std::make_shared<Segment>();
  segment->number_ = number;
  Status status = File::open(name, access == MappedFile::Access::kReadWrite, &segment->file_);
  // Acquire: `first` is raised before the name goes, so who finds no name finds the reason here.
  if (status.code == Code::kNotFound && number < control.first.load(std::memory_order_acquire)) {
    return Status::error(Code::kBehindRetention, "retention has removed segment " + std::to_string(number));
  }
  if (!status.ok()) return status;
  uint64_t bytes = 0;
  status = segment->file_.size(&bytes);
  if (!status.ok()) return status;
  if (bytes != control.segment_bytes) {
    // Checked before mapping: a touch beyond the file's end would kill the process.
    return Status::error(Code::kCorrupt, name + " has " + std::to_string(bytes) + " bytes, not " +
                                             std::to_string(control.segment_bytes) + ": it was truncated");
  }
  Head head;
  status = segment->file_.read_at(0, &head, sizeof head);
  if (status.ok()) status = check(name, head, number, control);
  if (status.ok()) status = MappedFile::map(segment->file_, bytes, access, &segment->map_);
  if (!status.ok()) return status;
  if (access == MappedFile::Access::kRead) {
    FileIdentity identity;
    status = segment->file_.identity(&identity);
    if (!status.ok()) return status;
    segment->path_ = name;
    segment->device_ = identity.device;
    segment->inode_ = identity.inode;
    segment->file_.close();
  }
  *out = std::move(segment);
  return status;
}

File Segment::look() const {
  File file;
  FileIdentity identity;
  const std::string open_already = "/proc/self/fd/" + std::to_string(file_.fd());
  if (!File::open(file_.is_open() ? open_already : path_, false, &file).ok()) return {};
  if (file_.is_open()) return file;
  // Another file may have taken the name meanwhile.
  if (!file.identity(&identity).ok() || identity.device != device_ || identity.inode != inode_) return {};
  return file;
}

Status Segment::peek(const std::string& folder, uint64_t number, uint64_t* base_sequence,
                     uint64_t* first_timestamp_ns) {
  File file;
  Status status = File::open(path(folder, number), false, &file);
  if (!status.ok()) return status;
  status = file.read_at(offsetof(SegmentHeader, base_sequence), base_sequence, sizeof *base_sequence);
  if (!status.ok()) return status;
  struct {
    uint64_t word;
    uint64_t sequence;
    uint64_t timestamp_ns;
  } first;
  status = file.read_at(kSegmentHeaderBytes, &first, sizeof first);
  if (!status.ok()) return status;
  *first_timestamp_ns = is_committed(first.word) ? first.timestamp_ns : 0;
  return Status::success();
}

#if defined(__SANITIZE_THREAD__)
__attribute__((
    no_sanitize_thread))  // looks, on purpose, where others may be writing: only whether anything is there counts
#endif
bool Segment::is_zero(uint64_t from, uint64_t to) const noexcept {
  for (uint64_t offset = from; offset < to;) {
    // What the file has no data for is not touched: on tmpfs even a look takes a page.
    if (offset % 4096 == 0) offset = std::min(std::max(offset, file_.next_data(offset) / 4096 * 4096), to);
    const uint64_t end = std::min(to, (offset / 4096 + 1) * 4096);
    uint64_t any = 0;
    for (; offset < end; offset += 8) any |= *reinterpret_cast<const volatile uint64_t*>(data() + offset);
    if (any != 0) return false;
  }
  return true;
}

Status Segment::read_times(const std::string& folder, uint64_t number, const ControlBlock& control, SegmentTimes* out) {
  const std::string name = path(folder, number);
  File file;
  Status status = File::open(name, false, &file);
  struct {
    Head head;
    uint64_t base_sequence;
    uint64_t used_since_ns;
    uint64_t used_since_check;
  } seen;
  static_assert(sizeof seen == offsetof(SegmentHeader, used_since_check) + 8);
  if (status.ok()) status = file.read_at(0, &seen, sizeof seen);
  if (status.ok()) status = check(name, seen.head, number, control);
  if (!status.ok()) return status;
  out->created_ns = seen.head.created_ns;
  out->used_since_ns = (seen.used_since_ns ^ kUseSalt) == seen.used_since_check ? seen.used_since_ns : 0;
  return status;
}

void Segment::note_use(uint64_t now_ns) noexcept {
  // Several may rotate at once, each with a reading of its own: the first one's counts, and all store the same check.
  uint64_t unset = 0;
  std::atomic<uint64_t>& since = header().used_since_ns;
  const uint64_t used = since.compare_exchange_strong(unset, now_ns, std::memory_order_relaxed) ? now_ns : unset;
  header().used_since_check.store(used ^ kUseSalt, std::memory_order_relaxed);
}

bool Segment::is_whole(uint64_t offset, const Step& step, uint64_t sequence, uint32_t max_payload) const noexcept {
  const FrameHeader* const header = frame(offset);
  const FrameFields fields = fields_of(step, *header);
  return is_this_version(step) && fields.sequence == sequence && frame_span(fields.payload_len) == step.span &&
         (fields.type != FrameType::kData || fields.payload_len <= max_payload) &&
         frame_crc(fields, data() + offset + kFrameHeaderBytes) == header->crc32;
}

bool Segment::find_noted_tail(uint64_t after, uint64_t* offset, uint64_t* sequence) const noexcept {
  const uint64_t note = header().tail_hint.load(std::memory_order_relaxed);
  const uint64_t noted = (note >> 32) * kFrameAlign;
  if (noted <= after || noted < kSegmentHeaderBytes || noted + kFrameHeaderBytes > bytes()) return false;
  const Step step = this->step(noted);
  if (step.kind != Step::Kind::kData && step.kind != Step::Kind::kVoid) return false;
  const uint64_t expected = header().base_sequence.load(std::memory_order_relaxed) + (note & 0xFFFFFFFF);
  if (!is_whole(noted, step, expected, static_cast<uint32_t>(bytes()))) return false;
  *offset = noted;
  *sequence = expected;
  return true;
}

void Segment::prepared_up_to(uint64_t offset) noexcept {
  uint64_t none = 0;
  ready_.compare_exchange_strong(none, offset / 4096 * 4096, std::memory_order_relaxed);
}

Status Segment::prepare(uint64_t limit, bool large_pages) {
  const uint64_t from = ready_.load(std::memory_order_relaxed);
  limit = std::min((limit + 4095) / 4096 * 4096, bytes());
  if (limit <= from) return Status::success();
  // Both in memory, too: there, populating what is allocated costs a sixth less than having it allocate page by page.
  Status status = file_.allocate(from, limit - from);
  if (status.ok() && large_pages) map_.prefer_large_pages(from, limit - from);
  if (status.ok()) status = map_.populate(from, limit - from);
  // An older kernel: the pages then fault one by one under the writer, slower but as safe.
  if (status.code == Code::kUnsupported) status = Status::success();
  // Release: publishers that see the raised limit find the blocks allocated.
  if (status.ok()) ready_.store(limit, std::memory_order_release);
  return status;
}

}  // namespace hermes
