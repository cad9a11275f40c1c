// Who waits for something to claim is told of it; leases and who renews them.

#include "core/group/group_sleeper.h"
#include "core/log/syncer.h"
#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// One wait in the process's pool.
class Wait {
 public:
  Wait(const std::shared_ptr<Group>& group, const TestMember& member, uint64_t timeout_ns = 600'000'000'000)
      : shared_(std::make_shared<Shared>()) {
    sleeper_ = std::make_shared<GroupSleeper>(group, member->number(), timeout_ns, [shared = shared_](bool news) {
      shared->news = news;
      shared->over = true;
    });
    EXPECT_TRUE(SleeperPool::shared().add(sleeper_).ok());
  }
  ~Wait() { SleeperPool::shared().remove(*sleeper_); }
  bool is_told() const {
    return eventually([&] { return shared_->over.load(); }) && shared_->news;
  }
  bool is_over() const { return shared_->over; }

 private:
  struct Shared {
    std::atomic<bool> over{false};
    std::atomic<bool> news{false};
  };
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<GroupSleeper> sleeper_;
};

class GroupWait : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
};

/// Long enough for the sleeper to lie down. Where it does not, the test passes for another reason.
void let_it_sleep() { sleep_ms(30); }

TEST_F(GroupWait, a_new_message_is_told) {
  const auto group = open_group(log);
  TestMember member(group);
  const Wait wait(group, member);
  let_it_sleep();
  EXPECT_FALSE(wait.is_over());
  append_numbered(appender.get(), 1, 1);
  EXPECT_TRUE(wait.is_told());
}

TEST_F(GroupWait, a_message_that_was_synced_is_told_and_no_other_is_handed_out) {
  append_numbered(appender.get(), 1, 3);
  GroupPlan plan = plan_of(GroupKind::kShared);
  plan.up_to_synced = true;
  const auto group = open_group(log, plan);
  EXPECT_TRUE(report_of(group).up_to_synced);
  TestMember member(group);
  EXPECT_TRUE(member.claim().empty());
  EXPECT_EQ(member.result.stop, ClaimStop::kEmpty);
  const Wait wait(group, member);
  let_it_sleep();
  EXPECT_FALSE(wait.is_over());
  Position synced;
  ASSERT_TRUE(log->syncer().sync_now(4, &synced).ok());
  append_numbered(appender.get(), 4, 4);
  EXPECT_TRUE(wait.is_told());
  EXPECT_EQ(sequences(member.claim()), range(1, 3));
  EXPECT_TRUE(member.claim().empty());
}

TEST_F(GroupWait, a_returned_message_is_told) {
  append_numbered(appender.get(), 1, 1);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim();
  const Wait wait(group, b);
  let_it_sleep();
  EXPECT_FALSE(wait.is_over());
  a.settle(held, Outcome::kReturned);
  EXPECT_TRUE(wait.is_told());
}

TEST_F(GroupWait, a_delayed_message_is_told_when_it_is_due_and_not_before) {
  append_numbered(appender.get(), 1, 1);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim();
  const Wait wait(group, b);
  let_it_sleep();
  const uint64_t begun = monotonic_ns();
  a.settle(held, Outcome::kReturned, 200'000'000);
  EXPECT_TRUE(wait.is_told());
  EXPECT_GE(monotonic_ns() - begun, 200'000'000u);
  EXPECT_EQ(b.claim().size(), 1u);
}

TEST_F(GroupWait, room_in_the_window_is_told) {
  append_numbered(appender.get(), 1, 100);
  const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim_all();
  ASSERT_EQ(held.size(), 64u);
  const Wait wait(group, b);
  let_it_sleep();
  a.settle({held[5]});
  let_it_sleep();
  EXPECT_FALSE(wait.is_over());
  a.settle({held[0]});
  EXPECT_TRUE(wait.is_told());
}

TEST_F(GroupWait, a_member_that_is_late_is_noticed_by_who_sleeps) {
  append_numbered(appender.get(), 1, 3);
  const auto group = open_group(log);
  TestMember a(group);
  TestMember b(group);
  a.claim();
  const Wait wait(group, b);
  let_it_sleep();
  EXPECT_FALSE(wait.is_over());
  let_lease_end(*a);
  EXPECT_TRUE(wait.is_told());
  EXPECT_EQ(b.claim().size(), 3u);
}

TEST_F(GroupWait, who_stands_by_is_told_when_the_active_one_leaves) {
  append_numbered(appender.get(), 1, 3);
  for (const GroupKind kind : {GroupKind::kExclusive, GroupKind::kDurable}) {
    const auto group = open_group(log, plan_of(kind), nullptr, kind == GroupKind::kDurable ? "d" : "e");
    TestMember a(group);
    TestMember b(group);
    if (kind == GroupKind::kDurable) {
      ASSERT_TRUE(a->activate().ok());
    } else {
      a.claim();
    }
    const Wait wait(group, b);
    let_it_sleep();
    EXPECT_FALSE(wait.is_over());
    a.leave();
    EXPECT_TRUE(wait.is_told());
  }
}

TEST_F(GroupWait, a_key_that_becomes_free_is_told) {
  for (uint64_t i = 1; i <= 2; ++i) append(appender.get(), keyed_message(i, 1));
  const auto group = open_group(log, keyed_plan());
  TestMember a(group);
  TestMember b(group);
  const auto held = a.claim(1);
  EXPECT_TRUE(b.claim().empty());
  const Wait wait(group, b);
  let_it_sleep();
  EXPECT_FALSE(wait.is_over()) << "what it can't have is no news";
  a.settle(held);
  EXPECT_TRUE(wait.is_told());
  EXPECT_EQ(sequences(b.claim()), range(2, 2));
}

TEST_F(GroupWait, ends_after_its_time_and_when_it_is_cancelled) {
  const auto group = open_group(log);
  TestMember member(group);
  {
    const Wait wait(group, member, 20'000'000);
    EXPECT_FALSE(wait.is_told());
  }
  {
    const Wait cancelled(group, member);
  }
}

TEST_F(GroupWait, a_deleted_group_is_told) {
  const auto group = open_group(log);
  TestMember member(group);
  const Wait wait(group, member);
  ASSERT_TRUE(Group::remove(group->path(), true).ok());
  EXPECT_TRUE(wait.is_told());
}

TEST_F(GroupWait, a_lease_lasts_as_long_as_the_loop_turns) {
  const auto group = open_group(log);
  MemberOptions options;
  options.lease_ns = 2'000'000'000;
  options.beat = std::make_shared<Beat>();
  std::atomic<bool> turns{true};
  std::atomic<uint32_t> asked{0};
  Beat* const beat = options.beat.get();
  options.beat->ask = [&, beat] {
    ++asked;
    if (turns) beat->turned_ns = monotonic_ns();
  };
  TestMember member(group, options);
  ASSERT_TRUE(eventually([&] { return asked >= 6; }));
  EXPECT_FALSE(member->is_late(monotonic_ns()));
  turns = false;
  const uint64_t hung = beat->turned_ns;
  ASSERT_TRUE(eventually([&] { return member->is_late(monotonic_ns()); })) << "a hung loop keeps its lease";
  EXPECT_EQ(group->block().slots[member->number()].lease_ns.load(), hung + options.lease_ns)
      << "it counts from the last turn";
  turns = true;
  EXPECT_TRUE(eventually([&] { return !member->is_late(monotonic_ns()); }));
  EXPECT_EQ(LeaseKeeper::shared().leases(), 1u);
  member.leave();
  EXPECT_EQ(LeaseKeeper::shared().leases(), 0u);
}

}  // namespace
}  // namespace hermes
