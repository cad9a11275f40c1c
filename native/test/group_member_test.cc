// What one process sees of a group: how a member claims.

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupMember : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
};

TEST_F(GroupMember, claims_in_order_what_was_published_and_settles_it) {
  append_numbered(appender.get(), 1, 1000);
  const auto group = open_group(log);
  TestMember member(group);
  uint64_t expected = 1;
  while (expected <= 1000) {
    const auto some = member.claim();
    ASSERT_FALSE(some.empty());
    for (const ClaimRecord& r : some) {
      ASSERT_EQ(r.sequence, expected);
      ASSERT_EQ(r.deliveries, 1u);
      ASSERT_EQ(member.payload(r), message(0, expected, 32));
      ++expected;
    }
    EXPECT_EQ(member.settle(some), some.size());
  }
  EXPECT_TRUE(member.claim().empty());
  EXPECT_EQ(member.result.stop, ClaimStop::kEmpty);
  const GroupReport report = report_of(group);
  EXPECT_EQ(report.floor, 1001u);
  EXPECT_EQ(report.next, 1001u);
  EXPECT_EQ(report.end, 1001u);
  EXPECT_EQ(report.settled_total, 1000u);
}

TEST_F(GroupMember, shares_messages_with_the_others) {
  append_numbered(appender.get(), 1, 300);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  std::map<uint64_t, int> seen;
  for (int i = 0; i < 300 && seen.size() < 300; ++i) {
    for (const ClaimRecord& r : a.claim(7)) ++seen[r.sequence];
    for (const ClaimRecord& r : b.claim(11)) ++seen[r.sequence];
  }
  EXPECT_EQ(seen.size(), 300u);
  for (const auto& [sequence, times] : seen) EXPECT_EQ(times, 1) << sequence;
  EXPECT_EQ(report_of(group).claimed, 300u);
  EXPECT_EQ(report_of(group).members.size(), 2u);
}

TEST_F(GroupMember, starts_where_the_group_was_made_to) {
  append_numbered(appender.get(), 1, 10);
  GroupPlan plan = plan_of(GroupKind::kShared);
  plan.start = 8;
  TestMember member(open_group(log, plan));
  EXPECT_EQ(sequences(member.claim()), range(8, 10));
}

TEST_F(GroupMember, waits_for_the_first_message_of_an_empty_topic) {
  const Folder empty;
  const auto other = open_log(empty.path());
  TestMember member(open_group(other));
  EXPECT_TRUE(member.claim().empty());
  EXPECT_EQ(member.result.stop, ClaimStop::kEmpty);
  const auto publisher = open_appender(other);
  append_numbered(publisher.get(), 1, 2);
  EXPECT_EQ(sequences(member.claim()), range(1, 2));
}

TEST_F(GroupMember, takes_no_more_than_there_is_room_for) {
  append_numbered(appender.get(), 1, 10, 1000);
  const auto group = open_group(log);
  TestMember small(group, {}, 1000);
  EXPECT_TRUE(small.claim().empty());
  EXPECT_EQ(small.result.stop, ClaimStop::kRoom);
  EXPECT_EQ(small.result.needed, 1032u);
  TestMember fits(group, {}, 2 * 1032);
  const auto first = fits.claim();
  EXPECT_EQ(sequences(first), range(1, 2));
  fits.settle(first, Outcome::kReturned);
  EXPECT_TRUE(small.claim().empty());
  EXPECT_EQ(small.result.stop, ClaimStop::kRoom);
  EXPECT_EQ(small.result.needed, 1032u);
  EXPECT_EQ(sequences(fits.claim()), range(1, 2)) << "what did not fit elsewhere is not forgotten";
}

TEST_F(GroupMember, goes_on_over_the_edge_of_a_segment) {
  // A segment holds some 60 of them.
  append_numbered(appender.get(), 1, 500, 1000);
  TestMember member(open_group(log, plan_of(GroupKind::kShared)), {}, 1 << 20);
  EXPECT_EQ(sequences(member.claim_all()), range(1, 500));
  ASSERT_GT(log->active(), 5u);
}

