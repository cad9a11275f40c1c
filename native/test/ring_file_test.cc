#include "core/ring/ring_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/ring/idle.h"
#include "core/ring/mpmc_ring.h"
#include "core/ring/spsc_ring.h"

namespace hermes {
namespace {

using Spsc = SpscRing<uint64_t>;
using Mpmc = MpmcRing<uint64_t>;
constexpr RingShape kSpscShape = {RingKind::kSpsc, 8, 4};
constexpr RingShape kMpmcShape = {RingKind::kMpmc, 8, 4};

class RingFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/dev/shm/hermes-ring-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/ring";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Spsc open_spsc(RingFile* file, RingRole role) {
    EXPECT_TRUE(file->open(path_, kSpscShape).ok());
    Spsc ring;
    EXPECT_EQ(Spsc::attach(file->memory(), file->bytes(), &ring), RingStatus::kOk);
    EXPECT_TRUE(file->attach(role).ok());
    ring.adopt(role);
    return ring;
  }
  Mpmc open_mpmc(RingFile* file) {
    EXPECT_TRUE(file->open(path_, kMpmcShape).ok());
    Mpmc ring;
    EXPECT_EQ(Mpmc::attach(file->memory(), file->bytes(), &ring), RingStatus::kOk);
    uint32_t entry = 0;
    bool unclean = false;
    EXPECT_TRUE(file->join(&entry, &unclean).ok());
    ring.adopt(entry, unclean);
    return ring;
  }

  /// Runs `work` in a child, which reports through a pipe and then runs `then` (or waits) until it
  /// is killed. Returns once it reported.
  template <class Work>
  pid_t start(Work work) {
    return start(work, [] { pause(); });
  }
  template <class Work, class Then>
  pid_t start(Work work, Then then) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      ::close(ends[0]);
      work();
      const char done = 1;
      (void)!write(ends[1], &done, 1);
      for (;;) then();
    }
    ::close(ends[1]);
    char done = 0;
    EXPECT_EQ(read(ends[0], &done, 1), 1) << "the child died early";
    ::close(ends[0]);
    return child;
  }
  static void kill_and_wait(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }

  std::string folder_, path_;
};

/// Ends a wait when the peer is found dead, and fails the test if that takes more than 5 s.
auto watching(RingFile& file) {
  return WatchingIdle(DeadlineIdle(YieldIdle(), 5'000'000'000), [&file] { (void)file.probe(); }, 1'000'000);
}

TEST_F(RingFileTest, TwoProcessesShareARing) {
  const pid_t child = start([&] {
    auto* file = new RingFile;
    Spsc ring = open_spsc(file, RingRole::kProducer);
    for (uint64_t i = 0; i < 3; ++i) (void)ring.try_push(i);
  });
  RingFile file;
  Spsc ring = open_spsc(&file, RingRole::kConsumer);
  uint64_t item;
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_EQ(ring.try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, i);
  }
  EXPECT_EQ(file.probe(), 0u);  // alive
  EXPECT_EQ(ring.try_pop(&item), RingOp::kEmpty);
  kill_and_wait(child);
  EXPECT_EQ(ring.pop_wait(&item, watching(file)), RingOp::kDead);
}

TEST_F(RingFileTest, ASecondLivingProducerIsRefused) {
  RingFile first, second;
  (void)open_spsc(&first, RingRole::kProducer);
  ASSERT_TRUE(second.open(path_, kSpscShape).ok());
  EXPECT_EQ(second.attach(RingRole::kProducer).code, Code::kExclusiveHeld);
  EXPECT_TRUE(second.attach(RingRole::kConsumer).ok());
}

TEST_F(RingFileTest, AKilledConsumerEndsAProducersWaitAndASuccessorGoesOn) {
  const pid_t child = start([&] { (void)open_spsc(new RingFile, RingRole::kConsumer); });
  RingFile file;
  Spsc ring = open_spsc(&file, RingRole::kProducer);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(ring.try_push(i), RingOp::kOk);
  ASSERT_EQ(ring.try_push(4), RingOp::kFull);
  kill_and_wait(child);
  ASSERT_EQ(ring.push(4, watching(file)), RingOp::kDead);
  RingFile other;
  Spsc successor = open_spsc(&other, RingRole::kConsumer);
  uint64_t item;
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(successor.try_pop(&item), RingOp::kOk);
    EXPECT_EQ(item, i);
  }
  EXPECT_EQ(ring.try_push(4), RingOp::kOk);
  EXPECT_EQ(file.probe(), 0u);
}

