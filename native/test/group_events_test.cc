// What a member meets: voids, damage, retention, full groups, deletion, resets.

#include "core/log/retention.h"
#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupEvents : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
};

TEST_F(GroupEvents, voids_settle_themselves) {
  append_numbered(appender.get(), 1, 30);
  const auto messages = read_all(log);
  appender.reset();
  flip_bit_in_payload(folder.path(), messages[9]);
  flip_bit_in_payload(folder.path(), messages[10]);
  flip_bit_in_payload(folder.path(), messages[29]);
  log.reset();
  lose_checkpoint(folder.path());
  forget_orderly_close(folder.path());
  log = open_log(folder.path());
  appender = open_appender(log);
  append_numbered(appender.get(), 31, 35);
  const auto group = open_group(log);
  TestMember member(group);
  const auto held = member.claim_all();
  for (const auto& r : held) EXPECT_TRUE(r.sequence != 10 && r.sequence != 11);
  EXPECT_GE(held.size(), 32u);
  member.settle(held);
  EXPECT_EQ(report_of(group).floor, report_of(group).end);
}

TEST_F(GroupEvents, a_damaged_message_is_told_and_holds_up_no_other) {
  append_numbered(appender.get(), 1, 30);
  const auto messages = read_all(log);
  flip_bit_in_payload(folder.path(), messages[9]);
  const auto group = open_group(log);
  TestMember member(group);
  auto held = member.claim_all();
  EXPECT_EQ(held.size(), 29u);
  member.settle(held);
  EXPECT_EQ(report_of(group).floor, 10u);
  ASSERT_TRUE(eventually([&] {
    EXPECT_TRUE(member.claim().empty());
    return member.result.stop == ClaimStop::kDamage;
  }));
  EXPECT_EQ(member.result.sequence, 10u);
  append_numbered(appender.get(), 31, 40);
  held = member.claim_all();
  EXPECT_EQ(sequences(held), range(31, 40));
  member.settle(held);
  EXPECT_TRUE(member->skip(10));
  EXPECT_FALSE(member->skip(10));
  EXPECT_FALSE(member->skip(41));
  EXPECT_EQ(report_of(group).floor, 41u);
  EXPECT_EQ(report_of(group).lost, 1u);
}

TEST_F(GroupEvents, what_retention_removes_is_counted_as_lost) {
  append_numbered(appender.get(), 1, 500, 1000);
  const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
  TestMember member(group, {}, 1 << 20);
  const auto held = member.claim(20);
  member.settle({held[3], held[4]}, Outcome::kReturned);
  member.settle({held.begin() + 5, held.end()});
  store_retention(log->control(), {3 * kMinSegmentBytes, 0});
  ASSERT_TRUE(apply_retention(*log).ok());
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  const uint64_t first = reader.position().sequence;
  ASSERT_GT(first, 300u);
  // Returned ones are gone, and those that nobody ever had, up to the end of the window: the first three are still held. (Whoever has the
  // segment mapped still has them, so another one claims.)
  const auto other_log = open_log(folder.path());
  TestMember other(open_group(other_log), {}, 1 << 20);
  EXPECT_TRUE(other.claim_all().empty());
  EXPECT_EQ(other.result.stop, ClaimStop::kWindowFull);
  EXPECT_EQ(report_of(group).lost, 2 + 44u);
  EXPECT_EQ(member.settle({held[0], held[1], held[2]}), 3u) << "what is held may be settled";
  const auto rest = other.claim_all();
  ASSERT_FALSE(rest.empty());
  EXPECT_EQ(rest[0].sequence, first);
  EXPECT_EQ(report_of(group).lost, first - 1 - 18);
}

TEST_F(GroupEvents, all_slots_can_be_taken_and_no_more) {
  const auto group = open_group(log);
  std::vector<std::unique_ptr<Member>> members(kMemberSlots);
  for (auto& member : members) ASSERT_TRUE(Member::join(group, {}, &member).ok());
  std::unique_ptr<Member> one_more;
  EXPECT_EQ(Member::join(group, {}, &one_more).code, Code::kLimit);
  EXPECT_EQ(report_of(group).members.size(), 256u);
  members[77].reset();
  ASSERT_TRUE(Member::join(group, {}, &one_more).ok());
  EXPECT_EQ(one_more->number(), 77u);
  append_numbered(appender.get(), 1, 1);
  alignas(8) std::byte frames[256];
  ClaimRecord records[1];
  ClaimResult result;
  ASSERT_TRUE(one_more->claim({records, 1, frames, sizeof frames}, &result).ok());
  EXPECT_EQ(result.count, 1u);
}

