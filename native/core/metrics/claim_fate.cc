#include "core/metrics/claim_fate.h"

#include <atomic>
#include <cstdio>
#include <cstring>

#include "core/frame/frame_layout.h"
#include "core/platform/mapped_file.h"

namespace hermes {
namespace {

/// No segment is longer, so nothing behind is looked at, whatever the file says.
constexpr uint64_t kMostBytes = uint64_t{1} << 30;

std::string segment_file(const std::string& folder, uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "/%010llu.seg", static_cast<unsigned long long>(number));
  return folder + name;
}

}  // namespace

Status fate_of_claim(const std::string& folder, uint64_t place, ClaimFate* out) {
  *out = ClaimFate::kCommitted;
  const uint64_t offset = (place & 0xFFFF'FFFF) * kFrameAlign;
  File file;
  Status status = File::open(segment_file(folder, place >> 32), false, &file);
  // Retention takes whole segments, and hardly one whose last claim is not committed.
  if (status.code == Code::kNotFound) return Status::success();
  uint64_t bytes = 0;
  if (status.ok()) status = file.size(&bytes);
  if (!status.ok()) return status;
  if (bytes > kMostBytes || offset + kFrameHeaderBytes + sizeof(VoidBody) > bytes) return Status::success();
  MappedFile map;
  status = MappedFile::map(file, bytes, MappedFile::Access::kRead, &map);
  if (!status.ok()) return status;
  std::byte* const frame = map.data() + offset;
  // Acquire: who sees a void committed sees its body.
  const uint64_t word = std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(frame)).load(std::memory_order_acquire);
  if (!is_committed(word)) {
    // A claim, which can't be committed any more; or zeros, where a power cut has taken it.
    *out = ClaimFate::kVoid;
    return status;
  }
  if (static_cast<FrameType>(word >> 40 & 0xFF) != FrameType::kVoid) return status;
  uint32_t length = 0;
  VoidBody body = {};
  std::memcpy(&length, frame + offsetof(FrameHeader, payload_len), sizeof length);
  std::memcpy(&body, frame + kFrameHeaderBytes, sizeof body);
  // What recovery has set aside as damage had been published.
  const bool was_damage = length >= sizeof body && body.reason == static_cast<uint32_t>(VoidReason::kDamaged);
  if (!was_damage) *out = ClaimFate::kVoid;
  return status;
}

}  // namespace hermes
