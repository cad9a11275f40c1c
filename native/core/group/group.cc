#include "core/group/group.h"

#include <algorithm>
#include <cstring>

#include "core/crc32/crc32.h"
#include "core/group/group_file.h"
#include "core/log/cuts.h"
#include "core/log/waiter.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr uint64_t kCheckNs = 100'000'000;
constexpr uint64_t kSalt = 0x48524D5350415245;

uint64_t check_of(const GroupRules& r) noexcept {
  return kSalt ^ (uint64_t{r.max_deliveries} | uint64_t{r.lease_ms} << 32) ^
         (uint64_t{r.backoff_ms} << 7 | uint64_t{r.max_backoff_ms} << 31) ^
         (uint64_t{r.key_offset} << 13 | uint64_t{r.key_bytes} << 24);
}

}  // namespace

Status group_damaged(const std::string& path) {
  return Status::error(Code::kCorrupt, path +
                                           " is damaged: its words contradict each other. Close all members of the "
                                           "group; the next process that opens it "
                                           "sets it right, and messages may be delivered again");
}

void store_rules(GroupNumbers& numbers, const GroupRules& rules) noexcept {
  numbers.check.store(0, std::memory_order_relaxed);
  numbers.max_deliveries.store(rules.max_deliveries, std::memory_order_relaxed);
  numbers.lease_ms.store(rules.lease_ms, std::memory_order_relaxed);
  numbers.backoff_ms.store(rules.backoff_ms, std::memory_order_relaxed);
  numbers.max_backoff_ms.store(rules.max_backoff_ms, std::memory_order_relaxed);
  numbers.key_offset.store(rules.key_offset, std::memory_order_relaxed);
  numbers.key_bytes.store(rules.key_bytes, std::memory_order_relaxed);
  // Release: pairs with the acquire in rules().
  numbers.check.store(check_of(rules), std::memory_order_release);
}

GroupRules Group::rules() const noexcept {
  const GroupNumbers& numbers = block().numbers;
  const uint64_t check = numbers.check.load(std::memory_order_acquire);
  const GroupRules seen = {
      numbers.max_deliveries.load(std::memory_order_relaxed), numbers.lease_ms.load(std::memory_order_relaxed),
      numbers.backoff_ms.load(std::memory_order_relaxed),     numbers.max_backoff_ms.load(std::memory_order_relaxed),
      numbers.key_offset.load(std::memory_order_relaxed),     numbers.key_bytes.load(std::memory_order_relaxed)};
  return check_of(seen) == check ? seen : GroupRules{};
}

bool Group::load_span(uint64_t* floor, uint64_t* next) const noexcept {
  for (int tries = 0; tries < 1000; ++tries) {
    // In this order: `floor` never passes `next`, so what is loaded later is not behind. Acquire: entries below `next` of who claimed them, and what
    // was settled below `floor`.
    *floor = block().floor.load(std::memory_order_acquire);
    *next = block().next.load(std::memory_order_acquire);
    if (*floor == 0 || *next > kSequenceMask) return false;
    if (*next >= *floor && *next - *floor <= window_) return true;
    // Both moved on in between, or the group was reset.
  }
  return false;
}

uint64_t Group::handed_out_before() const noexcept {
  if (!up_to_synced_) return ~uint64_t{0};
  Position synced;
  return load_position(log_->control().synced, &synced) ? synced.sequence : 1;
}

void Group::raise_floor() noexcept {
  GroupBlock& b = block();
  // Each round that fails was another one's success; the bound is for a hostile writer.
  for (int round = 0; round < 1'000'000; ++round) {
    // Sequentially consistent, all four: of two who settle side by side, the one who raises sees in his next round what the other one settled, or
    // that one sees here what was raised, and goes on from there.
    uint64_t floor = b.floor.load(std::memory_order_seq_cst);
    const uint64_t next = b.next.load(std::memory_order_acquire);
    if (next <= floor || next - floor > window_) return;
    uint64_t at = floor;
    while (at < next && entry(at).word.load(std::memory_order_seq_cst) == settled_word(lap(at))) ++at;
    if (at == floor) return;
    // If others raised it meanwhile, the words that were looked at may be those of a later lap: but then this fails.
    if (b.floor.compare_exchange_strong(floor, at, std::memory_order_seq_cst) && next - floor >= window_) wake();
  }
}

// A stretch is kept as two numbers modulo 2³², the first one in the low half; both equal: there is none.