TEST_F(GroupEvents, is_of_no_use_in_a_forked_child) {
  append_numbered(appender.get(), 1, 4);
  const auto group = open_group(log);
  auto member = std::make_unique<TestMember>(group);
  const auto held = member->claim(2);
  in_child([&] {
    EXPECT_EQ(member->try_claim().code, Code::kForked);
    EXPECT_EQ(member->settle(held), 0u);
    member.reset();  // takes nothing from the parent
  });
  EXPECT_EQ(report_of(group).members.size(), 1u);
  EXPECT_EQ(member->settle(held), 2u);
  EXPECT_EQ(sequences(member->claim()), range(3, 4));
}

TEST_F(GroupEvents, nobody_waits_for_long_for_one_who_was_stopped_with_the_membership_lock) {
  append_numbered(appender.get(), 1, 3);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim();
  LockFile stopped;
  ASSERT_TRUE(LockFile::open(group->path(), &stopped).ok());
  ASSERT_TRUE(stopped.try_lock(kMembershipByte, LockFile::Mode::kExclusive).ok());
  std::unique_ptr<Member> third;
  EXPECT_EQ(Member::join(group, {}, &third).code, Code::kTimedOut);
  std::shared_ptr<Group> again;
  GroupOpening opening;
  EXPECT_EQ(Group::open(group->path(), log, &again, &opening).code, Code::kTimedOut);
  EXPECT_EQ(group->reset(1, false).code, Code::kTimedOut);
  EXPECT_EQ(a.settle({held[0]}), 1u) << "claims and settlements need no lock";
  let_lease_end(*a);
  bool taken = false;
  for (int looks = 0; looks < 20 && !taken; ++looks) taken = group->look_now(monotonic_ns());
  EXPECT_TRUE(taken) << "the work of a late member waits for somebody who was stopped";
  EXPECT_EQ(sequences(b.claim()), range(2, 3));
}

TEST_F(GroupEvents, learns_that_the_group_was_deleted) {
  const auto group = open_group(log);
  TestMember member(group);
  EXPECT_EQ(Group::remove(group_path(folder.path()), false).code, Code::kBusy);
  ASSERT_TRUE(Group::remove(group_path(folder.path()), true).ok());
  ASSERT_TRUE(eventually([&] { return member.try_claim().code == Code::kNotFound; }));
  // One of the same name is another group.
  TestMember fresh(open_group(log));
  EXPECT_EQ(member.try_claim().code, Code::kNotFound);
  append_numbered(appender.get(), 1, 1);
  EXPECT_EQ(fresh.claim().size(), 1u);
}

TEST_F(GroupEvents, resets_go_to_any_sequence_that_there_is) {
  append_numbered(appender.get(), 1, 100);
  const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
  {
    TestMember member(group);
    member.settle(member.claim(50));
    EXPECT_EQ(group->reset(1, false).code, Code::kBusy);
  }
  EXPECT_EQ(group->reset(102, false).code, Code::kOutOfRange);
  EXPECT_EQ(group->reset(0, false).code, Code::kOutOfRange);
  ASSERT_TRUE(group->reset(10, false).ok());
  TestMember member(group);
  auto held = member.claim(5);
  EXPECT_EQ(sequences(held), range(10, 14));
  EXPECT_EQ(held[0].deliveries, 1u);
  ASSERT_TRUE(group->reset(101, true).ok());
  EXPECT_EQ(member.settle(held), 0u) << "what was held before a reset is nobody's";
  EXPECT_TRUE(member.claim().empty());
  append_numbered(appender.get(), 101, 102);
  EXPECT_EQ(sequences(member.claim()), range(101, 102));
  ASSERT_TRUE(group->reset(1, true).ok());
  EXPECT_EQ(sequences(member.claim(3)), range(1, 3));
}

TEST_F(GroupEvents, rules_may_change_while_the_group_is_in_use) {
  const auto group = open_group(log);
  GroupRules rules = group->rules();
  rules.max_deliveries = 9;
  ASSERT_TRUE(group->configure(rules, "{\"a\":1}").ok());
  EXPECT_EQ(group->rules().max_deliveries, 9u);
  EXPECT_EQ(group->settings(), "{\"a\":1}");
  rules.lease_ms = 0;
  EXPECT_EQ(group->configure(rules, "").code, Code::kInvalidArgument);
  rules.lease_ms = 1000;
  rules.key_bytes = 4;
  EXPECT_EQ(group->configure(rules, "").code, Code::kInvalidArgument) << "a key that changes breaks the order";
}

TEST_F(GroupEvents, an_entry_that_nobody_made_is_made_by_who_finds_it_missing) {
  append_numbered(appender.get(), 1, 10);
  const auto group = open_group(log);
  TestMember member(group);
  // As if who took them had been killed before it entered them.
  group->block().next.store(6);
  std::vector<ClaimRecord> found;
  ASSERT_TRUE(eventually([&] {
    const auto some = member.claim();
    found.insert(found.end(), some.begin(), some.end());
    return found.size() == 10;
  }));
  std::vector<uint64_t> all = sequences(found);
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, range(1, 10));
  for (const auto& r : found) EXPECT_EQ(r.deliveries, 1u);
}

}  // namespace
}  // namespace hermes
