#include "core/log/repair.h"

#include <algorithm>
#include <cstring>

#include "core/log/claim_check.h"
#include "core/log/quarantine.h"
#include "core/platform/clock.h"

namespace hermes {
namespace {

constexpr const char* kUncertain = "a claim that no publisher is known to have made";

Status is_owner_alive(const Log& log, uint64_t word, bool* alive) {
  const std::optional<Claim> claim = parse_claim_word(word);
  LockFile probe;
  Status status = log.open_lock(&probe);
  if (status.ok()) status = probe.is_held(kSlotByte + claim->participant, alive);
  return status;
}

Status no_claim(const Log& log, const Position& at) {
  return Status::error(
      Code::kCorrupt,
      "damage at offset " + std::to_string(at.offset) + " of " + Segment::path(log.folder(), at.segment) +
          " looks like a claim. Close all publishers: the next one to open the topic, or hermes repair, mends it");
}

/// Whether the owner of `slot`, who lives, denies the claim word that was seen (with acquire) at `at`: he notes each claim before he makes it, and
/// takes the note away when it is committed. The caller then looks at the word again: if it still stands there, no publisher made it.
bool is_denied(const Position& at, const ParticipantSlot& slot) noexcept {
  // A publisher stores both words before it claims, so they are its own by now, if the claim is.
  const uint64_t taken_ns = slot.taken_ns.load(std::memory_order_relaxed);
  if (slot.notes.load(std::memory_order_relaxed) != (taken_ns ^ kNotesSalt))
    return false;  // a release that notes nothing
  // Acquire: pairs with the release in Appender::commit.
  return slot.claiming.load(std::memory_order_acquire) != claim_note(at.segment, at.offset);
}

/// Voids the claim of a dead owner, unless it's damage (kCorrupt). REQUIRES: the recovery lock is held.
Status bury(Log& log, Segment& segment, const Position& at, const Step& step) {
  const ClaimVerdict verdict = judge_claim(segment, at, step, log.control(), true);
  if (verdict == ClaimVerdict::kDamage) return no_claim(log, at);
  if (verdict == ClaimVerdict::kUncertain) {
    Status status = copy_uncertain_claim(log, segment, at, step, nullptr);
    if (!status.ok()) return status;
  }
  return commit_as_void(segment, at.offset, step, at.sequence, VoidReason::kDeadPublisher);
}

}  // namespace

Status copy_uncertain_claim(const Log& log, const Segment& segment, const Position& at, const Step& step,
                            RecoveryReport* report) {
  Damage damage = {at.segment, at.offset, step.span, at.sequence, step.count, kUncertain, ""};
  Status status = quarantine(log, segment, &damage);
  if (status.ok() && report != nullptr) report->damage.push_back(std::move(damage));
  return status;
}

Status commit_as_void(Segment& segment, uint64_t offset, const Step& step, uint64_t sequence, VoidReason reason) {
  // A power cut may have taken the blocks that the owner had allocated: make sure of what is touched.
  Status status = segment.file().allocate(offset, step.count == 0 ? kFrameHeaderBytes : step.span);
  if (!status.ok()) return status;
  std::byte* const frame = segment.data() + offset;
  FrameFields fields;
  fields.type = step.count == 0 ? FrameType::kPadding : FrameType::kVoid;
  fields.sequence = sequence;
  fields.timestamp_ns = realtime_ns();
  fields.payload_len = static_cast<uint32_t>(step.span - kFrameHeaderBytes);
  // Nothing of what was not committed may ever look like a frame again.
  if (step.count != 0 && step.span > 8) std::memset(frame + 8, 0, step.span - 8);
  const VoidBody body = {static_cast<uint32_t>(step.count), static_cast<uint32_t>(reason)};
  if (fields.type == FrameType::kVoid && fields.payload_len >= sizeof body) {
    std::memcpy(frame + kFrameHeaderBytes, &body, sizeof body);
  }
  const uint64_t word = stamp(*segment.frame(offset), fields, frame + kFrameHeaderBytes);
  // Release: readers that see the magic see the header.
  segment.word(offset).store(word, std::memory_order_release);
  return status;
}

Status repair_claim(Log& log, const Position& at, RepairOutcome* outcome) {
  *outcome = RepairOutcome::kNothing;
  std::shared_ptr<Segment> segment;
  Status status = log.segment(at.segment, &segment);
  if (!status.ok()) return status;
  Step step = segment->step(at.offset);
  if (step.kind != Step::Kind::kClaim) return status;
  bool alive = true;
  status = is_owner_alive(log, step.word, &alive);
  if (!status.ok()) return status;
  *outcome = RepairOutcome::kAlive;
  if (alive) {
    // The owner's word and progress first, then the claim again: it must have stood there all the time.
    const ParticipantSlot& owner = log.control().slots[parse_claim_word(step.word)->participant];
    const bool refuted = is_denied(at, owner) || log.claim_watch().is_refuted(at, step.word, owner, monotonic_ns());
    return refuted && segment->step(at.offset).word == step.word ? no_claim(log, at) : Status::success();
  }

  LockFile locks;
  status = log.open_lock(&locks);
  if (!status.ok()) return status;
  ScopedLock lock(&locks, kRecoveryByte);
  status = lock.try_acquire();
  // Another process repairs, recovers, or was stopped while it did. Callers may be event loops: they look again later.
  if (status.code == Code::kBusy) return Status::success();
  if (!status.ok()) return status;
  // Looked at again under the lock: slots change hands only under it, so this claim's owner is the one we ask about.
  step = segment->step(at.offset);
  if (step.kind != Step::Kind::kClaim) {
    *outcome = RepairOutcome::kNothing;
    return status;
  }
  status = is_owner_alive(log, step.word, &alive);
  if (!status.ok() || alive) return status;
  status = bury(log, *segment, at, step);
  if (status.ok()) *outcome = RepairOutcome::kRepaired;
  return status;
}

Status void_stale_claims(Log& log, uint32_t slot) {
  Position at;
  Status status = log.committed(&at);
  if (status.code == Code::kNotFound) return Status::success();
  // Held for as long as the walk is in it: perhaps no other object has it mapped, and mapping it for each frame would never catch up
  // with a busy publisher.
  std::shared_ptr<Segment> segment;
  for (; status.ok();) {
    if (segment == nullptr || segment->number() != at.segment) status = log.segment(at.segment, &segment);
    if (!status.ok()) return status;
    const Step step = segment->step(at.offset);
    switch (step.kind) {
      case Step::Kind::kEmpty:
        return status;
      case Step::Kind::kDamage:
        return status;  // recovery's matter; claims can't be found behind it
      case Step::Kind::kSegmentEnd:
      case Step::Kind::kPadding:
        if (at.segment >= log.active()) return status;
        at = {at.segment + 1, kSegmentHeaderBytes, at.sequence};
        continue;
      case Step::Kind::kClaim:
        if (parse_claim_word(step.word)->participant == slot) {
          status = bury(log, *segment, at, step);
          if (status.code == Code::kCorrupt) return Status::success();  // as above: nothing behind it can be relied on
          if (!status.ok()) return status;
          continue;  // and look at it again, as what it is now
        }
        break;
      default:
        break;
    }
    at.offset += step.span;
    at.sequence += step.count;
  }
  return status;
}

}  // namespace hermes
