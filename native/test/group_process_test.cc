// Members in several processes, some of which are killed or stopped.

#include <signal.h>

#include "core/group/group_sleeper.h"
#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Claims and settles until told to stop (`words[0]`), counting deliveries and settlements of each message in `words`.
void work(const std::string& folder, const GroupPlan& plan, const SharedWords& words, size_t base, uint64_t lease_ms,
          uint32_t limit) {
  const auto log = open_log(folder);
  const auto group = open_group(log, plan);
  MemberOptions options;
  options.lease_ns = lease_ms * 1'000'000;
  TestMember member(group, options);
  while (words[0] == 0) {
    const auto held = member.claim(limit);
    if (held.empty()) {
      sleep_ms(1);
      continue;
    }
    for (const auto& r : held) {
      // One byte for each message: its deliveries; in the words from `base` on.
      const uint64_t i = r.sequence - 1;
      words[base + i / 8].fetch_add(uint64_t{1} << i % 8 * 8);
    }
    member.settle(held);
    for (size_t i = 0; i < held.size(); ++i) {
      if (member.lost[i] == 0) words[1].fetch_add(1);
    }
  }
}

uint64_t delivered(const SharedWords& words, size_t base, uint64_t sequence) {
  return words[base + (sequence - 1) / 8] >> (sequence - 1) % 8 * 8 & 0xFF;
}

TEST(GroupProcesses, share_messages_without_loss_though_members_are_killed) {
  constexpr uint64_t kMessages = 3000;
  const Folder folder;
  const SharedWords words;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, kMessages);
    open_group(log, plan_of(GroupKind::kShared, 256));
  });
  std::vector<std::unique_ptr<Child>> members;
  const auto start = [&] {
    return std::make_unique<Child>(
        [&] { work(folder.path(), plan_of(GroupKind::kShared, 256), words, 8, 60'000, 16); });
  };
  for (int i = 0; i < 3; ++i) members.push_back(start());
  int kills = 0;
  ASSERT_TRUE(eventually([&] {
    const size_t victim = static_cast<size_t>(kills) % members.size();
    if (kills < 30) {
      members[victim]->signal(SIGKILL);
      EXPECT_EQ(members[victim]->wait(), 128 + SIGKILL);
      members[victim] = start();
      ++kills;
    }
    return words[1] + static_cast<uint64_t>(kills) * 16 >= kMessages || kills == 30;
  }));
  const auto log = open_log(folder.path());
  const auto group = open_group(log);
  EXPECT_TRUE(eventually([&] { return report_of(group).floor == kMessages + 1; }))
      << "stuck at " << report_of(group).floor;
  words[0] = 1;
  for (auto& member : members) EXPECT_EQ(member->wait(), 0);
  uint64_t again = 0;
  for (uint64_t s = 1; s <= kMessages; ++s) {
    ASSERT_GE(delivered(words, 8, s), 1u) << s;
    again += delivered(words, 8, s) - 1;
  }
  EXPECT_LE(again, static_cast<uint64_t>(kills) * 16) << "more came again than were in flight";
  EXPECT_EQ(report_of(group).settled_total, kMessages) << "something was settled twice";
}

TEST(GroupProcesses, the_work_of_a_killed_member_is_with_another_at_once) {
  const Folder folder;
  const SharedWords words;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, 10);
    open_group(log);
  });
  Child victim([&] {
    TestMember member(open_group(open_log(folder.path())));
    words[1] = member.claim().size();
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return words[1] == 10; }));
  const auto group = open_group(open_log(folder.path()));
  TestMember member(group);
  EXPECT_TRUE(member.claim().empty());
  std::atomic<bool> news{false};
  const auto sleeper =
      std::make_shared<GroupSleeper>(group, member->number(), 60'000'000'000, [&](bool found) { news = found; });
  ASSERT_TRUE(SleeperPool::shared().add(sleeper).ok());
  victim.signal(SIGKILL);
  EXPECT_EQ(victim.wait(), 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return news.load(); })) << "who sleeps is not told";
  EXPECT_EQ(member.claim().size(), 10u);
  EXPECT_EQ(report_of(group).members.size(), 1u);
}

