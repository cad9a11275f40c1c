// What is made of a group's file by whoever opens it first: after a crash of all members, another boot, a copy, a log that was cut, or any damage.

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
  reboot_group(path());
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

TEST_F(GroupRecovery, what_was_settled_stays_so_where_the_log_is_not_recovered_yet_and_its_control_file_is_older) {
  append_numbered(appender.get(), 1, 30, 1000);
  const Bytes older = read_file(folder.path() + "/control");
  append_numbered(appender.get(), 31, 300, 1000);
  {
    TestMember member(open_group(log));
    std::vector<ClaimRecord> held = member.claim_all();
    held.resize(250);
    member.settle(held);
  }
  ASSERT_GT(log->active(), 1u);
  appender.reset();
  log.reset();
  // Segments and group reached the disk; the page that says how many segments there are did not.
  overwrite(folder.path() + "/control", 0, older.data(), older.size());
  forget_orderly_close(folder.path());
  reboot(folder.path());
  reboot_group(path());
  log = open_log(folder.path());
  GroupOpening opening;
  const auto group = open_group(log, {}, &opening);
  EXPECT_EQ(opening.lost_from, 0u);
  TestMember member(group);
  EXPECT_EQ(sequences(member.claim_all()), range(251, 300));
}

TEST_F(GroupRecovery, a_later_lap_tells_that_a_message_was_settled_where_the_page_of_the_floor_is_older) {
  append_numbered(appender.get(), 1, 300);
  Bytes older;
  {
    const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
    TestMember member(group);
    auto held = member.claim(64);
    member.settle({held.begin() + 10, held.end()});
    older = read_file(path());
    held.resize(10);
    member.settle(held);
    // Sequences 65 to 84 take the entries of 1 to 20.
    member.settle(member.claim(20));
  }
  overwrite(path(), 0, older.data(), 4096);
  reboot_group(path());
  TestMember member(open_group(log));
  EXPECT_EQ(sequences(member.claim(1)), range(65, 65)) << "the settlement of what no floor tells of may be lost";
}

TEST_F(GroupRecovery, entries_of_a_lost_tail_settle_no_message_that_was_published_since) {
  append_numbered(appender.get(), 1, 300);
  Bytes older;
  {
    const auto group = open_group(log);
    TestMember member(group);
    member.settle(member.claim(100));
    older = read_file(path());
    member.settle(member.claim_all());
  }
  lose_from(201);
  append_numbered(appender.get(), 201, 260);
  // Entries reached the disk, the page of `next` did not.
  overwrite(path(), 0, older.data(), 4096);
  reboot_group(path());
  TestMember member(open_group(log));
  EXPECT_EQ(sequences(member.claim_all()), range(201, 260));
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

}  // namespace
}  // namespace hermes
