#pragma once

#include <napi.h>

#include <memory>

#include "core/log/log.h"

namespace hermes::binding {

/// Promise of what a look at every frame of the segment found. Runs on a thread of its own; several run at the same time.
napi_value verify_segment(napi_env env, std::shared_ptr<Log> log, uint64_t number);

/// Promise of what a recovery of the whole topic did. Fails with EXCLUSIVE_HELD while there are publishers.
napi_value repair_topic(napi_env env, std::shared_ptr<Log> log);

/// Who holds what: { slots: [{ slot, pid, alive, takenMs }], locks: { recovery, publishers, prepare, sync } }.
napi_value participants(napi_env env, const Log& log);

/// removeTopic(folder, aside, force) and finishRemoval(aside) → Promise: see core/log/removal.h. TIMED_OUT: lib/ asks again.
napi_value remove_topic(napi_env env, napi_callback_info info);
napi_value finish_removal(napi_env env, napi_callback_info info);

/// What the kernel offers here: { populate, heavyBarriers, crc32 }.
napi_value kernel_features(napi_env env, napi_callback_info info);

}  // namespace hermes::binding
