#pragma once

#include <napi.h>

#include <memory>

#include "core/log/log.h"

namespace hermes::binding {

/// Promise of what a look at every frame of the segment found. Runs on a thread of its own; several run at the same time.
Napi::Value verify_segment(Napi::Env env, std::shared_ptr<Log> log, uint64_t number);

/// Promise of what a recovery of the whole topic did. Fails with EXCLUSIVE_HELD while there are publishers.
Napi::Value repair_topic(Napi::Env env, std::shared_ptr<Log> log);

/// Who holds what: { slots: [{ slot, pid, alive, takenMs }], locks: { recovery, publishers, prepare, sync } }.
Napi::Value participants(Napi::Env env, const Log& log);

/// What the kernel offers here: { populate, heavyBarriers, crc32 }.
Napi::Value kernel_features(const Napi::CallbackInfo& info);

}  // namespace hermes::binding
