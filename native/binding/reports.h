#pragma once

#include <napi.h>

#include <vector>

#include "core/log/recovery.h"

namespace hermes::binding {

inline Napi::Value to_number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

inline Napi::Array to_array(Napi::Env env, const std::vector<Damage>& all) {
  Napi::Array damage = Napi::Array::New(env, all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    const Damage& one = all[i];
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("segment", to_number(env, one.segment));
    entry.Set("offset", to_number(env, one.offset));
    entry.Set("bytes", to_number(env, one.bytes));
    entry.Set("firstSequence", to_number(env, one.first_sequence));
    entry.Set("count", to_number(env, one.count));
    entry.Set("reason", Napi::String::New(env, one.reason));
    entry.Set("file", Napi::String::New(env, one.file));
    damage.Set(i, entry);
  }
  return damage;
}

inline Napi::Object to_object(Napi::Env env, const RecoveryReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("ran", Napi::Boolean::New(env, report.ran));
  object.Set("rebooted", Napi::Boolean::New(env, report.rebooted));
  object.Set("frames", to_number(env, report.frames));
  object.Set("bytes", to_number(env, report.bytes));
  object.Set("deadClaims", to_number(env, report.dead_claims));
  object.Set("damage", to_array(env, report.damage));
  return object;
}

}  // namespace hermes::binding
