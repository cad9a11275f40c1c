// What all topics of a process share: the threads that work in the background and those that sleep. And what is done without any.

#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "core/log/interval_sync.h"
#include "core/log/preparer.h"
#include "core/log/syncer.h"
#include "core/log/waiter.h"
#include "core/platform/executor.h"
#include "core/platform/sleeper.h"
#include "core/platform/thread.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Threads of this process whose name begins with `prefix`.
size_t threads_named(const std::string& prefix) {
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(entry.path() / "comm");
    std::string name;
    if (std::getline(file, name) && name.compare(0, prefix.size(), prefix) == 0) ++found;
  }
  return found;
}

/// From now on the kernel gives this process no further thread. The limit does not bind root.
void end_threads(const std::string& folder) {
  if (::geteuid() == 0) {
    std::filesystem::permissions(folder, std::filesystem::perms::all);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      ASSERT_EQ(::chown(entry.path().c_str(), 65534, 65534), 0);
    }
    ASSERT_EQ(::chown(folder.c_str(), 65534, 65534), 0);
    ASSERT_EQ(::setgid(65534), 0);
    ASSERT_EQ(::setuid(65534), 0);
  }
  const rlimit none = {0, 0};
  ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &none), 0);
  ASSERT_EQ(start_thread("none", [](void*) {}, nullptr).code, Code::kLimit);
}

// --- the executor ----------------------------------------------------------------------------------------------------

TEST(ExecutorThread, runs_many_jobs_on_few_threads_and_each_one_alone) {
  Executor executor("test-work", 3, 0);
  constexpr int kJobs = 100;
  struct Counted {
    std::atomic<int> runs{0};
    std::atomic<int> inside{0};
    std::atomic<bool> together{false};
    std::unique_ptr<Job> job;
  };
  std::vector<Counted> counted(kJobs);
  for (Counted& one : counted) {
    one.job = std::make_unique<Job>(executor, [&one] {
      if (one.inside.fetch_add(1) != 0) one.together = true;
      std::this_thread::yield();
      --one.inside;
      if (++one.runs < 20) (void)one.job->submit();
    });
  }
  for (Counted& one : counted) ASSERT_TRUE(one.job->submit().ok());
  EXPECT_TRUE(eventually([&] {
    for (const Counted& one : counted) {
      if (one.runs < 20) return false;
    }
    return true;
  }));
  EXPECT_LE(executor.threads(), 3u);
  for (Counted& one : counted) {
    one.job.reset();
    EXPECT_FALSE(one.together);
  }
}

