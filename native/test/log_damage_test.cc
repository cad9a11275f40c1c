// Bits flipped and files cut at random: whatever is found on disk, nobody crashes, and nothing is delivered that was not written.

#include <filesystem>
#include <random>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kMessages = 700;

/// The files of a small log, in memory, to start each round from.
struct Image {
  Bytes control;
  std::vector<Bytes> segments;
  std::vector<Message> messages;

  void put_back(const std::string& folder) const {
    std::filesystem::remove_all(folder + "/quarantine");
    write(folder + "/control", control);
    for (size_t i = 0; i < segments.size(); ++i) write(segment_path(folder, i + 1), segments[i]);
    std::filesystem::remove(segment_path(folder, segments.size() + 1));
    std::filesystem::remove(segment_path(folder, segments.size() + 2));
  }

 private:
  static void write(const std::string& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
};

Image make_image(const std::string& folder) {
  Image image;
  {
    const auto log = open_log(folder);
    const auto appender = open_appender(log);
    std::mt19937 random(1);
    for (uint64_t i = 1; i <= kMessages; ++i) append(appender.get(), message(1, i, random() % 400));
    image.messages = read_all(log);
  }
  for (uint64_t n = 1; std::filesystem::exists(segment_path(folder, n)); ++n)
    image.segments.push_back(read_file(segment_path(folder, n)));
  image.control = read_file(folder + "/control");
  return image;
}

void expect_nothing_invented(const std::vector<Message>& seen, const std::vector<Message>& written) {
  uint64_t last = 0;
  for (const Message& m : seen) {
    ASSERT_GT(m.sequence, last);
    last = m.sequence;
    ASSERT_LE(m.sequence, written.size());
    ASSERT_EQ(m.payload, written[m.sequence - 1].payload);
    ASSERT_EQ(m.timestamp_ns, written[m.sequence - 1].timestamp_ns);
  }
}

bool is_clear(Code code) {
  return code == Code::kCorrupt || code == Code::kNotHermes || code == Code::kVersionMismatch ||
         code == Code::kBehindRetention;
}

/// Reads the damaged log, recovers it, reads it again and publishes to it; returns how many messages are left.
size_t survive(const std::string& folder, const Image& image) {
  std::shared_ptr<Log> log;
  LogOptions options;
  options.low_water_bytes = 0;
  Status status = Log::open(folder, nullptr, options, &log);
  if (!status.ok()) {
    EXPECT_TRUE(is_clear(status.code)) << status.context;
    return 0;
  }
  expect_nothing_invented(read_all(log), image.messages);
  Reader reader(log, MappedFile::Access::kRead);
  (void)reader.seek_latest();
  (void)reader.seek_sequence(350);
  (void)reader.seek_time(image.messages[350].timestamp_ns);

  std::unique_ptr<Appender> appender;
  status = Appender::open(log, {}, &appender, nullptr);
  if (!status.ok()) {
    EXPECT_TRUE(is_clear(status.code)) << status.context;
    return 0;
  }
  ScanStop stop;
  const auto left = read_all(log, &stop);
  expect_nothing_invented(left, image.messages);
  // One that stands at the end sees what comes. (One that starts before damage which recovery had no reason to look at doesn't.)
  Reader last(log, MappedFile::Access::kRead);
  EXPECT_TRUE(last.seek_latest().ok());
  const auto mine = message(2, 1, 100);
  const Code code = appender->append(mine.data(), 100);
  EXPECT_EQ(code, Code::kOk) << appender->last_error().context;
  std::vector<Message> after;
  read_on(&last, &after);
  EXPECT_EQ(after.size(), 1u);
  if (!after.empty()) {
    EXPECT_EQ(after[0].payload, mine);
  }
  return left.size();
}

/// After an orderly close nothing is recovered: the first publisher walks over the lengths in the headers.
TEST(LogDamageAtOpening, a_length_that_leads_behind_the_end_is_damage_and_not_the_end) {
  const Folder folder;
  std::vector<Message> written;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 100; ++i) append(appender.get(), message(1, i, 100));
    written = read_all(log);
  }
  ASSERT_EQ(written.size(), 100u);
  const uint32_t length = 30'000;
  std::fstream file(segment_path(folder.path(), 1), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(written[9].at.offset + 24));
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file.close();
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 101, 100));
  EXPECT_EQ(appender->last_sequence(), 101u);
  EXPECT_EQ(read_all(log).size(), 100u) << "one was damaged, one has come";
}

enum class Trust { kClosedInOrder, kKilled, kRebooted };

class LogDamage : public ::testing::TestWithParam<Trust> {};

TEST_P(LogDamage, survives_3400_random_flips_and_truncations) {
  const Folder folder(quick_place());
  const Image image = make_image(folder.path());
  const char* const given = std::getenv("HERMES_TEST_SEED");
  const auto seed = static_cast<uint32_t>(given != nullptr ? std::atol(given) : 7);
  std::mt19937 random(seed);
  size_t nothing_lost = 0;
  for (int round = 0; round < 3400 && !HasFailure(); ++round) {
    image.put_back(folder.path());
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const uint64_t number = 1 + random() % image.segments.size();
    const std::string path = segment_path(folder.path(), number);
    const unsigned kind = random() % 20;
    if (kind == 0) {
      truncate_segment(folder.path(), number, random() % kMinSegmentBytes);
    } else if (kind == 1) {
      flip_bit(folder.path() + "/control", random() % 1024, random() % 8);
    } else if (kind == 2) {
      lose_page(folder.path(), number, random() % kMinSegmentBytes);
    } else if (kind == 3) {
      lose_everything_behind(folder.path(), number, random() % kMinSegmentBytes);
    } else if (kind < 7) {
      flip_bit(path, random() % 300, random() % 8);  // the header and the first frame
    } else if (kind < 12) {
      // The header of some frame.
      const Message& m = image.messages[random() % image.messages.size()];
      flip_bit(segment_path(folder.path(), m.at.segment), m.at.offset + random() % 32, random() % 8);
    } else {
      for (unsigned flips = 1 + random() % 3; flips > 0; --flips)
        flip_bit(path, random() % kMinSegmentBytes, random() % 8);
    }
    if (GetParam() == Trust::kKilled) forget_orderly_close(folder.path());
    if (GetParam() == Trust::kRebooted) reboot(folder.path());
    if (survive(folder.path(), image) == kMessages) ++nothing_lost;
  }
  EXPECT_GT(nothing_lost, 100u) << "most flips hit empty space or are mended";
}

INSTANTIATE_TEST_SUITE_P(After, LogDamage, ::testing::Values(Trust::kClosedInOrder, Trust::kKilled, Trust::kRebooted),
                         [](const auto& info) {
                           return std::string(info.param == Trust::kClosedInOrder ? "OrderlyClose"
                                              : info.param == Trust::kKilled      ? "Kill"
                                                                                  : "Reboot");
                         });

}  // namespace
}  // namespace hermes
