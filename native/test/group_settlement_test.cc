// How what a member holds is settled, and comes again.

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupSettlement : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
};

TEST_F(GroupSettlement, a_returned_message_comes_again_and_says_so) {
  append_numbered(appender.get(), 1, 5);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim();
  EXPECT_EQ(a.settle({held[1], held[3]}, Outcome::kReturned), 2u);
  const auto again = b.claim();
  ASSERT_EQ(sequences(again), (std::vector<uint64_t>{2, 4}));
  EXPECT_EQ(again[0].deliveries, 2u);
  EXPECT_EQ(b.payload(again[1]), message(0, 4, 32));
  EXPECT_EQ(report_of(group).redelivered, 2u);
  EXPECT_EQ(b.settle(again), 2u);
  EXPECT_EQ(a.settle({held[0], held[2], held[4]}), 3u);
  EXPECT_EQ(report_of(group).floor, 6u);
}

TEST_F(GroupSettlement, a_released_message_was_not_delivered) {
  append_numbered(appender.get(), 1, 2);
  TestMember member(open_group(log));
  member.settle(member.claim(), Outcome::kReleased);
  const auto again = member.claim();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].deliveries, 1u);
}

TEST_F(GroupSettlement, a_delayed_message_comes_when_it_is_due) {
  append_numbered(appender.get(), 1, 3);
  const auto group = open_group(log);
  TestMember member(group);
  const uint64_t begun = monotonic_ns();
  const auto held = member.claim();
  member.settle({held[0]}, Outcome::kReturned, 300'000'000);
  member.settle({held[1]}, Outcome::kReturned, 3'600'000'000'000);
  EXPECT_EQ(report_of(group).delayed, 2u);
  std::vector<ClaimRecord> again;
  ASSERT_TRUE(eventually([&] { return !(again = member.claim()).empty(); }));
  EXPECT_GE(monotonic_ns() - begun, 300'000'000u);
  EXPECT_EQ(sequences(again), range(1, 1));
  EXPECT_EQ(again[0].deliveries, 2u);
  EXPECT_NE(group->block().due.load(), 0u) << "the other one is forgotten";
  EXPECT_EQ(report_of(group).delayed, 1u);
}

TEST_F(GroupSettlement, back_off_doubles_up_to_its_limit) {
  append_numbered(appender.get(), 1, 1);
  GroupPlan plan = plan_of(GroupKind::kShared);
  plan.rules.backoff_ms = 1'000'000;
  plan.rules.max_backoff_ms = 3'000'000;
  const auto group = open_group(log, plan);
  TestMember member(group);
  auto held = member.claim();
  const uint64_t expected_ms[] = {1'000'000, 2'000'000, 3'000'000, 3'000'000};
  for (const uint64_t ms : expected_ms) {
    const uint64_t before = monotonic_ns();
    member.settle(held, Outcome::kReturned, kBackoff);
    const uint32_t due = unpack(group->entry(1).word.load()).number;
    const uint64_t delay = ((due - tick_of(before)) & kClaimNumberMask) * 16;
    EXPECT_GE(delay, ms);
    EXPECT_LE(delay, ms + 60'000);
    // It's due now.
    const EntryWord e = unpack(group->entry(1).word.load());
    group->entry(1).word.store(pack({EntryState::kReturned, 0, e.deliveries, e.lap, 0}));
    group->note_returned(1, 2);
    held = member.claim();
    ASSERT_EQ(held.size(), 1u);
  }
  EXPECT_EQ(held[0].deliveries, 5u);
}

TEST_F(GroupSettlement, a_late_acknowledgement_is_refused) {
  append_numbered(appender.get(), 1, 4);
  const auto group = open_group(log);
  TestMember slow(group);
  TestMember other(group);
  const auto held = slow.claim();
  EXPECT_EQ(slow.settle({held[0]}), 1u);
  let_lease_end(*slow);
  EXPECT_TRUE(group->look_now(monotonic_ns()));
  EXPECT_EQ(report_of(group).taken, 3u);
  const auto taken = other.claim();
  EXPECT_EQ(sequences(taken), range(2, 4));
  EXPECT_EQ(taken[0].deliveries, 2u);
  EXPECT_EQ(slow.settle({held[0], held[1], held[2]}), 0u);
  EXPECT_EQ(slow.lost[0], 1) << "settled twice";
  EXPECT_EQ(slow.lost[1], 1);
  EXPECT_EQ(other.settle({taken[0], taken[1]}), 2u);
  EXPECT_EQ(slow.settle({held[2]}), 0u) << "settled by another one already";
  // Returned, and claimed by the same member again: its old claim does not settle the new one.
  other.settle({taken[2]}, Outcome::kReturned);
  const auto mine = slow.claim();
  ASSERT_EQ(sequences(mine), range(4, 4));
  EXPECT_EQ(slow.settle({held[3]}), 0u);
  EXPECT_EQ(slow.settle(mine), 1u);
  EXPECT_EQ(report_of(group).late, 5u);
  EXPECT_EQ(report_of(group).floor, 5u);
}

TEST_F(GroupSettlement, who_claims_or_settles_is_not_late) {
  append_numbered(appender.get(), 1, 2);
  const auto group = open_group(log);
  TestMember member(group);
  const auto held = member.claim(1);
  let_lease_end(*member);
  ASSERT_TRUE(member->is_late(monotonic_ns()));
  member.claim(1);
  EXPECT_FALSE(member->is_late(monotonic_ns()));
  let_lease_end(*member);
  member.settle(held);
  EXPECT_FALSE(member->is_late(monotonic_ns()));
  let_lease_end(*member);
  member->renew();
  EXPECT_FALSE(member->is_late(monotonic_ns()));
}

TEST_F(GroupSettlement, what_a_member_holds_is_returned_when_it_leaves) {
  append_numbered(appender.get(), 1, 6);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  a.settle({a.claim()[2]});
  a.leave();
  const auto taken = b.claim();
  EXPECT_EQ(sequences(taken), (std::vector<uint64_t>{1, 2, 4, 5, 6}));
  EXPECT_EQ(report_of(group).members.size(), 1u);
}

TEST_F(GroupSettlement, too_many_deliveries_are_told) {
  append_numbered(appender.get(), 1, 1);
  GroupPlan plan = plan_of(GroupKind::kShared);
  plan.rules.max_deliveries = 2;
  const auto group = open_group(log, plan);
  TestMember member(group);
  for (uint32_t i = 1; i <= 2; ++i) {
    const auto held = member.claim();
    ASSERT_EQ(held.size(), 1u);
    EXPECT_LE(held[0].deliveries, group->rules().max_deliveries);
    member.settle(held, Outcome::kReturned);
  }
  const auto last = member.claim();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_GT(last[0].deliveries, group->rules().max_deliveries);
  EXPECT_EQ(member.settle(last, Outcome::kRejected), 1u);
  EXPECT_EQ(report_of(group).rejected, 1u);
  EXPECT_EQ(report_of(group).floor, 2u);
}

TEST_F(GroupSettlement, deliveries_are_counted_up_to_255) {
  append_numbered(appender.get(), 1, 1);
  TestMember member(open_group(log));
  for (uint32_t i = 1; i <= 300; ++i) {
    const auto held = member.claim();
    ASSERT_EQ(held.size(), 1u);
    ASSERT_EQ(held[0].deliveries, std::min(i, 255u));
    ASSERT_EQ(member.settle(held, Outcome::kReturned), 1u);
  }
}

}  // namespace
}  // namespace hermes