TEST(ExecutorThread, keeps_times_while_other_jobs_take_long) {
  Executor executor("test-work", 3, 100'000);
  std::atomic<bool> go{false};
  std::atomic<int> ticks{0};
  Job slow(executor, [&] {
    while (!go) sleep_ms(1);
  });
  Job* self = nullptr;
  Job timed(executor, [&] {
    ++ticks;
    (void)self->submit_at(monotonic_ns() + 1'000'000);
  });
  self = &timed;
  ASSERT_TRUE(timed.submit_at(monotonic_ns() + 1'000'000).ok());
  ASSERT_TRUE(slow.submit().ok());
  EXPECT_TRUE(eventually([&] { return ticks > 20; })) << "the slow job keeps the time from being kept";
  // An earlier time counts, a later one does not.
  std::atomic<int> alarms{0};
  Job alarm(executor, [&] { ++alarms; });
  ASSERT_TRUE(alarm.submit_at(monotonic_ns() + 3'600'000'000'000).ok());
  ASSERT_TRUE(alarm.submit_at(monotonic_ns() + 2'000'000).ok());
  ASSERT_TRUE(alarm.submit_at(monotonic_ns() + 3'600'000'000'000).ok());
  EXPECT_TRUE(eventually([&] { return alarms == 1; }));
  go = true;
}

TEST(ExecutorThread, cancelling_waits_for_the_run_and_forgets_the_rest) {
  Executor executor("test-work", 2, 0);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> inside{0};
    {
      Job job(executor, [&] {
        ++inside;
        std::this_thread::yield();
        --inside;
      });
      ASSERT_TRUE(job.submit().ok());
      if (round % 3 == 0) {
        ASSERT_TRUE(job.submit_at(monotonic_ns() + 50'000).ok());
      }
      if (round % 2 == 0) std::this_thread::yield();
    }
    ASSERT_EQ(inside, 0);
  }
}

TEST(Executor, of_a_forked_child_is_its_own) {
  std::atomic<int> runs{0};
  Job parents(Executor::preparing(), [&] { ++runs; });
  ASSERT_TRUE(parents.submit().ok());
  ASSERT_TRUE(eventually([&] { return runs == 1; }));
  in_child([&] {
    EXPECT_EQ(parents.submit().code, Code::kForked);
    parents.cancel();  // returns
    std::atomic<int> own{0};
    Job childs(Executor::preparing(), [&] { ++own; });
    EXPECT_TRUE(childs.submit().ok());
    EXPECT_TRUE(eventually([&] { return own == 1; }));
  });
}

// --- sleepers --------------------------------------------------------------------------------------------------------

class WordSleeper final : public Sleeper {
 public:
  WordSleeper(std::atomic<uint32_t>* word, uint64_t timeout_ns)
      : word_(word), seen_(word->load()), until_(monotonic_ns() + timeout_ns) {}
  std::atomic<int> finished{0};

 protected:
  bool is_over(uint64_t now_ns) override { return word_->load(std::memory_order_acquire) != seen_ || now_ns >= until_; }
  Nap lie_down(uint64_t) override { return {word_, seen_, until_, false}; }
  void nudge() override {
    // As a log does: whoever is about to sleep doesn't.
    word_->fetch_add(1, std::memory_order_acq_rel);
    futex_wake_all(word_);
  }
  void finish() override { ++finished; }

 private:
  std::atomic<uint32_t>* const word_;
  const uint32_t seen_;
  const uint64_t until_;
};

class SleeperThread : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !can_wait_any()) GTEST_SKIP() << "this kernel has no futex_waitv";
  }
};
INSTANTIATE_TEST_SUITE_P(WaitAny, SleeperThread, ::testing::Bool());

constexpr uint64_t kHour = 3'600'000'000'000;

TEST_P(SleeperThread, wakes_each_of_many_by_its_word_its_time_or_when_cancelled) {
  SleeperPool pool(3, GetParam());
  constexpr size_t kMany = 500;  // more than three threads have room for
  std::vector<std::atomic<uint32_t>> words(kMany);
  std::vector<std::shared_ptr<WordSleeper>> sleepers;
  for (size_t i = 0; i < kMany; ++i) {
    sleepers.push_back(std::make_shared<WordSleeper>(&words[i], i % 3 == 1 ? 20'000'000 : kHour));
    ASSERT_TRUE(pool.add(sleepers.back()).ok());
  }
  EXPECT_LE(pool.threads(), 3u);
  sleep_ms(30);
  for (size_t i = 0; i < kMany; i += 3) {
    EXPECT_EQ(sleepers[i]->finished, 0);
    words[i].fetch_add(1, std::memory_order_release);
    futex_wake_all(&words[i]);
  }
  const auto have_finished = [&](size_t from) {
    for (size_t i = from; i < kMany; i += 3) {
      if (sleepers[i]->finished != 1) return false;
    }
    return true;
  };
  EXPECT_TRUE(eventually([&] { return have_finished(0) && have_finished(1); }));
  for (size_t i = 2; i < kMany; i += 3) {
    if (GetParam()) {
      EXPECT_EQ(sleepers[i]->finished, 0);
    }
    if (i % 2 == 0) {
      pool.remove(*sleepers[i]);
      EXPECT_EQ(sleepers[i]->finished, 1);
    } else {
      pool.cancel(*sleepers[i]);
    }
  }
  EXPECT_TRUE(eventually([&] { return have_finished(2); }));
}

