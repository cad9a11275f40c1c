// Retention at full speed in many processes: segments of 64 KiB, of which four are kept, come and go within milliseconds.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "core/log/interval_sync.h"
#include "core/log/segment_index.h"
#include "core/log/syncer.h"
#include "core/log/verify.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr size_t kPublishers = 3;
constexpr size_t kStop = 0;       // words: all are to end
constexpr size_t kRead = 1;       // messages that readers have seen
constexpr size_t kPublished = 8;  // + publisher: how far it has come

/// HERMES_STRESS_MS for a longer one.
uint64_t run_ms() {
  const char* const set = std::getenv("HERMES_STRESS_MS");
  return set != nullptr ? std::strtoull(set, nullptr, 10) : 3000;
}

/// What may happen to one who was overtaken, and nothing else.
bool was_overtaken(const Status& status) { return status.code == Code::kBehindRetention; }

void publish(const std::string& folder, const SharedWords& words, uint64_t who) {
  const auto log = open_log(folder);
  const auto appender = open_appender(log);
  std::atomic<uint32_t> failures{0};
  IntervalSync interval(log, 5, [&](const Status& status) {
    ADD_FAILURE() << "interval syncing ended: " << status.context;
    ++failures;
  });
  for (uint64_t n = words[kPublished + who] + 1; words[kStop] == 0 && failures == 0; ++n) {
    const auto one = message(who, n, 16 + n % 5 * 700);
    ASSERT_EQ(code_name(appender->append(one.data(), static_cast<uint32_t>(one.size()))), std::string("OK"))
        << appender->last_error().context;
    words[kPublished + who].store(n);
    if (n % 64 == 0) {
      Position synced;
      const Status status = log->syncer().sync_now(appender->last_sequence() + 1, &synced);
      ASSERT_TRUE(status.ok()) << status.context;
    }
  }
}

void read(const std::string& folder, const SharedWords& words) {
  const auto log = open_log(folder);
  Reader reader(log, MappedFile::Access::kRead);
  std::map<uint64_t, uint64_t> last;
  uint64_t sequence = 0;
  while (words[kStop] == 0) {
    std::vector<Message> messages;
    if (reader.segment() == nullptr && !reader.seek_earliest().ok()) continue;
    const Position from = reader.position();
    const std::shared_ptr<Segment> segment = reader.segment();
    const Scan found = scan(*segment, from.offset, from.sequence, 64, log->control().max_payload, true);
    ASSERT_NE(found.stop, ScanStop::kDamage) << "at " << from.segment << "/" << found.end;
    for (Position at = from; at.offset < found.end;) {
      const Step step = segment->step(at.offset);
      if (step.kind == Step::Kind::kData) {
        const FrameHeader* const header = segment->frame(at.offset);
        const auto* const payload = reinterpret_cast<const std::byte*>(header + 1);
        const Message m = {header->sequence, 0, {payload, payload + header->payload_len}, at};
        ASSERT_GT(m.sequence, sequence);
        sequence = m.sequence;
        ASSERT_LT(m.producer(), kPublishers);
        ASSERT_GT(m.number(), last[m.producer()]);
        last[m.producer()] = m.number();
        ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
        words[kRead].fetch_add(1);
      }
      at.offset += step.span;
      at.sequence += step.count;
    }
    reader.set_position(found.end, found.sequence);
    Status status;
    if (found.stop == ScanStop::kSegmentEnd) status = reader.next_segment();
    if (found.stop == ScanStop::kEmpty && found.messages == 0) {
      ASSERT_FALSE(log->is_hole(*segment, found.end)) << "at " << reader.position().segment << "/" << found.end;
    }
    if (found.stop == ScanStop::kClaim) {
      RepairOutcome outcome;
      status = repair_claim(*log, reader.position(), &outcome);
    }
    if (was_overtaken(status)) status = reader.seek_earliest();
    ASSERT_TRUE(status.ok() || status.code == Code::kNotFound) << status.context;
  }
}

