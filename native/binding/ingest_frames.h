#pragma once

#include <napi.h>

#include "binding/js.h"

namespace hermes::binding {

/// Adds to the exports what works on frames in memory that belongs to JavaScript, and the lock on a
/// directory:
///
/// frameSealer(buffer, scratch) → () => void. Completes frames whose payloads and lengths stand in `buffer`, through seal_scratch in
/// scratch_layout.h.
///
/// frameScanner(buffer, scratch, maxPayload, verify) → () => void. What scan() of core/log/reader.h does on a log, through
/// frame_scan_scratch.
///
/// holdLock(path) → { release() }, or null if another process holds it.
void define_ingest(napi_env env, ObjectBuilder& exports);

}  // namespace hermes::binding
