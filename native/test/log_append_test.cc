#include <filesystem>

#include "core/log/waiter.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

constexpr uint64_t kRoom = kMinSegmentBytes - kSegmentHeaderBytes;

/// Fills a fresh segment so that just `left` bytes stay free in it; returns the number of messages.
uint64_t fill_up_to(Appender* appender, uint64_t left) {
  uint64_t free = kRoom;
  uint64_t count = 0;
  while (free > left) {
    // Never leave a rest that is too small for a frame.
    uint64_t span = std::min<uint64_t>(4096, free - left);
    if (free - left - span != 0 && free - left - span < kFrameHeaderBytes) span -= kFrameHeaderBytes;
    append(appender, message(1, ++count, span - kFrameHeaderBytes));
    free -= span;
  }
  return count;
}

TEST(LogAppend, reads_back_every_length_from_0_to_the_largest) {
  const Folder folder;
  TopicSettings settings = small_segments();
  const auto log = open_log(folder.path(), settings);
  const auto appender = open_appender(log);
  uint64_t number = 0;
  for (uint32_t length = 0; length <= 300; ++length) append(appender.get(), message(1, ++number, length));
  for (uint32_t length = settings.max_payload - 20; length <= settings.max_payload; ++length) {
    append(appender.get(), message(1, ++number, length));
  }
  const auto messages = read_all(log);
  expect_numbered(messages, 1, number);
  EXPECT_EQ(messages[0].payload.size(), 0u);
  EXPECT_EQ(messages[300].payload.size(), 300u);
  EXPECT_EQ(messages.back().payload.size(), settings.max_payload);
}

TEST(LogAppend, refuses_a_payload_over_the_limit_and_goes_on) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const auto large = message(1, 1, small_segments().max_payload + 1);
  EXPECT_EQ(appender->append(large.data(), static_cast<uint32_t>(large.size())), Code::kPayloadTooLarge);
  const auto batch = batch_of({message(1, 1, 8), large});
  EXPECT_EQ(appender->append_batch(batch.data(), batch.size(), 2), Code::kPayloadTooLarge);
  append(appender.get(), message(1, 1, 100));
  expect_numbered(read_all(log), 1, 1);
}

TEST(LogAppend, gives_dense_sequences_from_1_and_the_time) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const uint64_t before = realtime_ns();
  for (uint64_t i = 1; i <= 1000; ++i) {
    append(appender.get(), message(1, i, 40));
    ASSERT_EQ(appender->last_sequence(), i);
  }
  const auto messages = read_all(log);
  ASSERT_EQ(messages.size(), 1000u);
  EXPECT_EQ(messages.back().timestamp_ns, appender->last_timestamp_ns());
  EXPECT_GE(messages.front().timestamp_ns + 1'000'000'000, before);
  EXPECT_LE(messages.back().timestamp_ns, realtime_ns() + 1'000'000'000);
}

class LogEdge : public ::testing::TestWithParam<uint64_t> {};

TEST_P(LogEdge, goes_on_in_the_next_segment_whatever_is_left_in_this_one) {
  const uint64_t left = GetParam();
  const Folder folder;
  const auto log = open_log(folder.path());
  auto appender = open_appender(log);
  const uint64_t filled = fill_up_to(appender.get(), left);
  ASSERT_EQ(log->active(), 1u);
  // A payload of 48 bytes needs 80: it does not fit.
  append(appender.get(), message(1, filled + 1, 48));
  EXPECT_EQ(log->active(), 2u);
  const auto messages = read_all(log);
  expect_numbered(messages, 1, filled + 1);
  EXPECT_EQ(messages.back().at, (Position{2, kSegmentHeaderBytes, filled + 1}));
  std::shared_ptr<Segment> second;
  ASSERT_TRUE(log->segment(2, &second).ok());
  EXPECT_EQ(second->header().base_sequence.load(), filled + 1);

  std::shared_ptr<Segment> first;
  ASSERT_TRUE(log->segment(1, &first).ok());
  const Step last = first->step(kMinSegmentBytes - left);
  EXPECT_EQ(last.kind, left >= kFrameHeaderBytes ? Step::Kind::kPadding : Step::Kind::kSegmentEnd);
  for (uint64_t at = kMinSegmentBytes - left; left < kFrameHeaderBytes && at < kMinSegmentBytes; at += 8) {
    EXPECT_EQ(first->word(at).load(), 0u) << "at " << at;
  }

  // Another publisher finds the same end.
  appender.reset();
  appender = open_appender(log);
  append(appender.get(), message(1, filled + 2, 1));
  expect_numbered(read_all(log), 1, filled + 2);
}

INSTANTIATE_TEST_SUITE_P(BytesLeft, LogEdge, ::testing::Values(0, 8, 16, 24, 32, 40, 48, 56, 64, 72));

TEST(LogAppend, ends_a_frame_exactly_at_the_end_of_the_segment) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const uint64_t filled = fill_up_to(appender.get(), 80);
  append(appender.get(), message(1, filled + 1, 48));
  EXPECT_EQ(log->active(), 1u);
  append(appender.get(), message(1, filled + 2, 48));
  EXPECT_EQ(log->active(), 2u);
  const auto messages = read_all(log);
  expect_numbered(messages, 1, filled + 2);
  EXPECT_EQ(messages[filled].at.offset, kMinSegmentBytes - 80);
}

