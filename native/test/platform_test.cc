#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "core/platform/clock.h"
#include "core/platform/file.h"
#include "core/platform/fork_guard.h"
#include "core/platform/futex.h"
#include "core/platform/lock_file.h"
#include "core/platform/mapped_file.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using test::Child;
using test::eventually;
using test::Folder;
using test::SharedWords;

TEST(File, gives_a_name_only_once) {
  const Folder folder;
  const std::string path = folder.path() + "/name";
  File first;
  File second;
  std::string first_name;
  std::string second_name;
  ASSERT_TRUE(File::create_temporary(path, 0600, &first, &first_name).ok());
  ASSERT_TRUE(File::create_temporary(path, 0600, &second, &second_name).ok());
  ASSERT_TRUE(first.write_at(0, "first", 5).ok());
  ASSERT_TRUE(second.write_at(0, "second", 6).ok());
  bool won = false;
  ASSERT_TRUE(File::publish(second_name, path, &won).ok());
  EXPECT_TRUE(won);
  ASSERT_TRUE(File::publish(first_name, path, &won).ok());
  EXPECT_FALSE(won);
  const auto bytes = test::read_file(path);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "second");
  EXPECT_EQ(test::file_count(folder.path()), 1u) << "a temporary file was left";
}

TEST(File, has_the_mode_that_was_asked_for_whatever_the_umask) {
  const Folder folder;
  const mode_t before = ::umask(077);
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/x", 0664, &file, &name).ok());
  ::umask(before);
  uint32_t mode = 0;
  ASSERT_TRUE(file.mode(&mode).ok());
  EXPECT_EQ(mode, 0664u);
}

TEST(File, says_that_a_short_file_ends_too_early) {
  const Folder folder;
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/x", 0600, &file, &name).ok());
  ASSERT_TRUE(file.write_at(0, "12345", 5).ok());
  char bytes[8];
  EXPECT_EQ(file.read_at(0, bytes, sizeof bytes).code, Code::kCorrupt);
  EXPECT_TRUE(file.read_at(0, bytes, 5).ok());
}

TEST(File, classifies_what_the_system_says) {
  File file;
  EXPECT_EQ(File::open("/does/not/exist", false, &file).code, Code::kNotFound);
  EXPECT_EQ(File::open("/etc/passwd/x", false, &file).code, Code::kNotADirectory);
  EXPECT_EQ(Status::from_errno(ENOSPC, "x").code, Code::kDiskFull);
  EXPECT_EQ(Status::from_errno(EDQUOT, "x").code, Code::kDiskFull);
  EXPECT_EQ(Status::from_errno(EACCES, "x").code, Code::kAccessDenied);
  EXPECT_EQ(Status::from_errno(EIO, "x").code, Code::kIoFailed);
}

TEST(File, waits_for_nobody_where_something_else_is_in_its_place) {
  const Folder folder;
  const std::string pipe = folder.path() + "/pipe";
  const std::string link = folder.path() + "/link";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_EQ(::symlink((folder.path() + "/none").c_str(), link.c_str()), 0);
  File file;
  for (const bool writable : {false, true}) {
    EXPECT_EQ(File::open(folder.path(), writable, &file).code, Code::kCorrupt);
    EXPECT_EQ(File::open(pipe, writable, &file).code, Code::kCorrupt);
    EXPECT_EQ(File::open("/dev/null", writable, &file).code, Code::kCorrupt);
    EXPECT_FALSE(File::open(link, writable, &file).ok());
  }
}

TEST(File, finds_data_behind_a_hole) {
  const Folder folder;
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/x", 0600, &file, &name).ok());
  ASSERT_TRUE(file.resize(1 << 20).ok());
  ASSERT_TRUE(file.write_at(512 << 10, "x", 1).ok());
  EXPECT_LE(file.next_data(0), uint64_t{512} << 10);
  EXPECT_LE(file.next_data(516 << 10), uint64_t{1} << 20);
  EXPECT_GE(file.next_data(516 << 10), uint64_t{516} << 10);
}

