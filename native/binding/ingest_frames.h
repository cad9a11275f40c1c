#pragma once

#include <napi.h>

#include "binding/js.h"

namespace hermes::binding {

/// Adds to the exports what works on frames in memory that belongs to JavaScript, and the lock on a
/// directory:
///
/// frameSealer(buffer, scratch) → () => void. Completes frames whose payloads and lengths stand in
/// `buffer`.
///    0 u32 in offset · 4 u32 in bytes · 8 u32 in count · 12 i32 out 1 done, 0 the lengths do not
///    add up
///   16 u64 in/out the first frame's timestamp: at least this, and not before now; each next one
///   has 1 more
///
/// frameScanner(buffer, scratch, maxPayload, verify) → () => void. What scan() of core/log/reader.h
/// does on a log.
///    0 u32 in offset · 4 u32 in end · 8 u32 in limit · 12 u32 out messages · 16 u32 out end · 20
///    i32 out 1 = damage there
///   24 f64 in/out sequence
///
/// holdLock(path) → { release() }, or null if somebody holds it.
void define_ingest(napi_env env, ObjectBuilder& exports);

}  // namespace hermes::binding
