// What is made of a group's file by whoever opens it first: after a crash of all members, another boot, a copy, a log that was cut, or any damage.

#include <random>
#include <set>

#include "core/group/group_file.h"
#include "core/log/cuts.h"
#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupRecovery : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);

  std::string path() const { return group_path(folder.path()); }
  /// As if the group had last been used in another boot.
  void reboot_group() const {
    const char other[16] = "another boot id";
    Bytes file = read_file(path());
    GroupUse use;
    {
      const auto mapped = std::make_unique<uint64_t[]>(sizeof(GroupBlock) / 8);
      std::memcpy(mapped.get(), file.data(), sizeof(GroupBlock));
      auto& block = *reinterpret_cast<GroupBlock*>(mapped.get());
      ASSERT_TRUE(load_use(block, &use));
      std::memcpy(use.boot_id, other, sizeof other);
      store_use(block, use);
      overwrite(path(), 768, reinterpret_cast<char*>(mapped.get()) + 768, 64);
    }
  }
  /// Recovers the topic after a power cut that has lost everything from `sequence` on.
  void lose_from(uint64_t sequence) {
    const auto messages = read_all(log);
    const Position at = messages[sequence - 1].at;
    appender.reset();
    log.reset();
    lose_everything_behind(folder.path(), at.segment, at.offset);
    lose_checkpoint(folder.path());
    const uint64_t zeros[4] = {};
    overwrite(folder.path() + "/control", offsetof(ControlBlock, synced), zeros, sizeof zeros);
    reboot(folder.path());
    log = open_log(folder.path());
    appender = open_appender(log);
  }
};

TEST_F(GroupRecovery, what_was_settled_stays_so_and_what_was_held_comes_again) {
  append_numbered(appender.get(), 1, 20);
  in_child([&] {
    const auto own = open_log(folder.path());
    TestMember member(open_group(own));
    const auto held = member.claim(10);
    member.settle({held[0], held[1], held[4]});
    std::_Exit(0);  // without giving anything back
  });
  GroupOpening opening;
  const auto group = open_group(log, {}, &opening);
  EXPECT_EQ(report_of(group).taken, 7u) << "what it held was taken from it, though nobody was there";
  TestMember member(group);
  EXPECT_TRUE(opening.first);
  EXPECT_FALSE(opening.recovered);
  EXPECT_FALSE(opening.mended);
  EXPECT_EQ(opening.lost_from, 0u);
  EXPECT_EQ(sequences(member.claim()),
            (std::vector<uint64_t>{3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}));
}

TEST_F(GroupRecovery, members_of_another_boot_hold_nothing) {
  append_numbered(appender.get(), 1, 10);
  in_child([&] {
    const auto own = open_log(folder.path());
    const auto group = open_group(own);
    TestMember member(group);
    const auto held = member.claim(6);
    member.settle({held[0], held[2]});
    member.settle({held[3]}, Outcome::kReturned, 3'600'000'000'000);
    std::_Exit(0);
  });
  reboot_group();
  GroupOpening opening;
  const auto group = open_group(log, {}, &opening);
  EXPECT_TRUE(opening.first);
  EXPECT_TRUE(opening.recovered);
  EXPECT_TRUE(report_of(group).members.empty());
  TestMember member(group);
  EXPECT_EQ(sequences(member.claim()), (std::vector<uint64_t>{2, 4, 5, 6, 7, 8, 9, 10}))
      << "also what was delayed by a clock that is gone";
}

TEST_F(GroupRecovery, delays_outlive_the_processes_of_one_boot) {
  append_numbered(appender.get(), 1, 2);
  {
    TestMember member(open_group(log));
    member.settle({member.claim()[0]}, Outcome::kReturned, 3'600'000'000'000);
  }
  const auto group = open_group(log);
  EXPECT_EQ(report_of(group).delayed, 1u);
  EXPECT_NE(group->block().due.load(), 0u);
  TestMember member(group);
  EXPECT_EQ(sequences(member.claim()), range(2, 2));
}

TEST_F(GroupRecovery, a_copy_is_another_file_whose_members_are_not_here) {
  append_numbered(appender.get(), 1, 5);
  const auto group = open_group(log);
  TestMember member(group);
  const auto held = member.claim();
  std::filesystem::copy_file(path(), group_path(folder.path(), "copy"));
  GroupOpening opening;
  const auto copy = open_group(log, {}, &opening, "copy");
  EXPECT_TRUE(opening.recovered);
  TestMember other(copy);
  EXPECT_EQ(sequences(other.claim()), range(1, 5));
  EXPECT_EQ(member.settle(held), 5u) << "the copy has nothing to do with the original";
}