TEST_F(RingFileTest, AnOrderlyCloseIsAnEndAndNotADeath) {
  RingFile file;
  Spsc ring = open_spsc(&file, RingRole::kConsumer);
  {
    RingFile other;
    Spsc producer = open_spsc(&other, RingRole::kProducer);
    ASSERT_EQ(producer.try_push(1), RingOp::kOk);
  }
  EXPECT_EQ(file.probe(), 0u);
  uint64_t item;
  EXPECT_EQ(ring.try_pop(&item), RingOp::kOk);
  EXPECT_EQ(ring.try_pop(&item), RingOp::kClosed);
}

TEST_F(RingFileTest, AnMpmcParticipantKilledWithAClaimIsResolved) {
  RingFile file;
  Mpmc ring = open_mpmc(&file);
  const pid_t child = start([&] {
    auto* mine = new RingFile;
    Mpmc other = open_mpmc(mine);
    // The claim of a push, and nothing more.
    RingLayout* layout = other.layout();
    auto* word = reinterpret_cast<RingWord*>(static_cast<char*>(mine->memory()) + kRingDataOffset);
    word->store(0u << 8 | (other.participant() + 1));
    layout->producer_index.store(1);
  });
  ASSERT_EQ(ring.try_push(7), RingOp::kOk);
  uint64_t item;
  EXPECT_EQ(file.probe(), 0u);
  EXPECT_EQ(ring.try_pop(&item), RingOp::kEmpty);
  kill_and_wait(child);
  ASSERT_EQ(ring.pop_wait(&item, watching(file)), RingOp::kOk);
  EXPECT_EQ(item, 7u);
}

TEST_F(RingFileTest, ASuccessorOfAKilledMpmcParticipantResolvesWithoutAProbe) {
  const pid_t child = start([&] {
    auto* mine = new RingFile;
    Mpmc other = open_mpmc(mine);
    auto* word = reinterpret_cast<RingWord*>(static_cast<char*>(mine->memory()) + kRingDataOffset);
    word->store(0u << 8 | (other.participant() + 1));
  });
  kill_and_wait(child);
  RingFile file;
  Mpmc ring = open_mpmc(&file);  // takes the dead one's entry, which still reads "attached"
  EXPECT_EQ(ring.voided(), 1u);
  uint64_t item;
  ASSERT_EQ(ring.try_push(7), RingOp::kOk);
  ASSERT_EQ(ring.try_pop(&item), RingOp::kOk);
  EXPECT_EQ(item, 7u);
}

// A participant is killed at random moments while it pushes and pops; the survivor never hangs,
// sees no item twice, and each producer's items in order.
TEST_F(RingFileTest, ASurvivorOutlivesManyKilledPartners) {
  RingFile file;
  Mpmc ring = open_mpmc(&file);
  uint64_t sent = 0, got = 0;
  for (uint64_t round = 0; round < 20; ++round) {
    static Mpmc partner;
    const pid_t child = start([&] { partner = open_mpmc(new RingFile); },
                              [] {
                                uint64_t taken;
                                (void)partner.try_push(uint64_t{1} << 63);
                                (void)partner.try_push(uint64_t{1} << 63);
                                (void)partner.try_pop(&taken);
                              });
    usleep(1000 + static_cast<useconds_t>(round * 137 % 3000));
    kill_and_wait(child);
    // Everything must go on: fill the ring and drain it, whatever the dead one left.
    uint64_t item, last = 0;
    auto idle = watching(file);
    for (int i = 0; i < 50; ++i) {
      ++sent;
      const RingOp pushed = ring.push(sent, DeadlineIdle(watching(file), 3'000'000));
      ASSERT_TRUE(pushed == RingOp::kOk || pushed == RingOp::kFull);
      while (ring.try_pop(&item) == RingOp::kOk) {
        if (item >> 63 != 0) continue;
        ASSERT_GT(item, last);
        last = item;
        ++got;
      }
    }
    (void)file.probe();
    ASSERT_EQ(ring.pop_wait(&item, DeadlineIdle(YieldIdle(), 3'000'000)), RingOp::kEmpty);
    ASSERT_EQ(ring.size(), 0u);
    ASSERT_EQ(ring.push(++sent, idle), RingOp::kOk);
    ASSERT_EQ(ring.pop_wait(&item, idle), RingOp::kOk);
    ASSERT_EQ(item, sent);
    ++got;
  }
  EXPECT_GT(got, 900u);
}

