#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace hermes {

/// What went wrong, in the vocabulary of the TypeScript `ErrorCode` list (a test holds the two together).
enum class Code : int32_t {
  kOk = 0,
  kInvalidArgument,
  kUnsupported,
  kClosed,
  kBusy,
  kPayloadTooLarge,
  kNotFound,
  kAccessDenied,
  kNotADirectory,
  kNotHermes,
  kVersionMismatch,
  kConfigMismatch,
  kCorrupt,
  kBehindRetention,
  kOutOfRange,
  kDiskFull,
  kIoFailed,
  kExclusiveHeld,
  kTooManyPublishers,
  kForked,
  kPeerDead,
  kTimedOut,
  kLimit,
  kLeaseLost,
  kPositionLost,
  kTopicDeleted,
};

/// The stable name of a code, as TypeScript spells it.
const char* code_name(Code code) noexcept;

/// The outcome of a cold-path call: a code, the errno behind it (0 if none) and a sentence for people.
struct [[nodiscard]] Status {
  Code code = Code::kOk;
  int sys_errno = 0;
  std::string context;

  bool ok() const noexcept { return code == Code::kOk; }
  static Status success() { return {}; }
  static Status error(Code code, std::string context) { return {code, 0, std::move(context)}; }
  /// Classifies `err` (ENOSPC → kDiskFull, EACCES → kAccessDenied, …) and says what was being done.
  static Status from_errno(int err, const std::string& doing);
};

}  // namespace hermes
