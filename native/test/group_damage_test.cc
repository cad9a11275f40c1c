// What is made of a damaged group file, or of one of which pages were lost, by whoever opens it first.

#include <random>
#include <set>

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

class GroupDamage : public ::testing::Test {
 protected:
  Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);

  std::string path() const { return group_path(folder.path()); }
};

TEST_F(GroupDamage, words_that_contradict_each_other_are_set_right_towards_delivering_again) {
  append_numbered(appender.get(), 1, 300);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kShared, 64)));
    member.settle(member.claim(40));
  }
  const uint64_t floor = 200;
  overwrite(path(), 256, &floor, 8);
  GroupOpening opening;
  TestMember member(open_group(log, {}, &opening));
  EXPECT_TRUE(opening.mended);
  EXPECT_EQ(sequences(member.claim(5)), range(41, 45));
}

TEST_F(GroupDamage, pages_that_did_not_reach_the_disk_lose_no_message) {
  append_numbered(appender.get(), 1, 500);
  {
    TestMember member(open_group(log, plan_of(GroupKind::kShared, 512)));
    auto held = member.claim_all();
    ASSERT_EQ(held.size(), 500u);
    std::vector<ClaimRecord> odd;
    for (const auto& r : held) {
      if (r.sequence % 2 == 1 && r.sequence > 1) odd.push_back(r);
    }
    member.settle(odd);
  }
  const Bytes after = read_file(path());
  // Each page of the file by itself as it was at the beginning.
  for (size_t page = 0; page < after.size() / 4096; ++page) {
    std::ofstream(path(), std::ios::binary).write(after.data(), static_cast<std::streamsize>(after.size()));
    const uint64_t one = 1;
    const char zeros[4096] = {};
    if (page == 0) {
      overwrite(path(), 128, &one, 8);
      overwrite(path(), 256, &one, 8);
    } else {
      overwrite(path(), page * 4096, zeros, sizeof zeros);
    }
    reboot_group(path());
    const auto group = open_group(log);
    TestMember member(group);
    std::map<uint64_t, int> seen;
    std::vector<ClaimRecord> held;
    while (!(held = member.claim()).empty()) {
      for (const auto& r : held) ++seen[r.sequence];
      member.settle(held);
    }
    for (uint64_t s = 2; s <= 500; s += 2) ASSERT_EQ(seen[s], 1) << "page " << page;
    ASSERT_EQ(seen[1], 1);
    ASSERT_EQ(report_of(group).floor, 501u) << "page " << page;
  }
}

/// Whatever stands in the file: opening it says what is wrong, or the group works; nothing crashes and nothing goes on for ever.
/// Each bit of the words that say what is settled, one at a time: what was not settled comes again, whatever else does.

TEST_F(GroupDamage, one_wrong_bit_loses_no_message) {
  append_numbered(appender.get(), 1, 150);
  const std::string file = group_path(folder.path());
  std::set<uint64_t> settled;
  {
    const auto group = open_group(log, plan_of(GroupKind::kShared, 64));
    TestMember member(group);
    const auto first = member.claim(50);
    EXPECT_EQ(member.settle(first), 50u);
    const auto second = member.claim(60);
    // Held, settled, returned and delayed, in turn.
    for (size_t i = 0; i < second.size(); ++i) {
      if (i % 4 == 1) {
        EXPECT_EQ(member.settle({second[i]}), 1u);
      }
      if (i % 4 == 2) {
        EXPECT_EQ(member.settle({second[i]}, Outcome::kReturned, 1), 1u);
      }
      if (i % 4 == 3) {
        EXPECT_EQ(member.settle({second[i]}, Outcome::kReturned), 1u);
      }
      if (i % 4 == 1) settled.insert(second[i].sequence);
    }
    for (const auto& one : first) settled.insert(one.sequence);
  }
  const Bytes sound = read_file(file);
  std::vector<size_t> words = {offsetof(GroupBlock, next), offsetof(GroupBlock, floor)};
  for (size_t entry = 1; entry < 64; entry += 3) words.push_back(sizeof(GroupBlock) + entry * sizeof(GroupEntry));
  for (const size_t word : words) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      uint64_t was = 0;
      std::memcpy(&was, sound.data() + word, 8);
      // A wrong time has a delayed message come later, by weeks at worst.
      if (word > sizeof(GroupBlock) && state_of(was) == EntryState::kDelayed && bit >= 35) continue;
      Bytes bytes = sound;
      bytes[word + bit / 8] = static_cast<char>(bytes[word + bit / 8] ^ (1 << bit % 8));
      overwrite(file, 0, bytes.data(), bytes.size());
      std::shared_ptr<Group> group;
      GroupOpening opening;
      ASSERT_TRUE(Group::open(file, log, &group, &opening).ok());
      TestMember member(group);
      std::set<uint64_t> seen = settled;
      ASSERT_TRUE(eventually([&] {
        const auto some = member.claim(64);
        for (const auto& one : some) seen.insert(one.sequence);
        member.settle(some);
        return seen.size() == 150 || opening.lost_from != 0;
      })) << "word "
          << word << " bit " << bit << ": only " << seen.size() << " of 150 came";
    }
  }
}

