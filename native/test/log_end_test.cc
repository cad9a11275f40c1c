// An end that was found before is where the next search begins, unless a recovery came between: then nothing of it may be believed.

#include "core/log/log_end.h"

#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Another process opens the topic, publishes, and is killed.
void publish_and_die(const std::string& folder, uint64_t producer, uint64_t count, size_t length) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto log = open_log(folder);
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= count; ++i) append(appender.get(), message(producer, i, length));
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

Position find(LogEnd* end, Log& log) {
  Position at;
  const Status status = end->find(log, &at);
  EXPECT_TRUE(status.ok()) << status.context;
  return at;
}

Position committed(Log& log) {
  Position at;
  const Status status = log.committed(&at);
  EXPECT_TRUE(status.ok()) << status.context;
  return at;
}

/// The first word of the frame at `offset` of the first segment becomes zero, as a page that was lost.
void lose(const std::string& folder, uint64_t offset) {
  std::fstream file(segment_path(folder, 1), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  const uint64_t zero = 0;
  file.write(reinterpret_cast<const char*>(&zero), sizeof zero);
}

TEST(LogEnd, is_that_of_the_log) {
  const Folder folder;
  const auto log = open_log(folder.path());
  LogEnd end;
  Position at;
  EXPECT_EQ(end.find(*log, &at).code, Code::kNotFound);
  const auto appender = open_appender(log);
  // Through several segments.
  for (uint64_t i = 1; i <= 900; ++i) {
    append(appender.get(), message(1, i, i % 400));
    if (i % 7 == 0) {
      ASSERT_EQ(find(&end, *log), committed(*log)) << i;
    }
  }
  EXPECT_GT(find(&end, *log).segment, 2u);
}

TEST(LogEnd, does_not_walk_the_same_way_twice) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 100; ++i) append(appender.get(), message(1, i, 100));
  LogEnd end;
  const Position before = find(&end, *log);
  // Who walks over this frame again ends there.
  lose(folder.path(), kSegmentHeaderBytes);
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  ASSERT_EQ(committed(*log).sequence, 1u);
  EXPECT_EQ(find(&end, *log), before);
  append(appender.get(), message(1, 101, 100));
  EXPECT_EQ(find(&end, *log).sequence, before.sequence + 1);
}

TEST(LogEnd, is_forgotten_when_another_process_has_cut_the_log) {
  const Folder folder;
  const auto log = open_log(folder.path());
  publish_and_die(folder.path(), 1, 100, 100);
  LogEnd end;
  const Position before = find(&end, *log);
  ASSERT_EQ(before.sequence, 101u);
  // A power cut, of which nothing reached the disk behind the 50th message. What is published next has other sizes, so the old end lies within
  // one of the messages, whose bytes look like a frame there.
  const uint64_t fiftieth = kSegmentHeaderBytes + 50 * frame_span(100);
  {
    std::fstream file(segment_path(folder.path(), 1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fiftieth));
    const std::vector<char> zeros(kMinSegmentBytes - fiftieth);
    file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  }
  log->control().boot_id[0].store(1);
  store_position(log->control().synced, {1, kSegmentHeaderBytes, 1});
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  publish_and_die(folder.path(), 2, 40, 333);
  EXPECT_EQ(committed(*log).sequence, 91u);
  EXPECT_EQ(find(&end, *log), committed(*log));
}

TEST(LogEnd, is_forgotten_when_recovery_has_put_a_void_over_it) {
  const Folder folder;
  const auto log = open_log(folder.path());
  publish_and_die(folder.path(), 1, 10, 100);
  LogEnd end;
  const Position before = find(&end, *log);
  publish_and_die(folder.path(), 2, 10, 100);
  // The frames on both sides of the end are damaged, so one void takes the place of both.
  lose(folder.path(), before.offset - frame_span(100));
  lose(folder.path(), before.offset);
  log->control().boot_id[0].store(1);
  store_position(log->control().synced, {1, kSegmentHeaderBytes, 1});
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  publish_and_die(folder.path(), 3, 1, 100);
  // Nobody vouches for a part of the way.
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  ASSERT_EQ(committed(*log).sequence, 22u);
  EXPECT_EQ(find(&end, *log), committed(*log));
}

/// Bytes that are no frame, over the one at `offset` of the segment.
void damage(const std::string& folder, uint64_t segment, uint64_t offset) {
  std::fstream file(segment_path(folder, segment), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  const std::vector<char> bytes(64, '\xFF');
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST(LogEnd, lies_behind_damage) {
  for (const bool in_newest : {false, true}) {
    const Folder folder;
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    for (uint64_t i = 1; i <= (in_newest ? 300u : 900u); ++i) append(appender.get(), message(1, i, 100));
    const Position before = committed(*log);
    ASSERT_EQ(before.segment > 1, !in_newest);
    // Nobody vouches for a part of the way, as after a crash.
    store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
    damage(folder.path(), 1, kSegmentHeaderBytes + 50 * frame_span(100));
    // Who vouches for what is synced or handed on to a recovery stops here …
    EXPECT_EQ(committed(*log).sequence, 51u);
    // … and who says how much there is does not.
    LogEnd end;
    EXPECT_EQ(find(&end, *log), before);
    Position claimed;
    ASSERT_TRUE(log->claimed_from({1, kSegmentHeaderBytes, 1}, &claimed).ok());
    EXPECT_EQ(claimed, before);
  }
}

TEST(LogEnd, lies_behind_a_page_that_was_lost_in_a_segment_that_is_full) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 900; ++i) append(appender.get(), message(1, i, 100));
  const Position before = committed(*log);
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  lose(folder.path(), kSegmentHeaderBytes + 50 * frame_span(100));
  EXPECT_EQ(committed(*log).sequence, 51u);
  LogEnd end;
  EXPECT_EQ(find(&end, *log), before);
}

TEST(LogEnd, is_the_damage_if_nothing_is_known_to_follow) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 300; ++i) append(appender.get(), message(1, i, 100));
  store_position(log->control().checkpoint, {1, kSegmentHeaderBytes, 1});
  const Position last = {1, kSegmentHeaderBytes + 299 * frame_span(100), 300};
  damage(folder.path(), 1, last.offset);
  LogEnd end;
  EXPECT_EQ(find(&end, *log), last);
}

TEST(LogEnd, outlives_retention) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 100));
  LogEnd end;
  ASSERT_EQ(find(&end, *log).segment, 1u);
  store_retention(log->control(), {2 * kMinSegmentBytes, 0});
  for (uint64_t i = 2; i <= 3000; ++i) append(appender.get(), message(1, i, 100));
  ASSERT_GT(log->first(), 1u);
  EXPECT_EQ(find(&end, *log), committed(*log));
}

}  // namespace
}  // namespace hermes