void Group::note_returned(uint64_t from, uint64_t to) noexcept {
  std::atomic<uint64_t>& word = block().returned;
  uint64_t seen = word.load(std::memory_order_relaxed);
  for (;;) {
    auto low = static_cast<uint32_t>(from);
    auto high = static_cast<uint32_t>(to);
    const auto low_seen = static_cast<uint32_t>(seen);
    const auto high_seen = static_cast<uint32_t>(seen >> 32);
    if (low_seen != high_seen) {
      if (static_cast<int32_t>(low_seen - low) < 0) low = low_seen;
      if (static_cast<int32_t>(high_seen - high) > 0) high = high_seen;
    }
    const uint64_t wanted = low | uint64_t{high} << 32;
    // Release: who takes the note sees the entries as they were returned. Also if nothing changes, so that the order holds.
    if (word.compare_exchange_weak(seen, wanted, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
  }
}

bool Group::has_returned() const noexcept {
  const uint64_t seen = block().returned.load(std::memory_order_acquire);
  return static_cast<uint32_t>(seen) != static_cast<uint32_t>(seen >> 32);
}

bool Group::take_returned(uint64_t floor, uint64_t next, uint64_t* from, uint64_t* to) noexcept {
  if (!has_returned()) return false;
  const uint64_t seen = block().returned.exchange(0, std::memory_order_acq_rel);
  if (static_cast<uint32_t>(seen) == static_cast<uint32_t>(seen >> 32)) return false;
  const auto place = [&](uint64_t half) {
    const auto ahead = static_cast<int32_t>(static_cast<uint32_t>(half) - static_cast<uint32_t>(floor));
    return ahead <= 0 ? floor : std::min(next, floor + static_cast<uint32_t>(ahead));
  };
  *from = place(seen);
  *to = place(seen >> 32);
  return *from < *to;
}

bool Group::note_due(uint32_t tick) noexcept {
  std::atomic<uint32_t>& due = block().due;
  uint32_t seen = due.load(std::memory_order_relaxed);
  // Release: who finds the tick come sees the entry delayed.
  while (seen == 0 || !is_due(seen, tick)) {
    if (due.compare_exchange_weak(seen, tick, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Group::wake() const noexcept {
  if (!log_->writable()) return;
  // What we did before, then the load: a sleeper announces itself, and looks once more after a fence of its own.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if ((log_->control().parked.load(std::memory_order_relaxed) & 1) != 0) wake_sleepers(*log_);
}

uint32_t Group::return_all_of(uint32_t slot) noexcept {
  uint64_t floor = 0;
  uint64_t next = 0;
  if (window_ == 0 || !load_span(&floor, &next)) return 0;
  uint32_t count = 0;
  uint64_t low = next;
  uint64_t high = floor;
  // To the end of the window, and not of what was handed out: damage may have left the slot's name anywhere.
  for (uint64_t s = floor; s < floor + window_; ++s) {
    uint64_t word = entry(s).word.load(std::memory_order_acquire);
    const EntryWord e = unpack(word);
    if (!belongs(word, lap(s)) || e.state != EntryState::kClaimed || e.member != slot) continue;
    const uint64_t back = pack({EntryState::kReturned, 0, e.deliveries, e.lap, 0});
    if (!entry(s).word.compare_exchange_strong(word, back, std::memory_order_seq_cst)) continue;
    ++count;
    low = std::min(low, s);
    high = std::max(high, s + 1);
  }
  if (count > 0) note_returned(low, high);
  return count;
}

Status Group::check(uint64_t now_ns) {
  if (log_->is_deleted()) return Log::deleted();
  // Relaxed: two threads that look at once do no harm.
  if (now_ns - checked_ns_.load(std::memory_order_relaxed) >= kCheckNs) {
    checked_ns_.store(now_ns, std::memory_order_relaxed);
    FileIdentity there;
    const Status status = FileIdentity::of(path_, &there);
    if (status.code == Code::kNotFound || (status.ok() && !there.is_same_file(identity_)))
      gone_.store(true, std::memory_order_relaxed);
    const Status sound = log_->check_control();
    if (!sound.ok()) return sound;
    if (newest_cut(log_->control()) != block().cut.load(std::memory_order_acquire)) {
      MembershipLock lock(*this);
      if (lock.try_acquire().ok()) {
        const Status cut = recover_cut(nullptr);
        if (!cut.ok()) return cut;
      }
    }
  }
  if (!gone_.load(std::memory_order_relaxed)) return Status::success();
  return log_->explained(
      Status::error(Code::kNotFound, "the group file " + path_ + " was removed or replaced while it was open here"));
}

Status Group::sync() {
  Status status;
  if (sync_failure_.load(std::memory_order_acquire) == 0) status = map_.sync();
  if (status.sys_errno != 0) sync_failure_.store(status.sys_errno, std::memory_order_release);
  const int err = sync_failure_.load(std::memory_order_acquire);
  return err == 0 ? status : Status::from_errno(err, "sync " + path_ + " to disk");
}

std::string Group::settings() const {
  const GroupBlock& b = block();
  const uint32_t bytes = std::min<uint32_t>(b.settings_bytes, kGroupSettingsBytes);
  std::string text(b.settings, bytes);
  return crc32(0, text.data(), text.size()) == b.settings_crc ? text : std::string();
}

}  // namespace hermes
