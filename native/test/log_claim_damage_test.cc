// Eight damaged bytes that look like a claim, over sound messages.

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kCount = 200;
constexpr uint64_t kSpan = frame_span(200);

std::vector<Message> written(const std::string& folder) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= kCount; ++i) append(appender.get(), message(1, i, 200));
  return read_all(log);
}

void put_claim(const std::string& folder, const Message& over, const Claim& claim) {
  const uint64_t word = make_claim_word(claim);
  overwrite(segment_path(folder, over.at.segment), over.at.offset, &word, sizeof word);
}

/// All messages but `lost` are there, and everything that is gone from the log lies in the quarantine.
void expect_only_lost(const std::string& folder, const std::vector<Message>& before, uint64_t lost) {
  ScanStop stop;
  const auto left = read_all(open_log(folder), &stop);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  std::set<uint64_t> sequences;
  for (const Message& m : left) {
    sequences.insert(m.sequence);
    if (m.sequence <= kCount) {
      EXPECT_EQ(m.payload, before[m.sequence - 1].payload);
    }
  }
  for (uint64_t sequence = 1; sequence <= kCount; ++sequence)
    EXPECT_EQ(sequences.count(sequence), sequence == lost ? 0u : 1u) << sequence;
}

struct Case {
  const char* name;
  Claim claim;
};

class LogClaimDamage : public ::testing::TestWithParam<std::tuple<Case, bool>> {};

TEST_P(LogClaimDamage, costs_the_message_that_it_hit_and_no_other) {
  const auto& [damage, rebooted] = GetParam();
  for (const bool slot_marked : {false, true}) {
    const Folder folder;
    const auto before = written(folder.path());
    put_claim(folder.path(), before[49], damage.claim);
    forget_orderly_close(folder.path());
    lose_checkpoint(folder.path());
    if (rebooted) reboot(folder.path());
    if (slot_marked && damage.claim.participant < kSlots) {
      const uint32_t taken = 1;
      overwrite(folder.path() + "/control",
                offsetof(ControlBlock, slots) + damage.claim.participant * sizeof(ParticipantSlot), &taken,
                sizeof taken);
    }
    RecoveryReport report;
    open_appender(open_log(folder.path()), false, &report);
    expect_only_lost(folder.path(), before, 50);
    EXPECT_EQ(report.dead_claims + report.damage.size() > 0, true);
    if (!slot_marked) {
      EXPECT_FALSE(report.damage.empty()) << "nothing was said of the lost message";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Of, LogClaimDamage,
    ::testing::Combine(::testing::Values(Case{"NobodysSlot", {900, 1, kSpan}}, Case{"ManyMessages", {3, 1, 40 * kSpan}},
                                         Case{"EverythingBehind", {3, 1, (kCount - 49) * kSpan}},
                                         Case{"BeyondTheEnd", {3, 1, (kCount - 49) * kSpan + 1024}},
                                         Case{"WrongCount", {3, 7, 40 * kSpan}}, Case{"Padding", {3, 0, 4096}},
                                         Case{"PaddingToTheEnd",
                                              {3, 0, kMinSegmentBytes - kSegmentHeaderBytes - 49 * kSpan}},
                                         Case{"OddSpan", {3, 1, kSpan + 8}}, Case{"TheVerySpan", {3, 1, kSpan}}),
                       ::testing::Bool()),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) + (std::get<1>(info.param) ? "AfterReboot" : "AfterKill");
    });

TEST(LogClaimDamageLive, is_not_voided_by_a_reader_or_a_sync) {
  const Folder folder;
  const auto before = written(folder.path());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  put_claim(folder.path(), before[49], {3, 1, 100 * kSpan});
  RepairOutcome outcome;
  EXPECT_EQ(repair_claim(*log, before[49].at, &outcome).code, Code::kCorrupt);
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  std::vector<Message> messages;
  EXPECT_EQ(read_on(&reader, &messages), ScanStop::kClaim);
  ASSERT_TRUE(reader.skip_damage().ok());
  EXPECT_EQ(read_on(&reader, &messages), ScanStop::kEmpty);
  EXPECT_EQ(messages.size(), kCount - 1);
}

TEST(LogClaimDamageLive, of_the_right_length_is_damage_all_the_same) {
  const Folder folder;
  const auto before = written(folder.path());
  const auto log = open_log(folder.path());
  auto appender = open_appender(log);
  put_claim(folder.path(), before[49], {3, 10, 10 * kSpan});  // exactly ten messages
  RepairOutcome outcome;
  EXPECT_EQ(repair_claim(*log, before[49].at, &outcome).code, Code::kCorrupt);
  appender.reset();
  lose_checkpoint(folder.path());
  forget_orderly_close(folder.path());
  open_appender(log);
  expect_only_lost(folder.path(), before, 50);
}

