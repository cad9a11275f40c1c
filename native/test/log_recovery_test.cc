#include <algorithm>
#include <filesystem>
#include <set>

#include "core/log/retention.h"
#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// A closed log of `count` messages of `length` bytes by producer 1; returns them with their places.
std::vector<Message> written(const std::string& folder, uint64_t count, size_t length = 200) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= count; ++i) append(appender.get(), message(1, i, length));
  return read_all(log);
}

RecoveryReport recovered(const std::string& folder) {
  RecoveryReport report;
  const auto log = open_log(folder);
  const auto appender = open_appender(log, false, &report);
  return report;
}

/// Every message of `left` is the one of that sequence in `before`, in order; returns the sequences that are missing.
std::set<uint64_t> expect_subset(const std::vector<Message>& left, const std::vector<Message>& before) {
  std::set<uint64_t> missing;
  for (const Message& m : before) missing.insert(m.sequence);
  uint64_t last = 0;
  for (const Message& m : left) {
    EXPECT_GT(m.sequence, last);
    last = m.sequence;
    if (m.sequence == 0 || m.sequence > before.size()) {
      ADD_FAILURE() << "sequence " << m.sequence << " was never written";
      continue;
    }
    EXPECT_EQ(m.payload, before[m.sequence - 1].payload) << "message " << m.sequence;
    missing.erase(m.sequence);
  }
  return missing;
}

/// After any recovery a publisher can go on, and what it publishes follows what is there.
void expect_usable(const std::string& folder) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  ASSERT_NE(appender, nullptr);
  uint64_t first = 0;
  for (int i = 0; i < 700; ++i) {
    append(appender.get(), message(9, static_cast<uint64_t>(i), 200));
    if (i == 0) first = appender->last_sequence();
  }
  ScanStop stop;
  const auto messages = read_all(log, &stop);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  const auto mine = std::find_if(messages.begin(), messages.end(), [](const Message& m) { return m.producer() == 9; });
  ASSERT_EQ(messages.end() - mine, 700);
  for (int i = 0; i < 700; ++i) {
    EXPECT_EQ(mine[i].sequence, first + static_cast<uint64_t>(i));
    EXPECT_EQ(mine[i].number(), static_cast<uint64_t>(i));
  }
}

TEST(LogRecovery, does_nothing_after_an_orderly_close) {
  const Folder folder;
  written(folder.path(), 100);
  const RecoveryReport report = recovered(folder.path());
  EXPECT_FALSE(report.ran);
  expect_usable(folder.path());
}

TEST(LogRecovery, knows_of_no_restart_before_a_topic_was_made) {
  const Folder folder;
  RecoveryReport report = recovered(folder.path());
  EXPECT_FALSE(report.ran);
  EXPECT_FALSE(report.rebooted);
  reboot(folder.path());
  report = recovered(folder.path());
  EXPECT_TRUE(report.rebooted);
}

TEST(LogRecovery, checks_only_what_was_written_since_the_checkpoint) {
  const Folder folder;
  const auto before = written(folder.path(), 2000);
  forget_orderly_close(folder.path());
  RecoveryReport report = recovered(folder.path());
  EXPECT_TRUE(report.ran);
  EXPECT_FALSE(report.rebooted);
  EXPECT_EQ(report.frames, 0u);
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  report = recovered(folder.path());
  EXPECT_EQ(report.frames, 2000u);
  EXPECT_TRUE(expect_subset(read_all(open_log(folder.path())), before).empty());
}

