#pragma once

#include <algorithm>
#include <cstring>

#include "core/ring/participant.h"
#include "core/ring/ring_eventcount.h"
#include "core/ring/ring_layout.h"

namespace hermes {

/// A bounded queue of frames of variable size for one producer and one consumer, in any memory. A
/// view, like SpscRing. The layout is kind 2 of docs/ring-layout.md.
///
/// Thread safety: one thread at a time calls the producer's functions, and one the consumer's.
///
/// Invariants: positions are multiples of 8; a frame never wraps; everything in [consumer_index,
/// producer_index) is whole frames, the last one in the data area possibly padding; nothing of an
/// open claim is visible.
class SpscByteRing {
 public:
  /// A frame in place. Valid until the next pop.
  struct Frame {
    const std::byte* data = nullptr;
    uint32_t length = 0;
    uint32_t label = 0;
  };
  /// What a producer wants to send in a batch.
  struct Piece {
    const void* data = nullptr;
    uint32_t length = 0;
    uint32_t label = 0;
  };

  static constexpr uint64_t required_bytes(uint32_t capacity) noexcept {
    return ring_detail::total_bytes(RingKind::kSpscBytes, 0, capacity);
  }

  /// Writes a new ring of `capacity` bytes over `memory`. REQUIRES: the memory is unused.
  static RingStatus create(void* memory, size_t bytes, uint32_t capacity, SpscByteRing* out,
                           const RingOptions& options = {}) noexcept {
    const RingStatus status = create_ring(memory, bytes, {RingKind::kSpscBytes, 0, capacity}, options);
    if (status == RingStatus::kOk) *out = SpscByteRing(memory);
    return status;
  }
  static RingStatus attach(void* memory, size_t bytes, SpscByteRing* out, const uint64_t* tag = nullptr) noexcept {
    const RingStatus status = check_ring(memory, bytes, {RingKind::kSpscBytes, 0, 0}, tag);
    if (status == RingStatus::kOk) *out = SpscByteRing(memory);
    return status;
  }

  SpscByteRing() = default;

  // --- roles: cold path

  RingStatus claim_role(RingRole role) noexcept {
    uint32_t before;
    if (!attach_entry(entry(role), &before)) return RingStatus::kBusy;
    adopt(role);
    return RingStatus::kOk;
  }
  void adopt(RingRole role) noexcept {
    if (role == RingRole::kProducer) {
      layout_->producer_copy = layout_->consumer_index.load(std::memory_order_acquire);
      claimed_ = false;
    } else {
      layout_->consumer_copy = layout_->producer_index.load(std::memory_order_acquire);
    }
  }
  void close(RingRole role) noexcept {
    // Our own next call must not find room or frames without looking, and thereby seeing that we
    // closed.
    if (role == RingRole::kProducer) {
      layout_->producer_copy = layout_->producer_index.load(std::memory_order_relaxed) - capacity();
      claimed_ = false;
    } else {
      layout_->consumer_copy = layout_->consumer_index.load(std::memory_order_relaxed);
    }
    close_entry(entry(role));
    (role == RingRole::kProducer ? items_event() : room_event()).wake();
  }
  void evict(RingRole role) noexcept {
    (void)mark_dead(entry(role), entry(role).load(std::memory_order_acquire));
    (role == RingRole::kProducer ? items_event() : room_event()).wake();
  }
  ParticipantState role_state(RingRole role) const noexcept {
    return state_of(layout_->participant[static_cast<uint32_t>(role)].load(std::memory_order_acquire));
  }

  // --- producer

  /// Reserves `length` bytes and points `*place` at them, aligned to 8. Nothing is visible before
  /// `commit`. kFull, kTooLarge, or kClosed / kDead if there is no room and never will be.
  /// REQUIRES: no open claim.
  RingOp claim(uint32_t length, std::byte** place) noexcept {
    const uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);  // our own
    uint32_t start;
    const RingOp op = find_room(at, length, &start);
    if (op != RingOp::kOk) return op;
    claim_start_ = start;
    claim_length_ = length;
    claimed_ = true;
    *place = data_ + (start & mask_) + kFrameHeader;
    return RingOp::kOk;
  }
  /// Publishes the claim with its first `length` bytes. REQUIRES: an open claim of at least
  /// `length`.
  void commit(uint32_t length, uint32_t label = 0) noexcept {
    claimed_ = false;
    write_header(claim_start_, std::min(length, claim_length_), label);
    publish(claim_start_ + frame_size(std::min(length, claim_length_)));
  }
  void commit() noexcept { commit(claim_length_); }
  /// Forgets the claim. Nothing was visible, so nothing is left behind.
  void abort() noexcept { claimed_ = false; }
  bool has_claim() const noexcept { return claimed_; }