TEST(GroupProcesses, a_stopped_member_loses_its_work_after_its_lease_and_settles_nothing_later) {
  const Folder folder;
  const SharedWords words;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, 10);
    open_group(log);
  });
  Child slow([&] {
    MemberOptions options;
    options.lease_ns = 300'000'000;
    TestMember member(open_group(open_log(folder.path())), options);
    const auto held = member.claim();
    words[1] = held.size();
    ASSERT_TRUE(eventually([&] { return words[2] != 0; }));
    EXPECT_EQ(member.settle(held), 0u);
    words[3] = 1;
    // It goes on with its slot.
    ASSERT_TRUE(eventually([&] { return !member.claim().empty(); }));
  });
  ASSERT_TRUE(eventually([&] { return words[1] == 10; }));
  slow.signal(SIGSTOP);
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const auto group = open_group(log);
  TestMember member(group);
  EXPECT_TRUE(member.claim().empty());
  std::vector<ClaimRecord> taken;
  ASSERT_TRUE(eventually([&] { return !(taken = member.claim()).empty(); }));
  EXPECT_EQ(taken.size(), 10u);
  EXPECT_EQ(taken[0].deliveries, 2u);
  EXPECT_EQ(report_of(group).members.size(), 2u) << "it has its slot, as long as it lives";
  words[2] = 1;
  slow.signal(SIGCONT);
  ASSERT_TRUE(eventually([&] { return words[3] == 1; }));
  EXPECT_EQ(member.settle(taken), 10u);
  append_numbered(appender.get(), 11, 11);
  EXPECT_EQ(slow.wait(), 0);
}

TEST(GroupProcesses, keys_stay_in_order_though_members_are_killed) {
  constexpr uint64_t kMessages = 2000;
  constexpr uint32_t kKeys = 13;
  const Folder folder;
  const SharedWords words;
  const GroupPlan plan = keyed_plan(256);
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= kMessages; ++i)
      append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % kKeys)));
    open_group(log, plan);
  });
  // Word 8 + key: the newest message of that key that anybody has settled.
  const auto body = [&] {
    const auto log = open_log(folder.path());
    TestMember member(open_group(log, plan));
    while (words[0] == 0) {
      const auto held = member.claim(9);
      for (const auto& r : held) {
        const uint64_t number = member.number_of(r);
        std::atomic<uint64_t>& newest = words[8 + number % kKeys];
        // All before it is settled, and so was noted; one that was noted but not settled comes again.
        const uint64_t seen = newest.load();
        EXPECT_TRUE(number == seen || number == seen + kKeys || (seen == 0 && number <= kKeys))
            << number << " after " << seen;
        newest.store(number);
        if (member.settle({r}) == 1) words[1].fetch_add(1);
      }
      if (held.empty()) sleep_ms(1);
    }
  };
  std::vector<std::unique_ptr<Child>> members;
  for (int i = 0; i < 3; ++i) members.push_back(std::make_unique<Child>(body));
  const auto group = open_group(open_log(folder.path()));
  for (int kill = 0; kill < 15; ++kill) {
    sleep_ms(10);
    auto& victim = members[static_cast<size_t>(kill) % 3];
    victim->signal(SIGKILL);
    EXPECT_EQ(victim->wait(), 128 + SIGKILL);
    victim = std::make_unique<Child>(body);
  }
  EXPECT_TRUE(eventually([&] { return report_of(group).floor == kMessages + 1; }))
      << "stuck at " << report_of(group).floor;
  words[0] = 1;
  for (auto& member : members) EXPECT_EQ(member->wait(), 0);
  EXPECT_EQ(report_of(group).settled_total, kMessages);
}

TEST(GroupProcesses, a_standby_becomes_active_when_the_active_one_is_killed) {
  const Folder folder;
  const SharedWords words;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, 10);
    open_group(log, plan_of(GroupKind::kExclusive));
  });
  Child active([&] {
    TestMember member(open_group(open_log(folder.path())));
    words[1] = member.claim(3).size();
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return words[1] == 3; }));
  TestMember standby(open_group(open_log(folder.path())));
  EXPECT_TRUE(standby.claim().empty());
  EXPECT_EQ(standby.result.stop, ClaimStop::kStandby);
  active.signal(SIGKILL);
  EXPECT_EQ(active.wait(), 128 + SIGKILL);
  std::vector<ClaimRecord> held;
  ASSERT_TRUE(eventually([&] { return !(held = standby.claim()).empty(); }));
  EXPECT_EQ(sequences(held), range(1, 10));
}

}  // namespace
}  // namespace hermes