TEST(LogRecovery, cuts_a_torn_tail_and_keeps_its_bytes) {
  for (const uint64_t keep : {0, 4, 8, 31, 33, 100}) {
    const Folder folder;
    const auto before = written(folder.path(), 100);
    const Message& torn = before[79];
    const std::string path = segment_path(folder.path(), torn.at.segment);
    const Bytes original = read_file(path);
    reboot(folder.path());
    lose_everything_behind(folder.path(), torn.at.segment, torn.at.offset + keep);
    const Bytes damaged = read_file(path);
    const RecoveryReport report = recovered(folder.path());
    EXPECT_TRUE(report.ran);
    EXPECT_TRUE(report.rebooted);
    const auto log = open_log(folder.path());
    const auto left = read_all(log);
    EXPECT_EQ(left.size(), 79u) << keep;
    EXPECT_EQ(expect_subset(left, before).size(), 21u);
    if (keep > 0) {
      ASSERT_EQ(report.damage.size(), 1u);
      const Damage& damage = report.damage[0];
      EXPECT_EQ(damage.offset, torn.at.offset);
      EXPECT_EQ(damage.first_sequence, 80u);
      EXPECT_EQ(damage.count, 0u);
      const Bytes kept = read_file(damage.file);
      ASSERT_EQ(kept.size(), damage.bytes);
      EXPECT_TRUE(std::equal(kept.begin(), kept.end(), damaged.begin() + static_cast<long>(damage.offset)));
      const Bytes text = read_file(damage.file.substr(0, damage.file.size() - 4) + ".json");
      EXPECT_NE(std::string(text.begin(), text.end()).find("\"firstSequence\":80"), std::string::npos);
    } else {
      EXPECT_TRUE(report.damage.empty());
    }
    // All is zero behind the end, as publishers rely on.
    const Bytes after = read_file(path);
    EXPECT_TRUE(
        std::all_of(after.begin() + static_cast<long>(torn.at.offset), after.end(), [](char c) { return c == 0; }));
    expect_usable(folder.path());
  }
}

TEST(LogRecovery, does_not_believe_a_tail_note_that_points_behind_a_cut_tail) {
  const Folder folder;
  const auto before = written(folder.path(), 200);  // 46 KB: the note lies far behind message 10
  reboot(folder.path());
  lose_everything_behind(folder.path(), 1, before[9].at.offset);
  recovered(folder.path());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 10, 64));
  EXPECT_EQ(appender->last_sequence(), 10u);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), 10u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogRecovery, does_not_believe_a_tail_note_that_points_into_a_payload) {
  const Folder folder;
  // A topic may carry frames of another one.
  std::vector<std::byte> payload(256);
  FrameFields fields;
  fields.sequence = 7;
  fields.payload_len = 32;
  ASSERT_NE(encode_frame({payload.data() + 64, 64}, fields, message(1, 1, 32).data()), 0u);
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 8));
    append(appender.get(), payload);
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log->segment(1, &segment).ok());
    const uint64_t inside = kSegmentHeaderBytes + 40 + kFrameHeaderBytes + 64;
    segment->note_tail(inside, 2);
    uint64_t offset = 0;
    uint64_t sequence = 0;
    EXPECT_FALSE(segment->find_noted_tail(kSegmentHeaderBytes, &offset, &sequence));
    segment->note_tail(kSegmentHeaderBytes + 40, 2);
    EXPECT_TRUE(segment->find_noted_tail(kSegmentHeaderBytes, &offset, &sequence));
    EXPECT_EQ(offset, kSegmentHeaderBytes + 40);
    EXPECT_EQ(sequence, 2u);
    segment->note_tail(inside, 2);
  }
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 3, 8));
  EXPECT_EQ(appender->last_sequence(), 3u);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), 3u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogRecovery, replaces_a_damaged_message_in_the_middle_by_a_void_and_keeps_its_bytes) {
  const Folder folder;
  const auto before = written(folder.path(), 100);
  flip_bit_in_payload(folder.path(), before[41], 100);
  ScanStop stop;
  EXPECT_EQ(read_all(open_log(folder.path()), &stop).size(), 41u);
  EXPECT_EQ(stop, ScanStop::kDamage);
  reboot(folder.path());
  const RecoveryReport report = recovered(folder.path());
  ASSERT_EQ(report.damage.size(), 1u);
  EXPECT_EQ(report.damage[0].first_sequence, 42u);
  EXPECT_EQ(report.damage[0].count, 1u);
  EXPECT_EQ(read_file(report.damage[0].file).size(), frame_span(200));
  EXPECT_EQ(expect_subset(read_all(open_log(folder.path())), before), (std::set<uint64_t>{42}));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(open_log(folder.path())->segment(1, &segment).ok());
  VoidBody body;
  std::memcpy(&body, segment->data() + before[41].at.offset + kFrameHeaderBytes, sizeof body);
  EXPECT_EQ(body.count, 1u);
  EXPECT_EQ(body.reason, static_cast<uint32_t>(VoidReason::kDamaged));
  expect_usable(folder.path());
}

