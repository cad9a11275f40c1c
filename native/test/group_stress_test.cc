// Many threads on one group, for ThreadSanitizer above all.

#include <thread>

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

struct Tally {
  explicit Tally(uint64_t messages)
      : settled(std::make_unique<std::atomic<uint32_t>[]>(messages + 1)), count(messages) {}
  std::unique_ptr<std::atomic<uint32_t>[]> settled;
  uint64_t count;
  std::atomic<uint64_t> total{0};
};

/// Claims and settles in all ways, until everything is settled. What is settled is marked.
void take_part(const std::shared_ptr<Group>& group, Tally* tally, uint32_t seed) {
  MemberOptions options;
  options.lease_ns = 60'000'000'000;
  auto member = std::make_unique<TestMember>(group, options);
  uint32_t random = seed;
  while (tally->total.load(std::memory_order_relaxed) < tally->count) {
    random = random * 1'664'525 + 1'013'904'223;
    const auto held = member->claim(1 + random % 40);
    if (held.empty()) std::this_thread::yield();
    std::vector<ClaimRecord> done;
    std::vector<ClaimRecord> back;
    for (const ClaimRecord& r : held)
      (random % 5 == 0 && r.sequence % 3 == 0 && r.deliveries < 4 ? back : done).push_back(r);
    // From the back, so that the floor is reached late.
    std::reverse(done.begin(), done.end());
    member->settle(done);
    for (size_t i = 0; i < done.size(); ++i) {
      if (member->lost[i] != 0) continue;
      tally->settled[done[i].sequence].fetch_add(1, std::memory_order_relaxed);
      tally->total.fetch_add(1, std::memory_order_relaxed);
    }
    member->settle(back, random % 2 == 0 ? Outcome::kReturned : Outcome::kReleased);
    if (random % 64 == 0) (void)group->look_now(monotonic_ns());
    if (random % 97 == 0) member = std::make_unique<TestMember>(group, options);
  }
}

void run(const GroupPlan& plan, uint64_t messages) {
  const Folder folder(quick_place());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const auto group = open_group(log, plan);
  Tally tally(messages);
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (uint64_t i = 1; i <= messages; ++i) append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % 17)));
  });
  for (uint32_t i = 0; i < 4; ++i) threads.emplace_back([&, i] { take_part(group, &tally, i + 1); });
  for (auto& thread : threads) thread.join();
  for (uint64_t s = 1; s <= messages; ++s) ASSERT_EQ(tally.settled[s].load(), 1u) << s;
  const GroupReport report = report_of(group);
  EXPECT_EQ(report.floor, messages + 1);
  EXPECT_EQ(report.settled_total, messages);
  EXPECT_EQ(report.late, 0u);
}

TEST(GroupStress, members_of_a_shared_group_settle_each_message_once) { run(plan_of(GroupKind::kShared, 128), 20'000); }

TEST(GroupStress, members_of_an_exclusive_group_settle_each_message_once) {
  run(plan_of(GroupKind::kExclusive, 128), 5'000);
}

TEST(GroupStress, members_of_a_keyed_group_settle_each_message_once) { run(keyed_plan(128), 5'000); }

TEST(GroupStress, members_that_are_late_again_and_again_lose_nothing) {
  constexpr uint64_t kMessages = 10'000;
  const Folder folder(quick_place());
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const auto group = open_group(log, plan_of(GroupKind::kShared, 128));
  for (uint64_t i = 1; i <= kMessages; ++i) append(appender.get(), message(0, i, 32));
  Tally tally(kMessages);
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  threads.emplace_back([&] {
    // Leases end whenever it pleases.
    for (uint32_t i = 0; !over; ++i) {
      group->block().slots[i % 4].lease_ns.store(1, std::memory_order_relaxed);
      (void)group->look_now(monotonic_ns());
    }
  });
  std::vector<std::thread> members;
  for (uint32_t i = 0; i < 4; ++i) members.emplace_back([&, i] { take_part(group, &tally, i + 1); });
  for (auto& thread : members) thread.join();
  over = true;
  for (auto& thread : threads) thread.join();
  for (uint64_t s = 1; s <= kMessages; ++s) ASSERT_EQ(tally.settled[s].load(), 1u) << s;
  group->raise_floor();
  EXPECT_EQ(report_of(group).floor, kMessages + 1);
}

}  // namespace
}  // namespace hermes
