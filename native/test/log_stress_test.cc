// Appenders and readers in threads that share one mapping: what ThreadSanitizer is to look at. Smaller under a sanitizer.

#include <map>
#include <thread>

#include "core/log/syncer.h"
#include "core/log/waiter.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kEach = 10'000;
#else
constexpr uint64_t kEach = 30'000;
#endif
constexpr uint64_t kProducers = 3;

void produce(const std::shared_ptr<Log>& log, uint64_t who) {
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= kEach;) {
    if (i % 7 == 0 && i + 2 <= kEach) {
      const auto batch = batch_of({message(who, i, 40), message(who, i + 1, 16)});
      ASSERT_EQ(appender->append_batch(batch.data(), batch.size(), 2), Code::kOk) << appender->last_error().context;
      i += 2;
    } else {
      append(appender.get(), message(who, i, 16 + i % 250));
      ++i;
    }
  }
}

TEST(LogStress, threads_that_share_a_log_see_every_message_once_and_in_order) {
  const Folder folder;
  const auto log = open_log(folder.path());
  {
    open_appender(log);
  }
  std::vector<std::thread> threads;
  for (uint64_t who = 0; who < kProducers; ++who) threads.emplace_back([&, who] { produce(log, who); });
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      Reader reader(log, MappedFile::Access::kReadWrite);
      Waiter waiter(log);
      std::map<uint64_t, uint64_t> last;
      uint64_t sequence = 0;
      while (sequence < kProducers * kEach) {
        std::vector<Message> messages;
        ASSERT_NE(read_on(&reader, &messages), ScanStop::kDamage);
        for (const Message& m : messages) {
          ASSERT_EQ(m.sequence, ++sequence);
          ASSERT_EQ(m.number(), ++last[m.producer()]);
          ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
        }
        if (messages.empty()) {
          ASSERT_TRUE(waiter.wait(reader.segment(), reader.position(), 20'000'000'000));
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 20; ++i) {
      Position end;
      Position synced;
      if (log->committed(&end).ok()) {
        EXPECT_TRUE(log->syncer().sync_now(end.sequence, &synced).ok());
      }
      log->advance_checkpoint();
      sleep_ms(1);
    }
  });
  for (auto& thread : threads) thread.join();
}

TEST(LogStress, retention_goes_on_under_appenders_and_readers) {
  const Folder folder;
  const auto log = open_log(folder.path());
  store_retention(log->control(), {4 * kMinSegmentBytes, 0});
  {
    open_appender(log);
  }
  std::atomic<bool> done{false};
  std::vector<std::thread> producers;
  for (uint64_t who = 0; who < kProducers; ++who) producers.emplace_back([&, who] { produce(log, who); });
  std::vector<std::thread> readers;
  for (int n = 0; n < 2; ++n) {
    readers.emplace_back([&] {
      Reader reader(log, MappedFile::Access::kReadWrite);
      uint64_t last = 0;
      for (;;) {
        const bool final = done.load();
        std::vector<Message> messages;
        const ScanStop stop = read_on(&reader, &messages);
        for (const Message& m : messages) {
          ASSERT_GT(m.sequence, last);
          last = m.sequence;
          ASSERT_EQ(m.payload, message(m.producer(), m.number(), m.payload.size()));
        }
        if (stop == ScanStop::kDamage) {
          // It fell behind: the next segment was removed before it came there.
          ASSERT_EQ(reader.next_segment().code, Code::kBehindRetention);
          ASSERT_TRUE(reader.seek_earliest().ok());
        } else if (final) {
          break;
        }
      }
      EXPECT_EQ(last, kProducers * kEach);
    });
  }
  for (auto& thread : producers) thread.join();
  done = true;
  for (auto& thread : readers) thread.join();
}

TEST(LogStress, appenders_come_and_go) {
  const Folder folder;
  const auto log = open_log(folder.path());
  std::vector<std::thread> threads;
  std::atomic<uint64_t> written{0};
  for (uint64_t who = 0; who < 4; ++who) {
    threads.emplace_back([&, who] {
      for (uint64_t round = 0; round < 20; ++round) {
        const auto appender = open_appender(log);
        for (uint64_t i = 0; i < 20; ++i) append(appender.get(), message(who, round * 20 + i, 100));
        written += 20;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ScanStop stop;
  const auto messages = read_all(log, &stop);
  EXPECT_EQ(stop, ScanStop::kEmpty);
  EXPECT_EQ(messages.size(), written);
  for (size_t i = 0; i < messages.size(); ++i) ASSERT_EQ(messages[i].sequence, i + 1);
}

}  // namespace
}  // namespace hermes