TEST(LogClaimDamageLive, that_names_an_idle_live_publisher_is_told_at_once) {
  const Folder folder;
  const auto before = written(folder.path());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  put_claim(folder.path(), before[49], {appender->slot(), 1, kSpan});
  RepairOutcome outcome;
  EXPECT_EQ(repair_claim(*log, before[49].at, &outcome).code, Code::kCorrupt) << "it notes no claim";
  // Also over the very message that it published last, and of one that pads a segment.
  append(appender.get(), message(1, kCount + 1, 200));
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_latest().ok());
  const Position last = {1, reader.position().offset - kSpan, kCount + 1};
  Message over;
  over.at = last;
  put_claim(folder.path(), over, {appender->slot(), 1, kSpan});
  EXPECT_EQ(repair_claim(*log, last, &outcome).code, Code::kCorrupt);
}

/// As releases before 0.2 leave it, which don't note their claims.
void forget_notes(const Log& log, uint32_t slot) { log.control().slots[slot].notes.store(0); }

TEST(LogClaimDamageLive, that_names_a_live_publisher_of_an_older_release_is_told_when_that_one_goes_on) {
  const Folder folder;
  const auto before = written(folder.path());
  const auto log = open_log(folder.path());
  auto appender = open_appender(log);
  forget_notes(*log, appender->slot());
  put_claim(folder.path(), before[49], {appender->slot(), 1, kSpan});
  const Position at = before[49].at;
  RepairOutcome outcome;
  // Of one that does nothing it can't be told: it may have been stopped in the middle.
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(repair_claim(*log, at, &outcome).ok());
    EXPECT_EQ(outcome, RepairOutcome::kAlive);
    sleep_ms(60);
  }
  for (uint64_t i = kCount + 1; i <= kCount + 60; ++i) append(appender.get(), message(1, i, 200));
  EXPECT_EQ(repair_claim(*log, at, &outcome).code, Code::kCorrupt);
  EXPECT_EQ(repair_claim(*log, at, &outcome).code, Code::kCorrupt);
  lose_checkpoint(folder.path());
  Position synced;
  EXPECT_EQ(log->syncer().sync_now(kCount + 61, &synced).code, Code::kCorrupt) << "a sync that waits for it ends";
  appender.reset();
  RecoveryReport report;
  open_appender(log, false, &report);
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), kCount + 59);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogClaimDamage, before_the_checkpoint_of_a_topic_that_was_closed_in_order_is_found_by_the_first_publisher) {
  const Folder folder;
  const auto before = written(folder.path());
  put_claim(folder.path(), before[49], {3, 1, kSpan});
  RecoveryReport report;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log, false, &report);
  EXPECT_TRUE(report.ran);
  append(appender.get(), message(1, kCount + 1, 200));
  ScanStop stop;
  EXPECT_EQ(read_all(log, &stop).size(), kCount);
  EXPECT_EQ(stop, ScanStop::kEmpty);
}

TEST(LogClaimDamage, that_makes_the_claim_of_a_killed_publisher_shorter_hides_no_message_behind_it) {
  const Folder folder;
  const auto before = written(folder.path());
  Bytes zeros(kSpan);
  overwrite(segment_path(folder.path(), before[49].at.segment), before[49].at.offset, zeros.data(), zeros.size());
  put_claim(folder.path(), before[49], {7, 1, 96});
  const uint32_t taken = 1;
  overwrite(folder.path() + "/control", offsetof(ControlBlock, slots) + 7 * sizeof(ParticipantSlot), &taken,
            sizeof taken);
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  open_appender(open_log(folder.path()));
  expect_only_lost(folder.path(), before, 50);
}

