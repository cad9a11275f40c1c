// Exclusive groups, keyed groups, durable subscriptions.

#include <set>

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupModes : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
};

// --- exclusive -----------------------------------------------------------------------------------------------------------

TEST_F(GroupModes, of_an_exclusive_group_one_member_is_active) {
  append_numbered(appender.get(), 1, 10);
  const auto group = open_group(log, plan_of(GroupKind::kExclusive));
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim(4);
  EXPECT_EQ(sequences(held), range(1, 4));
  EXPECT_TRUE(b.claim().empty());
  EXPECT_EQ(b.result.stop, ClaimStop::kStandby);
  a.settle({held[0]});
  a.leave();
  EXPECT_EQ(sequences(b.claim(8)), range(2, 9)) << "it goes on with what is not settled, in order";
}

TEST_F(GroupModes, an_active_member_that_is_late_is_overtaken_and_can_settle_nothing) {
  append_numbered(appender.get(), 1, 10);
  const auto group = open_group(log, plan_of(GroupKind::kExclusive));
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim(4);
  let_lease_end(*a);
  EXPECT_TRUE(group->look_now(monotonic_ns()));
  EXPECT_EQ(sequences(b.claim(2)), range(1, 2));
  EXPECT_EQ(a.settle(held), 0u);
  EXPECT_TRUE(a.claim().empty());
  EXPECT_EQ(a.result.stop, ClaimStop::kStandby);
  EXPECT_EQ(report_of(group).members[1].active, true);
  EXPECT_EQ(report_of(group).members[0].active, false);
}

TEST_F(GroupModes, who_is_overtaken_in_the_middle_of_a_claim_gives_back_what_it_got) {
  append_numbered(appender.get(), 1, 10);
  const auto group = open_group(log, plan_of(GroupKind::kExclusive));
  TestMember a(group);
  a.claim(1);
  // As it would look to a member that was stopped behind its look at `turn`.
  const Turn turn = unpack_turn(group->block().turn.load());
  EXPECT_EQ(turn.owner, 1u);
  group->block().turn.store(pack(Turn{2, turn.ticket + 1}));
  EXPECT_TRUE(a.claim().empty());
  EXPECT_EQ(a.result.stop, ClaimStop::kStandby);
}

// --- keyed ---------------------------------------------------------------------------------------------------------------

TEST_F(GroupModes, the_messages_of_a_key_are_with_one_member_at_a_time) {
  for (uint64_t i = 1; i <= 60; ++i) append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % 5)));
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  const auto first = a.claim(7);
  const auto second = b.claim_all();
  std::map<uint32_t, std::set<int>> holders;
  for (const auto& r : first) holders[r.bucket].insert(1);
  for (const auto& r : second) holders[r.bucket].insert(2);
  for (const auto& [bucket, who] : holders) EXPECT_EQ(who.size(), 1u) << bucket;
  EXPECT_EQ(first.size(), 7u);
  EXPECT_TRUE(second.empty()) << "seven messages of five keys leave none that is free";
  a.settle({first[0], first[5]});
  const auto third = b.claim_all();
  for (const auto& r : third) EXPECT_EQ(r.bucket, first[0].bucket);
  EXPECT_EQ(third.size(), 10u);
}

TEST_F(GroupModes, a_key_keeps_its_order_when_a_message_comes_again) {
  for (uint64_t i = 1; i <= 6; ++i) append(appender.get(), keyed_message(i, 7));
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim(3);
  ASSERT_EQ(sequences(held), range(1, 3));
  EXPECT_EQ(a.settle({held[0]}), 1u);
  EXPECT_TRUE(b.claim().empty()) << "the key is with another member";
  a.settle({held[1]}, Outcome::kReturned, 3'600'000'000'000);
  a.settle({held[2]}, Outcome::kReleased);
  EXPECT_TRUE(b.claim().empty()) << "what comes later waits for what is delayed";
  EXPECT_TRUE(a.claim().empty());
  // It's due.
  const EntryWord e = unpack(group->entry(2).word.load());
  group->entry(2).word.store(pack({EntryState::kReturned, 0, e.deliveries, e.lap, 0}));
  const auto again = b.claim(2);
  ASSERT_EQ(sequences(again), range(2, 3));
  EXPECT_EQ(again[0].deliveries, 2u);
  EXPECT_EQ(again[1].deliveries, 1u);
  EXPECT_TRUE(a.claim().empty());
}

