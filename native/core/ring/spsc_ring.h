#pragma once

#include <algorithm>
#include <span>
#include <type_traits>

#include "core/ring/participant.h"
#include "core/ring/ring_eventcount.h"
#include "core/ring/ring_layout.h"

namespace hermes {

/// A bounded queue for one producer and one consumer, in any memory. The object is a view: it owns
/// nothing, may be copied, and must not outlive the memory. The layout is kind 1 of
/// docs/ring-layout.md.
///
/// Thread safety: one thread at a time calls the producer's functions, and one the consumer's; they
/// may be different threads or processes. `size` and `role_state` are for both.
///
/// Invariants: only the producer writes producer_index and producer_copy, only the consumer their
/// counterparts; 0 <= producer_index - consumer_index <= capacity; a copy never runs ahead of the
/// index that it was taken from.
template <class T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>, "items cross process borders as bytes");
  static_assert(alignof(T) <= kRingLine);
  static_assert(sizeof(T) <= kRingMaxItemSize);

 public:
  using value_type = T;

  static constexpr uint64_t required_bytes(uint32_t capacity) noexcept {
    return ring_detail::total_bytes(RingKind::kSpsc, sizeof(T), capacity);
  }

  /// Writes a new ring over `memory`. REQUIRES: the memory is unused.
  static RingStatus create(void* memory, size_t bytes, uint32_t capacity, SpscRing* out,
                           const RingOptions& options = {}) noexcept {
    const RingStatus status = create_ring(memory, bytes, {RingKind::kSpsc, sizeof(T), capacity}, options);
    if (status == RingStatus::kOk) *out = SpscRing(memory);
    return status;
  }

  /// Looks at a ring that another one created. `tag`: refuse a ring with another one.
  static RingStatus attach(void* memory, size_t bytes, SpscRing* out, const uint64_t* tag = nullptr) noexcept {
    const RingStatus status = check_ring(memory, bytes, {RingKind::kSpsc, sizeof(T), 0}, tag);
    if (status == RingStatus::kOk) *out = SpscRing(memory);
    return status;
  }

  SpscRing() = default;

  // --- roles: cold path

  /// Takes a free role, or returns kBusy. Optional between threads that know their
  /// roles.
  RingStatus claim(RingRole role) noexcept {
    uint32_t before;
    if (!attach_entry(entry(role), &before)) return RingStatus::kBusy;
    adopt(role);
    return RingStatus::kOk;
  }
  /// Prepares for a role whose entry the caller took by other means (RingFile).
  void adopt(RingRole role) noexcept {
    if (role == RingRole::kProducer) {
      layout_->producer_copy = layout_->consumer_index.load(std::memory_order_acquire);
    } else {
      layout_->consumer_copy = layout_->producer_index.load(std::memory_order_acquire);
    }
  }
  /// Gives the role up; the other side gets kClosed once it finds the ring empty or full, we get it
  /// at once.
  void close(RingRole role) noexcept {
    // Our own next call must not find room or items without looking, and thereby seeing that we
    // closed.
    if (role == RingRole::kProducer) {
      layout_->producer_copy = layout_->producer_index.load(std::memory_order_relaxed) - capacity();
    } else {
      layout_->consumer_copy = layout_->consumer_index.load(std::memory_order_relaxed);
    }
    close_entry(entry(role));
    (role == RingRole::kProducer ? items_event() : room_event()).wake();
  }
  /// Declares the holder of a role dead. REQUIRES: the caller knows that its thread has ended.
  void evict(RingRole role) noexcept {
    (void)mark_dead(entry(role), entry(role).load(std::memory_order_acquire));
    (role == RingRole::kProducer ? items_event() : room_event()).wake();
  }
  ParticipantState role_state(RingRole role) const noexcept {
    return state_of(layout_->participant[static_cast<uint32_t>(role)].load(std::memory_order_acquire));
  }

  // --- producer

  /// kOk, or kFull, or kClosed / kDead if the ring is full and will stay so.
  RingOp try_push(const T& item) noexcept {
    const uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);  // our own
    if (at - layout_->producer_copy == capacity()) [[unlikely]] {
      if (refresh_room(at) == 0) return full_verdict();
    }
    slots_[at & mask_] = item;
    // Publishes the item to the consumer.
    layout_->producer_index.store(at + 1, std::memory_order_release);
    if (parking_) items_event().notify();
    return RingOp::kOk;
  }

  /// Pushes up to `count` items with one publication; returns how many.
  size_t try_push_n(const T* items, size_t count) noexcept {
    const uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);
    const uint32_t n = room_for(at, count);
    if (n == 0) return 0;
    const uint32_t place = at & mask_;
    const uint32_t first = std::min(n, capacity() - place);
    std::copy_n(items, first, slots_ + place);
    std::copy_n(items + first, n - first, slots_);
    publish(at + n);
    return n;
  }

  /// Hands out up to `count` free slots that lie side by side, to be filled in place. Empty if the
  /// ring is full. Valid until `publish_n`; calling it again returns the same slots.
  std::span<T> reserve_n(size_t count) noexcept {
    const uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);
    const uint32_t n = room_for(at, count);
    const uint32_t place = at & mask_;
    return {slots_ + place, std::min(n, capacity() - place)};
  }
  /// Publishes the first `count` of the reserved slots.
  void publish_n(size_t count) noexcept {
    const uint32_t at = layout_->producer_index.load(std::memory_order_relaxed);
    publish(at + static_cast<uint32_t>(count));
  }

  /// Pushes, waiting for room as `idle` says. kFull only if `idle` gave up.
  template <class Idle>
  RingOp push(const T& item, Idle&& idle) noexcept {
    for (;;) {
      const RingOp op = try_push(item);
      if (op == RingOp::kOk) idle.reset();
      if (op != RingOp::kFull || !idle.wait(room_event())) return op;
    }
  }
  /// Pushes all of `count` items, in as many portions as it takes. `*done` is how many went in.
  template <class Idle>
  RingOp push_n(const T* items, size_t count, Idle&& idle, size_t* done) noexcept {
    *done = 0;
    while (*done < count) {
      const size_t n = try_push_n(items + *done, count - *done);
      *done += n;
      if (n != 0) {
        idle.reset();
        continue;
      }
      const RingOp op = full_verdict();
      if (op != RingOp::kFull || !idle.wait(room_event())) return op;
    }
    return RingOp::kOk;
  }

  // --- consumer

  /// The oldest item, in place, or null if the ring is empty. Valid until `pop`.
  const T* front() noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);  // our own
    if (at == layout_->consumer_copy) [[unlikely]] {
      if (refresh_items(at) == 0) return nullptr;
    }
    return &slots_[at & mask_];
  }
  /// Gives the slot of `front` back. REQUIRES: `front` returned an item since the last pop.
  void pop() noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);
    release(at + 1);
  }

  /// kOk, or kEmpty, or kClosed / kDead if everything was read and nothing more will come.
  RingOp try_pop(T* item) noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);
    if (at == layout_->consumer_copy) [[unlikely]] {
      if (refresh_items(at) == 0) {
        const RingOp op = empty_verdict();
        // The verdict is newer than our look at the index: look again, or the last items would be
        // missed.
        if (op == RingOp::kEmpty || refresh_items(at) == 0) return op;
      }
    }
    *item = slots_[at & mask_];
    release(at + 1);
    return RingOp::kOk;
  }

  /// Pops up to `count` items with one release; returns how many.
  size_t try_pop_n(T* items, size_t count) noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);
    const uint32_t n = items_for(at, count);
    if (n == 0) return 0;
    const uint32_t place = at & mask_;
    const uint32_t first = std::min(n, capacity() - place);
    std::copy_n(slots_ + place, first, items);
    std::copy_n(slots_, n - first, items + first);
    release(at + n);
    return n;
  }

  /// Up to `count` items that lie side by side, in place. Valid until `pop_n`.
  std::span<const T> front_n(size_t count) noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);
    const uint32_t n = items_for(at, count);
    const uint32_t place = at & mask_;
    return {slots_ + place, std::min(n, capacity() - place)};
  }
  /// Gives the first `count` slots of `front_n` back.
  void pop_n(size_t count) noexcept {
    const uint32_t at = layout_->consumer_index.load(std::memory_order_relaxed);
    release(at + static_cast<uint32_t>(count));
  }

  /// Pops, waiting for an item as `idle` says. kEmpty only if `idle` gave up.
  template <class Idle>
  RingOp pop_wait(T* item, Idle&& idle) noexcept {
    for (;;) {
      const RingOp op = try_pop(item);
      if (op == RingOp::kOk) idle.reset();
      if (op != RingOp::kEmpty || !idle.wait(items_event())) return op;
    }
  }

  // --- both sides

  /// Items in the ring, as of some moment during the call.
  uint32_t size() const noexcept {
    const uint32_t consumed = layout_->consumer_index.load(std::memory_order_acquire);
    const uint32_t produced = layout_->producer_index.load(std::memory_order_acquire);
    return std::min(produced - consumed, capacity());
  }
  uint32_t capacity() const noexcept { return mask_ + 1; }
  RingLayout* layout() const noexcept { return layout_; }
  RingEventcount items_event() const noexcept { return {&layout_->consumers_waiting, &layout_->items_event}; }
  RingEventcount room_event() const noexcept { return {&layout_->producers_waiting, &layout_->room_event}; }

 private:
  explicit SpscRing(void* memory) noexcept
      : layout_(static_cast<RingLayout*>(memory)),
        slots_(reinterpret_cast<T*>(static_cast<char*>(memory) + kRingDataOffset)),
        mask_(layout_->header.capacity - 1),
        parking_((layout_->header.flags & kRingFlagParking) != 0) {}

  RingWord& entry(RingRole role) noexcept { return layout_->participant[static_cast<uint32_t>(role)]; }

  RingOp full_verdict() noexcept {
    if (role_state(RingRole::kProducer) == ParticipantState::kClosed) return RingOp::kClosed;
    return verdict_on(entry(RingRole::kConsumer), RingOp::kFull);
  }
  RingOp empty_verdict() noexcept {
    if (role_state(RingRole::kConsumer) == ParticipantState::kClosed) return RingOp::kClosed;
    return verdict_on(entry(RingRole::kProducer), RingOp::kEmpty);
  }

  // Acquire: the consumer's reads of what it gave back are done before we write there. The result
  // is bounded, so that damaged indices can't lead us outside.
  uint32_t refresh_room(uint32_t at) noexcept {
    if (role_state(RingRole::kProducer) == ParticipantState::kClosed) return 0;
    const uint32_t consumed = layout_->consumer_index.load(std::memory_order_acquire);
    layout_->producer_copy = consumed;
    const uint32_t used = at - consumed;
    return used >= capacity() ? 0 : capacity() - used;
  }
  // Acquire: the items up to the index are whole.
  uint32_t refresh_items(uint32_t at) noexcept {
    if (role_state(RingRole::kConsumer) == ParticipantState::kClosed) return 0;
    const uint32_t produced = layout_->producer_index.load(std::memory_order_acquire);
    layout_->consumer_copy = produced;
    return std::min(produced - at, capacity());
  }
  uint32_t room_for(uint32_t at, size_t count) noexcept {
    const uint32_t used = at - layout_->producer_copy;
    uint32_t room = used >= capacity() ? 0 : capacity() - used;
    if (room < count) room = refresh_room(at);
    return static_cast<uint32_t>(std::min<size_t>(room, count));
  }
  uint32_t items_for(uint32_t at, size_t count) noexcept {
    uint32_t items = std::min(layout_->consumer_copy - at, capacity());
    if (items < count) items = refresh_items(at);
    return static_cast<uint32_t>(std::min<size_t>(items, count));
  }
  // Publishes every item before `end` to the consumer.
  void publish(uint32_t end) noexcept {
    layout_->producer_index.store(end, std::memory_order_release);
    if (parking_) items_event().notify();
  }
  // Gives every slot before `end` back to the producer: our reads of them are done.
  void release(uint32_t end) noexcept {
    layout_->consumer_index.store(end, std::memory_order_release);
    if (parking_) room_event().notify();
  }

  RingLayout* layout_ = nullptr;
  T* slots_ = nullptr;
  uint32_t mask_ = 0;
  bool parking_ = false;
};

}  // namespace hermes
