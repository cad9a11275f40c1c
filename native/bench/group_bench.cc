// Claiming and settling, in batches and one at a time. The log is published once, and the group goes back to its beginning each time that it is through.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/group/member.h"
#include "core/log/appender.h"
#include "core/log/recovery.h"

namespace hermes {
namespace {

constexpr uint64_t kMessages = 400'000;

class GroupBench : public benchmark::Fixture {
 public:
  void SetUp(const benchmark::State& state) override {
    std::string pattern =
        (std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/hermes-bench-XXXXXX");
    folder = ::mkdtemp(pattern.data());
    TopicSettings settings;
    std::shared_ptr<Log> log;
    must(Log::open(folder, &settings, {}, &log));
    RecoveryReport report;
    must(Appender::open(log, {}, &appender, &report));
    std::vector<std::byte> payload(64);
    for (uint64_t i = 0; i < kMessages; ++i) {
      if (appender->append(payload.data(), 64) != Code::kOk) std::abort();
    }
    std::filesystem::create_directories(folder + "/groups");
    GroupPlan plan;
    plan.kind = static_cast<GroupKind>(state.range(1));
    plan.rules.key_bytes = 4;
    must(Group::create(folder + "/groups/g.grp", *log, plan));
    GroupOpening opening;
    must(Group::open(folder + "/groups/g.grp", log, &group, &opening));
    must(Member::join(group, {}, &member));
  }
  void TearDown(const benchmark::State&) override {
    member.reset();
    group.reset();
    appender.reset();
    std::filesystem::remove_all(folder);
  }
  static void must(const Status& status) {
    if (!status.ok()) std::abort();
  }
  /// Claims up to `limit`; from the beginning again when there is no more.
  uint32_t claim(uint32_t limit) {
    for (;;) {
      ClaimResult result;
      must(member->claim({records, limit, reinterpret_cast<std::byte*>(frames), sizeof frames}, &result));
      if (result.count > 0) return result.count;
      if (result.stop != ClaimStop::kEmpty) continue;
      member->renew();
      must(group->reset(1, true));
    }
  }

  std::string folder;
  std::unique_ptr<Appender> appender;
  std::shared_ptr<Group> group;
  std::unique_ptr<Member> member;
  ClaimRecord records[kMaxClaim];
  uint8_t lost[kMaxClaim];
  uint64_t frames[kMaxClaim * 16];
};

/// Claims `range(0)` at once and settles them at once.
BENCHMARK_DEFINE_F(GroupBench, batches)(benchmark::State& state) {
  uint64_t messages = 0;
  for (auto _ : state) {
    const uint32_t count = claim(static_cast<uint32_t>(state.range(0)));
    if (member->settle(records, count, Outcome::kDone, 0, lost) != count) std::abort();
    messages += count;
  }
  state.SetItemsProcessed(static_cast<int64_t>(messages));
}

/// Claims `range(0)` at once and settles each by itself, as a handler does.
BENCHMARK_DEFINE_F(GroupBench, settled_one_at_a_time)(benchmark::State& state) {
  uint64_t messages = 0;
  for (auto _ : state) {
    const uint32_t count = claim(static_cast<uint32_t>(state.range(0)));
    for (uint32_t i = 0; i < count; ++i) {
      if (member->settle(records + i, 1, Outcome::kDone, 0, lost) != 1) std::abort();
    }
    messages += count;
  }
  state.SetItemsProcessed(static_cast<int64_t>(messages));
}

BENCHMARK_REGISTER_F(GroupBench, batches)
    ->ArgNames({"at_once", "kind"})
    ->Args({256, 0})
    ->Args({256, 1})
    ->Args({256, 2})
    ->Args({16, 0})
    ->Args({1, 0});
BENCHMARK_REGISTER_F(GroupBench, settled_one_at_a_time)->ArgNames({"at_once", "kind"})->Args({256, 0})->Args({1, 0});

}  // namespace
}  // namespace hermes
