// A member is killed at every named point of the group's code, while another one goes on, and everything is looked at afterwards.

#include <algorithm>

#include "core/log/crash_point.h"
#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

struct Point {
  const char* name;
  int passage;
};

constexpr uint64_t kMessages = 400;
constexpr uint32_t kAtOnce = 16;

std::string label(const ::testing::TestParamInfo<std::tuple<Point, GroupKind>>& info) {
  const auto& [point, kind] = info.param;
  std::string text = std::string(point.name) + "_" + std::to_string(point.passage) + "_kind_" +
                     std::to_string(static_cast<uint32_t>(kind));
  std::replace_if(text.begin(), text.end(), [](char c) { return c == ':' || c == '-'; }, '_');
  return text;
}

GroupPlan plan_for(GroupKind kind) { return kind == GroupKind::kKeyed ? keyed_plan(64) : plan_of(kind, 64); }

/// Words: 1 settlements, 2 messages that came again, 8 + … one byte for each message: how often it was delivered.
void take_part(const std::string& folder, GroupKind kind, const SharedWords& words, bool to_the_end) {
  const auto log = open_log(folder);
  const auto group = open_group(log, plan_for(kind));
  auto member = std::make_unique<TestMember>(group);
  for (uint64_t rounds = 0; to_the_end ? report_of(group).floor <= kMessages : rounds < 200; ++rounds) {
    if (rounds % 10 == 9) {
      member.reset();
      member = std::make_unique<TestMember>(group);
    }
    const auto held = member->claim(kAtOnce);
    if (held.empty()) {
      sleep_ms(1);
      continue;
    }
    for (const auto& r : held) {
      const uint64_t i = r.sequence - 1;
      words[8 + i / 8].fetch_add(uint64_t{1} << i % 8 * 8);
    }
    // Some are returned once, so that all that is done with those is passed, too.
    std::vector<ClaimRecord> done;
    std::vector<ClaimRecord> back;
    for (const auto& r : held)
      (r.deliveries == 1 && r.sequence % 16 == 0 && kind != GroupKind::kKeyed ? back : done).push_back(r);
    words[2] += member->settle(back, Outcome::kReturned, rounds % 2 == 0 ? 0 : 1'000'000);
    words[1] += member->settle(done);
  }
}

class GroupCrash : public ::testing::TestWithParam<std::tuple<Point, GroupKind>> {};

TEST_P(GroupCrash, of_a_member_loses_nothing_and_repeats_no_more_than_it_held) {
  const auto& [point, kind] = GetParam();
  const Folder folder(quick_place());
  const SharedWords words;
  in_child([&, kind = kind] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= kMessages; ++i) append(appender.get(), keyed_message(i, static_cast<uint32_t>(i % 7)));
    open_group(log, plan_for(kind));
  });
  Child victim([&, point = point, kind = kind] {
    ::setenv("HERMES_CRASH", (std::string(point.name) + "@" + std::to_string(point.passage)).c_str(), 1);
    take_part(folder.path(), kind, words, false);
  });
  ASSERT_EQ(victim.wait(), 128 + SIGKILL) << "the point was not reached";
  in_child([&, kind = kind] { take_part(folder.path(), kind, words, true); });
  const auto group = open_group(open_log(folder.path()));
  const GroupReport report = report_of(group);
  EXPECT_EQ(report.floor, kMessages + 1);
  EXPECT_TRUE(report.members.empty());
  uint64_t deliveries = 0;
  for (uint64_t i = 0; i < kMessages; ++i) {
    const uint64_t times = words[8 + i / 8] >> i % 8 * 8 & 0xFF;
    ASSERT_GE(times, 1u) << "message " << i + 1 << " was lost";
    deliveries += times;
  }
  // What was settled in the very moment of death is not in `words`.
  EXPECT_GE(words[1] + kAtOnce, kMessages);
  EXPECT_LE(words[1], kMessages);
  EXPECT_LE(deliveries, kMessages + words[2] + 2 * kAtOnce);
}

constexpr GroupKind kUnkeyed[] = {GroupKind::kShared, GroupKind::kExclusive};
constexpr GroupKind kEach[] = {GroupKind::kShared, GroupKind::kExclusive, GroupKind::kKeyed};

INSTANTIATE_TEST_SUITE_P(Everywhere, GroupCrash,
                         ::testing::Combine(::testing::Values(Point{"group:joining", 1}, Point{"group:joining", 2},
                                                              Point{"group:claiming", 1}, Point{"group:claimed", 1},
                                                              Point{"group:claimed", 7}, Point{"group:handed-over", 3},
                                                              Point{"group:settled", 1}, Point{"group:settled", 8},
                                                              Point{"group:noted", 3}, Point{"group:reclaimed", 1},
                                                              Point{"group:reclaimed", 9}, Point{"group:closing", 1}),
                                            ::testing::ValuesIn(kEach)),
                         label);