TEST_F(GroupModes, a_stuck_key_holds_up_itself_only_until_the_window_is_full) {
  for (uint64_t i = 1; i <= 300; ++i)
    append(appender.get(), keyed_message(i, i % 4 == 1 ? 1000 : static_cast<uint32_t>(i % 4)));
  const auto group = open_group(log, keyed_plan(128));
  TestMember stuck(group);
  TestMember other(group);
  const auto held = stuck.claim(1);
  ASSERT_EQ(sequences(held), range(1, 1));
  std::map<uint64_t, int> seen;
  for (;;) {
    const auto some = other.claim(10);
    if (some.empty() && other.result.stop != ClaimStop::kBusy && other.result.stop != ClaimStop::kLimit) break;
    for (const auto& r : some) ++seen[r.sequence];
    other.settle(some);
  }
  EXPECT_EQ(other.result.stop, ClaimStop::kWindowFull);
  EXPECT_EQ(seen.size(), 96u) << "three quarters of the window";
  for (const auto& [sequence, times] : seen) EXPECT_NE(sequence % 4, 1u);
  const GroupReport report = report_of(group);
  EXPECT_EQ(report.floor, 1u);
  EXPECT_EQ(report.oldest_bucket, held[0].bucket);
  EXPECT_EQ(report.oldest_member, stuck->number());
  stuck.settle(held);
  std::vector<uint64_t> order;
  for (int i = 0; i < 1000 && order.size() < 299; ++i) {
    for (TestMember* member : {&stuck, &other}) {
      const auto some = member->claim(10);
      for (const auto& r : some) order.push_back(r.sequence);
      member->settle(some);
    }
    if (i == 0) order.insert(order.begin(), 96, 0);
  }
  EXPECT_EQ(report_of(group).floor, 301u);
}

TEST_F(GroupModes, a_member_that_leaves_or_is_late_gives_its_keys_to_others_in_order) {
  for (uint64_t i = 1; i <= 40; ++i) append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % 3)));
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim(20);
  ASSERT_EQ(held.size(), 20u);
  EXPECT_TRUE(b.claim_all().empty());
  let_lease_end(*a);
  EXPECT_TRUE(group->look_now(monotonic_ns()));
  const auto taken = b.claim_all();
  EXPECT_EQ(sequences(taken), range(1, 40));
  EXPECT_EQ(a.settle(held), 0u);
  EXPECT_EQ(b.settle(taken), 40u);
}

TEST_F(GroupModes, a_turn_that_lasts_too_long_is_taken_away) {
  append(appender.get(), keyed_message(1, 1));
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  // As if a had been stopped in the middle of a claim.
  group->block().turn.store(pack(Turn{1, 5}));
  EXPECT_TRUE(b.claim().empty());
  EXPECT_EQ(b.result.stop, ClaimStop::kBusy);
  ASSERT_TRUE(eventually([&] { return b.claim().size() == 1; }));
}

