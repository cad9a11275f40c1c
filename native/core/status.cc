#include "core/status.h"

#include <cerrno>
#include <cstring>

namespace hermes {

const char* code_name(Code code) noexcept {
  switch (code) {
    case Code::kOk:
      return "OK";
    case Code::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::kUnsupported:
      return "UNSUPPORTED";
    case Code::kClosed:
      return "CLOSED";
    case Code::kBusy:
      return "BUSY";
    case Code::kPayloadTooLarge:
      return "PAYLOAD_TOO_LARGE";
    case Code::kNotFound:
      return "NOT_FOUND";
    case Code::kAccessDenied:
      return "ACCESS_DENIED";
    case Code::kNotADirectory:
      return "NOT_A_DIRECTORY";
    case Code::kNotHermes:
      return "NOT_HERMES";
    case Code::kVersionMismatch:
      return "VERSION_MISMATCH";
    case Code::kConfigMismatch:
      return "CONFIG_MISMATCH";
    case Code::kCorrupt:
      return "CORRUPT";
    case Code::kBehindRetention:
      return "BEHIND_RETENTION";
    case Code::kOutOfRange:
      return "OUT_OF_RANGE";
    case Code::kDiskFull:
      return "DISK_FULL";
    case Code::kIoFailed:
      return "IO_FAILED";
    case Code::kExclusiveHeld:
      return "EXCLUSIVE_HELD";
    case Code::kTooManyPublishers:
      return "TOO_MANY_PUBLISHERS";
    case Code::kForked:
      return "FORKED";
    case Code::kPeerDead:
      return "PEER_DEAD";
    case Code::kTimedOut:
      return "TIMED_OUT";
    case Code::kLimit:
      return "LIMIT";
    case Code::kLeaseLost:
      return "LEASE_LOST";
    case Code::kPositionLost:
      return "POSITION_LOST";
    case Code::kTopicDeleted:
      return "TOPIC_DELETED";
  }
  return "IO_FAILED";
}

Status Status::from_errno(int err, const std::string& doing) {
  Code code = Code::kIoFailed;
  switch (err) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      code = Code::kDiskFull;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Code::kAccessDenied;
      break;
    case ENOENT:
      code = Code::kNotFound;
      break;
    case ENOTDIR:
      code = Code::kNotADirectory;
      break;
    case EISDIR:
      code = Code::kNotHermes;
      break;
    case ENOSYS:
    case EOPNOTSUPP:
      code = Code::kUnsupported;
      break;
    default:
      break;
  }
  return {code, err, doing + ": " + std::strerror(err)};
}

}  // namespace hermes
