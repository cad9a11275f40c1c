#pragma once

// What the tests of the log share: a folder of their own, messages that prove who wrote them, children that may be killed,
// and damage by the name of what it does.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "core/crc32/crc32.h"
#include "core/log/appender.h"
#include "core/log/log.h"
#include "core/log/reader.h"
#include "core/log/recovery.h"
#include "core/log/repair.h"
#include "core/platform/clock.h"

namespace hermes::test {

/// A folder that is removed at the end.
class Folder {
 public:
  explicit Folder(const std::string& parent = ::testing::TempDir()) {
    std::string pattern = parent + "/hermes-log-XXXXXX";
    path_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : "";
    EXPECT_FALSE(path_.empty()) << "no folder under " << parent;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Where thousands of logs are made and synced: in memory, if there's a place for that.
inline std::string quick_place() { return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ::testing::TempDir(); }

inline TopicSettings small_segments() {
  TopicSettings settings;
  settings.segment_bytes = kMinSegmentBytes;
  settings.max_payload = kMinSegmentBytes / 4;
  return settings;
}

inline std::shared_ptr<Log> open_log(const std::string& folder, const TopicSettings& settings = small_segments(),
                                     uint64_t low_water_bytes = 0) {
  std::shared_ptr<Log> log;
  LogOptions options;
  options.low_water_bytes = low_water_bytes;
  const Status status = Log::open(folder, &settings, options, &log);
  EXPECT_TRUE(status.ok()) << status.context;
  return log;
}

inline std::unique_ptr<Appender> open_appender(const std::shared_ptr<Log>& log, bool exclusive = false,
                                               RecoveryReport* report = nullptr) {
  std::unique_ptr<Appender> appender;
  Appender::Options options;
  options.exclusive = exclusive;
  const Status status = Appender::open(log, options, &appender, report);
  EXPECT_TRUE(status.ok()) << status.context;
  return appender;
}

/// A payload that says who wrote it and as which of its messages, and whose every byte follows from that.
/// Shorter than 16 bytes it says less, but still follows from the two.
inline std::vector<std::byte> message(uint64_t producer, uint64_t number, size_t length) {
  std::vector<std::byte> bytes(length);
  uint64_t state = producer * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 1;
  for (size_t i = 0; i < length; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    bytes[i] = static_cast<std::byte>(state >> 32);
  }
  if (length >= 16) {
    std::memcpy(bytes.data(), &producer, 8);
    std::memcpy(bytes.data() + 8, &number, 8);
  }
  return bytes;
}

struct Message {
  uint64_t sequence = 0;
  uint64_t timestamp_ns = 0;
  std::vector<std::byte> payload;
  Position at;

  uint64_t producer() const { return word(0); }
  uint64_t number() const { return word(8); }

 private:
  uint64_t word(size_t offset) const {
    uint64_t value = ~uint64_t{0};
    if (payload.size() >= offset + 8) std::memcpy(&value, payload.data() + offset, 8);
    return value;
  }
};

inline void append(Appender* appender, const std::vector<std::byte>& payload) {
  ASSERT_EQ(code_name(appender->append(payload.data(), static_cast<uint32_t>(payload.size()))), std::string("OK"))
      << appender->last_error().context;
}

/// What append() does before it writes: notes the claim in its slot, and makes it.
inline void claim_as_publisher(Log& log, Segment& segment, uint64_t offset, const Claim& claim) {
  log.control().slots[claim.participant].claiming.store(claim_note(segment.number(), offset));
  segment.word(offset).store(make_claim_word(claim));
}

/// Several payloads as whole frames back to back, as append_batch takes them.
inline std::vector<std::byte> batch_of(const std::vector<std::vector<std::byte>>& payloads) {
  std::vector<std::byte> bytes;
  for (const auto& payload : payloads) {
    const size_t at = bytes.size();
    const auto length = static_cast<uint32_t>(payload.size());
    bytes.resize(at + frame_span(length));
    std::memcpy(bytes.data() + at + offsetof(FrameHeader, payload_len), &length, sizeof length);
    std::copy(payload.begin(), payload.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at + kFrameHeaderBytes));
  }
  return bytes;
}

/// Reads on from the reader's position until there's nothing more; says why it stopped.
inline ScanStop read_on(Reader* reader, std::vector<Message>* messages, bool repair = false) {
  if (reader->segment() == nullptr && !reader->seek_earliest().ok()) return ScanStop::kEmpty;
  for (;;) {
    const Position from = reader->position();
    const std::shared_ptr<Segment> segment = reader->segment();
    const Scan found = scan(*segment, from.offset, from.sequence, 256, reader->log().control().max_payload, true);
    Position at = from;
    while (at.offset < found.end) {
      const Step step = segment->step(at.offset);
      if (step.kind == Step::Kind::kData) {
        const FrameHeader* const header = segment->frame(at.offset);
        const auto* const payload = reinterpret_cast<const std::byte*>(header + 1);
        messages->push_back({header->sequence, header->timestamp_ns, {payload, payload + header->payload_len}, at});
      }
      at.offset += step.span;
      at.sequence += step.count;
    }
    reader->set_position(found.end, found.sequence);
    if (found.stop == ScanStop::kLimit) continue;
    if (found.stop == ScanStop::kClaim && repair) {
      RepairOutcome outcome;
      const Status status = repair_claim(reader->log(), reader->position(), &outcome);
      EXPECT_TRUE(status.ok()) << status.context;
      if (outcome != RepairOutcome::kAlive) continue;
    }
    if (found.stop != ScanStop::kSegmentEnd) return found.stop;
    const Status status = reader->next_segment();
    if (status.code == Code::kNotFound) return ScanStop::kEmpty;
    if (!status.ok()) {
      // Said by hostile files; tests of sound logs look at the stop.
      return ScanStop::kDamage;
    }
  }
}

/// Everything there is, from the first message on.
inline std::vector<Message> read_all(const std::shared_ptr<Log>& log, ScanStop* stop = nullptr, bool repair = false,
                                     MappedFile::Access access = MappedFile::Access::kRead) {
  std::vector<Message> messages;
  Reader reader(log, access);
  const ScanStop stopped = read_on(&reader, &messages, repair);
  if (stop != nullptr) *stop = stopped;
  return messages;
}

/// Every message is one that message() makes for its sequence: numbered from 1, all by `producer`.
inline void expect_numbered(const std::vector<Message>& messages, uint64_t producer, uint64_t count) {
  ASSERT_EQ(messages.size(), count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSERT_EQ(messages[i].sequence, i + 1);
    ASSERT_EQ(messages[i].payload, message(producer, i + 1, messages[i].payload.size())) << "message " << i + 1;
  }
}

// --- children --------------------------------------------------------------------------------------------------------

/// A forked process that runs `body` and leaves with 0 if no expectation in it failed. Fork while there is one thread.
class Child {
 public:
  explicit Child(const std::function<void()>& body) {
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();  // out of here the child would go on as a second run of all tests
    }
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)wait();
    }
  }
  pid_t pid() const noexcept { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  /// The exit code, or 128 + the signal that killed it.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

/// Runs `body` in a child and reports its failed expectations here.
inline void in_child(const std::function<void()>& body) {
  Child child(body);
  EXPECT_EQ(child.wait(), 0);
}

/// Words that parent and children share.
class SharedWords {
 public:
  static constexpr size_t kCount = 512;
  SharedWords() {
    memory_ = ::mmap(nullptr, kCount * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory_, MAP_FAILED);
  }
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;
  ~SharedWords() { ::munmap(memory_, kCount * 8); }
  std::atomic<uint64_t>& operator[](size_t i) const { return static_cast<std::atomic<uint64_t>*>(memory_)[i]; }

 private:
  void* memory_;
};

inline void sleep_ms(uint64_t ms) {
  const timespec pause = {static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000 * 1'000'000)};
  ::nanosleep(&pause, nullptr);
}

