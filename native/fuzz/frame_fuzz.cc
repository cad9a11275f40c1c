// Any bytes, decoded as frames the way a network (first byte even) or a log (odd) hands them over:
// never a read beyond the end, never a frame that does not check out when it is looked at again.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/frame/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const hermes::DecodeLimits limits = {4096, data[0] % 2 == 1};
  --size;
  // An allocation of just this size: the sanitizer sees its end.
  const auto copy = std::make_unique<std::byte[]>(size);
  if (size > 0) std::memcpy(copy.get(), data + 1, size);
  const std::span<const std::byte> all(copy.get(), size);
  for (size_t at = 0; at < size;) {
    hermes::FrameView view;
    const hermes::FrameStatus status = hermes::decode_frame(all.subspan(at), limits, view);
    if (status != hermes::FrameStatus::kOk) {
      if (hermes::to_string(status) == nullptr) std::abort();
      ++at;
      continue;
    }
    if (view.span == 0 || view.span > size - at) std::abort();
    if (!view.payload.empty() &&
        (view.payload.data() < copy.get() + at || view.payload.data() + view.payload.size() > copy.get() + size)) {
      std::abort();
    }
    if (view.type == hermes::FrameType::kData && (view.payload.size() > limits.max_payload || view.count != 1))
      std::abort();
    if (view.type != hermes::FrameType::kData && !limits.log_types) std::abort();
    at += view.span;
  }
  return 0;
}
