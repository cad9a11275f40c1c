// The log under test/vectors/log-v1, which other languages' readers are tested with as well, is still read as it was written.
// HERMES_WRITE_GOLDEN=<folder> makes it again: only for a new format version.

#include <filesystem>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kLengths[] = {0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 100, 255, 1000, 4000, 16'000};

/// Writes what the readers expect: lengths of every kind, a batch, a dead publisher's hole, damage that was mended, padding and
/// rests too small for padding, and an end.
void write_golden(const std::string& folder) {
  {
    const auto log = open_log(folder);
    const auto appender = open_appender(log);
    uint64_t number = 0;
    for (const uint64_t length : kLengths) append(appender.get(), message(1, ++number, length));
    std::vector<std::vector<std::byte>> payloads;
    for (int i = 0; i < 5; ++i) payloads.push_back(message(1, ++number, 20 + static_cast<size_t>(i)));
    const auto batch = batch_of(payloads);
    ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 5), Code::kOk);
    Position end;
    ASSERT_TRUE(log->committed(&end).ok());
    // A publisher that died with two sequences claimed, repaired while others live.
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log->segment(1, &segment).ok());
    segment->word(end.offset).store(make_claim_word({200, 2, 104}));
    RepairOutcome outcome;
    ASSERT_TRUE(repair_claim(*log, end, &outcome).ok());
    ASSERT_EQ(outcome, RepairOutcome::kRepaired);
    number += 2;
    // The first segment ends with 24 bytes that are too few for padding, the second one with padding.
    for (int i = 0; i < 2; ++i) append(appender.get(), message(1, ++number, 16'000));
    ASSERT_TRUE(log->committed(&end).ok());
    append(appender.get(), message(1, ++number, kMinSegmentBytes - 24 - kFrameHeaderBytes - end.offset));
    for (int i = 0; i < 5; ++i) append(appender.get(), message(1, ++number, 15'000));
    append(appender.get(), message(1, ++number, 10));
  }
  const auto messages = read_all(open_log(folder));
  flip_bit_in_payload(folder, messages[11], 3);
  reboot(folder);
  const auto log = open_log(folder);
  RecoveryReport report;
  ASSERT_TRUE(open_appender(log, false, &report)->close().ok());
  ASSERT_EQ(report.damage.size(), 1u);
}

TEST(LogGolden, is_read_as_it_was_written) {
  if (const char* const folder = std::getenv("HERMES_WRITE_GOLDEN")) write_golden(folder);
  const Folder folder;
  // Readers need the right to write only to repair; a copy, so that the vectors stay as they are.
  const auto vectors = std::filesystem::path(__FILE__).parent_path() / "../../test/vectors/log-v1";
  std::filesystem::copy(vectors, folder.path(), std::filesystem::copy_options::recursive);
  std::shared_ptr<Log> log;
  ASSERT_TRUE(Log::open(folder.path(), nullptr, {}, &log).ok());
  ScanStop stop;
  const auto messages = read_all(log, &stop);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  for (const Message& m : messages) EXPECT_EQ(m.payload, message(1, m.sequence, m.payload.size()));
  ASSERT_EQ(messages.size(), 28u);
  EXPECT_EQ(messages[10].sequence, 11u);
  EXPECT_EQ(messages[11].sequence, 13u) << "12 was damaged";
  EXPECT_EQ(messages[18].sequence, 20u);
  EXPECT_EQ(messages[19].sequence, 23u) << "21 and 22 were a dead publisher's";
  EXPECT_EQ(messages.back().sequence, 31u);
  EXPECT_EQ(log->active(), 3u);
}

}  // namespace
}  // namespace hermes