TEST(File, is_not_inherited_by_other_programs) {
  const Folder folder;
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/x", 0600, &file, &name).ok());
  EXPECT_EQ(::fcntl(file.fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(MappedFile, is_shared_and_outlives_descriptor_and_name) {
  const Folder folder;
  MappedFile one;
  MappedFile other;
  {
    File file;
    std::string name;
    ASSERT_TRUE(File::create_temporary(folder.path() + "/x", 0600, &file, &name).ok());
    ASSERT_TRUE(file.resize(8192).ok());
    ASSERT_TRUE(file.allocate(0, 8192).ok());
    ASSERT_TRUE(MappedFile::map(file, 8192, MappedFile::Access::kReadWrite, &one).ok());
    ASSERT_TRUE(MappedFile::map(file, 8192, MappedFile::Access::kRead, &other).ok());
    ASSERT_TRUE(one.populate(0, 8192).ok());
    std::remove(name.c_str());
  }
  one.data()[5000] = std::byte{42};
  EXPECT_EQ(other.data()[5000], std::byte{42});
}

TEST(LockFile, excludes_other_participants_also_within_one_process) {
  const Folder folder;
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/locks", 0600, &file, &name).ok());
  LockFile a;
  LockFile b;
  ASSERT_TRUE(LockFile::open(name, &a).ok());
  ASSERT_TRUE(LockFile::open(name, &b).ok());
  ASSERT_TRUE(a.try_lock(7, LockFile::Mode::kExclusive).ok());
  EXPECT_EQ(b.try_lock(7, LockFile::Mode::kExclusive).code, Code::kBusy);
  EXPECT_EQ(b.try_lock(7, LockFile::Mode::kShared).code, Code::kBusy);
  EXPECT_TRUE(b.try_lock(8, LockFile::Mode::kExclusive).ok());
  bool held = false;
  ASSERT_TRUE(b.is_held(7, &held).ok());
  EXPECT_TRUE(held);
  ASSERT_TRUE(a.is_held(7, &held).ok());
  EXPECT_FALSE(held) << "a participant does not stand in its own way";
  ASSERT_TRUE(a.try_lock(7, LockFile::Mode::kShared).ok());
  EXPECT_TRUE(b.try_lock(7, LockFile::Mode::kShared).ok());
  EXPECT_EQ(a.try_lock(7, LockFile::Mode::kExclusive).code, Code::kBusy);
  EXPECT_EQ(a.lock(7, LockFile::Mode::kExclusive, 5).code, Code::kTimedOut);
  b.unlock(7);
  EXPECT_TRUE(a.try_lock(7, LockFile::Mode::kExclusive).ok());
  a.close();
  EXPECT_TRUE(b.try_lock(7, LockFile::Mode::kExclusive).ok());
}

TEST(LockFile, is_given_back_by_the_kernel_when_the_holder_is_killed_but_not_when_it_is_stopped) {
  const Folder folder;
  File file;
  std::string name;
  ASSERT_TRUE(File::create_temporary(folder.path() + "/locks", 0600, &file, &name).ok());
  const SharedWords words;
  Child holder([&] {
    LockFile mine;
    ASSERT_TRUE(LockFile::open(name, &mine).ok());
    ASSERT_TRUE(mine.try_lock(20, LockFile::Mode::kExclusive).ok());
    words[0] = 1;
    for (;;) test::sleep_ms(1000);
  });
  ASSERT_TRUE(eventually([&] { return words[0] == 1; }));
  LockFile probe;
  ASSERT_TRUE(LockFile::open(name, &probe).ok());
  holder.signal(SIGSTOP);
  bool held = false;
  ASSERT_TRUE(probe.is_held(20, &held).ok());
  EXPECT_TRUE(held);
  EXPECT_EQ(probe.try_lock(20, LockFile::Mode::kExclusive).code, Code::kBusy);
  holder.signal(SIGKILL);
  holder.wait();
  EXPECT_TRUE(eventually([&] { return probe.is_held(20, &held).ok() && !held; }));
}

TEST(Futex, wakes_a_sleeper_in_another_process) {
  const SharedWords words;
  auto* const word = reinterpret_cast<std::atomic<uint32_t>*>(&words[0]);
  Child sleeper([&] {
    words[1] = 1;
    while (word->load() == 0) EXPECT_EQ(futex_wait(word, 0, 9'000'000'000), WaitResult::kWoken);
    words[1] = 2;
  });
  ASSERT_TRUE(eventually([&] { return words[1] == 1; }));
  test::sleep_ms(20);
  word->store(1);
  futex_wake_all(word);
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(words[1], 2u);
}

TEST(Futex, times_out_and_does_not_sleep_on_another_value) {
  std::atomic<uint32_t> word{5};
  EXPECT_EQ(futex_wait(&word, 5, 1'000'000), WaitResult::kTimedOut);
  EXPECT_EQ(futex_wait(&word, 6, 9'000'000'000), WaitResult::kWoken);
}

TEST(FastClock, follows_the_system_clock) {
  FastClock clock;
  uint64_t last = 0;
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t before = realtime_ns();
    const uint64_t now = clock.now_ns();
    const uint64_t after = realtime_ns();
    // The extrapolation over a millisecond errs by the rate's error: a few microseconds at the very most.
    ASSERT_GE(now + 20'000, before);
    ASSERT_LE(now, after + 20'000);
    ASSERT_GE(now + 20'000, last);
    last = now;
  }
}

TEST(ForkGuard, tells_the_child_from_the_parent) {
  const ForkGuard guard;
  EXPECT_FALSE(guard.in_child());
  test::in_child([&] {
    EXPECT_TRUE(guard.in_child());
    const ForkGuard own;
    EXPECT_FALSE(own.in_child());
  });
  EXPECT_FALSE(guard.in_child());
}

TEST(FastClock, never_goes_back_between_two_readings_of_the_system_clock) {
  FastClock clock;
  uint64_t before = clock.now_ns();
  const uint64_t until = monotonic_ns() + 300'000'000;
  while (monotonic_ns() < until) {
    const uint64_t now = clock.now_ns();
    ASSERT_GE(now, before);
    before = now;
  }
}

}  // namespace
}  // namespace hermes
