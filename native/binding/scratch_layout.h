#pragma once

#include <cstddef>

namespace hermes::binding {

// Where arguments, results and payloads lie in the scratch memory of each hot call: offsets in bytes. lib/native/scratch.ts names them
// for JavaScript, and compares them with these, which constants.h exports, when the addon is loaded.

/// `append` and `appendBatch`: see AppenderHandle. Frames begin at kFramesAt, so the payload of a single message 32 bytes behind it.
namespace append_scratch {
constexpr size_t kLengthAt = 0;      // i32 in   payload length, or count of a batch
constexpr size_t kBytesAt = 4;       // i32 in   bytes of a batch
constexpr size_t kStatusAt = 8;      // i32 out  0 accepted, 1 accepted but rather wait for room, else minus the code
constexpr size_t kSequenceAt = 16;   // f64 out  sequence of the (last) message
constexpr size_t kTimestampAt = 24;  // u64 out  its timestamp, ns
constexpr size_t kFramesAt = 64;
}  // namespace append_scratch

/// `scan`: see ReaderHandle.
namespace scan_scratch {
constexpr size_t kOffsetAt =
    0;  // i32 in/out  offset in the segment; moved forward over messages that are earlier than asked for
constexpr size_t kLimitAt = 4;           // i32 in      limit of messages
constexpr size_t kMessagesAt = 8;        // i32 out     messages found
constexpr size_t kEndAt = 12;            // i32 out     offset behind them
constexpr size_t kStopAt = 16;           // i32 out     why it stopped (constants.stop…)
constexpr size_t kSequenceAt = 24;       // f64 in/out  sequence expected at the offset; afterwards, at the end
constexpr size_t kBeginSequenceAt = 32;  // f64 out     sequence expected at the offset, if that was moved
constexpr size_t kBytes = 64;
}  // namespace scan_scratch

/// `ingest`: see AppenderHandle::ingest_function.
namespace ingest_scratch {
constexpr size_t kOffsetAt = 0;     // u32 in   offset of the frames in the bytes given
constexpr size_t kBytesAt = 4;      // u32 in   how many bytes they take
constexpr size_t kCountAt = 8;      // u32 in   how many they are
constexpr size_t kSlotAt = 12;      // u32 in   producer slot
constexpr size_t kStatusAt = 16;    // i32 out  0, 1 (accepted, but rather wait for room) or minus the code
constexpr size_t kSequenceAt = 24;  // f64 out  sequence of the first message
constexpr size_t kBytes = 64;
}  // namespace ingest_scratch

/// `frameSealer`: see ingest_frames.h.
namespace seal_scratch {
constexpr size_t kOffsetAt = 0;  // u32 in      offset of the frames in the buffer
constexpr size_t kBytesAt = 4;   // u32 in      how many bytes they take
constexpr size_t kCountAt = 8;   // u32 in      how many they are
constexpr size_t kDoneAt = 12;   // i32 out     1 done, 0 the lengths do not add up
constexpr size_t kTimestampAt =
    16;  // u64 in/out  the first frame's timestamp: at least this, and not before now; each next one has 1 more
constexpr size_t kBytes = 64;
}  // namespace seal_scratch

/// `frameScanner`: see ingest_frames.h.
namespace frame_scan_scratch {
constexpr size_t kOffsetAt = 0;     // u32 in      offset of the frames in the buffer
constexpr size_t kEndAt = 4;        // u32 in      offset behind all that has arrived
constexpr size_t kLimitAt = 8;      // u32 in      limit of messages
constexpr size_t kMessagesAt = 12;  // u32 out     messages found
constexpr size_t kFoundAt = 16;     // u32 out     offset behind them
constexpr size_t kDamageAt = 20;    // i32 out     1 = damage there
constexpr size_t kSequenceAt = 24;  // f64 in/out  sequence expected at the offset; afterwards, at the end
constexpr size_t kBytes = 64;
}  // namespace frame_scan_scratch

/// `claim`, `settle` and `peek`: see MemberHandle. Records are ClaimRecord's, frames lie back to back as in the log.
namespace member_scratch {
constexpr size_t kLimitAt = 0;        // u32 in   limit of messages to claim, or how many to settle
constexpr size_t kCountAt = 4;        // u32 out  messages claimed or settled
constexpr size_t kStopAt = 8;         // i32 out  why a claim got no more (constants.claim…)
constexpr size_t kStatusAt = 12;      // i32 out  0, or minus the code: see lastError
constexpr size_t kNeededAt = 16;      // f64 out  bytes for the next message, if there was no room for it
constexpr size_t kSequenceAt = 24;    // f64 out  the message that is damaged
constexpr size_t kOutcomeAt = 32;     // u32 in   what becomes of the messages (constants.outcome…)
constexpr size_t kDelayAt = 40;       // f64 in   ms until they come again; below 0: the group's back-off
constexpr size_t kClaimedAt = 64;     // records that were claimed
constexpr size_t kSettlingAt = 6208;  // records to be settled
constexpr size_t kLostAt = 12352;     // u8 out   for each of these 1 if it was this member's no more
constexpr size_t kFramesAt = 12608;   // copies of the frames that were claimed; the rest of the buffer
// Of a record:
constexpr size_t kRecordSequenceAt = 0;     // u64
constexpr size_t kRecordFrameAt = 8;        // u32  where its frame begins behind kFramesAt
constexpr size_t kRecordDeliveriesAt = 12;  // u32
constexpr size_t kRecordNumberAt = 16;      // u32  of the claim
constexpr size_t kRecordBucketAt = 20;      // u32
constexpr size_t kRecordBytes = 24;
}  // namespace member_scratch

}  // namespace hermes::binding