TEST_F(RingFileTest, RefusesFilesThatAreNoRingOrAnotherOne) {
  RingFile file;
  EXPECT_EQ(file.open(path_, {RingKind::kSpsc, 8, 0}).code, Code::kNotFound);
  EXPECT_EQ(file.open(path_, {RingKind::kSpsc, 8, 3}).code, Code::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(path_));
  {
    std::ofstream(path_) << "short";
  }
  EXPECT_EQ(file.open(path_, kSpscShape).code, Code::kNotHermes);
  {
    std::ofstream(path_) << std::string(8192, 'x');
  }
  EXPECT_EQ(file.open(path_, kSpscShape).code, Code::kNotHermes);
  std::filesystem::remove(path_);
  ASSERT_TRUE(file.open(path_, kSpscShape, {.tag = 5}).ok());
  EXPECT_EQ(file.open(path_, kMpmcShape, {.tag = 5}).code, Code::kConfigMismatch);
  EXPECT_EQ(file.open(path_, {RingKind::kSpsc, 16, 4}, {.tag = 5}).code, Code::kConfigMismatch);
  EXPECT_EQ(file.open(path_, {RingKind::kSpsc, 8, 8}, {.tag = 5}).code, Code::kConfigMismatch);
  EXPECT_EQ(file.open(path_, kSpscShape, {.tag = 6}).code, Code::kConfigMismatch);
  EXPECT_TRUE(file.open(path_, {RingKind::kSpsc, 8, 0}, {.tag = 5}).ok());
  file.close();
  file.close();
  EXPECT_EQ(file.attach(RingRole::kProducer).code, Code::kClosed);
  std::filesystem::resize_file(path_, 2050);
  EXPECT_EQ(file.open(path_, kSpscShape, {.tag = 5}).code, Code::kCorrupt);
  for (const auto& left : std::filesystem::directory_iterator(folder_)) EXPECT_EQ(left.path().string(), path_);
}

TEST_F(RingFileTest, OpensWhateverSoundRingThereIs) {
  RingFile file;
  EXPECT_EQ(file.open_any(path_).code, Code::kNotFound);
  RingOptions options;
  options.tag = 7;
  RingFile maker;
  ASSERT_TRUE(maker.open(path_, kMpmcShape, options, 0640).ok());
  EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0640));
  ASSERT_TRUE(file.open_any(path_).ok());
  EXPECT_EQ(static_cast<RingLayout*>(file.memory())->header.tag, 7u);
  static_cast<RingLayout*>(file.memory())->header.capacity = 8;
  RingFile damaged;
  EXPECT_EQ(damaged.open_any(path_).code, Code::kCorrupt);
  EXPECT_EQ(damaged.memory(), nullptr);
}

TEST_F(RingFileTest, OneThatIsRemovedOrMadeAgainBetweenOpeningAndTakingPartIsNoticed) {
  for (const bool again : {false, true}) {
    RingFile early;
    ASSERT_TRUE(early.open(path_, kSpscShape).ok());
    ASSERT_EQ(unlink(path_.c_str()), 0);
    RingFile late;
    if (again) {
      ASSERT_TRUE(late.open(path_, kSpscShape).ok());
      ASSERT_TRUE(late.attach(RingRole::kConsumer).ok());
    }
    // On the old one it would be alone, with nobody to tell it.
    EXPECT_EQ(early.attach(RingRole::kProducer).code, Code::kNotFound);
    RingFile next;
    ASSERT_TRUE(next.open(path_, kSpscShape).ok());
    EXPECT_TRUE(next.attach(RingRole::kProducer).ok()) << "the place on the new one is free";
    std::filesystem::remove(path_);
  }
}

TEST_F(RingFileTest, LeavesTheMappingToWhoHoldsAShareOfIt) {
  RingFile file;
  ASSERT_TRUE(file.open(path_, kSpscShape).ok());
  ASSERT_TRUE(file.attach(RingRole::kProducer).ok());
  const std::shared_ptr<MappedFile> share = file.mapping();
  file.close();
  EXPECT_EQ(file.memory(), nullptr);
  EXPECT_EQ(file.bytes(), 0u);
  const auto* layout = reinterpret_cast<const RingLayout*>(share->data());
  EXPECT_EQ(layout->header.magic, kRingMagic);
  EXPECT_EQ(state_of(layout->participant[0].load()), ParticipantState::kClosed);
}

}  // namespace
}  // namespace hermes