TEST(LogAppend, joins_a_topic_whose_newest_segment_is_just_full) {
  for (const uint64_t left : {0, 8, 24}) {
    const Folder folder;
    uint64_t filled = 0;
    {
      const auto log = open_log(folder.path());
      filled = fill_up_to(open_appender(log).get(), left);
    }
    const auto log = open_log(folder.path());
    append(open_appender(log).get(), message(1, filled + 1, 10));
    expect_numbered(read_all(log), 1, filled + 1);
  }
}

TEST(LogAppend, rotates_many_times_without_losing_a_message) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 20'000; ++i) append(appender.get(), message(1, i, i % 200));
  EXPECT_GT(log->active(), 30u);
  expect_numbered(read_all(log), 1, 20'000);
  Position end;
  ASSERT_TRUE(log->committed(&end).ok());
  EXPECT_EQ(end.sequence, 20'001u);
}

TEST(LogAppend, keeps_batches_whole_across_rotation) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  uint64_t number = 0;
  for (int batch = 0; batch < 500; ++batch) {
    std::vector<std::vector<std::byte>> payloads;
    for (int i = 0; i < 1 + batch % 37; ++i) {
      ++number;
      payloads.push_back(message(1, number, number % 150));
    }
    const auto bytes = batch_of(payloads);
    ASSERT_EQ(appender->append_batch(bytes.data(), bytes.size(), static_cast<uint32_t>(payloads.size())), Code::kOk);
    ASSERT_EQ(appender->last_sequence(), number);
  }
  const auto messages = read_all(log);
  expect_numbered(messages, 1, number);
  EXPECT_GT(log->active(), 5u);
  // One segment and one time for all messages of a batch.
  size_t at = 0;
  for (int batch = 0; batch < 500; ++batch) {
    for (int i = 0; i < 1 + batch % 37; ++i, ++at) {
      EXPECT_EQ(messages[at].at.segment, messages[at - static_cast<size_t>(i)].at.segment);
      EXPECT_EQ(messages[at].timestamp_ns, messages[at - static_cast<size_t>(i)].timestamp_ns);
    }
  }
}

TEST(LogAppend, refuses_a_batch_whose_lengths_do_not_add_up) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  const auto bytes = batch_of({message(1, 1, 10), message(1, 2, 20)});
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size(), 1), Code::kInvalidArgument);
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size(), 3), Code::kInvalidArgument);
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size() - 8, 2), Code::kInvalidArgument);
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size(), 0), Code::kInvalidArgument);
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size(), 65'536), Code::kInvalidArgument);
  EXPECT_TRUE(read_all(log).empty());
  EXPECT_EQ(appender->append_batch(bytes.data(), bytes.size(), 2), Code::kOk);
  expect_numbered(read_all(log), 1, 2);
}

TEST(LogAppend, zeroes_the_bytes_between_payload_and_next_frame) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 41));
  std::shared_ptr<Segment> segment;
  ASSERT_TRUE(log->segment(1, &segment).ok());
  for (size_t i = 41; i < 48; ++i) EXPECT_EQ(segment->data()[kSegmentHeaderBytes + 32 + i], std::byte{0});
}

TEST(LogAppend, keeps_the_order_of_each_of_several_appenders) {
  const Folder folder;
  const auto log = open_log(folder.path());
  std::vector<std::unique_ptr<Appender>> appenders;
  for (int i = 0; i < 3; ++i) appenders.push_back(open_appender(log));
  uint64_t numbers[3] = {};
  for (uint64_t i = 0; i < 5000; ++i) {
    const uint64_t who = i * 7 % 11 % 3;
    append(appenders[who].get(), message(who, ++numbers[who], 16 + i % 90));
  }
  const auto messages = read_all(log);
  ASSERT_EQ(messages.size(), 5000u);
  uint64_t seen[3] = {};
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSERT_EQ(messages[i].sequence, i + 1);
    const uint64_t who = messages[i].producer();
    if (who > 2) FAIL() << "nobody's message";
    ASSERT_EQ(messages[i].number(), ++seen[who]);
  }
}