TEST(LogRecovery, mends_a_damaged_length_whatever_it_says) {
  for (unsigned bit = 0; bit < 32; ++bit) {
    const Folder folder;
    const auto before = written(folder.path(), 100);
    flip_bit_in_length(folder.path(), before[41], bit);
    reboot(folder.path());
    recovered(folder.path());
    const auto missing = expect_subset(read_all(open_log(folder.path())), before);
    EXPECT_EQ(missing, (std::set<uint64_t>{42})) << "bit " << bit;
  }
}

TEST(LogRecovery, mends_a_segment_that_is_not_the_newest) {
  const Folder folder;
  const auto before = written(folder.path(), 1000);
  std::vector<Message> second;
  std::copy_if(before.begin(), before.end(), std::back_inserter(second),
               [](const Message& m) { return m.at.segment == 2; });
  ASSERT_GT(second.size(), 10u);
  flip_bit_in_payload(folder.path(), second.front());
  flip_bit_in_payload(folder.path(), second[5]);
  flip_bit_in_payload(folder.path(), second.back());
  reboot(folder.path());
  const RecoveryReport report = recovered(folder.path());
  EXPECT_EQ(report.damage.size(), 3u);
  EXPECT_EQ(expect_subset(read_all(open_log(folder.path())), before),
            (std::set<uint64_t>{second.front().sequence, second[5].sequence, second.back().sequence}));
  expect_usable(folder.path());
}

TEST(LogRecovery, mends_a_damaged_padding_frame) {
  const Folder folder;
  const auto before = written(folder.path(), 1000);
  const auto last = std::find_if(before.begin(), before.end(), [](const Message& m) { return m.at.segment == 2; }) - 1;
  flip_bit(segment_path(folder.path(), 1), last->at.offset + frame_span(200) + 25, 1);
  reboot(folder.path());
  recovered(folder.path());
  EXPECT_TRUE(expect_subset(read_all(open_log(folder.path())), before).empty());
  expect_usable(folder.path());
}

TEST(LogRecovery, goes_on_behind_a_page_that_was_lost_in_the_middle) {
  for (const uint64_t page : {8192, 16384, 49152}) {
    for (const uint64_t segment : {1, 2}) {
      const Folder folder;
      const auto before = written(folder.path(), 540);
      ASSERT_EQ(before.back().at.segment, 2u);
      reboot(folder.path());
      lose_page(folder.path(), segment, page);
      const RecoveryReport report = recovered(folder.path());
      std::set<uint64_t> expected;
      for (const Message& m : before) {
        const uint64_t end = m.at.offset + frame_span(200);
        if (m.at.segment == segment && m.at.offset < page + 4096 && end > page) expected.insert(m.sequence);
      }
      ASSERT_FALSE(expected.empty());
      EXPECT_EQ(expect_subset(read_all(open_log(folder.path())), before), expected);
      EXPECT_FALSE(report.damage.empty());
      expect_usable(folder.path());
    }
  }
}

TEST(LogRecovery, finds_a_base_sequence_again_that_never_reached_the_disk) {
  const Folder folder;
  const auto before = written(folder.path(), 450);
  // With the rest of its sector: the first frame was stored later than the base.
  const Bytes none(512 - offsetof(SegmentHeader, base_sequence));
  overwrite(segment_path(folder.path(), 2), offsetof(SegmentHeader, base_sequence), none.data(), none.size());
  reboot(folder.path());
  const RecoveryReport report = recovered(folder.path());
  // What was in a segment without a beginning was never synced. It's set aside, and the log ends before it.
  const auto left = read_all(open_log(folder.path()));
  const auto missing = expect_subset(left, before);
  ASSERT_FALSE(missing.empty());
  EXPECT_EQ(*missing.begin(), left.back().sequence + 1);
  ASSERT_EQ(report.damage.size(), 1u);
  EXPECT_EQ(report.damage[0].segment, 2u);
  EXPECT_EQ(std::filesystem::file_size(report.damage[0].file), kMinSegmentBytes);
  expect_usable(folder.path());
}

