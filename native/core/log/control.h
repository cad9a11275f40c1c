#pragma once

#include <string>

#include "core/log/layout.h"
#include "core/log/position.h"
#include "core/platform/mapped_file.h"

namespace hermes {

/// The fixed settings of a topic, chosen when it is made.
struct TopicSettings {
  uint64_t segment_bytes = kDefaultSegmentBytes;
  uint32_t max_payload = kDefaultMaxPayload;
  uint32_t file_mode = 0600;
};

/// The control file, mapped. Readable by all; the words in it are caches and signals, the segments are the truth.
class Control {
 public:
  /// Makes `control` and `locks` in the topic's folder unless they exist. If there are segments, then `control` was lost: it
  /// is made again with their topic id and segment size, its largest payload covers every message that they hold, and readers find
  /// their messages at once.
  /// kBusy if a publisher is at work, as it would go on with the lost file.
  /// kTimedOut after `timeout_ms` in which another process makes it, or was stopped while it did.
  static Status create(const std::string& folder, const TopicSettings& settings, uint32_t timeout_ms);
  /// Maps and checks the control file. Falls back to a read-only mapping without the right to write. Until the mapping goes, the
  /// topic counts as in use. If `locks` was lost and `make_locks`, that file is made again; kBusy if a process has the topic open. Others who
  /// may just be making it are waited for, up to `timeout_ms` and a second at most.
  static Status open(const std::string& folder, bool make_locks, uint32_t timeout_ms, Control* out);

  ControlBlock& block() const noexcept { return *reinterpret_cast<ControlBlock*>(file_.data()); }
  bool writable() const noexcept { return writable_; }
  uint32_t file_mode() const noexcept { return file_mode_; }           ///< the mode for new files of the topic
  const FileIdentity& identity() const noexcept { return identity_; }  ///< of the file that is mapped
  /// Brings the words to stable storage if the disk can; nothing may depend on that.
  void write_through() const noexcept { (void)file_.sync(); }

 private:
  MappedFile file_;
  bool writable_ = false;
  uint32_t file_mode_ = 0600;
  FileIdentity identity_;
};

/// False if the record was never written, is being written, or is damaged.
[[nodiscard]] bool load_position(const PositionRecord& record, Position* out) noexcept;
void store_position(PositionRecord& record, const Position& position) noexcept;

/// Why the last sync failed (an errno) as long as that was not made good; 0 if none failed. A damaged record counts as EIO.
[[nodiscard]] int load_sync_failure(const ControlBlock& control) noexcept;
/// REQUIRES for both: the sync lock is held.
void store_sync_failure(ControlBlock& control, int err) noexcept;
void clear_sync_failure(ControlBlock& control) noexcept;

/// Which file the control file was when a publisher last opened the topic; false if that was never noted, or is damaged.
[[nodiscard]] bool load_identity(const ControlBlock& control, FileIdentity* out) noexcept;
void store_identity(ControlBlock& control, const FileIdentity& identity) noexcept;

/// How much retention keeps; 0 = without limit.
struct Retention {
  uint64_t bytes = 0;
  uint64_t age_ns = 0;
  /// What groups have not settled is kept all the same, as long as the topic takes no more than this; 0: it is not.
  uint64_t wait_bytes = 0;
};
void store_retention(ControlBlock& control, const Retention& retention) noexcept;
/// Without limits if none were set, they are being set, or they are damaged: then nothing may be removed.
[[nodiscard]] Retention load_retention(const ControlBlock& control) noexcept;

/// Raises `word` to `value` unless it's there already.
inline void raise_to(std::atomic<uint64_t>& word, uint64_t value) noexcept {
  uint64_t seen = word.load(std::memory_order_relaxed);
  // Release: who sees the raised number must see the segment's base sequence.
  while (seen < value &&
         !word.compare_exchange_weak(seen, value, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

/// Tells all who remember a place in the log (log_end.h) that it may be wrong from now on. To be called before anything is changed that was
/// committed. Acquire and release: the changes come after it, and a process that sees what is published after them sees it, since recovery's
/// locks are handed on in between.
inline void count_recovery(ControlBlock& control) noexcept {
  control.recoveries.fetch_add(1, std::memory_order_acq_rel);
}

/// The kernel's id of this boot; zeros if it does not tell.
void read_boot_id(uint64_t (&id)[2]) noexcept;

}  // namespace hermes
