#pragma once

#include <napi.h>

#include <vector>

#include "binding/js.h"
#include "core/log/recovery.h"

namespace hermes::binding {

inline napi_value to_array(napi_env env, const std::vector<Damage>& all) {
  ArrayBuilder damage(env);
  for (const Damage& one : all) {
    ObjectBuilder entry(env);
    entry.set("segment", to_number(env, one.segment));
    entry.set("offset", to_number(env, one.offset));
    entry.set("bytes", to_number(env, one.bytes));
    entry.set("firstSequence", to_number(env, one.first_sequence));
    entry.set("count", to_number(env, one.count));
    entry.set("reason", to_text(env, one.reason));
    entry.set("file", to_text(env, one.file));
    damage.push(entry.value());
  }
  return damage.value();
}

inline napi_value to_object(napi_env env, const RecoveryReport& report) {
  ObjectBuilder object(env);
  object.set("ran", to_boolean(env, report.ran));
  object.set("rebooted", to_boolean(env, report.rebooted));
  object.set("frames", to_number(env, report.frames));
  object.set("bytes", to_number(env, report.bytes));
  object.set("deadClaims", to_number(env, report.dead_claims));
  object.set("damage", to_array(env, report.damage));
  return object.value();
}

}  // namespace hermes::binding
