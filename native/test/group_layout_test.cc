// The bytes of docs/group-format.md, looked at from outside.

#include "group_fixture.h"

namespace hermes {
namespace {

using namespace test;

template <typename T>
T at(const Bytes& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

TEST(GroupLayout, a_new_file_is_as_specified) {
  const Folder folder;
  const auto log = open_log(folder.path());
  GroupPlan plan = keyed_plan(4096);
  plan.start = 1;
  plan.rules = {7, 5000, 20, 900, 16, 4};
  plan.settings = "{\"deadLetter\":\"x\"}";
  std::filesystem::create_directories(folder.path() + "/groups");
  ASSERT_TRUE(Group::create(group_path(folder.path()), *log, plan).ok());
  const Bytes file = read_file(group_path(folder.path()));
  ASSERT_EQ(file.size(), 36'864u + 16 * 4096);
  EXPECT_EQ(std::string(file.data(), 8), "HERMGRP1");
  EXPECT_EQ(at<uint32_t>(file, 8), 1u);
  EXPECT_EQ(at<uint32_t>(file, 12), 4096u);
  EXPECT_EQ(std::memcmp(file.data() + 24, read_file(folder.path() + "/control").data() + 40, 16), 0);
  EXPECT_EQ(at<uint32_t>(file, 40), 2u);
  EXPECT_EQ(at<uint32_t>(file, 44), 256u);
  EXPECT_EQ(at<uint32_t>(file, 60), crc32(0, file.data(), 60));
  EXPECT_EQ(at<uint64_t>(file, 128), 1u);
  EXPECT_EQ(at<uint64_t>(file, 256), 1u);
  const uint32_t rules[] = {7, 5000, 20, 900, 16, 4};
  EXPECT_EQ(std::memcmp(file.data() + 960, rules, sizeof rules), 0);
  EXPECT_EQ(at<uint32_t>(file, 1024), plan.settings.size());
  EXPECT_EQ(at<uint32_t>(file, 1028), crc32(0, plan.settings.data(), plan.settings.size()));
  EXPECT_EQ(std::string(file.data() + 1032, plan.settings.size()), plan.settings);
  for (size_t i = 4096; i < file.size(); ++i) ASSERT_EQ(file[i], 0) << i;
  struct stat about;
  ASSERT_EQ(::stat(group_path(folder.path()).c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  EXPECT_GE(static_cast<uint64_t>(about.st_blocks) * 512, file.size()) << "not allocated as a whole";
}

TEST(GroupLayout, entries_and_slots_are_as_specified) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append_numbered(appender.get(), 1, 3);
  const auto group = open_group(log);
  MemberOptions options;
  options.name = "worker";
  TestMember first(group, options);
  TestMember second(group, options);
  const auto claimed = second.claim(3);
  ASSERT_EQ(claimed.size(), 3u);
  second.settle({claimed[1]});
  second.settle({claimed[2]}, Outcome::kReturned);
  const Bytes file = read_file(group_path(folder.path()));
  EXPECT_EQ(at<uint64_t>(file, 128), 4u) << "next";
  EXPECT_EQ(at<uint64_t>(file, 256), 1u) << "floor";
  EXPECT_EQ(at<uint32_t>(file, 384), 3u) << "from where something was returned";
  EXPECT_EQ(at<uint32_t>(file, 388), 4u);
  // State 1, member 1, one delivery, lap 0, number of the claim.
  EXPECT_EQ(at<uint64_t>(file, 36'864 + 16), 1u | 1u << 3 | 1u << 11 | uint64_t{claimed[0].number} << 35);
  EXPECT_EQ(at<uint64_t>(file, 36'864 + 32), 2u);
  EXPECT_EQ(at<uint64_t>(file, 36'864 + 48), 3u | 1u << 11);
  // Offset 256 of segment 1.
  EXPECT_EQ(at<uint64_t>(file, 36'864 + 24), 256u / 8 | uint64_t{1} << 27);
  EXPECT_EQ(at<uint32_t>(file, 4096 + 128), 1u);
  EXPECT_EQ(at<uint32_t>(file, 4096 + 128 + 4), static_cast<uint32_t>(::getpid()));
  EXPECT_EQ(at<uint64_t>(file, 4096 + 128 + 40), 3u) << "claimed";
  EXPECT_EQ(at<uint64_t>(file, 4096 + 128 + 48), 1u) << "settled";
  EXPECT_EQ(std::string(file.data() + 4096 + 128 + 64), "worker");
  EXPECT_EQ(at<uint64_t>(file, 896), 1u) << "settled in all";
}

TEST(GroupLayout, words_keep_what_is_put_into_them) {
  for (const uint32_t member : {0u, 1u, 255u}) {
    for (const uint32_t deliveries : {0u, 1u, 255u}) {
      for (const uint32_t lap : {0u, 1u, 65'535u}) {
        for (const uint32_t number : {0u, 1u, kClaimNumberMask}) {
          const EntryWord word = {EntryState::kDelayed, member, deliveries, lap, number};
          EXPECT_EQ(unpack(pack(word)), word);
          EXPECT_TRUE(belongs(pack(word), lap));
          EXPECT_FALSE(belongs(pack(word), (lap + 1) & 0xFFFF));
        }
      }
    }
  }
  EXPECT_FALSE(belongs(0, 0));
  for (uint64_t state = 5; state < 8; ++state) EXPECT_FALSE(belongs(state, 0));
  const Place place = unpack_place(pack(Place{0x1'2345, uint64_t{1} << 29, 1023, 1023}));
  EXPECT_EQ(place.segment, 0x1'2345u);
  EXPECT_EQ(place.offset, uint64_t{1} << 29);
  EXPECT_EQ(place.lap, 1023u);
  EXPECT_EQ(place.bucket, 1023u);
  EXPECT_EQ(segment_of({5, 256, 0, 0}, 7), 5u);
  EXPECT_EQ(segment_of({0x1'FFFF, 256, 0, 0}, 0x2'0001), 0x1'FFFFu);
  EXPECT_EQ(segment_of({7, 256, 0, 0}, 5), 0u);
}

TEST(GroupLayout, due_ticks_go_round) {
  EXPECT_TRUE(is_due(1, 1));
  EXPECT_TRUE(is_due(1, 2));
  EXPECT_FALSE(is_due(2, 1));
  EXPECT_TRUE(is_due(kClaimNumberMask, 3)) << "the counter has gone round";
  EXPECT_FALSE(is_due(3, kClaimNumberMask));
  EXPECT_NE(tick_of(0), 0u);
}

TEST(GroupLayout, files_that_are_none_are_refused) {
  const Folder folder;
  const auto log = open_log(folder.path());
  {
    open_group(log);
  }
  const std::string path = group_path(folder.path());
  const Bytes sound = read_file(path);
  const auto code_with = [&](size_t offset, unsigned bit) {
    std::ofstream(path, std::ios::binary).write(sound.data(), static_cast<std::streamsize>(sound.size()));
    flip_bit(path, offset, bit);
    std::shared_ptr<Group> group;
    GroupOpening opening;
    return Group::open(path, log, &group, &opening).code;
  };
  EXPECT_EQ(code_with(0, 0), Code::kCorrupt);
  EXPECT_EQ(code_with(8, 1), Code::kVersionMismatch);
  for (const size_t offset : {12, 16, 24, 40, 44, 48, 56, 60})
    EXPECT_EQ(code_with(offset, 2), Code::kCorrupt) << offset;
  for (const size_t bytes : {size_t{0}, size_t{63}, sound.size() - 1, sound.size() - 4096}) {
    std::ofstream(path, std::ios::binary).write(sound.data(), static_cast<std::streamsize>(bytes));
    std::shared_ptr<Group> group;
    GroupOpening opening;
    EXPECT_EQ(Group::open(path, log, &group, &opening).code, Code::kCorrupt) << bytes;
  }
}

TEST(GroupLayout, a_group_of_an_earlier_topic_of_the_name_is_told) {
  const Folder folder;
  const Folder other;
  const auto log = open_log(folder.path());
  {
    open_group(log);
  }
  const auto another = open_log(other.path());
  std::shared_ptr<Group> group;
  GroupOpening opening;
  EXPECT_EQ(Group::open(group_path(folder.path()), another, &group, &opening).code, Code::kPositionLost);
}

TEST(GroupLayout, impossible_plans_are_refused) {
  const Folder folder;
  const auto log = open_log(folder.path());
  std::filesystem::create_directories(folder.path() + "/groups");
  const auto code = [&](auto change) {
    GroupPlan plan;
    change(plan);
    return Group::create(group_path(folder.path()), *log, plan).code;
  };
  EXPECT_EQ(code([](GroupPlan& p) { p.window = 1000; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.window = 32; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.window = 1u << 21; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.kind = GroupKind::kDurable; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.start = 0; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.rules.lease_ms = 99; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.rules.max_deliveries = 255; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.rules.backoff_ms = p.rules.max_backoff_ms + 1; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan& p) { p.settings = std::string(3065, 'x'); }), Code::kInvalidArgument);
  EXPECT_EQ(code([](GroupPlan&) {}), Code::kOk);
}

}  // namespace
}  // namespace hermes
