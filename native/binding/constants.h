#pragma once

#include <napi.h>

#include <initializer_list>

#include "binding/js.h"
#include "binding/scratch_layout.h"
#include "core/frame/frame_layout.h"
#include "core/group/member.h"
#include "core/log/layout.h"
#include "core/log/reader.h"

namespace hermes::binding {

/// The scratch layouts, for lib/native/scratch.ts to compare its own with.
inline napi_value make_scratch_layouts(napi_env env) {
  struct Field {
    const char* name;
    size_t at;
  };
  ObjectBuilder layouts(env);
  const auto add = [&](const char* name, std::initializer_list<Field> fields) {
    ObjectBuilder layout(env);
    for (const Field& field : fields) layout.set(field.name, to_number(env, static_cast<double>(field.at)));
    layouts.set(name, layout.value());
  };
  {
    using namespace append_scratch;
    add("append", {{"length", kLengthAt},
                   {"bytes", kBytesAt},
                   {"status", kStatusAt},
                   {"sequence", kSequenceAt},
                   {"timestamp", kTimestampAt},
                   {"frames", kFramesAt}});
  }
  {
    using namespace scan_scratch;
    add("scan", {{"offset", kOffsetAt},
                 {"limit", kLimitAt},
                 {"messages", kMessagesAt},
                 {"end", kEndAt},
                 {"stop", kStopAt},
                 {"sequence", kSequenceAt},
                 {"beginSequence", kBeginSequenceAt},
                 {"size", kBytes}});
  }
  {
    using namespace ingest_scratch;
    add("ingest", {{"offset", kOffsetAt},
                   {"bytes", kBytesAt},
                   {"count", kCountAt},
                   {"slot", kSlotAt},
                   {"status", kStatusAt},
                   {"sequence", kSequenceAt},
                   {"size", kBytes}});
  }
  {
    using namespace seal_scratch;
    add("seal", {{"offset", kOffsetAt},
                 {"bytes", kBytesAt},
                 {"count", kCountAt},
                 {"done", kDoneAt},
                 {"timestamp", kTimestampAt},
                 {"size", kBytes}});
  }
  {
    using namespace frame_scan_scratch;
    add("frameScan", {{"offset", kOffsetAt},
                      {"end", kEndAt},
                      {"limit", kLimitAt},
                      {"messages", kMessagesAt},
                      {"found", kFoundAt},
                      {"damage", kDamageAt},
                      {"sequence", kSequenceAt},
                      {"size", kBytes}});
  }
  {
    using namespace member_scratch;
    add("member", {{"limit", kLimitAt},
                   {"count", kCountAt},
                   {"stop", kStopAt},
                   {"status", kStatusAt},
                   {"needed", kNeededAt},
                   {"sequence", kSequenceAt},
                   {"outcome", kOutcomeAt},
                   {"delay", kDelayAt},
                   {"claimed", kClaimedAt},
                   {"settling", kSettlingAt},
                   {"lost", kLostAt},
                   {"frames", kFramesAt},
                   {"recordSequence", kRecordSequenceAt},
                   {"recordFrame", kRecordFrameAt},
                   {"recordDeliveries", kRecordDeliveriesAt},
                   {"recordNumber", kRecordNumberAt},
                   {"recordBucket", kRecordBucketAt},
                   {"recordBytes", kRecordBytes}});
  }
  return layouts.value();
}

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
  set("claimTag", kClaimTag);
  set("claimSpanBit", kClaimSpanBit);
  set("claimSpanBits", kClaimSpanBits);
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
  set("maxMembers", kMemberSlots);
  set("maxClaim", kMaxClaim);
  set("groupBuckets", kBuckets);
  set("minGroupWindow", kMinWindow);
  set("maxGroupWindow", kMaxWindow);
  set("defaultGroupWindow", kDefaultWindow);
  set("claimLimit", static_cast<double>(ClaimStop::kLimit));
  set("claimEmpty", static_cast<double>(ClaimStop::kEmpty));
  set("claimWindowFull", static_cast<double>(ClaimStop::kWindowFull));
  set("claimStandby", static_cast<double>(ClaimStop::kStandby));
  set("claimBusy", static_cast<double>(ClaimStop::kBusy));
  set("claimRoom", static_cast<double>(ClaimStop::kRoom));
  set("claimDamage", static_cast<double>(ClaimStop::kDamage));
  set("claimNoKey", static_cast<double>(ClaimStop::kNoKey));
  set("outcomeDone", static_cast<double>(Outcome::kDone));
  set("outcomeRejected", static_cast<double>(Outcome::kRejected));
  set("outcomeReturned", static_cast<double>(Outcome::kReturned));
  set("outcomeReleased", static_cast<double>(Outcome::kReleased));
  constants.set("scratch", make_scratch_layouts(env));
  return constants.value();
}

}  // namespace hermes::binding
