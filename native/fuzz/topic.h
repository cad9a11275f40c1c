#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/log/appender.h"
#include "core/log/log.h"
#include "core/log/recovery.h"
#include "core/log/verify.h"

namespace hermes::fuzz {

/// The files of a small topic, to be damaged again and again.
struct Topic {
  std::string folder;
  std::vector<char> control;
  std::vector<char> segment;
};

inline std::vector<char> read_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) std::abort();
  std::vector<char> bytes(std::filesystem::file_size(path));
  if (std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
  std::fclose(file);
  return bytes;
}

inline void write_file(const std::string& path, const std::vector<char>& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
  std::fclose(file);
}

/// Where memory serves as disk, so that thousands of runs cost no writes.
inline std::string make_folder() {
  std::string name = (std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/hermes-fuzz-XXXXXX");
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

/// A topic with one segment in use and no message. Its files are removed at exit.
inline Topic& topic() {
  // Never destroyed: it is used when the process ends.
  static Topic* const made = [] {
    auto* const topic = new Topic;
    topic->folder = make_folder();
    TopicSettings settings;
    settings.segment_bytes = kMinSegmentBytes;
    settings.max_payload = 4096;
    settings.file_mode = 0600;
    std::shared_ptr<Log> log;
    if (!Log::open(topic->folder, &settings, {}, &log).ok()) std::abort();
    RecoveryReport report;
    if (!recover(*log, false, &report).ok()) std::abort();
    log.reset();
    topic->control = read_file(topic->folder + "/control");
    topic->segment = read_file(Segment::path(topic->folder, 1));
    std::atexit([] { std::filesystem::remove_all(fuzz::topic().folder); });
    return topic;
  }();
  return *made;
}

/// Makes these the topic's files.
inline void restore(const std::vector<char>& control, const std::vector<char>& segment) {
  const Topic& t = topic();
  std::filesystem::remove_all(t.folder + "/quarantine");
  for (const auto& entry : std::filesystem::directory_iterator(t.folder)) {
    if (entry.path().extension() == ".seg") std::filesystem::remove(entry.path());
  }
  std::filesystem::remove(t.folder + "/control");
  write_file(t.folder + "/control", control);
  write_file(Segment::path(t.folder, 1), segment);
}

/// Opens, verifies, recovers, and verifies again: after a recovery that succeeded nothing may be
/// damaged.
inline void exercise() {
  std::shared_ptr<Log> log;
  if (!Log::open(topic().folder, nullptr, {}, &log).ok()) return;
  SegmentReport before;
  (void)verify_segment(*log, 1, &before);
  Position end;
  (void)log->committed(&end);
  RecoveryReport report;
  if (!recover(*log, true, &report).ok()) return;
  SegmentReport after;
  if (!verify_segment(*log, 1, &after).ok() || !after.damage.empty()) std::abort();
  // Nothing that was readable may be lost by a recovery.
  if (after.messages < before.messages) std::abort();
}

}  // namespace hermes::fuzz