TEST(LogRecovery, checks_the_only_segment_although_its_base_sequence_was_lost) {
  for (const bool reboots : {false, true}) {
    const Folder folder;
    const auto before = written(folder.path(), 10);
    const uint64_t none = 0;
    overwrite(segment_path(folder.path(), 1), offsetof(SegmentHeader, base_sequence), &none, sizeof none);
    flip_bit_in_payload(folder.path(), before[4]);
    if (reboots) reboot(folder.path());
    const auto log = open_log(folder.path());
    RecoveryReport report;
    ASSERT_TRUE(recover(*log, false, &report).ok());
    EXPECT_TRUE(report.ran);
    EXPECT_EQ(report.damage.size(), 1u);
    ScanStop stop;
    EXPECT_EQ(read_all(log, &stop).size(), 9u);
    EXPECT_EQ(stop, ScanStop::kEmpty);
  }
}

TEST(LogRecovery, mends_a_flipped_base_sequence) {
  for (const uint64_t number : {1, 2, 3}) {
    const Folder folder;
    const auto before = written(folder.path(), 800);
    ASSERT_EQ(before.back().at.segment, 3u);
    flip_bit(segment_path(folder.path(), number), offsetof(SegmentHeader, base_sequence), 5);
    if (number != 3) reboot(folder.path());  // the newest one's is looked at in any case
    recovered(folder.path());
    EXPECT_TRUE(expect_subset(read_all(open_log(folder.path())), before).empty()) << number;
    expect_usable(folder.path());
  }
}

TEST(LogRecovery, sets_a_prepared_segment_aside_that_is_not_empty) {
  const Folder folder;
  const auto before = written(folder.path(), 100);
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    ASSERT_TRUE(eventually([&] { return std::filesystem::exists(segment_path(folder.path(), 2)); }));
  }
  const char garbage[] = "garbage";
  overwrite(segment_path(folder.path(), 2), 20'000, garbage, sizeof garbage);
  reboot(folder.path());
  const RecoveryReport report = recovered(folder.path());
  EXPECT_EQ(report.damage.size(), 1u);
  EXPECT_TRUE(expect_subset(read_all(open_log(folder.path())), before).empty());
  expect_usable(folder.path());
}

TEST(LogRecovery, voids_a_claim_that_was_left_at_the_end) {
  const Folder folder;
  const auto before = written(folder.path(), 50);
  const Message& last = before[49];
  const uint64_t end = last.at.offset + frame_span(200);
  const uint64_t claim = make_claim_word({3, 2, 400});
  overwrite(segment_path(folder.path(), 1), end, &claim, sizeof claim);
  const uint64_t half_a_batch = commit_word(FrameType::kData);
  overwrite(segment_path(folder.path(), 1), end + 200, &half_a_batch, sizeof half_a_batch);
  forget_orderly_close(folder.path());
  const RecoveryReport report = recovered(folder.path());
  EXPECT_EQ(report.dead_claims, 1u);
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 53, 200));
  EXPECT_EQ(appender->last_sequence(), 53u);
  const auto messages = read_all(log);
  ASSERT_EQ(messages.size(), 51u);
  EXPECT_EQ(messages.back().sequence, 53u);
  EXPECT_EQ(messages.back().at.offset, end + 400);
}

TEST(LogRecovery, does_not_call_a_log_closed_in_order_while_a_dead_publishers_claim_is_in_it) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 200));
    // Another publisher dies in its claim, and nobody reads.
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log->segment(1, &segment).ok());
    segment->word(kSegmentHeaderBytes + frame_span(200)).store(make_claim_word({0, 1, 64}));
  }
  RecoveryReport report;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log, false, &report);
  EXPECT_TRUE(report.ran);
  append(appender.get(), message(1, 3, 200));
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), 2u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogRecovery, voids_the_claims_of_a_slots_dead_owner_before_the_slot_is_used_again) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto living = open_appender(log);
  append(living.get(), message(1, 1, 8));
  // The owner of slot 1 died: its slot is marked, its lock is free, its claim is open.
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  segment->word(kSegmentHeaderBytes + 40).store(make_claim_word({1, 1, 64}));
  log->control().slots[1].state = 1;
  append(living.get(), message(1, 3, 8));
  EXPECT_EQ(living->last_sequence(), 3u);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), 1u);
  EXPECT_EQ(stop, ScanStop::kClaim);
  const auto successor = open_appender(log);
  EXPECT_EQ(successor->slot(), 1u);
  EXPECT_EQ(read_all(log, &stop).size(), 2u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  append(successor.get(), message(1, 4, 8));
  EXPECT_EQ(successor->last_sequence(), 4u);
}

