// CRC-32 of frames with short payloads and of long runs of bytes, for every path that this machine
// has.
//
// frame/<path>/<bytes>       CRC of a frame, header in registers, as the appender does it. Time per
// frame. verify/<path>/<bytes>      CRC of a frame in memory, as a reader does it. Time per frame.
// bytes/<path>/<bytes>       CRC of plain bytes. GB/s.
// dispatched/<bytes>         frame_crc() through the run-time choice.
// write/crc_of_source/<bytes>, write/crc_of_copy/<bytes>
//                            Header, payload copy and CRC, the CRC from registers and the source,
//                            or from the bytes just stored.
// latency/<path>/<bytes>     as frame, but each CRC enters the next header: the time from input to
// result.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/crc32/crc32.h"
#include "core/frame/frame.h"

namespace hermes {
namespace {

std::vector<std::byte> some_bytes(std::size_t length) {
  std::vector<std::byte> bytes(length);
  std::uint32_t state = 1;
  for (auto& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

// Payloads lie 32 bytes after a 64-byte boundary, as they do behind their headers in a log.
struct Frame {
  explicit Frame(std::size_t payload) : bytes(some_bytes(payload + 160)) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    start = bytes.data() + (64 - address % 64);
  }
  std::vector<std::byte> bytes;
  std::byte* start;
};

void frame_from_registers(benchmark::State& state, const Crc32Path* path) {
  const auto length = static_cast<std::size_t>(state.range(0));
  const Frame frame(length);
  std::uint64_t sequence = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        path->words(0x101 | sequence << 32, sequence >> 32 | sequence << 32, 64, frame.start + 32, length));
    ++sequence;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * (24 + length)));
}

void frame_latency(benchmark::State& state, const Crc32Path* path) {
  const auto length = static_cast<std::size_t>(state.range(0));
  const Frame frame(length);
  std::uint64_t sequence = 0;
  for (auto _ : state) {
    sequence = path->words(0x101 | sequence << 32, sequence >> 32 | sequence << 32, 64, frame.start + 32, length);
  }
  benchmark::DoNotOptimize(sequence);
}

void frame_from_memory(benchmark::State& state, const Crc32Path* path) {
  const auto length = static_cast<std::size_t>(state.range(0));
  const Frame frame(length);
  for (auto _ : state) {
    std::uint64_t words[3];
    std::memcpy(words, frame.start + 4, sizeof words);
    benchmark::DoNotOptimize(path->words(words[0], words[1], words[2], frame.start + 32, length));
  }
}

void frame_dispatched(benchmark::State& state) {
  const auto length = static_cast<std::uint32_t>(state.range(0));
  const Frame frame(length);
  for (auto _ : state) benchmark::DoNotOptimize(frame_crc(frame.start, length));
}

// A frame as an appender writes it: header, copy of the payload, CRC over the source or over the
// fresh copy.
void write_frame(benchmark::State& state, bool crc_of_source) {
  const auto length = static_cast<std::uint32_t>(state.range(0));
  const Frame source(length);
  const Frame target(length);
  auto* header = reinterpret_cast<FrameHeader*>(target.start);
  FrameFields fields{FrameType::kData, 0, 0, 0, length};
  for (auto _ : state) {
    ++fields.sequence;
    fields.timestamp_ns += 100;
    std::memcpy(target.start + 32, source.start + 32, length);
    std::uint64_t first;
    if (crc_of_source) {
      first = stamp(*header, fields, source.start + 32);
    } else {
      header->sequence = fields.sequence;
      header->timestamp_ns = fields.timestamp_ns;
      header->payload_len = length;
      first = commit_word(fields.type);
      std::memcpy(target.start, &first, sizeof first);
      header->crc32 = frame_crc(target.start, length);
    }
    std::memcpy(target.start, &first, sizeof first);
    benchmark::ClobberMemory();
  }
}

void plain_bytes(benchmark::State& state, const Crc32Path* path) {
  const auto length = static_cast<std::size_t>(state.range(0));
  const auto bytes = some_bytes(length);
  for (auto _ : state) benchmark::DoNotOptimize(path->crc32(0, bytes.data(), length));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * length));
}

int register_all() {
  for (const Crc32Path* path : {&kCrc32Portable, &kCrc32Pclmul, &kCrc32Vpclmul, &kCrc32Arm}) {
    if (!path->available()) continue;
    const std::string name = path->name;
    for (const int length : {8, 16, 32, 61, 64, 128, 256, 512, 1024}) {
      benchmark::RegisterBenchmark(("frame/" + name).c_str(), frame_from_registers, path)->Arg(length);
      benchmark::RegisterBenchmark(("latency/" + name).c_str(), frame_latency, path)->Arg(length);
      benchmark::RegisterBenchmark(("verify/" + name).c_str(), frame_from_memory, path)->Arg(length);
    }
    for (const int length : {1024, 4096, 64 << 10, 1 << 20}) {
      benchmark::RegisterBenchmark(("bytes/" + name).c_str(), plain_bytes, path)->Arg(length);
    }
  }
  for (const int length : {8, 64, 256}) {
    benchmark::RegisterBenchmark("dispatched", frame_dispatched)->Arg(length);
    benchmark::RegisterBenchmark("write/crc_of_source", write_frame, true)->Arg(length);
    benchmark::RegisterBenchmark("write/crc_of_copy", write_frame, false)->Arg(length);
  }
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace hermes
