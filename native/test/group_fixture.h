#pragma once

// What the tests of consumer groups share: a topic with messages, groups, members with buffers of their own.

#include <filesystem>
#include <map>

#include "core/group/group.h"
#include "core/group/group_file.h"
#include "core/group/member.h"
#include "log_fixture.h"

namespace hermes::test {

inline GroupPlan plan_of(GroupKind kind, uint32_t window = 1024) {
  GroupPlan plan;
  plan.kind = kind;
  plan.window = kind == GroupKind::kDurable ? 0 : window;
  plan.rules.backoff_ms = 0;
  plan.rules.max_backoff_ms = 0;
  return plan;
}

/// Keys are the first four bytes of what keyed_message() makes.
inline GroupPlan keyed_plan(uint32_t window = 1024) {
  GroupPlan plan = plan_of(GroupKind::kKeyed, window);
  plan.rules.key_offset = 16;
  plan.rules.key_bytes = 4;
  return plan;
}
inline std::vector<std::byte> keyed_message(uint64_t number, uint32_t key, size_t length = 32) {
  auto bytes = message(0, number, length);
  std::memcpy(bytes.data() + 16, &key, sizeof key);
  return bytes;
}

inline std::string group_path(const std::string& folder, const std::string& name = "g") {
  return folder + "/groups/" + name + ".grp";
}

inline std::shared_ptr<Group> open_group(const std::shared_ptr<Log>& log,
                                         const GroupPlan& plan = plan_of(GroupKind::kShared),
                                         GroupOpening* opening = nullptr, const std::string& name = "g") {
  std::filesystem::create_directories(log->folder() + "/groups");
  const std::string path = group_path(log->folder(), name);
  Status status = std::filesystem::exists(path) ? Status::success() : Group::create(path, *log, plan);
  EXPECT_TRUE(status.ok()) << status.context;
  std::shared_ptr<Group> group;
  GroupOpening found;
  status = Group::open(path, log, &group, &found);
  EXPECT_TRUE(status.ok()) << status.context;
  if (opening != nullptr) *opening = found;
  return group;
}

/// A member, and what it has claimed last.
class TestMember {
 public:
  explicit TestMember(const std::shared_ptr<Group>& group, const MemberOptions& options = {}, size_t capacity = 1 << 18)
      : frames_((capacity + 7) / 8) {
    const Status status = Member::join(group, options, &member_);
    EXPECT_TRUE(status.ok()) << status.context;
  }
  Member& operator*() const { return *member_; }
  Member* operator->() const { return member_.get(); }
  void leave() { member_.reset(); }

  /// The messages that one call gets.
  std::vector<ClaimRecord> claim(uint32_t limit = kMaxClaim) {
    const Status status = try_claim(limit);
    EXPECT_TRUE(status.ok()) << status.context;
    return {records_, records_ + result.count};
  }
  Status try_claim(uint32_t limit = kMaxClaim) {
    return member_->claim({records_, limit, reinterpret_cast<std::byte*>(frames_.data()), frames_.size() * 8}, &result);
  }
  Status peek(uint32_t limit, std::vector<ClaimRecord>* records) {
    const Status status =
        member_->peek({records_, limit, reinterpret_cast<std::byte*>(frames_.data()), frames_.size() * 8}, &result);
    records->assign(records_, records_ + result.count);
    return status;
  }
  /// Until nothing more comes at once.
  std::vector<ClaimRecord> claim_all(uint32_t limit = kMaxClaim) {
    std::vector<ClaimRecord> all;
    for (;;) {
      const auto some = claim(limit);
      if (some.empty() && result.stop != ClaimStop::kBusy) return all;
      all.insert(all.end(), some.begin(), some.end());
    }
  }
  uint32_t settle(const std::vector<ClaimRecord>& records, Outcome outcome = Outcome::kDone, uint64_t delay_ns = 0) {
    lost.assign(records.size() + 1, 9);
    return member_->settle(records.data(), static_cast<uint32_t>(records.size()), outcome, delay_ns, lost.data());
  }
  std::vector<std::byte> payload(const ClaimRecord& record) const {
    const auto* const frame = reinterpret_cast<const std::byte*>(frames_.data()) + record.frame;
    FrameHeader header;
    std::memcpy(&header, frame, sizeof header);
    return {frame + kFrameHeaderBytes, frame + kFrameHeaderBytes + header.payload_len};
  }
  uint64_t number_of(const ClaimRecord& record) const {
    uint64_t number = 0;
    std::memcpy(&number, payload(record).data() + 8, 8);
    return number;
  }

  ClaimResult result;
  std::vector<uint8_t> lost;

 private:
  std::unique_ptr<Member> member_;
  std::vector<uint64_t> frames_;
  ClaimRecord records_[kMaxClaim];
};

inline std::vector<uint64_t> sequences(const std::vector<ClaimRecord>& records) {
  std::vector<uint64_t> all;
  for (const ClaimRecord& r : records) all.push_back(r.sequence);
  return all;
}
/// from, from + 1, … to
inline std::vector<uint64_t> range(uint64_t from, uint64_t to) {
  std::vector<uint64_t> all;
  for (uint64_t s = from; s <= to; ++s) all.push_back(s);
  return all;
}

inline void append_numbered(Appender* appender, uint64_t from, uint64_t to, size_t length = 32) {
  for (uint64_t i = from; i <= to; ++i) append(appender, message(0, i, length));
}

/// As if its lease were over: it neither renews it nor comes to claim.
inline void let_lease_end(Member& member) {
  member.group()->block().slots[member.number()].lease_ns.store(1, std::memory_order_relaxed);
}

inline GroupReport report_of(const std::shared_ptr<Group>& group) {
  GroupReport report;
  const Status status = group->describe(&report);
  EXPECT_TRUE(status.ok()) << status.context;
  return report;
}

/// As if the group had last been used in another boot.
inline void reboot_group(const std::string& path) {
  const char other[16] = "another boot id";
  const Bytes file = read_file(path);
  const auto mapped = std::make_unique<uint64_t[]>(sizeof(GroupBlock) / 8);
  std::memcpy(mapped.get(), file.data(), sizeof(GroupBlock));
  auto& block = *reinterpret_cast<GroupBlock*>(mapped.get());
  GroupUse use;
  ASSERT_TRUE(load_use(block, &use));
  std::memcpy(use.boot_id, other, sizeof other);
  store_use(block, use);
  overwrite(path, 768, reinterpret_cast<char*>(mapped.get()) + 768, 64);
}

}  // namespace hermes::test