TEST(LogRecovery, mends_damage_at_the_end_of_a_log_that_was_closed_in_order) {
  for (unsigned bit = 0; bit < 20; ++bit) {
    const Folder folder;
    const auto before = written(folder.path(), 100);
    flip_bit_in_length(folder.path(), before[98], bit);
    recovered(folder.path());
    const auto missing = expect_subset(read_all(open_log(folder.path())), before);
    EXPECT_EQ(missing, (std::set<uint64_t>{99})) << "bit " << bit;
    expect_usable(folder.path());
  }
}

TEST(LogRecovery, lowers_the_synced_mark_below_what_it_cut_off) {
  const Folder folder;
  const auto before = written(folder.path(), 100);
  {
    const auto log = open_log(folder.path());
    // A mark that can't be right: no room for so many messages lies before it.
    store_position(log->control().synced, {1, before[99].at.offset, 10'000});
  }
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  lose_everything_behind(folder.path(), 1, before[89].at.offset + 40);
  recovered(folder.path());
  const auto log = open_log(folder.path());
  Position synced;
  ASSERT_TRUE(load_position(log->control().synced, &synced));
  EXPECT_EQ(synced, (Position{1, before[89].at.offset, 90}));
}

// --- zeros before what is known ---------------------------------------------------------------------------------------

/// What happened before the topic is opened again.
enum class After { kOrderlyClose, kKill, kReboot };

class LogZeros : public ::testing::TestWithParam<After> {
 protected:
  void happen(const std::string& folder) const {
    if (GetParam() == After::kKill) forget_orderly_close(folder);
    if (GetParam() == After::kReboot) reboot(folder);
  }
};

INSTANTIATE_TEST_SUITE_P(After, LogZeros, ::testing::Values(After::kOrderlyClose, After::kKill, After::kReboot),
                         [](const auto& info) {
                           return std::string(info.param == After::kOrderlyClose ? "OrderlyClose"
                                              : info.param == After::kKill       ? "Kill"
                                                                                 : "Reboot");
                         });

void sync_all(const std::string& folder) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 0, 8));
  Position synced;
  ASSERT_TRUE(log->syncer().sync_now(appender->last_sequence() + 1, &synced).ok());
}

TEST_P(LogZeros, before_the_synced_mark_are_damage_and_not_the_end) {
  for (const uint64_t page : {1u, 2u, 5u}) {
    SCOPED_TRACE(page);
    const Folder folder;
    auto before = written(folder.path(), 150);
    sync_all(folder.path());
    before = read_all(open_log(folder.path()));
    lose_page(folder.path(), 1, page * 4096);
    happen(folder.path());
    std::set<uint64_t> lost;
    for (const Message& m : before) {
      if (m.at.offset + frame_span(200) > page * 4096 && m.at.offset < (page + 1) * 4096) lost.insert(m.sequence);
    }
    RecoveryReport report;
    {
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log, false, &report);
      append(appender.get(), message(2, 1, 200));
      EXPECT_EQ(appender->last_sequence(), before.size() + 1) << "sequences are given out again";
      Position synced;
      const uint32_t generation = log->control().sync_generation;
      ASSERT_TRUE(log->syncer().sync_now(appender->last_sequence() + 1, &synced).ok());
      EXPECT_GT(log->control().sync_generation, generation) << "answered without a sync";
    }
    EXPECT_TRUE(report.ran);
    ASSERT_EQ(report.damage.size(), 1u);
    EXPECT_EQ(report.damage[0].first_sequence, *lost.begin());
    EXPECT_EQ(report.damage[0].count, lost.size());
    EXPECT_FALSE(report.damage[0].file.empty());
    ScanStop stop;
    auto left = read_all(open_log(folder.path()), &stop);
    EXPECT_EQ(stop, ScanStop::kEmpty);
    ASSERT_FALSE(left.empty());
    EXPECT_EQ(left.back().producer(), 2u) << "no reader comes to what was published";
    left.pop_back();
    EXPECT_EQ(expect_subset(left, before), lost);
  }
}

