#pragma once

#include <algorithm>
#include <bit>
#include <type_traits>

#include "core/ring/participant.h"
#include "core/ring/ring_eventcount.h"
#include "core/ring/ring_layout.h"

namespace hermes {

/// A bounded queue for many producers and consumers, in any memory. After D. Vyukov's bounded MPMC
/// queue; the claim is made on the slot's word and names its owner, so that a dead participant's
/// claim can be resolved. The layout is kind 3 of docs/ring-layout.md.
///
/// Thread safety: a view is one participant and belongs to one thread at a time; copy the view and
/// `join` for each thread. `size`, `voided` and `evict` are for all participants.
///
/// Invariants: a slot's word is claimed by one CAS from the free (full) word of exactly one
/// position, so a position has one writer and one reader; an index passes a position only after
/// that position was claimed.
template <class T>
class MpmcRing {
  static_assert(std::is_trivially_copyable_v<T>, "items cross process borders as bytes");
  static_assert(alignof(T) <= 8, "slots are aligned to 8");
  static_assert(sizeof(T) <= kRingMaxItemSize);

 public:
  using value_type = T;

  static constexpr uint64_t required_bytes(uint32_t capacity) noexcept {
    return ring_detail::total_bytes(RingKind::kMpmc, sizeof(T), capacity);
  }
  static RingStatus create(void* memory, size_t bytes, uint32_t capacity, MpmcRing* out,
                           const RingOptions& options = {}) noexcept {
    const RingStatus status = create_ring(memory, bytes, {RingKind::kMpmc, sizeof(T), capacity}, options);
    if (status == RingStatus::kOk) *out = MpmcRing(memory);
    return status;
  }
  static RingStatus attach(void* memory, size_t bytes, MpmcRing* out, const uint64_t* tag = nullptr) noexcept {
    const RingStatus status = check_ring(memory, bytes, {RingKind::kMpmc, sizeof(T), 0}, tag);
    if (status == RingStatus::kOk) *out = MpmcRing(memory);
    return status;
  }

  MpmcRing() = default;

  // --- participation: cold path

  /// Becomes a participant by any free entry, or returns kNoRoom.
  RingStatus join() noexcept {
    for (uint32_t i = 0; i < participants_; ++i) {
      uint32_t before;
      if (!attach_entry(layout_->participant[i], &before)) continue;
      adopt(i, state_of(before) == ParticipantState::kDead);
      return RingStatus::kOk;
    }
    return RingStatus::kNoRoom;
  }
  /// Becomes the participant whose entry the caller took by other means (RingFile). `unclean`: the
  /// predecessor did not close, so its claims are resolved before ours can be mistaken for them.
  void adopt(uint32_t entry, bool unclean) noexcept {
    me_ = entry + 1;
    if (unclean) resolve_all_of(me_);
  }
  void close() noexcept {
    if (me_ != 0) close_entry(layout_->participant[me_ - 1]);
    me_ = 0;
  }
  /// This participant's entry. REQUIRES: joined.
  uint32_t participant() const noexcept { return me_ - 1; }
  /// Declares a participant dead. REQUIRES: the caller knows that its thread has ended.
  void evict(uint32_t entry) noexcept {
    RingWord& word = layout_->participant[entry];
    (void)hermes::mark_dead(word, word.load(std::memory_order_acquire));
    items_event().wake();
    room_event().wake();
  }

  // --- producers

  /// kOk, kFull, kClosed after `try_end` or `close`, or kCorrupt. REQUIRES: joined.
  RingOp try_push(const T& item) noexcept {
    if (me_ == 0) [[unlikely]]
      return RingOp::kClosed;
    uint32_t position;
    const RingOp op = claim_write(me_, &position);
    if (op != RingOp::kOk) return op;
    Slot& slot = slots_[position & mask_];
    slot.item = item;
    // Publishes the item to the consumer that will claim the slot.
    slot.word.store(make(turn(position) + 1, 0), std::memory_order_release);
    if (parking_) items_event().notify();
    return RingOp::kOk;
  }

  /// Pushes up to `count` items; returns how many. Items of other producers may come between.
  size_t try_push_n(const T* items, size_t count) noexcept {
    size_t done = 0;
    while (done < count && try_push(items[done]) == RingOp::kOk) ++done;
    return done;
  }

  template <class Idle>
  RingOp push(const T& item, Idle&& idle) noexcept {
    for (;;) {
      const RingOp op = try_push(item);
      if (op == RingOp::kOk) idle.reset();
      if (op != RingOp::kFull || !idle.wait(room_event())) return op;
    }
  }

