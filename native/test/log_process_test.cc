// Several processes on one topic.

#include <map>

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Every message of `producers`, each of which wrote numbers from 1 to `per_producer`, once, in each one's order, densely.
void expect_complete(const std::vector<Message>& messages, uint64_t producers, uint64_t per_producer) {
  std::map<uint64_t, uint64_t> next;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& m = messages[i];
    ASSERT_EQ(m.sequence, i + 1);
    ASSERT_LT(m.producer(), producers);
    ASSERT_EQ(m.number(), ++next[m.producer()]) << "producer " << m.producer();
    ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
  }
  EXPECT_EQ(messages.size(), producers * per_producer);
}

TEST(LogProcesses, three_publishers_and_two_readers_agree_on_every_message) {
  constexpr uint64_t kEach = 8000;
  const Folder folder;
  in_child([&] { open_appender(open_log(folder.path())); });
  std::vector<std::unique_ptr<Child>> children;
  for (uint64_t who = 0; who < 3; ++who) {
    children.push_back(std::make_unique<Child>([&, who] {
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log);
      for (uint64_t i = 1; i <= kEach;) {
        if (i % 5 == 0 && i + 3 <= kEach) {
          const auto batch = batch_of({message(who, i, 30), message(who, i + 1, 70), message(who, i + 2, 16)});
          ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 3), Code::kOk);
          i += 3;
        } else {
          append(appender.get(), message(who, i, 16 + i % 120));
          ++i;
        }
      }
    }));
  }
  for (int reader = 0; reader < 2; ++reader) {
    children.push_back(std::make_unique<Child>([&] {
      const auto log = open_log(folder.path());
      Reader reader(log, MappedFile::Access::kRead);
      std::vector<Message> messages;
      ASSERT_TRUE(eventually([&] {
        const ScanStop stop = read_on(&reader, &messages);
        EXPECT_NE(stop, ScanStop::kDamage);
        return messages.size() >= 3 * kEach || stop == ScanStop::kDamage;
      }));
      expect_complete(messages, 3, kEach);
    }));
  }
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
}

TEST(LogProcesses, publishers_go_on_while_others_are_killed_at_any_moment) {
  const Folder folder(quick_place());  // the second that is allowed is no disk's to take
  const SharedWords words;             // [who] = number of messages that `who` knows to be written
  in_child([&] { open_appender(open_log(folder.path())); });
  Child survivor([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; words[100] == 0; ++i) {
      append(appender.get(), message(0, i, 16 + i % 200));
      words[0] = i;
      if (i % 64 == 0) sleep_ms(1);
    }
  });
  constexpr uint64_t kVictims = 40;
  for (uint64_t who = 1; who <= kVictims; ++who) {
    Child victim([&, who] {
      const auto log = open_log(folder.path());
      const auto appender = open_appender(log);
      for (uint64_t i = 1;; ++i) {
        if (i % 3 == 0) {
          const auto batch = batch_of({message(who, i, 16), message(who, i + 1, 600)});
          ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 2), Code::kOk);
          ++i;
        } else {
          append(appender.get(), message(who, i, 16 + i % 1000));
        }
        words[who] = i;
      }
    });
    ASSERT_TRUE(eventually([&] { return words[who] > who * 10; }));
    const timespec pause = {0, static_cast<long>(who * 37'000 % 1'000'000)};
    ::nanosleep(&pause, nullptr);
    victim.signal(SIGKILL);
    EXPECT_EQ(victim.wait(), 128 + SIGKILL);
    const uint64_t before = words[0];
    const uint64_t start = monotonic_ns();
    ASSERT_TRUE(eventually([&] { return words[0] > before; }));
    EXPECT_LT(monotonic_ns() - start, 1'000'000'000u) << "the survivor was held up";
  }
  words[100] = 1;
  EXPECT_EQ(survivor.wait(), 0);

  in_child([&] {
    const auto log = open_log(folder.path());
    ScanStop stop;
    const auto messages = read_all(log, &stop, true);
    EXPECT_EQ(stop, ScanStop::kEmpty);
    std::map<uint64_t, uint64_t> last;
    uint64_t sequence = 0;
    for (const Message& m : messages) {
      ASSERT_GT(m.sequence, sequence);
      sequence = m.sequence;
      ASSERT_LE(m.producer(), kVictims);
      ASSERT_EQ(m.number(), last[m.producer()] + 1) << "producer " << m.producer();
      last[m.producer()] = m.number();
      ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
    }
    for (uint64_t who = 0; who <= kVictims; ++who)
      EXPECT_GE(last[who], words[who]) << "an acknowledged message is missing";
  });
}

TEST(LogProcesses, never_rob_a_stopped_publisher_of_its_claim) {
  const Folder folder;
  const SharedWords words;
  Child stopped([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    append(appender.get(), message(1, 1, 16));
    // A claim as append() makes it, and then a long pause.
    std::shared_ptr<Segment> segment;
    ASSERT_TRUE(log->segment(1, &segment).ok());
    const uint64_t at = kSegmentHeaderBytes + 48;
    claim_as_publisher(*log, *segment, at, {appender->slot(), 1, 48});
    words[0] = 1;
    while (words[1] == 0) sleep_ms(1);
    FrameFields fields;
    fields.sequence = 2;
    fields.payload_len = 16;
    const auto payload = message(1, 2, 16);
    std::memcpy(segment->data() + at + kFrameHeaderBytes, payload.data(), payload.size());
    const uint64_t word = stamp(*segment->frame(at), fields, payload.data());
    segment->word(at).store(word, std::memory_order_release);
  });
  ASSERT_TRUE(eventually([&] { return words[0] == 1; }));
  stopped.signal(SIGSTOP);
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    EXPECT_EQ(appender->slot(), 1u);
    append(appender.get(), message(2, 1, 16));
    Reader reader(log, MappedFile::Access::kRead);
    std::vector<Message> messages;
    EXPECT_EQ(read_on(&reader, &messages), ScanStop::kClaim);
    EXPECT_EQ(messages.size(), 1u);
    for (int i = 0; i < 100; ++i) {
      RepairOutcome outcome;
      ASSERT_TRUE(repair_claim(*log, reader.position(), &outcome).ok());
      ASSERT_EQ(outcome, RepairOutcome::kAlive);
    }
  });
  stopped.signal(SIGCONT);
  words[1] = 1;
  EXPECT_EQ(stopped.wait(), 0);
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto messages = read_all(log);
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_EQ(messages[1].payload, message(1, 2, 16));
    EXPECT_EQ(messages[2].payload, message(2, 1, 16));
  });
}

TEST(LogProcesses, wait_for_anothers_recovery_and_share_its_result) {
  const Folder folder;
  in_child([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 5000; ++i) append(appender.get(), message(1, i, 100));
  });
  forget_orderly_close(folder.path());
  lose_checkpoint(folder.path());
  const SharedWords words;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      const auto log = open_log(folder.path());
      RecoveryReport report;
      const auto appender = open_appender(log, false, &report);
      if (report.ran) words[0].fetch_add(1);
      append(appender.get(), message(2, 1, 16));
      words[1].fetch_add(1);
      while (words[1] < 4) sleep_ms(1);
    }));
  }
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_EQ(words[0], 1u);
  in_child([&] { EXPECT_EQ(read_all(open_log(folder.path())).size(), 5004u); });
}

}  // namespace
}  // namespace hermes
