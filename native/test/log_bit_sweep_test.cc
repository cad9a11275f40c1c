// One flipped bit anywhere in a topic's files: what is left is delivered as it was published, and publishing goes on or is refused with a reason.
// HERMES_SWEEP=all flips each bit of each byte that means something, in three states; by default it's one bit of each.

#include <cstdlib>
#include <set>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kSegments = 3;

struct Template {
  Bytes control;
  std::vector<Bytes> segments;
  std::vector<Message> messages;
  uint64_t end = 0;  // offset in the newest segment
};

/// Some small messages in each segment, then some as large as may be.
Template make_template(const std::string& folder) {
  Template made;
  {
    const auto log = open_log(folder);
    const auto appender = open_appender(log);
    uint64_t n = 0;
    for (uint64_t segment = 1; segment <= kSegments; ++segment) {
      for (int i = 0; i < 3; ++i, ++n) append(appender.get(), message(1, n + 1, 40 + n));
      if (segment == kSegments) break;
      while (log->active() == segment) {
        ++n;
        append(appender.get(), message(1, n, kMinSegmentBytes / 4 - 7));
      }
    }
    made.messages = read_all(log);
    made.end = made.messages.back().at.offset + frame_span(static_cast<uint32_t>(made.messages.back().payload.size()));
  }
  made.control = read_file(folder + "/control");
  for (uint64_t segment = 1; segment <= kSegments; ++segment)
    made.segments.push_back(read_file(segment_path(folder, segment)));
  return made;
}

struct Place {
  uint64_t segment;  // 0: the control file
  uint64_t offset;
};

/// The bytes that mean something.
std::vector<Place> places(const Template& made) {
  std::vector<Place> all;
  for (uint64_t at = 0; at < 1024; ++at) all.push_back({0, at});
  for (uint64_t at = 4096; at < 4096 + 2 * sizeof(ParticipantSlot); ++at) all.push_back({0, at});
  for (uint64_t segment = 1; segment <= kSegments; ++segment) {
    for (uint64_t at = 0; at < kSegmentHeaderBytes; ++at) all.push_back({segment, at});
    uint64_t end = 0;
    for (const Message& m : made.messages) {
      if (m.at.segment != segment) continue;
      for (uint64_t at = 0; at < kFrameHeaderBytes + 8; ++at) all.push_back({segment, m.at.offset + at});
      end = m.at.offset + frame_span(static_cast<uint32_t>(m.payload.size()));
      for (uint64_t at = end - 8; at < end; ++at) all.push_back({segment, at});
    }
    for (uint64_t at = end; at < std::min(end + 48, kMinSegmentBytes); ++at) all.push_back({segment, at});
    all.push_back({segment, kMinSegmentBytes - 1});
  }
  return all;
}

enum class State { kClosed, kKilled, kRebooted };

/// Reads on behind damage, as a subscriber with onDamage: 'skip' does.
std::vector<Message> read_what_is_left(const std::shared_ptr<Log>& log) {
  std::vector<Message> messages;
  Reader reader(log, MappedFile::Access::kRead);
  for (int tries = 0; tries < 50; ++tries) {
    const ScanStop stop = read_on(&reader, &messages);
    if (stop != ScanStop::kDamage && stop != ScanStop::kClaim) break;
    if (reader.segment() == nullptr || !reader.skip_damage().ok()) break;
  }
  return messages;
}

class Case {
 public:
  Case(const std::string& folder, const Template& made, const Place& place, unsigned bit, State state)
      : folder_(folder), made_(made), place_(place), state_(state) {
    restore();
    if (state != State::kClosed) forget_orderly_close(folder);
    if (state == State::kRebooted) reboot(folder);
    flip_bit(place.segment == 0 ? folder + "/control" : segment_path(folder, place.segment), place.offset, bit);
  }

