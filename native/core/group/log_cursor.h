#pragma once

#include "core/group/group.h"
#include "core/log/reader.h"

namespace hermes {

/// A place in the log that follows sequences, by whatever is the shortest way.
///
/// Thread safety: one thread at a time.
class LogCursor {
 public:
  explicit LogCursor(const std::shared_ptr<Log>& log)
      : reader_(log, log->writable() ? MappedFile::Access::kReadWrite : MappedFile::Access::kRead) {}

  /// Goes to the frame that holds `sequence`, or to the end of the log if that is the next one. `place` may tell where it stands, and `before`
  /// where the sequence before it does. kNotFound before the first message, kOutOfRange behind the end, kBehindRetention.
  Status go_to(const Group& group, uint64_t sequence, const Place* place, const Place* before);
  Reader& reader() noexcept { return reader_; }
  /// Sequence with which the frame at the cursor begins.
  uint64_t sequence() const noexcept { return reader_.position().sequence; }

 private:
  Status find(const Group& group, uint64_t sequence, const Place* place, const Place* before);
  Status walk_to(uint64_t sequence);
  Status jump(const Group& group, uint64_t sequence, const Place& place);

  Reader reader_;
};

/// Whether the frame of `step` at the reader's position is of this version, in its place, and not too long: what it says may be gone by. Its
/// payload is not looked at.
[[nodiscard]] bool is_plausible_frame(const Reader& reader, const Step& step) noexcept;

}  // namespace hermes
