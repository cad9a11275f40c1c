// Zeros in the middle of a log, where more was written behind: everybody who comes there says so, rather than wait for ever.

#include "core/log/syncer.h"
#include "core/log/waiter.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

/// Three segments, open, and synced up to their end.
struct Written {
  const Folder folder;
  std::shared_ptr<Log> log = open_log(folder.path());
  std::unique_ptr<Appender> appender = open_appender(log);
  std::vector<Message> messages;

  Written() {
    for (uint64_t i = 1; i <= 600; ++i) append(appender.get(), message(1, i, 200));
    Position synced;
    EXPECT_TRUE(log->syncer().sync_now(601, &synced).ok());
    messages = read_all(log);
    EXPECT_EQ(log->active(), 3u);
  }
};

TEST(LogHole, in_an_older_segment_is_news_and_no_end) {
  Written w;
  const Message& hit = w.messages[100];
  ASSERT_EQ(hit.at.segment, 1u);
  lose_everything_behind(w.folder.path(), 1, hit.at.offset);
  Reader reader(w.log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  std::vector<Message> read;
  EXPECT_EQ(read_on(&reader, &read), ScanStop::kEmpty);
  EXPECT_EQ(reader.position().offset, hit.at.offset);
  EXPECT_TRUE(w.log->is_hole(*reader.segment(), reader.position().offset));
  EXPECT_TRUE(has_news(*w.log, reader.segment().get(), reader.position()));
  Waiter waiter(w.log);
  EXPECT_TRUE(waiter.wait(reader.segment(), reader.position(), 60'000'000'000)) << "it slept at a hole";
  ASSERT_TRUE(reader.skip_damage().ok());
  EXPECT_EQ(reader.position().segment, 2u);
  EXPECT_EQ(read_on(&reader, &read), ScanStop::kEmpty);
  EXPECT_EQ(read.back().sequence, 600u);
  EXPECT_FALSE(w.log->is_hole(*reader.segment(), reader.position().offset)) << "the end is none";
  EXPECT_FALSE(has_news(*w.log, reader.segment().get(), reader.position()));
}

TEST(LogHole, in_the_newest_segment_is_known_by_the_mark_until_a_power_cut) {
  Written w;
  const Message& hit = w.messages[w.messages.size() - 20];
  ASSERT_EQ(hit.at.segment, 3u);
  lose_everything_behind(w.folder.path(), 3, hit.at.offset);
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(w.log->segment(3, &segment).ok());
  EXPECT_TRUE(w.log->is_hole(*segment, hit.at.offset));
  // What the next publisher that opens finds out after a power cut is not judged before.
  reboot(w.folder.path());
  EXPECT_FALSE(w.log->is_hole(*segment, hit.at.offset));
}

TEST(LogHole, of_an_older_segment_ends_a_sync_as_damage) {
  Written w;
  const uint64_t zeros[4] = {};
  overwrite(w.folder.path() + "/control", offsetof(ControlBlock, synced), zeros, sizeof zeros);
  lose_checkpoint(w.folder.path());
  lose_everything_behind(w.folder.path(), 2, w.messages[350].at.offset);
  ASSERT_EQ(w.messages[350].at.segment, 2u);
  Position synced;
  EXPECT_EQ(w.log->syncer().sync_now(601, &synced).code, Code::kCorrupt);
}

}  // namespace
}  // namespace hermes