TEST_P(LogZeros, up_to_the_synced_mark_take_no_sequence_back) {
  const Folder folder;
  written(folder.path(), 150);
  sync_all(folder.path());
  const auto before = read_all(open_log(folder.path()));
  lose_everything_behind(folder.path(), 1, before[139].at.offset);
  happen(folder.path());
  RecoveryReport report;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log, false, &report);
  append(appender.get(), message(2, 1, 200));
  EXPECT_EQ(appender->last_sequence(), 152u);
  ASSERT_EQ(report.damage.size(), 1u);
  EXPECT_EQ(report.damage[0].first_sequence, 140u);
  EXPECT_EQ(report.damage[0].count, 12u);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), 140u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogZerosUnderAPublisher, keep_another_one_out) {
  for (const bool noted : {false, true}) {
    const Folder folder;
    const auto log = open_log(folder.path());
    const auto first = open_appender(log);
    for (uint64_t i = 1; i <= 30; ++i) append(first.get(), message(1, i, 200));
    if (noted) {
      Position synced;
      ASSERT_TRUE(log->syncer().sync_now(31, &synced).ok());
    }
    // Without a mark, what stands behind the zeros tells.
    lose_page(folder.path(), 1, 4096);
    if (noted) lose_everything_behind(folder.path(), 1, 4096);
    std::unique_ptr<Appender> second;
    const Status status = Appender::open(log, {}, &second, nullptr);
    EXPECT_EQ(status.code, Code::kCorrupt) << "would append into the hole";
    EXPECT_NE(status.context.find("hermes repair"), std::string::npos);
  }
}

TEST(LogRecovery, is_run_again_in_full_when_it_is_killed_though_the_log_was_closed_in_order) {
  const Folder folder;
  const auto before = written(folder.path(), 100);
  flip_bit_in_payload(folder.path(), before[20]);
  Child repairer([&] {
    const auto log = open_log(folder.path());
    LockFile locks;
    ASSERT_TRUE(log->open_lock(&locks).ok());
    // The quarantine can't be made: the repair ends in the middle.
    std::ofstream(folder.path() + "/quarantine") << "in the way";
    RecoveryReport report;
    EXPECT_FALSE(recover(*log, true, &report).ok());
  });
  EXPECT_EQ(repairer.wait(), 0);
  std::filesystem::remove(folder.path() + "/quarantine");
  const auto log = open_log(folder.path());
  EXPECT_EQ(log->control().closed_in_order, 0u);
}

TEST(LogRecovery, sets_an_empty_segment_aside_that_lies_before_the_oldest) {
  const Folder folder;
  {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 1500; ++i) append(appender.get(), message(1, i, 200));
    store_retention(log->control(), {3 * kMinSegmentBytes, 0});
    ASSERT_TRUE(apply_retention(*log).ok());
  }
  uint64_t first = 0;
  {
    const auto log = open_log(folder.path());
    first = log->first();
    ASSERT_GT(first, 2u);
    ASSERT_TRUE(Segment::create(folder.path(), first - 1, log->control(), 0600).ok());
  }
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  recovered(folder.path());
  const auto log = open_log(folder.path());
  EXPECT_EQ(log->first(), first);
  EXPECT_FALSE(std::filesystem::exists(segment_path(folder.path(), first - 1)));
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).back().sequence, 1500u);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

// --- files that are not what they should be -----------------------------------------------------------------------------

TEST(LogRecovery, makes_a_lost_control_file_again_from_the_segments) {
  const Folder folder;
  const auto before = written(folder.path(), 1000);
  TopicId id;
  {
    id = open_log(folder.path())->control().topic_id;
  }
  std::filesystem::remove(folder.path() + "/control");
  std::shared_ptr<Log> log;
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kNotFound);
  TopicSettings other;  // 100 MiB segments: what the segments say goes first
  other.max_payload = 64;
  log = open_log(folder.path(), other);
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->control().topic_id, id);
  EXPECT_EQ(log->control().segment_bytes, kMinSegmentBytes);
  EXPECT_EQ(log->control().max_payload, 200u);
  RecoveryReport report;
  auto appender = open_appender(log, false, &report);
  EXPECT_TRUE(report.ran);
  EXPECT_TRUE(report.damage.empty());
  append(appender.get(), message(1, 1001, 200));
  expect_numbered(read_all(log), 1, 1001);
}