TEST(LogAppend, finds_its_place_after_others_have_rotated_and_retention_has_removed_what_lay_between) {
  const Folder folder;
  const auto log = open_log(folder.path());
  store_retention(log->control(), {3 * kMinSegmentBytes, 0});
  const auto sleeper = open_appender(log);
  append(sleeper.get(), message(7, 1, 16));
  // Another process's Log, so that nothing is shared but the files.
  const auto other_log = open_log(folder.path());
  const auto other = open_appender(other_log);
  for (uint64_t i = 1; i <= 2000; ++i) append(other.get(), message(1, i, 500));
  ASSERT_GT(log->first(), 3u);
  append(sleeper.get(), message(7, 2, 16));
  EXPECT_EQ(sleeper->last_sequence(), 2002u);
  EXPECT_FALSE(std::filesystem::exists(segment_path(folder.path(), 2))) << "a removed segment was made again";
  const auto messages = read_all(log);
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.back().sequence, 2002u);
  EXPECT_EQ(messages.back().producer(), 7u);
}

TEST(LogAppend, refuses_a_second_exclusive_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  auto first = open_appender(log, true);
  append(first.get(), message(1, 1, 8));
  std::unique_ptr<Appender> second;
  Appender::Options options;
  options.exclusive = true;
  EXPECT_EQ(Appender::open(log, options, &second, nullptr).code, Code::kExclusiveHeld);
  options.exclusive = false;
  EXPECT_EQ(Appender::open(log, options, &second, nullptr).code, Code::kExclusiveHeld);
  ASSERT_TRUE(first->close().ok());
  ASSERT_TRUE(Appender::open(log, options, &second, nullptr).ok());
  options.exclusive = true;
  EXPECT_EQ(Appender::open(log, options, &first, nullptr).code, Code::kExclusiveHeld);
}

TEST(LogAppend, frees_an_exclusive_topic_when_its_publisher_is_killed) {
  const Folder folder;
  const SharedWords words;
  Child holder([&] {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log, true);
    append(appender.get(), message(1, 1, 8));
    words[0] = 1;
    for (;;) sleep_ms(1000);
  });
  ASSERT_TRUE(eventually([&] { return words[0] == 1; }));
  const auto log = open_log(folder.path());
  std::unique_ptr<Appender> appender;
  EXPECT_EQ(Appender::open(log, {}, &appender, nullptr).code, Code::kExclusiveHeld);
  holder.signal(SIGKILL);
  EXPECT_EQ(holder.wait(), 128 + SIGKILL);
  appender = open_appender(log, true);
  append(appender.get(), message(1, 2, 8));
  expect_numbered(read_all(log), 1, 2);
}

TEST(LogAppend, refuses_to_append_in_a_forked_child) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto payload = message(1, 2, 8);
    const bool refused = appender->append(payload.data(), 8) == Code::kForked;
    const auto batch = batch_of({payload});
    ::_exit(refused && appender->append_batch(batch.data(), batch.size(), 1) == Code::kForked ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  append(appender.get(), message(1, 2, 8));
  expect_numbered(read_all(log), 1, 2);
}

TEST(LogAppend, refuses_to_append_after_close) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  append(appender.get(), message(1, 1, 8));
  EXPECT_TRUE(appender->close().ok());
  EXPECT_TRUE(appender->close().ok());
  const auto payload = message(1, 2, 8);
  EXPECT_EQ(appender->append(payload.data(), 8), Code::kClosed);
  EXPECT_TRUE(appender->has_room());
  expect_numbered(read_all(log), 1, 1);
}

TEST(LogAppend, refuses_the_257th_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  std::vector<std::unique_ptr<Appender>> appenders;
  for (uint32_t i = 0; i < kSlots; ++i) {
    appenders.push_back(open_appender(log));
    ASSERT_EQ(appenders.back()->slot(), i);
  }
  std::unique_ptr<Appender> one_more;
  EXPECT_EQ(Appender::open(log, {}, &one_more, nullptr).code, Code::kTooManyPublishers);
  appenders[17].reset();
  one_more = open_appender(log);
  EXPECT_EQ(one_more->slot(), 17u);
}

TEST(LogAppend, tells_in_its_slot_what_it_published) {
  const Folder folder;
  const auto log = open_log(folder.path());
  auto other = open_appender(log);
  for (uint64_t i = 1; i <= 10; ++i) append(other.get(), message(1, i, 8));
  const auto appender = open_appender(log);
  for (uint64_t i = 11; i <= 15; ++i) append(appender.get(), message(1, i, 8));
  const ParticipantSlot& slot = log->control().slots[appender->slot()];
  EXPECT_EQ(slot.state.load(), 1u);
  ASSERT_TRUE(appender->close().ok());
  EXPECT_EQ(slot.state.load(), 0u);
  EXPECT_EQ(slot.messages.load(), 5u);
  EXPECT_EQ(slot.bytes.load(), 5 * 40u);
}

