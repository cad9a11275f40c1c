#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/log/appender.h"

namespace hermes {

/// Whether `frames` holds `count` frames as the wire protocol wants them of a client, with numbers that grow by one. Finds out the first one's.
/// kPayloadTooLarge, or kInvalidArgument for anything else that is wrong, also a number more than a day ahead of the clock.
[[nodiscard]] Code check_publish(std::span<const std::byte> frames, uint32_t count, uint32_t max_payload,
                                 uint64_t* first_number) noexcept;

/// What of one connection's PUBLISH packets is as it should be, taken as it comes: checked, and appended to the log. Everything else is left to the caller, who
/// knows all rules: other packets, compressed ones, those that are not whole, that come again, that break a rule or can't be appended.
///
/// Without a socket: bytes in, messages in the log and notes of them out.
///
/// Thread safety: one thread at a time, that of the appenders.
class PublishIntake {
 public:
  /// One publisher. Its appender must be there until it is detached.
  struct Lane {
    uint32_t channel = 0;
    uint16_t slot = 0;             ///< what its frames carry in their flags
    uint32_t max_batch_bytes = 0;  ///< of frames
    uint64_t stored = 0;           ///< the highest number in the log
    Appender* appender = nullptr;
  };
  /// A packet that was taken.
  struct Taken {
    uint32_t channel = 0;
    uint32_t count = 0;         ///< of messages
    uint64_t first_number = 0;  ///< of the producer
    uint64_t sequence = 0;      ///< that its first message got
    uint64_t acked = 0;         ///< the highest number whose acknowledgement the client has seen
    uint32_t flags = 0;         ///< of PUBLISH
    uint32_t bytes = 0;         ///< of its body
  };

  /// REQUIRES: no other lane has this channel.
  void attach(const Lane& lane) { lanes_.push_back(lane); }
  void detach(uint32_t channel) noexcept;
  /// Null if there is none.
  Lane* find(uint32_t channel) noexcept;

  /// Takes packets from the beginning of `bytes` on, one `Taken` for each, until one is not for it or `taken` is full.
  /// Returns how many bytes they had; `*count`: how many they were.
  size_t take(std::span<const std::byte> bytes, std::span<Taken> taken, size_t* count) noexcept;

 private:
  size_t take_one(std::span<const std::byte> bytes, Taken* taken) noexcept;

  std::vector<Lane> lanes_;  // few, and the last one is asked for most
  size_t last_ = 0;
};

}  // namespace hermes
