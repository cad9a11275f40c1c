#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/log/syncer.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Waits for one callback and keeps what it said.
class Answer {
 public:
  Syncer::Callback callback() {
    return [this](const Status& status, const Position& synced) {
      const std::lock_guard<std::mutex> guard(mutex_);
      status_ = status;
      synced_ = synced;
      ++calls_;
      called_.notify_all();
    };
  }
  bool arrives() {
    std::unique_lock<std::mutex> lock(mutex_);
    return called_.wait_for(lock, std::chrono::seconds(10), [&] { return calls_ > 0; });
  }
  Status status() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return status_;
  }
  Position synced() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return synced_;
  }
  int calls() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable called_;
  Status status_;
  Position synced_;
  int calls_ = 0;
};

TEST(LogSync, raises_the_watermark_to_the_end_across_segments) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  Position synced;
  EXPECT_FALSE(load_position(log->control().synced, &synced));
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  ASSERT_TRUE(log->syncer().sync_now(1001, &synced).ok());
  EXPECT_EQ(synced.sequence, 1001u);
  Position stored;
  ASSERT_TRUE(load_position(log->control().synced, &stored));
  EXPECT_EQ(stored, synced);
  Position end;
  ASSERT_TRUE(log->committed(&end).ok());
  EXPECT_EQ(end, synced);
}

TEST(LogSync, does_not_sync_again_what_is_safe) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  Position synced;
  ASSERT_TRUE(log->syncer().sync_now(2, &synced).ok());
  const uint32_t generation = log->control().sync_generation;
  ASSERT_TRUE(log->syncer().sync_now(2, &synced).ok());
  EXPECT_EQ(log->control().sync_generation, generation);
}

TEST(LogSync, serves_many_waiters_with_few_syncs) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  constexpr int kWaiters = 200;
  std::vector<std::unique_ptr<Answer>> answers;
  for (int i = 0; i < kWaiters; ++i) {
    append(appender.get(), message(1, static_cast<uint64_t>(i) + 1, 64));
    answers.push_back(std::make_unique<Answer>());
    log->syncer().request(appender->last_sequence() + 1, answers.back()->callback());
  }
  for (int i = 0; i < kWaiters; ++i) {
    ASSERT_TRUE(answers[static_cast<size_t>(i)]->arrives());
    EXPECT_TRUE(answers[static_cast<size_t>(i)]->status().ok());
    EXPECT_GE(answers[static_cast<size_t>(i)]->synced().sequence, static_cast<uint64_t>(i) + 2);
    EXPECT_EQ(answers[static_cast<size_t>(i)]->calls(), 1);
  }
  EXPECT_LT(log->control().sync_generation, static_cast<uint32_t>(kWaiters) / 2);
}

TEST(LogSync, serves_the_waiters_of_other_processes_too) {
  const Folder folder;
  const SharedWords words;
  const auto wait_for_sync = [&](size_t who) {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 50; ++i) {
      append(appender.get(), message(who, i, 64));
      Position synced;
      EXPECT_TRUE(log->syncer().sync_now(appender->last_sequence() + 1, &synced).ok());
      EXPECT_GT(synced.sequence, appender->last_sequence());
    }
  };
  in_child([&] { append(open_appender(open_log(folder.path())).get(), message(9, 1, 8)); });
  Child one([&] { wait_for_sync(1); });
  Child other([&] { wait_for_sync(2); });
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(other.wait(), 0);
  const auto log = open_log(folder.path());
  EXPECT_LE(log->control().sync_generation, 100u);
  Position synced;
  ASSERT_TRUE(load_position(log->control().synced, &synced));
  EXPECT_EQ(synced.sequence, 102u);
}

TEST(LogSync, waits_behind_the_claim_of_a_live_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto slow = open_appender(log);
  const auto quick = open_appender(log);
  append(slow.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  const uint64_t at = kSegmentHeaderBytes + 40;
  claim_as_publisher(*log, *segment, at, {slow->slot(), 1, 40});
  append(quick.get(), message(2, 1, 8));
  ASSERT_EQ(quick->last_sequence(), 3u);
  Answer answer;
  log->syncer().request(4, answer.callback());
  sleep_ms(50);
  EXPECT_EQ(answer.calls(), 0) << "the message behind the claim can't be read yet, so it isn't safe";
  // The slow one commits.
  FrameFields fields;
  fields.sequence = 2;
  fields.payload_len = 8;
  const auto payload = message(1, 2, 8);
  std::memcpy(segment->data() + at + kFrameHeaderBytes, payload.data(), 8);
  const uint64_t word = stamp(*segment->frame(at), fields, payload.data());
  segment->word(at).store(word, std::memory_order_release);
  ASSERT_TRUE(answer.arrives());
  EXPECT_TRUE(answer.status().ok());
  EXPECT_EQ(answer.synced().sequence, 4u);
}

TEST(LogSync, repairs_the_claim_of_a_dead_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  segment->word(kSegmentHeaderBytes + 40).store(make_claim_word({200, 1, 40}));
  append(appender.get(), message(1, 3, 8));
  Position synced;
  ASSERT_TRUE(log->syncer().sync_now(4, &synced).ok());
  EXPECT_EQ(synced.sequence, 4u);
}

TEST(LogSync, refuses_to_wait_for_what_was_never_written) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  Position synced;
  EXPECT_EQ(log->syncer().sync_now(3, &synced).code, Code::kOutOfRange);
  EXPECT_EQ(synced.sequence, 2u);
}

TEST(LogSync, refuses_to_wait_behind_damage) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 3; ++i) append(appender.get(), message(1, i, 8));
  flip_bit(segment_path(folder.path(), 1), kSegmentHeaderBytes + 40, 7);
  Position synced;
  EXPECT_EQ(log->syncer().sync_now(4, &synced).code, Code::kCorrupt);
}

TEST(LogSync, gives_up_behind_a_stopped_publisher_when_the_topic_is_closed) {
  const Folder folder;
  const auto holder_log = open_log(folder.path());
  const auto holder = open_appender(holder_log);
  append(holder.get(), message(1, 1, 8));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(holder_log->segment(1, &segment).ok());
  claim_as_publisher(*holder_log, *segment, kSegmentHeaderBytes + 40, {holder->slot(), 1, 40});
  Answer answer;
  {
    const auto log = open_log(folder.path());
    log->syncer().request(3, answer.callback());
    sleep_ms(20);
  }
  EXPECT_EQ(answer.calls(), 1);
  EXPECT_EQ(answer.status().code, Code::kClosed);
}

}  // namespace
}  // namespace hermes