TEST(LogClaimStress, no_claim_of_a_live_publisher_is_ever_taken_for_damage) {
  const Folder folder(quick_place());
  const auto log = open_log(folder.path());
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> failed{0};
  std::vector<std::thread> threads;
  for (uint64_t producer = 0; producer < 2; ++producer) {
    threads.emplace_back([&, producer] {
      const auto own = open_log(folder.path());
      const auto appender = open_appender(own);
      // With paddings and batches among them.
      const auto batch = batch_of({message(producer, 1, 40), message(producer, 2, 3000), message(producer, 3, 0)});
      for (uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
        const auto one = message(producer, i, i % 7 * 300);
        const bool ok = i % 5 == 0 ? appender->append_batch(batch.data(), batch.size(), 3) == Code::kOk
                                   : appender->append(one.data(), static_cast<uint32_t>(one.size())) == Code::kOk;
        if (!ok) ++failed;
      }
    });
  }
  uint64_t met = 0;
  Reader reader(log, MappedFile::Access::kRead);
  const uint64_t until = monotonic_ns() + 3'000'000'000;
  while (monotonic_ns() < until || (met == 0 && monotonic_ns() < until + 30'000'000'000)) {
    if (!reader.seek_latest().ok()) continue;
    for (int look = 0; look < 2000; ++look) {
      const Position at = reader.position();
      const Step step = reader.segment()->step(at.offset);
      if (step.kind == Step::Kind::kClaim) {
        ++met;
        RepairOutcome outcome;
        const Status status = repair_claim(*log, at, &outcome);
        EXPECT_TRUE(status.ok()) << status.context;
        EXPECT_NE(outcome, RepairOutcome::kRepaired);
      }
      if (step.kind == Step::Kind::kData || step.kind == Step::Kind::kVoid)
        reader.set_position(at.offset + step.span, at.sequence + step.count);
      if (step.kind == Step::Kind::kPadding || step.kind == Step::Kind::kSegmentEnd) break;
    }
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed.load(), 0u);
  EXPECT_GT(met, 0u);
  RecordProperty("claims_met", static_cast<int>(met));
}

TEST(LogClaimDamageLive, is_never_told_of_a_claim_that_its_publisher_commits_late) {
  const Folder folder(quick_place());
  const SharedWords words;
  in_child([&] { open_appender(open_log(folder.path())); });
  // Publishes in bursts, and is stopped at any moment for longer than a baseline takes.
  Child publisher([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; words[0] == 0; ++i) append(appender.get(), message(1, i, 4000));
  });
  const auto log = open_log(folder.path());
  Reader reader(log, MappedFile::Access::kRead);
  std::vector<Message> messages;
  ASSERT_TRUE(eventually([&] { return reader.seek_earliest().ok(); }));
  uint64_t met = 0;
  for (int round = 0; round < 12; ++round) {
    publisher.signal(SIGSTOP);
    for (int look = 0; look < 8; ++look) {
      ASSERT_TRUE(reader.seek_latest().ok());
      RepairOutcome outcome;
      const Status status = repair_claim(*log, reader.position(), &outcome);
      EXPECT_TRUE(status.ok()) << status.context;
      met += outcome == RepairOutcome::kAlive ? 1 : 0;
      sleep_ms(30);
    }
    publisher.signal(SIGCONT);
    sleep_ms(3);
  }
  words[0] = 1;
  EXPECT_EQ(publisher.wait(), 0);
  RecordProperty("claims_met", static_cast<int>(met));
}

TEST(LogClaimDamage, that_may_be_a_batch_after_a_power_cut_is_copied_before_it_becomes_void) {
  const Folder folder;
  const auto before = written(folder.path());
  put_claim(folder.path(), before[49], {3, 10, 10 * kSpan});
  reboot(folder.path());
  RecoveryReport report;
  open_appender(open_log(folder.path()), false, &report);
  EXPECT_EQ(report.dead_claims, 1u);
  ASSERT_EQ(report.damage.size(), 1u);
  EXPECT_EQ(report.damage[0].count, 10u);
  const Bytes copy = read_file(report.damage[0].file);
  ASSERT_EQ(copy.size(), 10 * kSpan);
  const auto& second = before[50].payload;
  EXPECT_EQ(std::memcmp(copy.data() + kSpan + kFrameHeaderBytes, second.data(), second.size()), 0);
}

TEST(LogClaimDamage, of_any_kind_loses_at_most_what_it_hit) {
  const Folder folder(quick_place());
  std::mt19937 random(11);
  const auto before = written(folder.path());
  const Bytes segment = read_file(segment_path(folder.path(), 1));
  const Bytes control = read_file(folder.path() + "/control");
  for (int round = 0; round < 400 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    overwrite(segment_path(folder.path(), 1), 0, segment.data(), segment.size());
    overwrite(folder.path() + "/control", 0, control.data(), control.size());
    const Message& hit = before[random() % kCount];
    const uint32_t count = random() % 3 == 0 ? 1 : random() % 300;
    const uint64_t most = kMinSegmentBytes - hit.at.offset;
    const uint64_t span = std::max<uint64_t>(kFrameHeaderBytes * std::max(count, 1u), random() % most / 8 * 8);
    const Claim claim = {static_cast<uint32_t>(random() % 1024), count,
                         random() % 4 == 0 ? kSpan * (1 + random() % 40) : span};
    if (!is_valid(claim)) continue;
    put_claim(folder.path(), hit, claim);
    forget_orderly_close(folder.path());
    lose_checkpoint(folder.path());
    if (random() % 2 == 0) reboot(folder.path());
    RecoveryReport report;
    open_appender(open_log(folder.path()), false, &report);
    std::set<uint64_t> left;
    for (const Message& m : read_all(open_log(folder.path()))) left.insert(m.sequence);
    // A claim that by chance covers just `count` whole messages is taken for a dead batch; these are in the quarantine then.
    const bool exact = claim.span_bytes == claim.count * kSpan;
    for (uint64_t sequence = 1; sequence <= kCount; ++sequence) {
      if (sequence == hit.sequence || (exact && sequence > hit.sequence && sequence < hit.sequence + claim.count))
        continue;
      EXPECT_EQ(left.count(sequence), 1u) << "sequence " << sequence << " of a claim over " << hit.sequence << ": "
                                          << claim.participant << ", " << claim.count << ", " << claim.span_bytes;
    }
    EXPECT_FALSE(report.damage.empty());
  }
}

}  // namespace
}  // namespace hermes
