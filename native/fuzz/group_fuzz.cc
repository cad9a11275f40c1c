// Any bytes in a group's file, behind its checked header: opening sets right what contradicts itself, whatever is done then never crashes, never goes on
// for ever, and never hands out a message twice at a time. The first byte says which kind of group, and whether the bytes come before it is opened or while it's
// in use.
#include <algorithm>
#include <bitset>

#include "core/group/member.h"
#include "core/platform/clock.h"
#include "fuzz/topic.h"

namespace {

using namespace hermes;

constexpr uint32_t kMessages = 100;

struct Groups {
  std::string folder;
  std::shared_ptr<Log> log;
  std::vector<char> sound[4];
};

std::string path_of(const Groups& groups, uint32_t kind) {
  return groups.folder + "/groups/" + std::to_string(kind) + ".grp";
}

const Groups& groups() {
  static Groups* const made = [] {
    auto* const all = new Groups;
    all->folder = fuzz::make_folder();
    TopicSettings settings;
    settings.segment_bytes = kMinSegmentBytes;
    settings.max_payload = 4096;
    if (!Log::open(all->folder, &settings, {}, &all->log).ok()) std::abort();
    RecoveryReport report;
    std::unique_ptr<Appender> appender;
    if (!Appender::open(all->log, {}, &appender, &report).ok()) std::abort();
    const std::byte payload[16] = {};
    for (uint32_t i = 0; i < kMessages; ++i) {
      if (appender->append(payload, i % 17) != Code::kOk) std::abort();
    }
    std::filesystem::create_directories(all->folder + "/groups");
    for (uint32_t kind = 0; kind < 4; ++kind) {
      GroupPlan plan;
      plan.kind = static_cast<GroupKind>(kind);
      plan.window = plan.kind == GroupKind::kDurable ? 0 : 64;
      plan.rules.key_bytes = 4;
      if (!Group::create(path_of(*all, kind), *all->log, plan).ok()) std::abort();
      all->sound[kind] = fuzz::read_file(path_of(*all, kind));
    }
    std::atexit([] { std::filesystem::remove_all(groups().folder); });
    return all;
  }();
  return *made;
}

void work(Member& member, bool is_sound) {
  static ClaimRecord records[kMaxClaim];
  static uint64_t frames[4096];
  std::bitset<kMessages + 1> seen;
  for (int i = 0; i < 8; ++i) {
    ClaimResult result;
    if (!member.claim({records, 32, reinterpret_cast<std::byte*>(frames), sizeof frames}, &result).ok()) continue;
    if (result.count > 32 || result.bytes > sizeof frames) std::abort();
    for (uint32_t k = 0; k < result.count; ++k) {
      const uint64_t s = records[k].sequence;
      if (s == 0 || s > kMessages) std::abort();
      if (is_sound && seen[s]) std::abort();
      seen[s] = true;
    }
    uint8_t lost[kMaxClaim];
    if (i % 2 == 1)
      (void)member.settle(records, result.count, static_cast<Outcome>(i / 2 % 4), i == 7 ? 1000 : 0, lost);
    if (i % 2 == 1 && i / 2 % 4 >= 2) seen.reset();
  }
  (void)member.activate();
  (void)member.commit(kMessages + 1);
  (void)member.skip(records[0].sequence);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const uint32_t kind = data[0] % 4;
  const bool in_use = (data[0] & 4) != 0;
  const Groups& all = groups();
  std::vector<char> bytes = all.sound[kind];
  // From anywhere on: what is of interest lies far apart.
  const size_t at = sizeof(uint64_t) * 8 + (data[1] | data[2] << 8) % (bytes.size() - 64);
  const size_t count = std::min(size - 3, bytes.size() - at);
  if (!in_use) std::memcpy(bytes.data() + at, data + 3, count);
  fuzz::write_file(path_of(all, kind), bytes);
  std::shared_ptr<Group> group;
  GroupOpening opening;
  if (!Group::open(path_of(all, kind), all.log, &group, &opening).ok()) std::abort();
  std::unique_ptr<Member> member;
  if (!Member::join(group, {}, &member).ok()) std::abort();
  if (in_use) {
    work(*member, true);
    std::memcpy(reinterpret_cast<char*>(&group->block()) + at, data + 3, count);
  }
  work(*member, !in_use);
  (void)group->look_now(monotonic_ns());
  GroupReport report;
  (void)group->describe(&report);
  member->close();
  (void)group->reset(1, true);
  return 0;
}