/// Waits up to ten seconds for something that another thread or process brings about.
template <typename Condition>
bool eventually(Condition condition) {
  const uint64_t deadline = monotonic_ns() + 60'000'000'000;  // only ends a hang: a disk may be busy for long
  while (!condition()) {
    if (monotonic_ns() > deadline) return false;
    sleep_ms(1);
  }
  return true;
}

// --- files and damage ------------------------------------------------------------------------------------------------

using Bytes = std::vector<char>;

inline Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Changes bytes in place, so that mappings of the file see it.
inline void overwrite(const std::string& path, uint64_t offset, const void* bytes, size_t count) {
  std::FILE* file = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr) << path;
  std::fseek(file, static_cast<long>(offset), SEEK_SET);
  ASSERT_EQ(std::fwrite(bytes, 1, count, file), count);
  std::fclose(file);
}

inline void flip_bit(const std::string& path, uint64_t offset, unsigned bit) {
  std::FILE* file = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr) << path;
  std::fseek(file, static_cast<long>(offset), SEEK_SET);
  const int byte = std::fgetc(file);
  std::fseek(file, static_cast<long>(offset), SEEK_SET);
  std::fputc(byte ^ (1 << bit), file);
  std::fclose(file);
}

inline std::string segment_path(const std::string& folder, uint64_t number) { return Segment::path(folder, number); }

inline void flip_bit_in_payload(const std::string& folder, const Message& message, size_t byte = 0) {
  flip_bit(segment_path(folder, message.at.segment), message.at.offset + kFrameHeaderBytes + byte, 3);
}

inline void flip_bit_in_length(const std::string& folder, const Message& message, unsigned bit) {
  flip_bit(segment_path(folder, message.at.segment), message.at.offset + offsetof(FrameHeader, payload_len) + bit / 8,
           bit % 8);
}

inline void truncate_segment(const std::string& folder, uint64_t number, uint64_t bytes) {
  ASSERT_EQ(::truncate(segment_path(folder, number).c_str(), static_cast<off_t>(bytes)), 0);
}

/// As if the page had never reached the disk.
inline void lose_page(const std::string& folder, uint64_t number, uint64_t offset) {
  const char zeros[4096] = {};
  overwrite(segment_path(folder, number), offset / 4096 * 4096, zeros, sizeof zeros);
}

inline void lose_everything_behind(const std::string& folder, uint64_t number, uint64_t offset) {
  const uint64_t bytes = std::filesystem::file_size(segment_path(folder, number));
  const Bytes zeros(bytes - offset);
  overwrite(segment_path(folder, number), offset, zeros.data(), zeros.size());
}

/// As if the machine had been restarted: nothing is trusted but what was synced.
inline void reboot(const std::string& folder) {
  const char other[16] = "another boot id";
  overwrite(folder + "/control", offsetof(ControlBlock, boot_id), other, sizeof other);
}

/// As if the last publisher had been killed.
inline void forget_orderly_close(const std::string& folder) {
  const uint32_t no = 0;
  overwrite(folder + "/control", offsetof(ControlBlock, closed_in_order), &no, sizeof no);
}

/// As if there had been no checkpoint yet.
inline void lose_checkpoint(const std::string& folder) {
  const uint64_t zeros[4] = {};
  overwrite(folder + "/control", offsetof(ControlBlock, checkpoint), zeros, sizeof zeros);
}

inline uint64_t file_count(const std::string& folder) {
  std::error_code error;
  uint64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) count += entry.is_regular_file() ? 1 : 0;
  return count;
}

}  // namespace hermes::test
