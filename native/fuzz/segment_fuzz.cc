// Any bytes in place of a segment's frames (first byte even) or of its header and frames (odd), as
// they are or with right CRCs (bit 1): reader, verify and recovery never crash, read or write
// beyond the mapping, and a recovery that succeeds leaves nothing damaged and loses nothing that
// was readable.
#include <algorithm>

#include "fuzz/topic.h"

namespace {

/// Makes a row of frames of any bytes, as far as they go: no fuzzer guesses a CRC.
void mend_frames(char* at, const char* end) {
  uint64_t next = 1;
  while (end - at >= static_cast<ptrdiff_t>(hermes::kFrameHeaderBytes)) {
    auto& header = *reinterpret_cast<hermes::FrameHeader*>(at);
    header.payload_len %= 512;
    const uint64_t span = hermes::frame_span(header.payload_len);
    if (span > static_cast<uint64_t>(end - at)) return;
    // One in eight stays as it is: a claim, zero or damage in the middle.
    if (header.flags % 8 != 7) header.magic = hermes::kFrameMagic;
    header.version = 1;
    // Mostly the sequence that is expected; else one near it.
    header.sequence = header.sequence % 4 == 3 ? header.sequence & 0x3F : next;
    next = header.sequence + 1;
    header.crc32 = hermes::frame_crc(reinterpret_cast<const std::byte*>(at), header.payload_len);
    at += span;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  hermes::fuzz::Topic& topic = hermes::fuzz::topic();
  std::vector<char> segment = topic.segment;
  const size_t at = data[0] % 2 == 0 ? hermes::kSegmentHeaderBytes : 64;
  std::memcpy(segment.data() + at, data + 1, std::min(size - 1, segment.size() - at));
  const size_t filled = std::min(at + size - 1, segment.size());
  if ((data[0] & 2) != 0 && filled > hermes::kSegmentHeaderBytes) {
    mend_frames(segment.data() + hermes::kSegmentHeaderBytes, segment.data() + filled);
  }
  hermes::fuzz::restore(topic.control, segment);
  hermes::fuzz::exercise();
  return 0;
}