TEST_F(GroupRecovery, who_opens_a_group_in_use_takes_nothing_from_its_members) {
  append_numbered(appender.get(), 1, 5);
  const auto group = open_group(log);
  TestMember member(group);
  const auto held = member.claim();
  in_child([&] {
    GroupOpening opening;
    const auto own = open_log(folder.path());
    const auto again = open_group(own, {}, &opening);
    EXPECT_FALSE(opening.first);
    EXPECT_EQ(report_of(again).claimed, 5u);
    EXPECT_FALSE(again->look_now(monotonic_ns()));
  });
  EXPECT_EQ(member.settle(held), 5u);
}

TEST_F(GroupRecovery, a_log_that_lost_its_tail_takes_the_group_back_and_says_so) {
  append_numbered(appender.get(), 1, 40);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kShared, 64)));
    auto held = member.claim(30);
    held.erase(held.begin() + 4);
    member.settle(held);
  }
  ASSERT_NO_FATAL_FAILURE(lose_from(21));
  // Its sequences are given out again, to other messages, and beyond.
  append_numbered(appender.get(), 1021, 1060);
  GroupOpening opening;
  const auto group = open_group(log, {}, &opening);
  EXPECT_EQ(opening.lost_from, 21u);
  EXPECT_EQ(opening.lost_to, 31u);
  TestMember member(group);
  const auto held = member.claim_all();
  ASSERT_EQ(held.size(), 41u);
  EXPECT_EQ(held[0].sequence, 5u);
  EXPECT_EQ(held[1].sequence, 21u);
  EXPECT_EQ(report_of(group).cut, 1u);
  member.settle(held);
  EXPECT_EQ(report_of(group).floor, 61u);
}

TEST_F(GroupRecovery, a_log_that_lost_more_than_the_floor_takes_that_back_too) {
  append_numbered(appender.get(), 1, 200);
  {
    const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
    TestMember member(group);
    for (int i = 0; i < 10; ++i) member.settle(member.claim(20));
    EXPECT_EQ(report_of(group).floor, 201u);
  }
  ASSERT_NO_FATAL_FAILURE(lose_from(21));
  GroupOpening opening;
  const auto group = open_group(log, {}, &opening);
  EXPECT_EQ(opening.lost_from, 21u);
  EXPECT_EQ(opening.lost_to, 201u);
  TestMember member(group);
  EXPECT_TRUE(member.claim().empty());
  append_numbered(appender.get(), 1021, 1300);
  uint64_t expected = 21;
  for (int i = 0; i < 40; ++i) {
    const auto some = member.claim(20);
    for (const auto& r : some) {
      ASSERT_EQ(r.sequence, expected);
      ASSERT_EQ(member.number_of(r), 1000 + expected++);
    }
    member.settle(some);
  }
  EXPECT_EQ(expected, 301u);
}

TEST_F(GroupRecovery, a_durable_subscription_is_told_of_a_lost_tail) {
  append_numbered(appender.get(), 1, 40);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kDurable)));
    ASSERT_TRUE(member->activate().ok());
    ASSERT_TRUE(member->commit(41).ok());
  }
  ASSERT_NO_FATAL_FAILURE(lose_from(21));
  append_numbered(appender.get(), 1021, 1100);
  GroupOpening opening;
  TestMember member(open_group(log, {}, &opening));
  EXPECT_EQ(opening.lost_from, 21u);
  EXPECT_EQ(opening.lost_to, 41u);
  EXPECT_EQ(member->committed(), 21u);
}

TEST_F(GroupRecovery, a_power_cut_that_took_nothing_from_the_group_is_not_told) {
  append_numbered(appender.get(), 1, 40);
  {
    TestMember member(open_group(log));
    member.settle(member.claim(20));
  }
  ASSERT_NO_FATAL_FAILURE(lose_from(31));
  GroupOpening opening;
  TestMember member(open_group(log, {}, &opening));
  EXPECT_EQ(opening.lost_from, 0u);
  EXPECT_EQ(sequences(member.claim()), range(21, 30));
}

TEST_F(GroupRecovery, members_that_are_there_are_told_once_of_a_lost_tail) {
  append_numbered(appender.get(), 1, 40);
  const auto group = open_group(log);
  TestMember member(group);
  const auto held = member.claim(30);
  // What a recovery does that finds nobody else but readers.
  note_cut(log->control(), 21);
  bool told = false;
  ASSERT_TRUE(eventually([&] {
    const Status status = member.try_claim(1);
    EXPECT_TRUE(status.ok() || status.code == Code::kPositionLost) << status.context;
    return told = status.code == Code::kPositionLost;
  }));
  EXPECT_EQ(member.settle({held[25]}), 0u);
  EXPECT_EQ(member.settle({held[5]}), 1u);
  const auto fresh = member.claim();
  ASSERT_FALSE(fresh.empty());
  EXPECT_EQ(fresh[0].sequence, 21u);
}