TEST(LogRecovery, does_not_make_the_control_file_again_under_a_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  std::filesystem::remove(folder.path() + "/control");
  std::shared_ptr<Log> other;
  const TopicSettings settings = small_segments();
  EXPECT_EQ(Log::open(folder.path(), &settings, {}, &other).code, Code::kBusy);
}

TEST(LogRecovery, refuses_a_damaged_control_file_and_takes_its_removal_for_consent) {
  const Folder folder;
  const auto before = written(folder.path(), 10);
  flip_bit(folder.path() + "/control", offsetof(ControlBlock, topic_id), 0);
  std::shared_ptr<Log> log;
  const TopicSettings settings = small_segments();
  EXPECT_EQ(Log::open(folder.path(), &settings, {}, &log).code, Code::kCorrupt);
  std::filesystem::rename(folder.path() + "/control", folder.path() + "/control.damaged");
  expect_usable(folder.path());
  EXPECT_TRUE(expect_subset({}, {}).empty());
  EXPECT_EQ(read_all(open_log(folder.path())).size(), before.size() + 700);
}

TEST(LogRecovery, refuses_short_and_foreign_control_files) {
  const Folder folder;
  written(folder.path(), 10);
  std::shared_ptr<Log> log;
  const std::string path = folder.path() + "/control";
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kCorrupt);
  ASSERT_EQ(::truncate(path.c_str(), 10), 0);
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kCorrupt);
  std::ofstream(path) << std::string(kControlBytes, 'x');
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kCorrupt);
}

TEST(LogRecovery, refuses_a_newer_format) {
  const Folder folder;
  written(folder.path(), 10);
  const uint32_t newer = 2;
  overwrite(segment_path(folder.path(), 1), offsetof(SegmentHeader, version), &newer, sizeof newer);
  auto log = open_log(folder.path());
  std::unique_ptr<Appender> appender;
  EXPECT_EQ(Appender::open(log, {}, &appender, nullptr).code, Code::kVersionMismatch);
  Reader reader(log, MappedFile::Access::kRead);
  EXPECT_EQ(reader.seek_earliest().code, Code::kVersionMismatch);
  overwrite(folder.path() + "/control", offsetof(ControlBlock, version), &newer, sizeof newer);
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kVersionMismatch);
}

TEST(LogRecovery, refuses_a_segment_of_another_topic) {
  const Folder folder;
  const Folder other;
  written(folder.path(), 10);
  written(other.path(), 10);
  std::filesystem::copy_file(segment_path(other.path(), 1), segment_path(folder.path(), 1),
                             std::filesystem::copy_options::overwrite_existing);
  const auto log = open_log(folder.path());
  std::unique_ptr<Appender> appender;
  EXPECT_EQ(Appender::open(log, {}, &appender, nullptr).code, Code::kCorrupt);
  Reader reader(log, MappedFile::Access::kRead);
  EXPECT_EQ(reader.seek_earliest().code, Code::kCorrupt);
}

TEST(LogRecovery, refuses_a_truncated_segment_instead_of_touching_what_is_not_there) {
  for (const uint64_t bytes : {0, 100, 300, 4096, 60'000}) {
    const Folder folder;
    written(folder.path(), 250);
    truncate_segment(folder.path(), 1, bytes);
    const auto log = open_log(folder.path());
    std::unique_ptr<Appender> appender;
    const Status status = Appender::open(log, {}, &appender, nullptr);
    EXPECT_EQ(status.code, Code::kCorrupt) << bytes << status.context;
    Reader reader(log, MappedFile::Access::kRead);
    EXPECT_EQ(reader.seek_earliest().code, Code::kCorrupt);
    Position position;
    EXPECT_EQ(log->committed(&position).code, Code::kCorrupt);
  }
}

TEST(LogRecovery, removes_half_made_segments_of_dead_publishers) {
  const Folder folder;
  const auto before = written(folder.path(), 10);
  std::ofstream(folder.path() + "/0000000002.seg.tmp-123-0") << "half";
  forget_orderly_close(folder.path());
  recovered(folder.path());
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/0000000002.seg.tmp-123-0"));
  EXPECT_TRUE(expect_subset(read_all(open_log(folder.path())), before).empty());
}

}  // namespace
}  // namespace hermes
