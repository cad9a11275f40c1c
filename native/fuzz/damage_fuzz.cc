// Damage to a whole small topic of several segments: the bytes choose a topic, which segments retention has left, a dead publisher's claim, one damage
// (a stray frame, a lost base sequence, noise) and how the last publisher ended. The oracle knows which messages were hit: whoever opens the topic then
// is not refused, all other messages are there, once and in order, no sequence is given out again, and none is skipped.
#include <algorithm>
#include <map>
#include <set>

#include "core/log/reader.h"
#include "fuzz/topic.h"

namespace {

using namespace hermes;

constexpr uint32_t kTopics = 12;
constexpr uint32_t kMaxPayload = kMinSegmentBytes / 4;
constexpr uint32_t kDeadSlot = 7;

/// What the input chooses; zeros once it is used up.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  uint64_t word() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }
  /// 0 to `limit` - 1.
  uint64_t below(uint64_t limit) {
    const uint64_t value = limit > 0xFFFF ? word() : uint64_t{byte()} << 8 | byte();
    return limit == 0 ? 0 : value % limit;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

struct Message {
  uint64_t sequence;
  Position at;
  std::vector<char> payload;
  uint64_t end() const { return at.offset + frame_span(static_cast<uint32_t>(payload.size())); }
};

[[noreturn]] void fail(const std::string& what, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), why.c_str());
  std::abort();
}

std::vector<Message> read_all(const std::shared_ptr<Log>& log, ScanStop* stop) {
  std::vector<Message> messages;
  Reader reader(log, MappedFile::Access::kRead);
  *stop = ScanStop::kEmpty;
  if (!reader.seek_earliest().ok()) return messages;
  for (;;) {
    const std::shared_ptr<Segment> segment = reader.segment();
    Position at = reader.position();
    const Scan found = scan(*segment, at.offset, at.sequence, 256, log->control().max_payload, true);
    while (at.offset < found.end) {
      const Step step = segment->step(at.offset);
      const FrameHeader* const header = segment->frame(at.offset);
      const auto* const payload = reinterpret_cast<const char*>(header + 1);
      if (step.kind == Step::Kind::kData)
        messages.push_back({header->sequence, at, {payload, payload + header->payload_len}});
      at.offset += step.span;
      at.sequence += step.count;
    }
    reader.set_position(found.end, found.sequence);
    if (found.stop == ScanStop::kLimit) continue;
    *stop = found.stop;
    if (found.stop != ScanStop::kSegmentEnd) return messages;
    const Status status = reader.next_segment();
    if (status.code == Code::kNotFound) *stop = ScanStop::kEmpty;
    if (status.code != Code::kNotFound && !status.ok()) *stop = ScanStop::kDamage;
    if (!status.ok()) return messages;
  }
}

/// A topic as its publisher left it, to be damaged again and again.
struct Sound {
  std::string folder;
  std::vector<char> control;
  std::vector<std::vector<char>> segments;
  std::vector<Message> messages;
  uint64_t newest() const { return messages.back().at.segment; }
};

/// Small, large or mixed messages, some in batches, in one to four segments.
void fill(Appender& appender, const Log& log, uint32_t number) {
  const uint64_t wanted = 1 + number % 4;
  const uint32_t kind = number / 4;
  uint32_t seed = number + 1;
  std::vector<std::byte> bytes;
  for (uint32_t n = 0, last = 0; log.active() < wanted || last < 2 + number % 3; ++n) {
    seed = seed * 1664525 + 1013904223;
    const uint32_t chance = seed >> 8;
    const uint32_t count = chance % 7 == 0 && kind != 1 ? 2 + chance % 5 : 1;
    const uint32_t length = kind == 0   ? 16 + chance % 200
                            : kind == 1 ? 12'000 + chance % 4000
                                        : chance % (count > 1 ? 1500 : kMaxPayload);
    bytes.assign(count * frame_span(length), std::byte{0});
    for (uint32_t i = 0; i < count; ++i) {
      std::byte* const frame = bytes.data() + i * frame_span(length);
      std::memcpy(frame + offsetof(FrameHeader, payload_len), &length, sizeof length);
      for (uint32_t b = 0; b < length; ++b) frame[kFrameHeaderBytes + b] = static_cast<std::byte>(n * 31 + i + b * 7);
    }
    const Code code = count == 1 ? appender.append(bytes.data() + kFrameHeaderBytes, length)
                                 : appender.append_batch(bytes.data(), bytes.size(), count);
    if (code != Code::kOk) fail("filling", appender.last_error().context);
    last += log.active() == wanted ? 1 : 0;
  }
}