TEST_F(GroupRecovery, of_many_cuts_the_lowest_one_counts) {
  ControlBlock& control = log->control();
  EXPECT_EQ(newest_cut(control), 0u);
  EXPECT_EQ(lowest_cut_after(control, 0), ~uint64_t{0});
  note_cut(control, 100);
  note_cut(control, 200);
  EXPECT_EQ(newest_cut(control), 2u);
  EXPECT_EQ(lowest_cut_after(control, 0), 100u);
  EXPECT_EQ(lowest_cut_after(control, 1), 200u);
  EXPECT_EQ(lowest_cut_after(control, 2), ~uint64_t{0});
  note_cut(control, 150);
  EXPECT_EQ(lowest_cut_after(control, 1), 150u);
  EXPECT_EQ(lowest_cut_after(control, 2), 150u);
  for (uint64_t i = 0; i < 20; ++i) note_cut(control, 1000 + i);
  EXPECT_EQ(newest_cut(control), 23u);
  EXPECT_EQ(lowest_cut_after(control, 22), 1019u);
  EXPECT_LE(lowest_cut_after(control, 5), 1002u) << "what is kept may say more, never less";
  EXPECT_EQ(lowest_cut_after(control, 0), 100u);
  // A damaged note makes nobody believe more than is so.
  overwrite(folder.path() + "/control", 1024 + 8, "x", 1);
  EXPECT_EQ(lowest_cut_after(control, 22), 1u);
  note_cut(control, 5000);
  EXPECT_EQ(newest_cut(control), 24u);
  EXPECT_EQ(lowest_cut_after(control, 23), 1u);
  EXPECT_EQ(lowest_cut_after(control, 24), ~uint64_t{0});
}

TEST_F(GroupRecovery, words_that_contradict_each_other_are_set_right_towards_delivering_again) {
  append_numbered(appender.get(), 1, 300);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kShared, 64)));
    member.settle(member.claim(40));
  }
  const uint64_t floor = 200;
  overwrite(path(), 256, &floor, 8);
  GroupOpening opening;
  TestMember member(open_group(log, {}, &opening));
  EXPECT_TRUE(opening.mended);
  EXPECT_EQ(sequences(member.claim(5)), range(41, 45));
}

TEST_F(GroupRecovery, pages_that_did_not_reach_the_disk_lose_no_message) {
  append_numbered(appender.get(), 1, 500);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kShared, 512)));
    auto held = member.claim_all();
    ASSERT_EQ(held.size(), 500u);
    std::vector<ClaimRecord> odd;
    for (const auto& r : held) {
      if (r.sequence % 2 == 1 && r.sequence > 1) odd.push_back(r);
    }
    member.settle(odd);
  }
  const Bytes after = read_file(path());
  // Each page of the file by itself as it was at the beginning.
  for (size_t page = 0; page < after.size() / 4096; ++page) {
    std::ofstream(path(), std::ios::binary).write(after.data(), static_cast<std::streamsize>(after.size()));
    const uint64_t one = 1;
    const char zeros[4096] = {};
    if (page == 0) {
      overwrite(path(), 128, &one, 8);
      overwrite(path(), 256, &one, 8);
    } else {
      overwrite(path(), page * 4096, zeros, sizeof zeros);
    }
    reboot_group();
    const auto group = open_group(log);
    TestMember member(group);
    std::map<uint64_t, int> seen;
    std::vector<ClaimRecord> held;
    while (!(held = member.claim()).empty()) {
      for (const auto& r : held) ++seen[r.sequence];
      member.settle(held);
    }
    for (uint64_t s = 2; s <= 500; s += 2) ASSERT_EQ(seen[s], 1) << "page " << page;
    ASSERT_EQ(seen[1], 1);
    ASSERT_EQ(report_of(group).floor, 501u) << "page " << page;
  }
}