  void run() {
    expect_genuine("before");
    std::shared_ptr<Log> log;
    LogOptions options;
    options.low_water_bytes = 0;
    const TopicSettings settings = small_segments();
    Status status = Log::open(folder_, &settings, options, &log);
    std::unique_ptr<Appender> appender;
    if (status.ok()) status = Appender::open(log, {}, &appender, nullptr);
    if (!status.ok()) {
      EXPECT_TRUE(may_be_refused()) << "refused: " << status.context;
      EXPECT_TRUE(status.code == Code::kCorrupt || status.code == Code::kVersionMismatch) << status.context;
      return;
    }
    const uint64_t next = made_.messages.back().sequence + 1;
    const auto payload = message(2, 1, 77);
    ASSERT_EQ(code_name(appender->append(payload.data(), 77)), std::string("OK")) << appender->last_error().context;
    const uint64_t got = appender->last_sequence();
    // The sequence of a last message that is damaged may be given out again, unless it's known to have been there.
    if (!hits(made_.messages.back()) && state_ != State::kRebooted) {
      EXPECT_EQ(got, next);
    }
    EXPECT_GE(got, next - 1);
    appender.reset();
    log.reset();
    // A segment whose header is damaged can't be read before it's repaired; a topic that was closed in order is not looked through.
    if (place_.segment != 0 && place_.offset < kUsedOfHeader) return;
    std::set<uint64_t> seen;
    bool arrived = false;
    for (const Message& m : read_what_is_left(open_log(folder_))) {
      seen.insert(m.sequence);
      if (m.sequence == got) {
        arrived = m.payload == payload;
      } else {
        check(m, "after");
      }
    }
    EXPECT_TRUE(arrived) << "what was published is not seen, sequence " << got;
    for (const Message& m : made_.messages) {
      if (!hits(m)) {
        EXPECT_EQ(seen.count(m.sequence), 1u) << "sequence " << m.sequence << " is lost";
      }
    }
  }

 private:
  static constexpr uint64_t kUsedOfHeader = 72;
  /// The headers of both files; and the number of the newest segment, where a wrong one looks as if the segments between had been lost.
  bool may_be_refused() const {
    if (place_.segment != 0) return place_.offset < kUsedOfHeader;
    return place_.offset < 64 || (place_.offset >= 128 && place_.offset < 136);
  }
  void restore() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
    std::filesystem::create_directory(folder_);
    write(folder_ + "/control", made_.control);
    write(folder_ + "/locks", {});
    for (uint64_t n = 1; n <= made_.segments.size(); ++n) write(segment_path(folder_, n), made_.segments[n - 1]);
    // As the file that the publishers had open.
    const auto log = open_log(folder_);
    store_identity(log->control(), log->identity());
    uint64_t boot_id[2];
    read_boot_id(boot_id);
    for (int i = 0; i < 2; ++i) log->control().boot_id[i].store(boot_id[i]);
  }
  static void write(const std::string& path, const Bytes& bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  bool hits(const Message& m) const {
    return place_.segment == m.at.segment && place_.offset >= m.at.offset &&
           place_.offset < m.at.offset + frame_span(static_cast<uint32_t>(m.payload.size()));
  }
  void check(const Message& m, const char* when) const {
    for (const Message& genuine : made_.messages) {
      if (genuine.sequence != m.sequence) continue;
      EXPECT_EQ(m.payload, genuine.payload) << when << ", sequence " << m.sequence;
      EXPECT_EQ(m.timestamp_ns, genuine.timestamp_ns) << when;
      return;
    }
    ADD_FAILURE() << when << ": sequence " << m.sequence << " was never published";
  }
  void expect_genuine(const char* when) const {
    std::shared_ptr<Log> log;
    if (!Log::open(folder_, nullptr, {}, &log).ok()) return;
    for (const Message& m : read_what_is_left(log)) check(m, when);
    Position ignored;
    (void)log->committed(&ignored);
    Reader reader(log, MappedFile::Access::kRead);
    (void)reader.seek_latest();
    (void)reader.seek_sequence(3);
    (void)reader.seek_time(1);
    (void)log->check_sync();
  }

  const std::string folder_;
  const Template& made_;
  const Place place_;
  const State state_;
};

TEST(LogBitSweep, a_flipped_bit_costs_the_message_that_it_hit_at_most) {
  const Folder folder(quick_place());
  std::filesystem::create_directory(folder.path() + "/template");
  const Template made = make_template(folder.path() + "/template");
  ASSERT_EQ(made.messages.back().at.segment, kSegments);
  const char* const set = std::getenv("HERMES_SWEEP");
  const bool all = set != nullptr && std::string(set) == "all";
  uint64_t cases = 0;
  uint64_t failed = 0;
  for (const Place& place : places(made)) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      for (const State state : {State::kClosed, State::kKilled, State::kRebooted}) {
        // By default each byte once, over all bits and states.
        const uint64_t turn = place.offset * 5 + place.segment;
        if (!all && (bit != turn % 8 || static_cast<uint64_t>(state) != turn / 8 % 3)) continue;
        ++cases;
        SCOPED_TRACE("segment " + std::to_string(place.segment) + " offset " + std::to_string(place.offset) + " bit " +
                     std::to_string(bit) + " state " + std::to_string(static_cast<int>(state)));
        const int before = ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
        Case(folder.path() + "/t", made, place, bit, state).run();
        if (::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count() != before &&
            ++failed > 200)
          FAIL() << "too many";
      }
    }
  }
  RecordProperty("cases", static_cast<int>(cases));
  std::printf("%llu cases\n", static_cast<unsigned long long>(cases));
}

}  // namespace
}  // namespace hermes
