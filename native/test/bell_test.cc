#include "core/platform/bell.h"

#include <poll.h>

#include <atomic>
#include <set>
#include <thread>

#include "core/log/bells.h"
#include "core/log/removal.h"
#include "core/log/waiter.h"
#include "core/platform/futex.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using namespace test;

std::unique_ptr<Bell> make_bell() {
  std::unique_ptr<Bell> bell;
  const Status status = Bell::create(&bell);
  EXPECT_TRUE(status.ok()) << status.context;
  return bell;
}

std::vector<uint64_t> tags_of(Bell& bell) {
  const Bell::Heard heard = bell.hear();
  return {heard.tags.begin(), heard.tags.begin() + heard.count};
}

bool is_rung(const Bell& bell, int timeout_ms) {
  pollfd asked{bell.descriptor(), POLLIN, 0};
  return ::poll(&asked, 1, timeout_ms) == 1;
}

TEST(Bell, is_rung_from_other_processes_and_tells_with_what) {
  const auto bell = make_bell();
  EXPECT_FALSE(is_rung(*bell, 0));
  EXPECT_TRUE(tags_of(*bell).empty());
  in_child([&] {
    EXPECT_EQ(ring_bell(bell->name(), 7), Rung::kHeard);
    EXPECT_EQ(ring_bell(bell->name(), 1ULL << 60), Rung::kHeard);
  });
  EXPECT_TRUE(is_rung(*bell, 0));
  EXPECT_EQ(tags_of(*bell), (std::vector<uint64_t>{7, 1ULL << 60}));
  EXPECT_FALSE(is_rung(*bell, 0));
}

TEST(Bell, says_when_rings_may_have_been_lost_and_never_blocks_who_rings) {
  const auto bell = make_bell();
  for (uint64_t i = 0; i < 5000; ++i) EXPECT_EQ(ring_bell(bell->name(), i), Rung::kHeard);
  EXPECT_TRUE(bell->hear().perhaps_more);
  while (bell->hear().count > 0) {
  }
  EXPECT_EQ(ring_bell(bell->name(), 1), Rung::kHeard);
  const Bell::Heard heard = bell->hear();
  EXPECT_EQ(heard.count, 1u);
  EXPECT_FALSE(heard.perhaps_more);
}

TEST(Bell, is_gone_with_its_owner) {
  uint64_t name = 0;
  {
    const auto bell = make_bell();
    name = bell->name();
  }
  EXPECT_EQ(ring_bell(name, 1), Rung::kGone);
  EXPECT_EQ(ring_bell(12345, 1), Rung::kGone);
  std::set<uint64_t> names;
  for (int i = 0; i < 100; ++i) names.insert(make_bell()->name());
  EXPECT_EQ(names.size(), 100u);
}

/// The control file of a topic with one message.
struct Topic {
  Topic() : log(open_log(folder.path())), appender(open_appender(log)) { append(appender.get(), message(0, 1, 16)); }
  ControlBlock& control() { return log->control(); }
  const Folder folder;
  std::shared_ptr<Log> log;
  std::unique_ptr<Appender> appender;
};

TEST(BellSeats, ring_once_for_each_time_that_they_were_armed) {
  Topic topic;
  const auto bell = make_bell();
  const int seat = take_bell_seat(topic.control(), bell->name(), 9);
  ASSERT_GE(seat, 0);
  ring_bells(topic.control());
  EXPECT_FALSE(is_rung(*bell, 0));
  EXPECT_TRUE(arm_bell(topic.control(), seat, bell->name()));
  ring_bells(topic.control());
  ring_bells(topic.control());
  EXPECT_EQ(tags_of(*bell), std::vector<uint64_t>{9});
  // By what makes `parked` even.
  EXPECT_TRUE(arm_bell(topic.control(), seat, bell->name()));
  topic.control().parked.fetch_or(1);
  append(topic.appender.get(), message(0, 2, 16));
  EXPECT_EQ(tags_of(*bell), std::vector<uint64_t>{9});
  EXPECT_TRUE(arm_bell(topic.control(), seat, bell->name()));
  wake_sleepers(*topic.log);
  EXPECT_EQ(tags_of(*bell), std::vector<uint64_t>{9});
  leave_bell_seat(topic.control(), seat, bell->name());
  EXPECT_EQ(topic.control().bells[seat].name, 0u);
  EXPECT_FALSE(arm_bell(topic.control(), seat, bell->name()));
}

TEST(BellSeats, tell_of_a_deletion) {
  Topic topic;
  const auto bell = make_bell();
  const int seat = take_bell_seat(topic.control(), bell->name(), 3);
  ASSERT_TRUE(arm_bell(topic.control(), seat, bell->name()));
  ASSERT_TRUE(remove_topic(topic.folder.path(), topic.folder.path() + ".away", true, 1000).ok());
  EXPECT_EQ(tags_of(*bell), std::vector<uint64_t>{3});
}

