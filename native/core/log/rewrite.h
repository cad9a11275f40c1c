#pragma once

#include "core/log/log.h"

namespace hermes {

/// Brings everything in [from, to) to stable storage, with the names of its files.
/// REQUIRES: the recovery and the sync lock are held, and no publisher is at work.
Status write_out(Log& log, const Position& from, const Position& to);

/// Makes good a failed sync: seals the newest segment, which ends at `*end`, replaces each segment from `from` on by a copy that is on stable
/// storage, and puts a new segment in use; `*end` is then its beginning.
///
/// It has to be new files. After a failure the kernel takes the pages for clean; and if they are changed and written once more, ext4 does not
/// note on the disk that the blocks which were allocated ahead have content now, so that a later sync succeeds and a power cut leaves zeros.
/// A reader that has the old files open reads them to their ends, and continues in the new segment.
///
/// A crash in the middle is harmless: the failure is still noted, and the next recovery does it again.
/// REQUIRES: the recovery and the sync lock are held, no publisher is at work, and everything from `from` on was checked.
Status write_anew(Log& log, const Position& from, Position* end);

}  // namespace hermes
