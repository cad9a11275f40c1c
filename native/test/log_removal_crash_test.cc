// A topic is deleted by a process that is killed or stopped on the way: what those find who have it open.

#include "core/log/removal.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

class LogRemovalCrash : public ::testing::Test {
 protected:
  Folder root;
  std::string folder = root.path() + "/t";
  std::string aside = root.path() + "/.deleted-t-000000000000";

  void SetUp() override { std::filesystem::create_directory(folder); }

  /// Three segments.
  std::shared_ptr<Log> fill() {
    auto log = open_log(folder);
    const auto appender = open_appender(log);
    for (uint64_t n = 1; log->active() < 3; ++n) append(appender.get(), message(1, n, 1000));
    return log;
  }
  /// Has another process delete the topic, and stop or die (`variable`) at `point`.
  std::unique_ptr<Child> remover(const char* variable, const char* point) {
    return std::make_unique<Child>([this, variable, point] {
      ::setenv(variable, point, 1);
      EXPECT_TRUE(remove_topic(folder, aside, true, 10'000).ok());
    });
  }
  void expect_stopped(pid_t pid) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, WUNTRACED), pid);
    ASSERT_TRUE(WIFSTOPPED(status));
  }
};

TEST_F(LogRemovalCrash, a_reader_that_comes_between_the_deletion_and_its_telling_gets_its_reason) {
  const auto log = fill();
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  ASSERT_EQ(remover("HERMES_CRASH", "remove:renamed")->wait(), 128 + SIGKILL);
  EXPECT_FALSE(log->is_deleted()) << "nobody has told yet";
  // Each goes for a file by its name.
  EXPECT_EQ(reader.next_segment().code, Code::kTopicDeleted);
  EXPECT_EQ(Reader(log, MappedFile::Access::kRead).seek_sequence(70).code, Code::kTopicDeleted);
  EXPECT_EQ(Reader(log, MappedFile::Access::kRead).seek_time(1).code, Code::kTopicDeleted);
  EXPECT_EQ(Reader(log, MappedFile::Access::kRead).seek_latest().code, Code::kTopicDeleted);
  EXPECT_TRUE(eventually([&] { return log->check_control().code == Code::kTopicDeleted; }));
}

TEST_F(LogRemovalCrash, a_later_topic_of_the_name_is_not_touched_by_those_who_have_the_old_one_open) {
  const auto log = fill();
  const auto publisher = open_appender(log);
  auto stopped = remover("HERMES_STOP", "remove:renamed");
  expect_stopped(stopped->pid());
  std::filesystem::create_directory(folder);
  const auto later = open_log(folder);
  append(open_appender(later).get(), message(2, 1, 100));

  Reader reader(log, MappedFile::Access::kRead);
  EXPECT_EQ(reader.seek_earliest().code, Code::kTopicDeleted) << "segment 1 of the later topic is none of its own";
  // What it publishes may be accepted until it goes for a file: then it learns.
  Code code = Code::kOk;
  const auto payload = message(1, 1, 1000);
  for (int n = 0; n < 1000 && code == Code::kOk; ++n)
    code = publisher->append(payload.data(), static_cast<uint32_t>(payload.size()));
  EXPECT_EQ(code, Code::kTopicDeleted) << publisher->last_error().context;
  std::unique_ptr<Appender> another;
  Appender::Options soon;
  soon.recovery_timeout_ms = 100;
  EXPECT_EQ(Appender::open(log, soon, &another, nullptr).code, Code::kTimedOut) << "the stopped one holds the lock";

  stopped->signal(SIGCONT);
  EXPECT_EQ(stopped->wait(), 0);
  EXPECT_TRUE(log->is_deleted());
  EXPECT_EQ(file_count(folder), 4u) << "control, locks, a segment and the one that was prepared";
  EXPECT_EQ(read_all(later).size(), 1u);
}

TEST_F(LogRemovalCrash, before_the_deletion_leaves_the_topic_as_it_was) {
  const auto log = fill();
  ASSERT_EQ(remover("HERMES_CRASH", "remove:announced")->wait(), 128 + SIGKILL);
  EXPECT_TRUE(log->check_control().ok());
  EXPECT_FALSE(log->is_gone());
  EXPECT_EQ(log->explained(Status::error(Code::kCorrupt, "something else")).code, Code::kCorrupt);
  append(open_appender(log).get(), message(1, 1, 100));
  EXPECT_EQ(log->control().deleted.load(), 0u) << "who publishes clears what was announced";
  EXPECT_TRUE(remove_topic(folder, aside, true, 10'000).ok());
  EXPECT_TRUE(log->is_deleted());
}

}  // namespace
}  // namespace hermes