Status open_log(const std::string& folder, std::shared_ptr<Log>* log) {
  TopicSettings settings;
  settings.segment_bytes = kMinSegmentBytes;
  settings.max_payload = kMaxPayload;
  settings.file_mode = 0600;
  LogOptions options;
  options.low_water_bytes = 0;
  return Log::open(folder, &settings, options, log);
}

const Sound& sound(uint32_t number) {
  static std::map<uint32_t, Sound>* const all = new std::map<uint32_t, Sound>;
  const auto [made, is_new] = all->try_emplace(number);
  Sound& topic = made->second;
  if (!is_new) return topic;
  if (all->size() == 1)
    std::atexit([] {
      for (const auto& [_, one] : *all) std::filesystem::remove_all(one.folder);
    });
  topic.folder = fuzz::make_folder();
  std::shared_ptr<Log> log;
  std::unique_ptr<Appender> appender;
  if (!open_log(topic.folder, &log).ok() || !Appender::open(log, {}, &appender, nullptr).ok()) std::abort();
  fill(*appender, *log, number);
  ScanStop stop;
  topic.messages = read_all(log, &stop);
  appender.reset();
  log.reset();
  topic.control = fuzz::read_file(topic.folder + "/control");
  for (uint64_t s = 1; s <= topic.newest(); ++s)
    topic.segments.push_back(fuzz::read_file(Segment::path(topic.folder, s)));
  return topic;
}

void overwrite(const std::string& path, uint64_t offset, const void* bytes, size_t count) {
  std::FILE* const file = std::fopen(path.c_str(), "r+b");
  if (file == nullptr || std::fseek(file, static_cast<long>(offset), SEEK_SET) != 0 ||
      std::fwrite(bytes, 1, count, file) != count || std::fclose(file) != 0)
    std::abort();
}

/// The files as they were. The control file stays the same one: a copy would be checked from its first segment on.
void restore(const Sound& topic) {
  for (const auto& entry : std::filesystem::directory_iterator(topic.folder)) {
    const std::string name = entry.path().filename();
    if (name != "control" && name != "locks") std::filesystem::remove_all(entry.path());
  }
  overwrite(topic.folder + "/control", 0, topic.control.data(), topic.control.size());
  for (size_t s = 0; s < topic.segments.size(); ++s)
    fuzz::write_file(Segment::path(topic.folder, s + 1), topic.segments[s]);
}

/// One topic in the hands of one input.
class Case {
 public:
  Case(const Sound& topic, Choices& choices) : topic_(topic), choices_(choices) {
    restore(topic);
    oldest_ = choices.below(2) == 0 ? 1 : 1 + choices.below(topic.newest());
    for (uint64_t s = 1; s < oldest_; ++s) std::filesystem::remove(path(s));
    put_control(offsetof(ControlBlock, first), oldest_);
    segment_ = oldest_ + choices.below(topic.newest() - oldest_ + 1);
    for (const Message& m : topic.messages) {
      if (m.at.segment >= oldest_) before_.push_back(&m);
      if (m.at.segment == segment_) here_.push_back(&m);
    }
  }

