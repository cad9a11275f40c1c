#pragma once

#include <napi.h>

#include "binding/js.h"
#include "core/frame/frame_layout.h"
#include "core/log/layout.h"
#include "core/log/reader.h"

namespace hermes::binding {

/// Layouts and limits for TypeScript, which takes them from here instead of repeating them.
inline napi_value make_constants(napi_env env) {
  ObjectBuilder constants(env);
  const auto set = [&](const char* name, double value) { constants.set(name, to_number(env, value)); };
  set("frameMagic", kFrameMagic);
  set("frameVersion", kFrameVersion);
  set("frameHeaderBytes", kFrameHeaderBytes);
  set("frameAlign", kFrameAlign);
  set("frameTypeData", static_cast<double>(FrameType::kData));
  set("frameTypePadding", static_cast<double>(FrameType::kPadding));
  set("frameTypeVoid", static_cast<double>(FrameType::kVoid));
  set("maxClaimCount", kMaxClaimCount);
  set("logVersion", kLogVersion);
  set("segmentHeaderBytes", kSegmentHeaderBytes);
  set("minSegmentBytes", kMinSegmentBytes);
  set("maxSegmentBytes", kMaxSegmentBytes);
  set("defaultSegmentBytes", kDefaultSegmentBytes);
  set("defaultMaxPayload", kDefaultMaxPayload);
  set("maxPublishers", kSlots);
  set("stopLimit", static_cast<double>(ScanStop::kLimit));
  set("stopEmpty", static_cast<double>(ScanStop::kEmpty));
  set("stopClaim", static_cast<double>(ScanStop::kClaim));
  set("stopSegmentEnd", static_cast<double>(ScanStop::kSegmentEnd));
  set("stopDamage", static_cast<double>(ScanStop::kDamage));
  return constants.value();
}

}  // namespace hermes::binding