TEST_F(GroupMember, the_first_message_of_a_segment_comes_again_as_any_other) {
  append_numbered(appender.get(), 1, 300, 1000);
  ASSERT_GT(log->active(), 3u);
  for (const uint32_t at_once : {1u, 7u}) {
    const auto group = open_group(log, plan_of(GroupKind::kShared), nullptr, std::to_string(at_once));
    TestMember member(group, {}, 1 << 20);
    (void)member.settle(member.claim_all(), Outcome::kReturned);
    // In order, and none set aside as damaged.
    EXPECT_EQ(sequences(member.claim_all(at_once)), range(1, 300)) << at_once;
  }
}

TEST_F(GroupMember, a_key_goes_on_over_the_edges_of_segments) {
  constexpr uint32_t kKeys = 7;
  for (uint64_t i = 1; i <= 300; ++i) append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % kKeys), 1000));
  ASSERT_GT(log->active(), 3u);
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  std::vector<uint64_t> done;
  for (int round = 0; round < 200; ++round) {
    for (TestMember* member : {&a, &b}) {
      const auto claimed = member->claim(5);
      EXPECT_NE(member->result.stop, ClaimStop::kDamage);
      for (const ClaimRecord& record : claimed) done.push_back(record.sequence);
      EXPECT_EQ(member->settle(claimed), claimed.size());
    }
  }
  EXPECT_EQ(done, range(1, 300));
}

TEST_F(GroupMember, a_full_window_hands_out_nothing_new_until_its_first_message_is_settled) {
  append_numbered(appender.get(), 1, 200);
  const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
  TestMember member(group);
  const auto held = member.claim_all(10);
  EXPECT_EQ(sequences(held), range(1, 64));
  EXPECT_EQ(member.result.stop, ClaimStop::kWindowFull);
  member.settle({held.begin() + 1, held.end()});
  EXPECT_TRUE(member.claim().empty());
  EXPECT_EQ(member.result.stop, ClaimStop::kWindowFull);
  const GroupReport stuck = report_of(group);
  EXPECT_EQ(stuck.floor, 1u);
  EXPECT_EQ(stuck.oldest_state, EntryState::kClaimed);
  member.settle({held[0]});
  EXPECT_EQ(sequences(member.claim_all()), range(65, 128));
}

TEST_F(GroupMember, entries_are_used_lap_after_lap) {
  const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
  TestMember a(group);
  TestMember b(group);
  uint64_t published = 0;
  std::map<uint64_t, int> seen;
  for (int round = 0; round < 300; ++round) {
    append_numbered(appender.get(), published + 1, published + 40);
    published += 40;
    auto mine = a.claim(25);
    auto others = b.claim(25);
    std::reverse(mine.begin(), mine.end());
    for (const auto& r : mine) ++seen[r.sequence];
    for (const auto& r : others) ++seen[r.sequence];
    a.settle(mine);
    b.settle(others);
  }
  for (const auto& r : a.claim_all()) ++seen[r.sequence];
  EXPECT_EQ(seen.size(), published);
  for (const auto& [sequence, times] : seen) EXPECT_EQ(times, 1) << sequence;
}

TEST_F(GroupMember, the_count_of_laps_goes_round) {
  // A log that begins shortly before lap 65,536 of a window of 64.
  const Folder late;
  in_child([&] { open_appender(open_log(late.path())); });
  const uint64_t base = 64 * 65'536 - 90;
  overwrite(segment_path(late.path(), 1), 64, &base, sizeof base);
  // (which say that it begins with 1)
  lose_checkpoint(late.path());
  const uint64_t zeros[4] = {};
  overwrite(late.path() + "/control", offsetof(ControlBlock, synced), zeros, sizeof zeros);
  const auto far_log = open_log(late.path());
  const auto far = open_appender(far_log);
  for (int i = 0; i < 400; ++i) append(far.get(), message(0, 1, 32));
  GroupPlan plan = plan_of(GroupKind::kShared, 64);
  plan.start = base;
  const auto group = open_group(far_log, plan);
  TestMember member(group);
  uint64_t expected = base;
  while (expected < base + 400) {
    const auto some = member.claim(33);
    ASSERT_FALSE(some.empty());
    for (const auto& r : some) ASSERT_EQ(r.sequence, expected++);
    if (expected % 3 == 0) {
      member.settle(some, Outcome::kReturned);
      const auto again = member.claim(33);
      ASSERT_EQ(sequences(again), sequences(some));
      ASSERT_EQ(member.settle(again), again.size());
    } else {
      ASSERT_EQ(member.settle(some), some.size());
    }
  }
  EXPECT_EQ(report_of(group).floor, base + 400);
}

}  // namespace
}  // namespace hermes