  RingOp try_push(const void* bytes, uint32_t length, uint32_t label = 0) noexcept {
    std::byte* place;
    const RingOp op = claim(length, &place);
    if (op != RingOp::kOk) return op;
    if (length != 0) std::memcpy(place, bytes, length);
    commit(length, label);
    return RingOp::kOk;
  }

  /// Pushes as many of `count` frames as fit, with one publication. `*done` is how many; the result
  /// says why it stopped.
  RingOp try_push_n(const Piece* pieces, size_t count, size_t* done) noexcept {
    uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);
    const uint32_t begin = at;
    RingOp op = RingOp::kOk;
    for (*done = 0; *done < count; ++*done) {
      const Piece& piece = pieces[*done];
      uint32_t start;
      op = find_room(at, piece.length, &start);
      if (op != RingOp::kOk) break;
      if (piece.length != 0) std::memcpy(data_ + (start & mask_) + kFrameHeader, piece.data, piece.length);
      write_header(start, piece.length, piece.label);
      at = start + frame_size(piece.length);
    }
    if (at != begin) publish(at);
    return op;
  }

  template <class Idle>
  RingOp push(const void* bytes, uint32_t length, uint32_t label, Idle&& idle) noexcept {
    for (;;) {
      const RingOp op = try_push(bytes, length, label);
      if (op == RingOp::kOk) idle.reset();
      if (op != RingOp::kFull || !idle.wait(room_event())) return op;
    }
  }

  // --- consumer

  /// The oldest frame, in place. kEmpty, kClosed / kDead if everything was read and nothing more
  /// will come, or kCorrupt.
  RingOp front(Frame* frame) noexcept {
    for (;;) {
      const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);  // our own
      if (at == layout_->consumer_copy && refresh_items(at) == 0) {
        const RingOp op = empty_verdict();
        // The verdict is newer than our look at the index: look again, or the last frames would be
        // missed.
        if (op == RingOp::kEmpty || refresh_items(at) == 0) return op;
      }
      const RingOp op = look_at(at, layout_->consumer_copy, frame, &front_end_);
      if (op != RingOp::kEmpty) return op;
      release(front_end_);  // padding
    }
  }
  /// Gives the frame of `front` back. REQUIRES: `front` returned kOk since the last pop.
  void pop() noexcept { release(front_end_); }

  /// Calls `handler(const Frame&)` for up to `limit` frames and gives them back together. `*done`
  /// is how many. Returns kOk if there was any, otherwise as `front`.
  template <class Handler>
  RingOp poll(Handler&& handler, size_t limit, size_t* done) noexcept {
    *done = 0;
    Frame frame;
    const RingOp first = front(&frame);
    if (first != RingOp::kOk || limit == 0) return first;
    const uint32_t begin = layout_->consumer_index.load(std::memory_order_relaxed);
    uint32_t at = begin;
    const uint32_t end = layout_->consumer_copy;
    RingOp op = RingOp::kOk;
    while (at != end && *done < limit) {
      uint32_t next;
      op = look_at(at, end, &frame, &next);
      if (op == RingOp::kCorrupt) break;
      if (op == RingOp::kOk) {
        handler(frame);
        ++*done;
      }
      at = next;
    }
    release(at);
    return *done != 0 ? RingOp::kOk : op;
  }

  // --- both sides

  /// Bytes in the ring, frame headers and padding included.
  uint32_t used_bytes() const noexcept {
    const uint32_t consumed = layout_->consumer_index.load(std::memory_order_acquire);
    const uint32_t produced = layout_->producer_index.load(std::memory_order_acquire);
    return std::min(produced - consumed, capacity());
  }
  uint32_t capacity() const noexcept { return mask_ + 1; }
  uint32_t max_payload() const noexcept { return capacity() / 2 - kFrameHeader; }
  RingLayout* layout() const noexcept { return layout_; }
  RingEventcount items_event() const noexcept { return {&layout_->consumers_waiting, &layout_->items_event}; }
  RingEventcount room_event() const noexcept { return {&layout_->producers_waiting, &layout_->room_event}; }

 private:
  static constexpr uint32_t kFrameHeader = 8;
  static constexpr uint32_t kPadding = 0x80000000u;

  explicit SpscByteRing(void* memory) noexcept
      : layout_(static_cast<RingLayout*>(memory)),
        data_(static_cast<std::byte*>(memory) + kRingDataOffset),
        mask_(layout_->header.capacity - 1),
        parking_((layout_->header.flags & kRingFlagParking) != 0) {}

  static constexpr uint32_t frame_size(uint32_t length) noexcept { return (kFrameHeader + length + 7) & ~7u; }
  RingWord& entry(RingRole role) noexcept { return layout_->participant[static_cast<uint32_t>(role)]; }

  // Finds where a frame of `length` goes if it follows position `at`, and writes the padding before
  // it if it must wrap.
  RingOp find_room(uint32_t at, uint32_t length, uint32_t* start) noexcept {
    if (length > max_payload()) return RingOp::kTooLarge;
    const uint32_t size = frame_size(length);
    const uint32_t tail = capacity() - (at & mask_);
    const uint32_t need = size <= tail ? size : tail + size;
    if (room(at) < need) [[unlikely]] {
      if (role_state(RingRole::kProducer) == ParticipantState::kClosed) return RingOp::kClosed;
      // Acquire: the consumer's reads of what it gave back are done before we write there.
      layout_->producer_copy = layout_->consumer_index.load(std::memory_order_acquire);
      if (room(at) < need) return verdict_on(entry(RingRole::kConsumer), RingOp::kFull);
    }
    if (size > tail) {
      write_header(at, kPadding | (tail - kFrameHeader), 0);
      at += tail;
    }
    *start = at;
    return RingOp::kOk;
  }
  uint32_t room(uint32_t at) const noexcept {
    const uint32_t used = at - layout_->producer_copy;
    return used >= capacity() ? 0 : capacity() - used;
  }
  void write_header(uint32_t position, uint32_t length, uint32_t label) noexcept {
    const uint32_t words[2] = {length, label};
    std::memcpy(data_ + (position & mask_), words, sizeof words);
  }
  // Publishes every frame before `end`, padding included, to the consumer.
  void publish(uint32_t end) noexcept {
    layout_->producer_index.store(end, std::memory_order_release);
    if (parking_) items_event().notify();
  }

  RingOp empty_verdict() noexcept {
    if (role_state(RingRole::kConsumer) == ParticipantState::kClosed) return RingOp::kClosed;
    return verdict_on(entry(RingRole::kProducer), RingOp::kEmpty);
  }
  // Acquire: the frames up to the index are whole.
  uint32_t refresh_items(uint32_t at) noexcept {
    if (role_state(RingRole::kConsumer) == ParticipantState::kClosed) return 0;
    const uint32_t produced = layout_->producer_index.load(std::memory_order_acquire);
    layout_->consumer_copy = produced;
    return produced - at;
  }
  // kOk with a frame, kEmpty for padding, kCorrupt; `*next` is the position behind it.
  RingOp look_at(uint32_t at, uint32_t end, Frame* frame, uint32_t* next) const noexcept {
    const uint32_t tail = capacity() - (at & mask_);
    const uint32_t available = end - at;
    if (available < kFrameHeader || available > capacity() || at % 8 != 0) return RingOp::kCorrupt;
    uint32_t words[2];
    std::memcpy(words, data_ + (at & mask_), sizeof words);
    if ((words[0] & kPadding) != 0) {
      if ((words[0] & ~kPadding) != tail - kFrameHeader || available < tail) return RingOp::kCorrupt;
      *next = at + tail;
      return RingOp::kEmpty;
    }
    // No producer makes a larger one, whatever lies behind it.
    if (words[0] > max_payload()) return RingOp::kCorrupt;
    const uint32_t size = frame_size(words[0]);
    if (size > available || size > tail) return RingOp::kCorrupt;
    *frame = {data_ + (at & mask_) + kFrameHeader, words[0], words[1]};
    *next = at + size;
    return RingOp::kOk;
  }
  // Gives every byte before `end` back to the producer: our reads of them are done.
  void release(uint32_t end) noexcept {
    layout_->consumer_index.store(end, std::memory_order_release);
    if (parking_) room_event().notify();
  }

  RingLayout* layout_ = nullptr;
  std::byte* data_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t claim_start_ = 0;   // producer
  uint32_t claim_length_ = 0;  // producer
  uint32_t front_end_ = 0;     // consumer
  bool claimed_ = false;       // producer
  bool parking_ = false;
};

}  // namespace hermes