TEST_F(GroupModes, keys_that_only_the_caller_can_find_are_told_by_it) {
  for (uint64_t i = 1; i <= 20; ++i) append(appender.get(), message(0, i, 32));
  const auto group = open_group(log, plan_of(GroupKind::kKeyed));
  TestMember a(group);
  TestMember b(group);
  EXPECT_TRUE(a.claim().empty());
  EXPECT_EQ(a.result.stop, ClaimStop::kNoKey);
  std::vector<ClaimRecord> fresh;
  ASSERT_TRUE(a.peek(12, &fresh).ok());
  ASSERT_EQ(sequences(fresh), range(1, 12));
  for (auto& r : fresh) r.bucket = static_cast<uint32_t>(a.number_of(r) % 2);
  ASSERT_TRUE(a->enter(fresh.data(), 12).ok());
  ASSERT_TRUE(b->enter(fresh.data(), 12).ok()) << "they are entered already";
  EXPECT_EQ(report_of(group).next, 13u);
  const auto mine = a.claim(1);
  ASSERT_EQ(sequences(mine), range(1, 1));
  const auto others = b.claim_all();
  EXPECT_EQ(sequences(others), (std::vector<uint64_t>{2, 4, 6, 8, 10, 12}));
  // An entry whose maker died before it noted the bucket.
  a.settle(mine);
  group->entry(3).place.store(0);
  EXPECT_TRUE(a.claim().empty());
  EXPECT_EQ(a.result.stop, ClaimStop::kNoKey);
  ASSERT_TRUE(a.peek(12, &fresh).ok());
  ASSERT_EQ(sequences(fresh), range(3, 3));
  fresh[0].bucket = 1;
  ASSERT_TRUE(a->enter(fresh.data(), 1).ok());
  EXPECT_EQ(sequences(a.claim(2)), (std::vector<uint64_t>{3, 5}));
}

TEST_F(GroupModes, voids_in_front_of_new_messages_hold_up_no_keys_that_are_told) {
  append_numbered(appender.get(), 1, 100);
  const auto messages = read_all(log);
  appender.reset();
  // More of them than the window has.
  for (size_t i = 10; i < 90; ++i) flip_bit_in_payload(folder.path(), messages[i]);
  log.reset();
  lose_checkpoint(folder.path());
  forget_orderly_close(folder.path());
  log = open_log(folder.path());
  appender = open_appender(log);
  const auto group = open_group(log, plan_of(GroupKind::kKeyed, 64));
  TestMember b(group);
  std::vector<uint64_t> all;
  for (int round = 0; round < 100 && all.size() < 20; ++round) {
    const auto some = b.claim();
    for (const auto& r : some) all.push_back(r.sequence);
    b.settle(some);
    if (b.result.stop != ClaimStop::kNoKey) continue;
    std::vector<ClaimRecord> fresh;
    ASSERT_TRUE(b.peek(10, &fresh).ok());
    for (auto& r : fresh) r.bucket = 1;
    ASSERT_TRUE(b->enter(fresh.data(), static_cast<uint32_t>(fresh.size())).ok());
  }
  auto expected = range(1, 100);
  expected.erase(expected.begin() + 10, expected.begin() + 90);
  EXPECT_EQ(all, expected);
  EXPECT_EQ(report_of(group).floor, 101u);
}

TEST_F(GroupModes, a_void_whose_key_was_not_told_holds_up_nothing) {
  append_numbered(appender.get(), 1, 30);
  const auto messages = read_all(log);
  auto group = open_group(log, plan_of(GroupKind::kKeyed));
  std::vector<ClaimRecord> fresh;
  {
    TestMember a(group);
    ASSERT_TRUE(a.peek(30, &fresh).ok());
    for (auto& r : fresh) r.bucket = 1;
    ASSERT_TRUE(a->enter(fresh.data(), 30).ok());
  }
  // A power cut takes what was noted of some, and damages messages, which recovery makes void.
  for (const uint64_t s : {10, 11, 13}) group->entry(s).place.store(0);
  group.reset();
  appender.reset();
  for (const size_t i : {9, 10}) flip_bit_in_payload(folder.path(), messages[i]);
  log.reset();
  lose_checkpoint(folder.path());
  forget_orderly_close(folder.path());
  log = open_log(folder.path());
  appender = open_appender(log);
  group = open_group(log);
  TestMember b(group);
  std::vector<ClaimRecord> all;
  for (int round = 0; round < 100 && all.size() < 28; ++round) {
    const auto some = b.claim();
    all.insert(all.end(), some.begin(), some.end());
    if (b.result.stop != ClaimStop::kNoKey) continue;
    ASSERT_TRUE(b.peek(30, &fresh).ok());
    for (auto& r : fresh) r.bucket = 1;
    ASSERT_TRUE(b->enter(fresh.data(), static_cast<uint32_t>(fresh.size())).ok());
  }
  auto expected = range(1, 30);
  expected.erase(expected.begin() + 9, expected.begin() + 11);
  EXPECT_EQ(sequences(all), expected);
  b.settle(all);
  EXPECT_EQ(report_of(group).floor, 31u);
}