/// All that looks at the topic without following it.
void look(const std::string& folder, const SharedWords& words, uint32_t seed) {
  std::mt19937 random(seed);
  while (words[kStop] == 0) {
    const auto log = open_log(folder);
    Reader reader(log, MappedFile::Access::kRead);
    for (int n = 0; n < 50 && words[kStop] == 0; ++n) {
      Position end;
      Position claimed;
      Status status = log->committed(&end);
      ASSERT_TRUE(status.ok()) << "committed: " << status.context;
      status = log->claimed_from(end, &claimed);
      ASSERT_TRUE(status.ok()) << "claimed: " << status.context;
      ASSERT_FALSE(claimed < end);
      switch (random() % 6) {
        case 0:
          status = reader.seek_earliest();
          break;
        case 1:
          status = reader.seek_latest();
          break;
        case 2:
          status = reader.seek_sequence(end.sequence - std::min<uint64_t>(end.sequence - 1, random() % 300));
          break;
        case 3:
          status = reader.seek_time(realtime_ns() - random() % 20'000'000);
          break;
        case 4: {
          SegmentReport report;
          status = verify_segment(*log, std::max<uint64_t>(log->first(), 1) + random() % 4, &report);
          ASSERT_TRUE(report.damage.empty())
              << "verify found " << report.damage[0].reason << " at " << report.damage[0].offset;
          break;
        }
        default:
          status = log->check_control();
      }
      ASSERT_TRUE(status.ok() || was_overtaken(status) || status.code == Code::kNotFound)
          << code_name(status.code) << ": " << status.context;
    }
  }
}

TEST(LogRetentionProcesses, nobody_is_told_of_more_than_that_he_was_overtaken) {
  const Folder folder(quick_place());
  const SharedWords words;
  in_child([&] {
    const auto log = open_log(folder.path());
    store_retention(log->control(), {4 * kMinSegmentBytes, 0});
    (void)open_appender(log);
  });
  std::vector<std::unique_ptr<Child>> publishers;
  const auto start = [&](uint64_t who) {
    return std::make_unique<Child>([&, who] { publish(folder.path(), words, who); });
  };
  for (uint64_t who = 0; who < kPublishers; ++who) publishers.push_back(start(who));
  std::vector<std::unique_ptr<Child>> others;
  for (int reader = 0; reader < 2; ++reader)
    others.push_back(std::make_unique<Child>([&] { read(folder.path(), words); }));
  for (uint32_t seed = 1; seed <= 2; ++seed)
    others.push_back(std::make_unique<Child>([&, seed] { look(folder.path(), words, seed); }));
  std::mt19937 random(5);
  const uint64_t until = monotonic_ns() + run_ms() * 1'000'000;
  uint64_t killed = 0;
  while (monotonic_ns() < until || words[kRead] == 0) {
    sleep_ms(50 + random() % 100);
    const size_t who = random() % kPublishers;
    if (random() % 2 == 0) {
      publishers[who]->signal(SIGKILL);
      EXPECT_EQ(publishers[who]->wait(), 128 + SIGKILL) << "it ended by itself";
      // What it published and did not note, it publishes again under a higher number.
      words[kPublished + who].fetch_add(1000);
      publishers[who] = start(who);
      ++killed;
    } else {
      publishers[who]->signal(SIGSTOP);
      sleep_ms(random() % 30);
      publishers[who]->signal(SIGCONT);
    }
    ASSERT_LT(monotonic_ns(), until + 60'000'000'000) << "nothing is read";
  }
  words[kStop].store(1);
  for (auto& publisher : publishers) EXPECT_EQ(publisher->wait(), 0);
  for (auto& other : others) EXPECT_EQ(other->wait(), 0);
  EXPECT_GT(words[kRead], 0u);
  RecordProperty("killed", static_cast<int>(killed));
  const auto log = open_log(folder.path());
  RecoveryReport report;
  const auto appender = open_appender(log, false, &report);
  EXPECT_TRUE(report.damage.empty());
  EXPECT_LE(log->active() - log->first(), 6u);
  std::printf("%llu messages read, segment %llu, %llu killed\n", static_cast<unsigned long long>(words[kRead].load()),
              static_cast<unsigned long long>(log->active()), static_cast<unsigned long long>(killed));
}

}  // namespace
}  // namespace hermes