/// Whatever stands in the file: opening it says what is wrong, or the group works; nothing crashes and nothing goes on for ever.
/// Each bit of the words that say what is settled, one at a time: what was not settled comes again, whatever else does.
TEST_F(GroupRecovery, one_wrong_bit_loses_no_message) {
  append_numbered(appender.get(), 1, 150);
  const std::string file = group_path(folder.path());
  std::set<uint64_t> settled;
  {
    const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
    TestMember member(group);
    const auto first = member.claim(50);
    EXPECT_EQ(member.settle(first), 50u);
    const auto second = member.claim(60);
    // Held, settled, returned and delayed, in turn.
    for (size_t i = 0; i < second.size(); ++i) {
      if (i % 4 == 1) {
        EXPECT_EQ(member.settle({second[i]}), 1u);
      }
      if (i % 4 == 2) {
        EXPECT_EQ(member.settle({second[i]}, Outcome::kReturned, 1), 1u);
      }
      if (i % 4 == 3) {
        EXPECT_EQ(member.settle({second[i]}, Outcome::kReturned), 1u);
      }
      if (i % 4 == 1) settled.insert(second[i].sequence);
    }
    for (const auto& one : first) settled.insert(one.sequence);
  }
  const Bytes sound = read_file(file);
  std::vector<size_t> words = {offsetof(GroupBlock, next), offsetof(GroupBlock, floor)};
  for (size_t entry = 1; entry < 64; entry += 3) words.push_back(sizeof(GroupBlock) + entry * sizeof(GroupEntry));
  for (const size_t word : words) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      uint64_t was = 0;
      std::memcpy(&was, sound.data() + word, 8);
      // A wrong time has a delayed message come later, by weeks at worst.
      if (word > sizeof(GroupBlock) && state_of(was) == EntryState::kDelayed && bit >= 35) continue;
      Bytes bytes = sound;
      bytes[word + bit / 8] = static_cast<char>(bytes[word + bit / 8] ^ (1 << bit % 8));
      overwrite(file, 0, bytes.data(), bytes.size());
      std::shared_ptr<Group> group;
      GroupOpening opening;
      ASSERT_TRUE(Group::open(file, log, &group, &opening).ok());
      TestMember member(group);
      std::set<uint64_t> seen = settled;
      ASSERT_TRUE(eventually([&] {
        const auto some = member.claim(64);
        for (const auto& one : some) seen.insert(one.sequence);
        member.settle(some);
        return seen.size() == 150 || opening.lost_from != 0;
      })) << "word "
          << word << " bit " << bit << ": only " << seen.size() << " of 150 came";
    }
  }
}

TEST_F(GroupRecovery, any_bytes_in_the_file_are_told_or_set_right) {
  append_numbered(appender.get(), 1, 150);
  for (const GroupKind kind : {GroupKind::kShared, GroupKind::kExclusive, GroupKind::kKeyed, GroupKind::kDurable}) {
    GroupPlan plan = kind == GroupKind::kKeyed ? keyed_plan(64) : plan_of(kind, 64);
    const std::string name = "k" + std::to_string(static_cast<uint32_t>(kind));
    {
      open_group(log, plan, nullptr, name);
    }
    const std::string file = group_path(folder.path(), name);
    const Bytes sound = read_file(file);
    std::mt19937_64 random(static_cast<uint64_t>(kind) + 1);
    for (int round = 0; round < 60; ++round) {
      Bytes bytes = sound;
      if (round % 3 == 0) {
        for (size_t i = 64; i < bytes.size(); ++i) bytes[i] = static_cast<char>(random());
      } else {
        for (int flips = 0; flips < 40; ++flips) {
          const size_t i = 64 + random() % (round % 3 == 1 ? 1000 : bytes.size() - 64);
          bytes[i] = static_cast<char>(bytes[i] ^ (1 << random() % 8));
        }
      }
      std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      std::shared_ptr<Group> group;
      GroupOpening opening;
      const Status status = Group::open(file, log, &group, &opening);
      ASSERT_TRUE(status.ok()) << status.context;
      TestMember member(group);
      if (kind == GroupKind::kDurable) {
        ASSERT_TRUE(member->activate().ok());
        ASSERT_LE(member->committed(), 151u);
        ASSERT_TRUE(member->commit(151).ok());
        continue;
      }
      for (int i = 0; i < 40; ++i) {
        const Status claimed = member.try_claim();
        ASSERT_TRUE(claimed.ok()) << claimed.context;
        std::vector<ClaimRecord> held;
        for (uint32_t k = 0; k < member.result.count; ++k) held.push_back({});
        if (member.result.count > 0) break;
      }
      (void)group->look_now(monotonic_ns());
      GroupReport report;
      ASSERT_TRUE(group->describe(&report).ok());
      ASSERT_LE(report.next, 151u);
      ASSERT_LE(report.next - report.floor, 64u);
      // And while it's in use.
      for (int i = 0; i < 20; ++i) {
        const size_t at = 64 + random() % (bytes.size() - 72);
        const uint64_t value = random();
        std::memcpy(reinterpret_cast<char*>(&group->block()) + at, &value, 8);
        (void)member.try_claim();
        (void)group->look_now(monotonic_ns());
        (void)group->describe(&report);
        group->raise_floor();
      }
    }
  }
}

}  // namespace
}  // namespace hermes