TEST_F(GroupModes, a_key_that_the_payload_ends_in_is_the_part_that_is_there) {
  append(appender.get(), std::vector<std::byte>(18, std::byte{1}));
  append(appender.get(), std::vector<std::byte>(3, std::byte{1}));
  append(appender.get(), {});
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  EXPECT_EQ(a.claim().size(), 3u);
}

// --- durable subscriptions -----------------------------------------------------------------------------------------------

TEST_F(GroupModes, a_durable_subscription_goes_on_where_it_was_committed) {
  append_numbered(appender.get(), 1, 100);
  {
    const auto group = open_group(log, plan_of(GroupKind::kDurable));
    EXPECT_EQ(std::filesystem::file_size(group->path()), 36'864u) << "it needs no entries";
    TestMember a(group);
    EXPECT_EQ(a->commit(5).code, Code::kLeaseLost) << "it is not active yet";
    ASSERT_TRUE(a->activate().ok());
    ASSERT_TRUE(a->activate().ok());
    ASSERT_TRUE(a->commit(51).ok());
    ASSERT_TRUE(a->commit(51).ok());
    EXPECT_EQ(a->commit(50).code, Code::kOutOfRange);
    EXPECT_EQ(a->commit(102).code, Code::kOutOfRange);
    ASSERT_TRUE(a->commit(101).ok());
    EXPECT_EQ(a.try_claim().code, Code::kUnsupported);
    EXPECT_EQ(report_of(group).settled_total, 100u);
    append_numbered(appender.get(), 101, 101);
    ASSERT_TRUE(a->commit(102).ok());
  }
  TestMember again(open_group(log));
  EXPECT_EQ(again->committed(), 102u);
}

TEST_F(GroupModes, of_a_durable_subscription_one_subscriber_is_active_and_the_one_overtaken_commits_no_more) {
  append_numbered(appender.get(), 1, 100);
  const auto group = open_group(log, plan_of(GroupKind::kDurable));
  TestMember a(group);
  TestMember b(group);
  ASSERT_TRUE(a->activate().ok());
  EXPECT_EQ(b->activate().code, Code::kExclusiveHeld);
  ASSERT_TRUE(a->commit(10).ok());
  let_lease_end(*a);
  ASSERT_TRUE(b->activate().ok());
  EXPECT_EQ(b->committed(), 10u);
  EXPECT_EQ(a->commit(20).code, Code::kLeaseLost);
  EXPECT_EQ(a->check_held().code, Code::kLeaseLost);
  EXPECT_TRUE(b->check_held().ok());
  ASSERT_TRUE(b->commit(15).ok());
  EXPECT_EQ(group->reset(1, false).code, Code::kBusy);
  ASSERT_TRUE(group->reset(1, true).ok());
  EXPECT_EQ(b->check_held().code, Code::kLeaseLost);
  EXPECT_EQ(b->commit(30).code, Code::kLeaseLost) << "a reset takes it from who was active";
  ASSERT_TRUE(a->activate().ok());
  EXPECT_EQ(a->committed(), 1u);
  a.leave();
  ASSERT_TRUE(b->activate().ok());
  ASSERT_TRUE(b->check_held().ok());
  ASSERT_TRUE(Group::remove(group->path(), true).ok());
  sleep_ms(110);  // the file is looked at every 100 ms
  EXPECT_EQ(b->check_held().code, Code::kNotFound);
}

}  // namespace
}  // namespace hermes