  /// What a publisher that died has left: over one frame or a row of them. Some are found by another process before the damage.
  void claim() {
    const size_t from = choices_.below(2) == 0 ? 0 : choices_.below(here_.size());
    const size_t count = 1 + choices_.below(std::min<size_t>(here_.size() - from, 60));
    const uint64_t begin = here_[from]->at.offset;
    const uint64_t end = here_[from + count - 1]->end();
    const uint64_t claim = make_claim_word({kDeadSlot, static_cast<uint32_t>(count), end - begin});
    std::vector<char> bytes(end - begin);
    std::memcpy(bytes.data(), &claim, sizeof claim);
    overwrite(path(segment_), begin, bytes.data(), bytes.size());
    put_control(offsetof(ControlBlock, slots) + kDeadSlot * sizeof(ParticipantSlot), uint32_t{1});
    put_control(offsetof(ControlBlock, closed_in_order), uint32_t{0});
    // What is known to be committed ends before it; or was damaged, too.
    if (choices_.below(4) != 0) put_checkpoint(here_[from]->at);
    for (size_t i = from; i < from + count; ++i) hit_.insert(here_[i]->sequence);
    claims_first_ = from == 0;
    what_ += claims_first_ ? "claim first, " : "claim, ";
    if (choices_.below(2) == 0) return;
    std::shared_ptr<Log> log;
    RecoveryReport report;
    Status status = open_log(topic_.folder, &log);
    if (status.ok()) status = recover(*log, true, &report);
    if (!status.ok()) fail(what_ + "recovered", status.context);
    what_ += "recovered, ";
  }

  void damage() {
    uint64_t kind = choices_.below(4);
    // A stray frame in the place of a claim's is what a publisher might have published there.
    if (claims_first_ && kind == 0) kind = 1;
    if (kind == 0) return stray();
    if (kind == 1) return lose_base();
    noise(kind == 2 ? kSegmentHeaderBytes + choices_.below(60)
                    : here_[choices_.below(here_.size())]->at.offset + choices_.below(64));
  }

  void end() {
    const uint64_t how = choices_.below(3);
    if (how == 1) put_control(offsetof(ControlBlock, closed_in_order), uint32_t{0});
    const char other[16] = "another boot id";
    if (how == 2) overwrite(topic_.folder + "/control", offsetof(ControlBlock, boot_id), other, sizeof other);
    what_ += segment_ == topic_.newest() ? " in the newest segment" : " in a segment before";
    what_ += how == 0 ? ", closed" : how == 1 ? ", killed" : ", rebooted";
    rebooted_ = how == 2;
  }

  /// Opens the topic to publish, and looks at what is left.
  void judge() {
    std::shared_ptr<Log> log;
    std::unique_ptr<Appender> appender;
    Status status = open_log(topic_.folder, &log);
    if (status.ok()) status = Appender::open(log, {}, &appender, nullptr);
    if (!status.ok() && is_untold()) return;
    if (!status.ok()) fail(what_, "refused: " + status.context);
    const std::byte payload[77] = {};
    if (appender->append(payload, sizeof payload) != Code::kOk) fail(what_, appender->last_error().context);
    const uint64_t next = appender->last_sequence();
    appender.reset();
    log.reset();

    put_control(offsetof(ControlBlock, closed_in_order), uint32_t{0});
    RecoveryReport report;
    status = open_log(topic_.folder, &log);
    if (status.ok()) status = recover(*log, true, &report);
    if (!status.ok()) fail(what_, "refused a second time: " + status.context);
    if (rebooted_ && !report.damage.empty()) fail(what_, "a second recovery found damage");
    ScanStop stop;
    const std::vector<Message> left = read_all(log, &stop);
    if (stop != ScanStop::kEmpty) fail(what_, "can't be read to its end");
    compare(left, next);
  }

 private:
  std::string path(uint64_t segment) const { return Segment::path(topic_.folder, segment); }
  template <typename T>
  void put_control(size_t offset, const T& value) {
    overwrite(topic_.folder + "/control", offset, &value, sizeof value);
  }

  void put_checkpoint(const Position& at) {
    alignas(PositionRecord) unsigned char bytes[sizeof(PositionRecord)] = {};
    store_position(*reinterpret_cast<PositionRecord*>(bytes), at);
    overwrite(topic_.folder + "/control", offsetof(ControlBlock, checkpoint), bytes, sizeof bytes);
  }