TEST(BellSeats, go_to_others_only_when_their_process_is_gone) {
  Topic topic;
  std::vector<std::unique_ptr<Bell>> bells;
  for (uint32_t i = 0; i < kBellSeats; ++i) {
    bells.push_back(make_bell());
    EXPECT_GE(take_bell_seat(topic.control(), bells.back()->name(), i + 1), 0);
  }
  const auto late = make_bell();
  EXPECT_EQ(take_bell_seat(topic.control(), late->name(), 99), -1);
  const uint64_t gone = bells[5]->name();
  bells[5].reset();
  EXPECT_EQ(take_bell_seat(topic.control(), late->name(), 99), 5);
  leave_bell_seat(topic.control(), 5, gone);  // what it was given before is not given back
  EXPECT_TRUE(arm_bell(topic.control(), 5, late->name()));
  ring_bells(topic.control());
  EXPECT_EQ(tags_of(*late), std::vector<uint64_t>{99});
}

TEST(BellSeats, are_freed_by_who_rings_in_vain_and_their_owner_learns_it) {
  Topic topic;
  const auto bell = make_bell();
  const int seat = take_bell_seat(topic.control(), bell->name(), 1);
  // As one in another network namespace: its name leads nowhere from here.
  topic.control().bells[seat].name = 4711;
  topic.control().bells_armed = ~uint64_t{0};
  ring_bells(topic.control());
  EXPECT_EQ(topic.control().bells[seat].name, 0u);
  EXPECT_EQ(topic.control().bells_armed, 0u);
  EXPECT_FALSE(arm_bell(topic.control(), seat, bell->name()));
}

TEST(BellSeats, lose_no_wake_up_over_many_rounds_between_processes) {
  // Each side sleeps by its bell until the other's message. A ring that is lost costs 2 s.
  const Folder folder;
  constexpr uint64_t kRounds = 4000;
  in_child([&] { append(open_appender(open_log(folder.path())).get(), message(0, 0, 16)); });
  const auto play = [&](uint64_t me) {
    const auto log = open_log(folder.path());
    const auto appender = open_appender(log);
    const auto bell = make_bell();
    ControlBlock& control = log->control();
    const int seat = take_bell_seat(control, bell->name(), 1);
    ASSERT_GE(seat, 0);
    Reader reader(log, MappedFile::Access::kRead);
    ASSERT_TRUE(reader.seek_earliest().ok());
    uint64_t lost = 0;
    for (uint64_t sequence = 2; sequence <= kRounds;) {
      if (sequence % 2 == me) {
        append(appender.get(), message(me, sequence, 16));
        ++sequence;
        continue;
      }
      std::vector<Message> messages;
      const uint64_t began = monotonic_ns();
      while (messages.empty() || messages.back().sequence < sequence) {
        ASSERT_TRUE(arm_bell(control, seat, bell->name()));
        control.parked.fetch_or(1, std::memory_order_acq_rel);
        ASSERT_TRUE(heavy_barrier());
        if (!has_news(*log, reader.segment().get(), reader.position()) && !is_rung(*bell, 2000) &&
            has_news(*log, reader.segment().get(), reader.position())) {
          ++lost;
        }
        (void)bell->hear();
        read_on(&reader, &messages);
        ASSERT_LT(monotonic_ns() - began, 60'000'000'000) << "the other side is gone";
      }
      ++sequence;
    }
    EXPECT_EQ(lost, 0u);
  };
  Child even([&] { play(0); });
  Child odd([&] { play(1); });
  EXPECT_EQ(even.wait(), 0);
  EXPECT_EQ(odd.wait(), 0);
}

TEST(BellSeatsConcurrent, can_be_taken_armed_rung_and_left_by_all_threads_at_once) {
  Topic topic;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint64_t who = 0; who < 3; ++who) {
    threads.emplace_back([&, who] {
      for (int i = 0; i < 300; ++i) {
        const auto bell = make_bell();
        const int seat = take_bell_seat(topic.control(), bell->name(), who + 1);
        ASSERT_GE(seat, 0);
        ASSERT_TRUE(arm_bell(topic.control(), seat, bell->name()));
        topic.control().parked.fetch_or(1);
        EXPECT_TRUE(is_rung(*bell, 20'000)) << "nobody rang";
        leave_bell_seat(topic.control(), seat, bell->name());
      }
    });
  }
  std::thread ringer([&] {
    while (!stop) {
      wake_sleepers(*topic.log);
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  ringer.join();
  for (uint32_t seat = 0; seat < kBellSeats; ++seat) EXPECT_EQ(topic.control().bells[seat].name, 0u);
}

}  // namespace
}  // namespace hermes