TEST_P(SleeperThread, never_sleeps_through_a_word_that_changed_before) {
  SleeperPool pool(2, GetParam());
  std::atomic<uint32_t> word{0};
  for (int round = 0; round < 2000; ++round) {
    const auto sleeper = std::make_shared<WordSleeper>(&word, kHour);
    ASSERT_TRUE(pool.add(sleeper).ok());
    if (round % 2 == 0) std::this_thread::yield();
    word.fetch_add(1, std::memory_order_release);
    futex_wake_all(&word);
    ASSERT_TRUE(eventually([&] { return sleeper->finished == 1; })) << "round " << round;
  }
}

TEST_P(SleeperThread, follows_a_log_for_many_readers) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  SleeperPool pool(2, GetParam());
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  for (uint64_t round = 1; round <= 50; ++round) {
    std::atomic<int> news{0};
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(pool.add(std::make_shared<LogSleeper>(log, reader.segment(), reader.position(), kHour,
                                                        [&](bool told) { news += told ? 1 : 1000; }))
                      .ok());
    }
    append(appender.get(), message(1, round, 8));
    ASSERT_TRUE(eventually([&] { return news == 20; })) << "round " << round;
    reader.set_position(reader.position().offset + 40, reader.position().sequence + 1);
  }
}

// --- many topics -----------------------------------------------------------------------------------------------------

TEST(BackgroundThread, of_many_publishing_topics_needs_few_threads) {
  const Folder folder(quick_place());
  constexpr int kTopics = 60;
  std::vector<std::shared_ptr<Log>> logs;
  std::vector<std::unique_ptr<Appender>> appenders;
  std::vector<std::unique_ptr<IntervalSync>> intervals;
  std::atomic<int> synced{0};
  for (int i = 0; i < kTopics; ++i) {
    const std::string path = folder.path() + "/" + std::to_string(i);
    std::filesystem::create_directory(path);
    logs.push_back(open_log(path));
    appenders.push_back(open_appender(logs.back()));
    intervals.push_back(
        std::make_unique<IntervalSync>(logs.back(), 5, [](const Status& status) { ADD_FAILURE() << status.context; }));
  }
  for (uint64_t round = 1; round <= 400; ++round) {  // more than one segment each
    for (auto& appender : appenders) append(appender.get(), message(1, round, 200));
  }
  for (int i = 0; i < kTopics; ++i) {
    logs[static_cast<size_t>(i)]->syncer().request(
        401, [&](const Status& status, const Position&) { synced += status.ok() ? 1 : 1000; });
  }
  EXPECT_TRUE(eventually([&] { return synced == kTopics; }));
  EXPECT_LE(threads_named("hermes-"), 18u);
  EXPECT_GE(threads_named("hermes-"), 2u);
}

// --- no thread to be had ---------------------------------------------------------------------------------------------

// (Not named after threads: ThreadSanitizer does not let a child that was forked beside threads start some.)
TEST(AtTheTaskLimit, publishing_rotation_and_syncing_go_on) {
  const Folder folder;
  in_child([&] {
    const auto log = open_log(folder.path());
    log->control();
    end_threads(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
    EXPECT_GT(log->active(), 5u);
    EXPECT_FALSE(appender->under_pressure());
    int answers = 0;
    log->syncer().request(2001, [&](const Status& status, const Position& synced) {
      EXPECT_TRUE(status.ok()) << status.context;
      EXPECT_EQ(synced.sequence, 2001u);
      ++answers;
    });
    EXPECT_EQ(answers, 1);
    // What can't be done says so, and does not abort.
    Code told = Code::kOk;
    {
      const IntervalSync interval(log, 5, [&](const Status& status) { told = status.code; });
    }
    EXPECT_EQ(told, Code::kLimit);
    SleeperPool pool(4, can_wait_any());
    std::atomic<uint32_t> word{0};
    EXPECT_EQ(pool.add(std::make_shared<WordSleeper>(&word, kHour)).code, Code::kLimit);
    EXPECT_TRUE(appender->close().ok());
  });
}

}  // namespace
}  // namespace hermes
