#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/log/claim_watch.h"
#include "core/log/control.h"
#include "core/log/segment.h"
#include "core/log/segment_index.h"
#include "core/platform/lock_file.h"

namespace hermes {

class Preparer;
class Syncer;

/// How this process treats the topic; nothing of it is stored.
struct LogOptions {
  /// Refuse to allocate when less would stay free on the disk. By default the smaller of 64 MiB and a twentieth of the disk.
  uint64_t low_water_bytes = ~uint64_t{0};
  /// How long to wait, in opening, for others who make the topic's files.
  uint32_t timeout_ms = 60'000;
};

/// A topic's folder, opened. The parent of its appenders and readers, which keep it alive.
///
/// Thread safety: all methods may be called from any thread.
class Log : public std::enable_shared_from_this<Log> {
 public:
  /// Opens the topic in `folder`; makes the control file first if `create` is given.
  static Status open(const std::string& folder, const TopicSettings* create, const LogOptions& options,
                     std::shared_ptr<Log>* out);
  ~Log();

  const std::string& folder() const noexcept { return folder_; }
  ControlBlock& control() const noexcept { return control_.block(); }
  bool writable() const noexcept { return control_.writable(); }
  uint32_t file_mode() const noexcept { return control_.file_mode(); }
  const FileIdentity& identity() const noexcept { return control_.identity(); }
  const LogOptions& options() const noexcept { return options_; }

  /// Whether the `locks` file was there when this Log was opened.
  bool has_locks() const noexcept { return locks_.is_open(); }
  /// A participant of its own, to hold locks with. On the file that was there when this Log was opened, also if that file is removed.
  Status open_lock(LockFile* out) const {
    const std::string path = folder_ + "/locks";
    return locks_.is_open() ? LockFile::open_again(locks_, path, out) : LockFile::open(path, out);
  }
  /// The participant by which only this Log's Syncer holds the sync lock.
  Status sync_locks(LockFile** out);
  /// The segment mapped for writing; one mapping for all users of this Log. kBehindRetention if it was removed, kCorrupt if it is lost,
  /// kNotFound if it has not been made.
  Status segment(uint64_t number, std::shared_ptr<Segment>* out);

  /// Has segment() open the file of that name anew: it was replaced. Who uses the old one keeps it.
  void forget(uint64_t number);

  /// The newest segment in use; 0 if there is none yet.
  uint64_t active() const noexcept { return control().active.load(std::memory_order_acquire); }
  uint64_t first() const noexcept { return control().first.load(std::memory_order_acquire); }

  /// Where the chain of committed frames ends, found by walking from the checkpoint. False if the topic is empty or unreadable.
  Status committed(Position* out);
  /// As committed(), walking from the end of a committed frame that is known, if that spares a part of the way.
  Status committed_from(const Position& known, Position* out);
  /// As committed_from(), for those who say how far the topic goes: beyond damage, as far as it is known where the chain goes on behind it. What
  /// stands in front of a damaged frame is not all there is, and a reader that comes up to here gets the error. Not for those who vouch for what
  /// comes before.
  Status end_from(const Position& known, Position* out);
  /// Where the claims of all publishers behind `written` end, committed or not: the chain goes on behind a claim that is not.
  Status claimed_from(const Position& written, Position* out) {
    return walk(written, {.claims = true, .damage = true}, out);
  }
  /// As committed(), and remembers the result as the checkpoint if that is further.
  void advance_checkpoint();
  /// Notes what the publisher in `slot` has committed as the checkpoint, if there's no other one: then nothing before can be uncommitted.
  /// Spares the walk. False if there are others.
  bool note_checkpoint(uint32_t slot, const Position& committed);

  /// The furthest that the checkpoint and the synced mark vouch for; the beginning if neither can be used.
  Position known() const noexcept;

  /// Ok unless a sync of the topic failed, in any process, since it was last recovered. Until then nothing more counts as synced.
  Status check_sync() const;
  /// Makes the failure of a sync known to all; returns what to tell those who asked for it. REQUIRES: the sync lock is held.
  Status fail_sync(const Status& cause);

  /// Brings the control file's words to stable storage if the disk can; nothing may depend on that.
  void write_control_through() const noexcept { control_.write_through(); }

  /// Whether the topic was deleted while it is open here. Acquire: what comes after is seen deleted, too.
  bool is_deleted() const noexcept { return control().deleted.load(std::memory_order_acquire) == kDeleted; }
  /// As is_deleted(), by a look at the file's name if need be: also between the deletion and its being told, however long that takes.
  bool is_gone() const noexcept;
  /// What those are told who use a deleted topic.
  static Status deleted();
  /// The reason of a failure: of a deleted topic, that it was. Its files are gone, or those of a later topic stand in their place.
  Status explained(Status status) const { return !status.ok() && is_gone() ? deleted() : status; }

  /// kTopicDeleted once the topic was deleted; kCorrupt once another process has made the control file again, because it was lost: publishers that use the new one are not seen through the
  /// old one. Looks at the file's name at most every 100 ms.
  Status check_control();
  /// As check_control(), without looking: whether an earlier look found it so.
  bool is_cut_off() const noexcept { return cut_off_.load(std::memory_order_relaxed); }

  /// Whether a position read from shared memory can be one of this topic: its offset may be looked at without harm.
  bool is_plausible(const Position& at) const noexcept;
  /// Whether the empty word at `offset` of `segment` is no end, but a page that was lost: more was written behind it. Not told of what a power
  /// cut, or copying, may have left behind the notes of the control file: the next publisher that opens the topic looks at that.
  bool is_hole(const Segment& segment, uint64_t offset) const noexcept;
  /// Whether memory is as the publishers left it: a publisher has opened these very files since the machine was started.
  bool is_as_left() const noexcept;

  /// Whether the chain ends in empty space: with no claim and no damage. REQUIRES: no publisher is at work.
  bool ends_cleanly();

  SegmentIndexes& indexes() noexcept { return indexes_; }
  Preparer& preparer();
  Syncer& syncer();
  ClaimWatch& claim_watch() noexcept { return claim_watch_; }

 private:
  /// What a walk goes on behind, besides frames.
  struct WalkOver {
    bool claims = false;
    bool damage = false;
  };
  Status walk(Position at, WalkOver over, Position* out);
  /// The checkpoint, or `known` if that is further.
  Position furthest(const Position& known) const noexcept;
  /// Goes from damage at `*at` to where the chain is known to go on. False if there is none, or if it is not known.
  bool pass_damage(const Segment& segment, const Step& step, Position* at) const noexcept;

  std::string folder_;
  Control control_;
  LockFile locks_;  // takes no lock but the Syncer's; closed if the file was lost and this Log is there only to look
  LogOptions options_;
  std::atomic<bool> cut_off_{false};
  std::atomic<uint64_t> looked_ns_{0};  // when check_control() looked last
  std::mutex mutex_;
  std::map<uint64_t, std::weak_ptr<Segment>> segments_;
  SegmentIndexes indexes_{*this};
  ClaimWatch claim_watch_;
  std::unique_ptr<Preparer> preparer_;
  std::unique_ptr<Syncer> syncer_;
};

}  // namespace hermes