  /// Ends the ring: nothing is pushed after this, what is in it can still be popped. Needs a free
  /// slot like a push: kFull.
  RingOp try_end() noexcept {
    uint32_t position;
    const RingOp op = claim_write(kOwnerEnd, &position);
    if (op == RingOp::kOk) items_event().wake();
    return op == RingOp::kClosed ? RingOp::kOk : op;
  }

  // --- consumers

  /// kOk, kEmpty, kClosed at the end, or kCorrupt. An item that is just being written counts as not
  /// there yet. REQUIRES: joined.
  RingOp try_pop(T* item) noexcept {
    if (me_ == 0) [[unlikely]]
      return RingOp::kClosed;
    for (;;) {
      const uint32_t position = layout_->consumer_index.load(std::memory_order_acquire);
      Slot& slot = slots_[position & mask_];
      const uint32_t word = slot.word.load(std::memory_order_acquire);
      const uint32_t full = (turn(position) + 1) & kTurnMask;
      const uint32_t owner = word & 0xFFu;
      if (word >> 8 == full) {
        if (owner != 0 && owner != kOwnerVoid) {
          pass(layout_->consumer_index, position);
          continue;
        }
        uint32_t expected = word;
        // Acquire: the item is whole. Release: our attachment is older than this claim (see
        // resolve).
        if (!slot.word.compare_exchange_strong(expected, make(full, me_), std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
          continue;
        }
        pass(layout_->consumer_index, position);
        if (owner == 0) *item = slot.item;
        // Gives the slot to the producer of the next lap: our read is done.
        slot.word.store(make(turn(position + capacity()), 0), std::memory_order_release);
        if (parking_) room_event().notify();
        if (owner == 0) return RingOp::kOk;
        continue;
      }
      if (word >> 8 == turn(position)) {
        if (owner == kOwnerEnd) return RingOp::kClosed;
        if (owner != 0 && resolve(position & mask_, word)) continue;
        return RingOp::kEmpty;
      }
      const bool held = owner != 0 && owner != kOwnerVoid;
      if (held && word >> 8 == ((turn(position) - 1) & turn_limit_)) {  // by the last lap's reader
        if (resolve(position & mask_, word)) continue;
        if (layout_->consumer_index.load(std::memory_order_acquire) == position) return RingOp::kEmpty;
        continue;
      }
      if (layout_->consumer_index.load(std::memory_order_acquire) == position) return RingOp::kCorrupt;
    }
  }

  size_t try_pop_n(T* items, size_t count) noexcept {
    size_t done = 0;
    while (done < count && try_pop(items + done) == RingOp::kOk) ++done;
    return done;
  }

  template <class Idle>
  RingOp pop_wait(T* item, Idle&& idle) noexcept {
    for (;;) {
      const RingOp op = try_pop(item);
      if (op == RingOp::kOk) idle.reset();
      if (op != RingOp::kEmpty || !idle.wait(items_event())) return op;
    }
  }

  // --- all participants

  /// Positions between the indices: items, also those that are just being written, and voids.
  uint32_t size() const noexcept {
    const uint32_t consumed = layout_->consumer_index.load(std::memory_order_acquire);
    const uint32_t produced = layout_->producer_index.load(std::memory_order_acquire);
    const uint32_t count = produced - consumed;
    return count > kRingMaxCapacity ? 0 : std::min(count, capacity());
  }
  uint32_t capacity() const noexcept { return mask_ + 1; }
  uint32_t voided() const noexcept { return layout_->voided.load(std::memory_order_relaxed); }
  RingLayout* layout() const noexcept { return layout_; }
  RingEventcount items_event() const noexcept { return {&layout_->consumers_waiting, &layout_->items_event}; }
  RingEventcount room_event() const noexcept { return {&layout_->producers_waiting, &layout_->room_event}; }

 private:
  // Tests stop a participant between two steps by making its claim without the rest.
  friend struct MpmcRingProbe;

  struct Slot {
    RingWord word;
    uint32_t reserved;
    T item;
  };
  // Slots are a multiple of 8 apart, which a C++ array of Slot is not for every T.
  struct alignas(8) PaddedSlot : Slot {};
  static_assert(sizeof(PaddedSlot) == ring_detail::mpmc_slot_size(sizeof(T)));

  static constexpr uint32_t kOwnerVoid = 255;  // on a full word: the writer died
  static constexpr uint32_t kOwnerEnd = 255;   // on a free word: no item is pushed any more
  static constexpr uint32_t kTurnMask = 0xFFFFFFu;

  explicit MpmcRing(void* memory) noexcept
      : layout_(static_cast<RingLayout*>(memory)),
        slots_(reinterpret_cast<PaddedSlot*>(static_cast<char*>(memory) + kRingDataOffset)),
        mask_(layout_->header.capacity - 1),
        shift_(static_cast<uint32_t>(std::countr_zero(layout_->header.capacity))),
        turn_limit_(ring_detail::turn_of(0xFFFFFFFFu, shift_) + 1),
        participants_(layout_->header.participants),
        parking_((layout_->header.flags & kRingFlagParking) != 0) {}

  uint32_t turn(uint32_t position) const noexcept { return ring_detail::turn_of(position, shift_); }
  static constexpr uint32_t make(uint32_t turn, uint32_t owner) noexcept { return turn << 8 | owner; }
  // Helps an index past a claimed position. A failure means that another participant did.
  static void pass(RingWord& index, uint32_t position) noexcept {
    (void)index.compare_exchange_strong(position, position + 1, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  // Claims the next position for `owner`. For kOwnerEnd the index stays: no participant goes past the end.
  RingOp claim_write(uint32_t owner, uint32_t* claimed) noexcept {
    for (;;) {
      const uint32_t position = layout_->producer_index.load(std::memory_order_acquire);
      Slot& slot = slots_[position & mask_];
      const uint32_t word = slot.word.load(std::memory_order_acquire);
      const uint32_t free_turn = turn(position);
      if (word == make(free_turn, 0)) {
        uint32_t expected = word;
        // Acquire: the last reader is done with the slot. Release: our attachment is older than
        // this claim (see resolve).
        if (!slot.word.compare_exchange_strong(expected, make(free_turn, owner), std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
          continue;
        }
        if (owner != kOwnerEnd) pass(layout_->producer_index, position);
        *claimed = position;
        return RingOp::kOk;
      }
      const uint32_t seen = word >> 8;
      if (word == make(free_turn, kOwnerEnd)) return RingOp::kClosed;
      if (seen == free_turn || seen == free_turn + 1) {
        pass(layout_->producer_index, position);
        continue;
      }
      // The last lap is still there: being read, full, or even being written.
      const uint32_t lap = (free_turn - seen) & turn_limit_;
      if (lap == 1 || lap == 2) {
        const uint32_t holder = word & 0xFFu;
        if (holder != 0 && holder != kOwnerVoid && resolve(position & mask_, word)) continue;
        if (layout_->producer_index.load(std::memory_order_acquire) == position) return RingOp::kFull;
        continue;
      }
      if (layout_->producer_index.load(std::memory_order_acquire) == position) return RingOp::kCorrupt;
    }
  }

  // Resolves the claim in `word`, read of slot `place`, if its owner is dead. True if the word may
  // have changed.
  //
  // The word was read before the owner's entry. A claim is a release that follows its owner's
  // attachment, so a claim of a living successor can't be seen together with its predecessor's
  // death.
  bool resolve(uint32_t place, uint32_t word) noexcept {
    const uint32_t owner = word & 0xFFu;
    if (owner == 0 || owner > participants_) return false;
    if (state_of(layout_->participant[owner - 1].load(std::memory_order_acquire)) != ParticipantState::kDead) {
      return false;
    }
    resolve_claim(place, word);
    return true;
  }

  void resolve_claim(uint32_t place, uint32_t word) noexcept {
    const uint32_t seen = word >> 8;
    const bool reading = (seen & 1u) != 0;
    RingWord& index = reading ? layout_->consumer_index : layout_->producer_index;
    const uint32_t position = index.load(std::memory_order_acquire);
    // The index must be past a position before the position's word goes on.
    if ((position & mask_) == place && turn(position) == (seen & ~1u)) pass(index, position);
    const uint32_t next = reading ? make((seen + 1) & turn_limit_, 0) : make(seen + 1, kOwnerVoid);
    uint32_t expected = word;
    if (slots_[place].word.compare_exchange_strong(expected, next, std::memory_order_acq_rel,
                                                   std::memory_order_relaxed)) {
      layout_->voided.fetch_add(1, std::memory_order_relaxed);
    }
  }

  void resolve_all_of(uint32_t owner) noexcept {
    for (uint32_t place = 0; place <= mask_; ++place) {
      const uint32_t word = slots_[place].word.load(std::memory_order_acquire);
      if ((word & 0xFFu) == owner) resolve_claim(place, word);
    }
  }

  RingLayout* layout_ = nullptr;
  PaddedSlot* slots_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t shift_ = 0;
  uint32_t turn_limit_ = 0;  // mask of the turns that positions of 32 bits can have
  uint32_t participants_ = 0;
  uint32_t me_ = 0;  // owner number; 0 = not joined
  bool parking_ = false;
};

}  // namespace hermes