TEST_F(GroupDamage, any_bytes_in_the_file_are_told_or_set_right) {
  append_numbered(appender.get(), 1, 150);
  for (const GroupKind kind : {GroupKind::kShared, GroupKind::kExclusive, GroupKind::kKeyed, GroupKind::kDurable}) {
    GroupPlan plan = kind == GroupKind::kKeyed ? keyed_plan(64) : plan_of(kind, 64);
    const std::string name = "k" + std::to_string(static_cast<uint32_t>(kind));
    {
      open_group(log, plan, nullptr, name);
    }
    const std::string file = group_path(folder.path(), name);
    const Bytes sound = read_file(file);
    std::mt19937_64 random(static_cast<uint64_t>(kind) + 1);
    for (int round = 0; round < 60; ++round) {
      Bytes bytes = sound;
      if (round % 3 == 0) {
        for (size_t i = 64; i < bytes.size(); ++i) bytes[i] = static_cast<char>(random());
      } else {
        for (int flips = 0; flips < 40; ++flips) {
          const size_t i = 64 + random() % (round % 3 == 1 ? 1000 : bytes.size() - 64);
          bytes[i] = static_cast<char>(bytes[i] ^ (1 << random() % 8));
        }
      }
      std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      std::shared_ptr<Group> group;
      GroupOpening opening;
      const Status status = Group::open(file, log, &group, &opening);
      ASSERT_TRUE(status.ok()) << status.context;
      TestMember member(group);
      if (kind == GroupKind::kDurable) {
        ASSERT_TRUE(member->activate().ok());
        ASSERT_LE(member->committed(), 151u);
        ASSERT_TRUE(member->commit(151).ok());
        continue;
      }
      for (int i = 0; i < 40; ++i) {
        const Status claimed = member.try_claim();
        ASSERT_TRUE(claimed.ok()) << claimed.context;
        std::vector<ClaimRecord> held;
        for (uint32_t k = 0; k < member.result.count; ++k) held.push_back({});
        if (member.result.count > 0) break;
      }
      (void)group->look_now(monotonic_ns());
      GroupReport report;
      ASSERT_TRUE(group->describe(&report).ok());
      ASSERT_LE(report.next, 151u);
      ASSERT_LE(report.next - report.floor, 64u);
      // And while it's in use.
      for (int i = 0; i < 20; ++i) {
        const size_t at = 64 + random() % (bytes.size() - 72);
        const uint64_t value = random();
        std::memcpy(reinterpret_cast<char*>(&group->block()) + at, &value, 8);
        (void)member.try_claim();
        (void)group->look_now(monotonic_ns());
        (void)group->describe(&report);
        group->raise_floor();
      }
    }
  }
}

}  // namespace
}  // namespace hermes
