// What one process sees of a group: claims, settlements, redelivery.

#include "core/log/retention.h"
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

TEST_F(GroupMember, a_returned_message_comes_again_and_says_so) {
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

TEST_F(GroupMember, a_released_message_was_not_delivered) {
  append_numbered(appender.get(), 1, 2);
  TestMember member(open_group(log));
  member.settle(member.claim(), Outcome::kReleased);
  const auto again = member.claim();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].deliveries, 1u);
}

TEST_F(GroupMember, a_delayed_message_comes_when_it_is_due) {
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

TEST_F(GroupMember, back_off_doubles_up_to_its_limit) {
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

TEST_F(GroupMember, a_late_acknowledgement_is_refused) {
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

TEST_F(GroupMember, who_claims_or_settles_is_not_late) {
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

TEST_F(GroupMember, what_a_member_holds_is_returned_when_it_leaves) {
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

TEST_F(GroupMember, too_many_deliveries_are_told) {
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

TEST_F(GroupMember, deliveries_are_counted_up_to_255) {
  append_numbered(appender.get(), 1, 1);
  TestMember member(open_group(log));
  for (uint32_t i = 1; i <= 300; ++i) {
    const auto held = member.claim();
    ASSERT_EQ(held.size(), 1u);
    ASSERT_EQ(held[0].deliveries, std::min(i, 255u));
    ASSERT_EQ(member.settle(held, Outcome::kReturned), 1u);
  }
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

TEST_F(GroupMember, voids_settle_themselves) {
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

TEST_F(GroupMember, a_damaged_message_is_told_and_holds_up_no_other) {
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

TEST_F(GroupMember, what_retention_removes_is_counted_as_lost) {
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

TEST_F(GroupMember, all_slots_can_be_taken_and_no_more) {
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

TEST_F(GroupMember, is_of_no_use_in_a_forked_child) {
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

TEST_F(GroupMember, nobody_waits_for_long_for_one_who_was_stopped_with_the_membership_lock) {
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

TEST_F(GroupMember, learns_that_the_group_was_deleted) {
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

TEST_F(GroupMember, resets_go_to_any_sequence_that_there_is) {
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

TEST_F(GroupMember, rules_may_change_while_the_group_is_in_use) {
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

TEST_F(GroupMember, an_entry_that_nobody_made_is_made_by_who_finds_it_missing) {
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