TEST(LogAppend, refuses_settings_that_no_segment_can_have) {
  const Folder folder;
  std::shared_ptr<Log> log;
  for (const uint64_t bytes : {uint64_t{0}, kMinSegmentBytes - 4096, kMinSegmentBytes + 8, kMaxSegmentBytes + 4096}) {
    TopicSettings settings = small_segments();
    settings.segment_bytes = bytes;
    EXPECT_EQ(Log::open(folder.path(), &settings, {}, &log).code, Code::kInvalidArgument) << bytes;
  }
  for (const uint32_t payload : {uint32_t{0}, static_cast<uint32_t>(kMinSegmentBytes / 4 + 1)}) {
    TopicSettings settings = small_segments();
    settings.max_payload = payload;
    EXPECT_EQ(Log::open(folder.path(), &settings, {}, &log).code, Code::kInvalidArgument) << payload;
  }
  EXPECT_EQ(Log::open(folder.path(), nullptr, {}, &log).code, Code::kNotFound);
}

// --- reading ---------------------------------------------------------------------------------------------------------

TEST(LogRead, seeks_every_sequence_in_many_segments) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 3000; ++i) append(appender.get(), message(1, i, 200));
  Reader reader(log, MappedFile::Access::kRead);
  for (uint64_t sequence = 1; sequence <= 3001; sequence += 7) {
    ASSERT_TRUE(reader.seek_sequence(sequence).ok()) << sequence;
    ASSERT_EQ(reader.position().sequence, sequence);
    std::vector<Message> messages;
    EXPECT_EQ(read_on(&reader, &messages), ScanStop::kEmpty);
    ASSERT_EQ(messages.size(), 3001 - sequence);
    if (!messages.empty()) {
      ASSERT_EQ(messages[0].payload, message(1, sequence, 200));
    }
  }
  EXPECT_EQ(reader.seek_sequence(3002).code, Code::kOutOfRange);
}

TEST(LogRead, seeks_the_first_message_at_or_after_a_time) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 2000; ++i) append(appender.get(), message(1, i, 200));
  const auto messages = read_all(log);
  Reader reader(log, MappedFile::Access::kRead);
  for (size_t i = 0; i < messages.size(); i += 97) {
    const uint64_t time = messages[i].timestamp_ns;
    ASSERT_TRUE(reader.seek_time(time).ok());
    const auto first =
        std::find_if(messages.begin(), messages.end(), [&](const Message& m) { return m.timestamp_ns >= time; });
    EXPECT_EQ(reader.position().sequence, first->sequence);
  }
  ASSERT_TRUE(reader.seek_time(0).ok());
  EXPECT_EQ(reader.position().sequence, 1u);
  ASSERT_TRUE(reader.seek_time(~uint64_t{0}).ok());
  EXPECT_EQ(reader.position().sequence, 2001u);
}

TEST(LogRead, starts_behind_the_last_message_when_asked_for_the_latest) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 1234; ++i) append(appender.get(), message(1, i, 100));
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_latest().ok());
  EXPECT_EQ(reader.position().sequence, 1235u);
  EXPECT_FALSE(has_news(*log, reader.segment().get(), reader.position()));
  append(appender.get(), message(1, 1235, 100));
  EXPECT_TRUE(has_news(*log, reader.segment().get(), reader.position()));
  std::vector<Message> messages;
  read_on(&reader, &messages);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].sequence, 1235u);
}

TEST(LogRead, says_not_found_until_a_topic_has_its_first_publisher) {
  const Folder folder;
  const auto log = open_log(folder.path());
  Reader reader(log, MappedFile::Access::kRead);
  EXPECT_EQ(reader.seek_earliest().code, Code::kNotFound);
  EXPECT_EQ(reader.segment(), nullptr);
  EXPECT_FALSE(has_news(*log, reader.segment().get(), reader.position()));
  const auto appender = open_appender(log);
  EXPECT_TRUE(has_news(*log, reader.segment().get(), reader.position()));
  EXPECT_TRUE(reader.seek_earliest().ok());
  EXPECT_EQ(reader.position(), (Position{1, kSegmentHeaderBytes, 1}));
}

TEST(LogRead, reports_a_segment_that_somebody_removed) {
  const Folder folder;
  const auto log = open_log(folder.path());
  const auto appender = open_appender(log);
  for (uint64_t i = 1; i <= 1000; ++i) append(appender.get(), message(1, i, 200));
  Reader reader(log, MappedFile::Access::kRead);
  ASSERT_TRUE(reader.seek_earliest().ok());
  std::filesystem::remove(segment_path(folder.path(), 2));
  std::vector<Message> messages;
  EXPECT_EQ(read_on(&reader, &messages), ScanStop::kDamage);
  EXPECT_EQ(reader.next_segment().code, Code::kCorrupt);
}

}  // namespace
}  // namespace hermes