  /// A whole frame of another place, or of another topic, at the beginning of the segment.
  void stray() {
    const uint64_t own = here_[0]->sequence;
    uint64_t sequence = choices_.word();
    const uint64_t nearby = choices_.below(4);
    if (nearby == 1) sequence = own + 1 + sequence % (here_.size() + 3);
    if (nearby == 2) sequence = own - std::min(own - 1, sequence % 100 + 1);
    if (nearby == 3) sequence = own + sequence % 100'000;
    if (sequence == own || sequence == 0) sequence = own + 1;
    const auto length = static_cast<uint32_t>(choices_.below(2) == 0 ? here_[0]->payload.size() : choices_.below(400));
    FrameHeader header = {};
    std::memcpy(&header, topic_.segments[segment_ - 1].data() + here_[0]->at.offset, sizeof header);
    header.type = static_cast<uint8_t>(FrameType::kData);
    header.payload_len = length;
    header.sequence = sequence;
    std::vector<std::byte> bytes(frame_span(length), std::byte{9});
    std::memcpy(bytes.data(), &header, sizeof header);
    header.crc32 = frame_crc(bytes.data(), length);
    std::memcpy(bytes.data(), &header, sizeof header);
    overwrite(path(segment_), kSegmentHeaderBytes, bytes.data(), bytes.size());
    hit(kSegmentHeaderBytes, bytes.size());
    what_ += "stray frame";
  }

  void lose_base() {
    const uint64_t how = choices_.below(3);
    uint64_t base = here_[0]->sequence ^ uint64_t{1} << choices_.below(64);
    if (how == 1) base = 0;
    if (how == 2) base = choices_.below(1 << 20);
    overwrite(path(segment_), offsetof(SegmentHeader, base_sequence), &base, sizeof base);
    what_ += "base sequence";
  }

  void noise(uint64_t offset) {
    std::vector<uint8_t> bytes(1 + choices_.below(100));
    for (uint8_t& byte : bytes) byte = choices_.byte();
    bytes.resize(std::min<uint64_t>(bytes.size(), kMinSegmentBytes - offset));
    overwrite(path(segment_), offset, bytes.data(), bytes.size());
    hit(offset, bytes.size());
    what_ += "noise";
  }

  void hit(uint64_t offset, uint64_t bytes) {
    for (const Message* m : here_) {
      if (m->at.offset < offset + bytes && m->end() > offset) hit_.insert(m->sequence);
    }
  }

  /// Of the only segment left, without a sound frame, after a power cut, nothing tells where its messages were: its base sequence or a stray frame may be
  /// wrong.
  bool is_untold() const { return rebooted_ && oldest_ == topic_.newest() && hit_.size() == before_.size(); }

  void compare(const std::vector<Message>& left, uint64_t next) const {
    std::map<uint64_t, const Message*> there;
    uint64_t last = 0;
    for (const Message& m : left) {
      if (m.sequence <= last) fail(what_, "out of order");
      last = m.sequence;
      there[m.sequence] = &m;
    }
    uint64_t newest = 0;
    for (const Message* m : before_) {
      if (hit_.contains(m->sequence)) continue;
      newest = m->sequence;
      const auto found = there.find(m->sequence);
      if (found == there.end()) fail(what_, "lost the sound message " + std::to_string(m->sequence));
      if (found->second->payload != m->payload) fail(what_, "changed message " + std::to_string(m->sequence));
    }
    if (next <= newest) fail(what_, "gave a sequence out again");
    if (next > before_.back()->sequence + 1 && !is_untold()) fail(what_, "skipped sequences");
  }

  const Sound& topic_;
  Choices& choices_;
  uint64_t oldest_ = 1;
  uint64_t segment_ = 1;
  std::vector<const Message*> before_;  ///< those that retention has left
  std::vector<const Message*> here_;    ///< those in the segment that is damaged
  std::set<uint64_t> hit_;
  bool claims_first_ = false;
  bool rebooted_ = false;
  std::string what_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  Case one(sound(static_cast<uint32_t>(choices.below(kTopics))), choices);
  if (choices.below(3) == 0) one.claim();
  one.damage();
  one.end();
  one.judge();
  return 0;
}