INSTANTIATE_TEST_SUITE_P(WhereMembersEnter, GroupCrash,
                         ::testing::Combine(::testing::Values(Point{"group:filling", 1}, Point{"group:filling", 9}),
                                            ::testing::ValuesIn(kUnkeyed)),
                         label);
INSTANTIATE_TEST_SUITE_P(WhereTurnsEnter, GroupCrash,
                         ::testing::Combine(::testing::Values(Point{"group:entering", 1}, Point{"group:entering", 5}),
                                            ::testing::Values(GroupKind::kKeyed)),
                         label);

TEST(GroupCrashes, of_who_recovers_the_group_is_made_good_by_the_next) {
  const Folder folder(quick_place());
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, 10);
    std::filesystem::create_directories(folder.path() + "/groups");
    ASSERT_TRUE(Group::create(group_path(folder.path()), *log, plan_for(GroupKind::kShared)).ok());
  });
  Child victim([&] {
    ::setenv("HERMES_CRASH", "group:recovered", 1);
    open_group(open_log(folder.path()));
  });
  EXPECT_EQ(victim.wait(), 128 + SIGKILL);
  TestMember member(open_group(open_log(folder.path())));
  EXPECT_EQ(sequences(member.claim()), range(1, 10));
}

/// The one who buries dies as well.
TEST(GroupCrashes, of_who_takes_over_from_a_dead_member_is_taken_over_in_turn) {
  for (const char* const point : {"group:taken", "group:buried"}) {
    const Folder folder(quick_place());
    const SharedWords words;
    in_child([&] {
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log);
      append_numbered(appender.get(), 1, kMessages);
      open_group(log, plan_for(GroupKind::kShared));
    });
    // Somebody who keeps the file open, so that nobody recovers it as a whole.
    const auto group = open_group(open_log(folder.path()));
    Child holder([&] {
      TestMember member(open_group(open_log(folder.path())));
      words[3] = member.claim().size();
      ::raise(SIGKILL);
    });
    EXPECT_EQ(holder.wait(), 128 + SIGKILL);
    Child burier([&] {
      const auto own = open_group(open_log(folder.path()));
      ::setenv("HERMES_CRASH", point, 1);
      (void)own->look_now(monotonic_ns());
    });
    EXPECT_EQ(burier.wait(), 128 + SIGKILL) << point;
    EXPECT_EQ(report_of(group).members.size(), 1u) << "it's buried only at the end";
    EXPECT_TRUE(group->look_now(monotonic_ns()));
    EXPECT_TRUE(report_of(group).members.empty());
    EXPECT_EQ(words[3], 64u);
    TestMember member(group);
    std::vector<ClaimRecord> held;
    EXPECT_TRUE(eventually([&] {
      const auto some = member.claim();
      held.insert(held.end(), some.begin(), some.end());
      return held.size() == 64;
    })) << point;
    EXPECT_EQ(report_of(group).members.size(), 1u);
  }
}

TEST(GroupCrashes, of_who_resets_leaves_a_group_that_works) {
  const Folder folder(quick_place());
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, kMessages);
    TestMember member(open_group(log, plan_for(GroupKind::kShared)));
    member.settle(member.claim(50));
  });
  Child victim([&] {
    ::setenv("HERMES_CRASH", "group:resetting", 1);
    (void)open_group(open_log(folder.path()))->reset(1, true);
  });
  EXPECT_EQ(victim.wait(), 128 + SIGKILL);
  TestMember member(open_group(open_log(folder.path())));
  EXPECT_EQ(sequences(member.claim(5)), range(51, 55));
}

TEST(GroupCrashes, of_a_durable_subscriber_keeps_what_it_has_committed) {
  const Folder folder(quick_place());
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append_numbered(appender.get(), 1, 10);
    open_group(log, plan_of(GroupKind::kDurable));
  });
  Child victim([&] {
    ::setenv("HERMES_CRASH", "group:committed@2", 1);
    TestMember member(open_group(open_log(folder.path())));
    ASSERT_TRUE(member->activate().ok());
    ASSERT_TRUE(member->commit(4).ok());
    (void)member->commit(7);
  });
  EXPECT_EQ(victim.wait(), 128 + SIGKILL);
  TestMember member(open_group(open_log(folder.path())));
  EXPECT_EQ(member->committed(), 7u);
  EXPECT_TRUE(member->activate().ok());
}

}  // namespace
}  // namespace hermes
