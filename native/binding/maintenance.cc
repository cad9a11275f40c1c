#include "binding/maintenance.h"

#include <utility>

#include "binding/errors.h"
#include "binding/reports.h"
#include "core/crc32/crc32.h"
#include "core/log/verify.h"
#include "core/platform/futex.h"

namespace hermes::binding {
namespace {

constexpr uint32_t kPatienceMs = 10'000;

/// Native work off the event loop that ends in an object or a status.
class Work : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, const char* name, std::shared_ptr<Log> log)
      : Napi::AsyncWorker(env, name), log_(std::move(log)), deferred_(env) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual Status work() = 0;
  virtual Napi::Object result(Napi::Env env) = 0;
  void Execute() final { status_ = work(); }
  void OnOK() final {
    if (status_.ok()) {
      deferred_.Resolve(result(Env()));
    } else {
      deferred_.Reject(to_error(Env(), status_).Value());
    }
  }
  std::shared_ptr<Log> log_;

 private:
  Napi::Promise::Deferred deferred_;
  Status status_;
};

class Verify final : public Work {
 public:
  Verify(Napi::Env env, std::shared_ptr<Log> log, uint64_t number)
      : Work(env, "hermes:verify", std::move(log)), number_(number) {}

 protected:
  Status work() override { return hermes::verify_segment(*log_, number_, &report_); }
  Napi::Object result(Napi::Env env) override {
    Napi::Object object = Napi::Object::New(env);
    object.Set("segment", to_number(env, report_.number));
    object.Set("firstSequence", to_number(env, report_.first_sequence));
    object.Set("nextSequence", to_number(env, report_.next_sequence));
    object.Set("messages", to_number(env, report_.messages));
    object.Set("voids", to_number(env, report_.voids));
    object.Set("bytes", to_number(env, report_.bytes));
    object.Set("sealed", Napi::Boolean::New(env, report_.sealed));
    object.Set("damage", to_array(env, report_.damage));
    return object;
  }

 private:
  uint64_t number_;
  SegmentReport report_;
};

class Repair final : public Work {
 public:
  Repair(Napi::Env env, std::shared_ptr<Log> log) : Work(env, "hermes:repair", std::move(log)) {}

 protected:
  Status work() override {
    if (!log_->writable()) {
      return Status::error(Code::kAccessDenied, "this process may not write to " + log_->folder());
    }
    LockFile locks;
    Status status = log_->open_lock(&locks);
    if (!status.ok()) return status;
    ScopedLock recovery(&locks, kRecoveryByte);
    status = recovery.acquire(kPatienceMs);
    if (!status.ok()) return status;
    status = locks.try_lock(kPublishersByte, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy) {
      return Status::error(Code::kExclusiveHeld, "the topic has publishers; it can be repaired when they are closed");
    }
    if (status.ok()) status = recover(*log_, true, &report_);
    if (!status.ok()) return status;
    // As the last publisher leaves it: nothing is left to recover.
    log_->advance_checkpoint();
    log_->control().closed_in_order.store(1, std::memory_order_release);
    return status;
  }
  Napi::Object result(Napi::Env env) override { return to_object(env, report_); }

 private:
  RecoveryReport report_;
};

Napi::Value start(Work* work) {
  const Napi::Promise promise = work->promise();
  work->Queue();
  return promise;
}

}  // namespace

Napi::Value verify_segment(Napi::Env env, std::shared_ptr<Log> log, uint64_t number) {
  return start(new Verify(env, std::move(log), number));
}

Napi::Value repair_topic(Napi::Env env, std::shared_ptr<Log> log) { return start(new Repair(env, std::move(log))); }

Napi::Value participants(Napi::Env env, const Log& log) {
  LockFile probe;
  Status status = log.open_lock(&probe);
  Napi::Array slots = Napi::Array::New(env);
  for (uint32_t n = 0; status.ok() && n < kSlots; ++n) {
    const ParticipantSlot& slot = log.control().slots[n];
    if (slot.state.load(std::memory_order_relaxed) == 0) continue;
    bool alive = false;
    status = probe.is_held(kSlotByte + n, &alive);
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("slot", Napi::Number::New(env, n));
    entry.Set("pid", Napi::Number::New(env, slot.pid.load(std::memory_order_relaxed)));
    entry.Set("alive", Napi::Boolean::New(env, alive));
    entry.Set("takenMs", to_number(env, slot.taken_ns.load(std::memory_order_relaxed) / 1'000'000));
    slots.Set(slots.Length(), entry);
  }
  Napi::Object locks = Napi::Object::New(env);
  constexpr std::pair<const char*, uint64_t> kNames[] = {
      {"recovery", kRecoveryByte}, {"publishers", kPublishersByte}, {"prepare", kPrepareByte}, {"sync", kSyncByte}};
  for (const auto& [name, byte] : kNames) {
    bool held = false;
    if (status.ok()) status = probe.is_held(byte, &held);
    locks.Set(name, Napi::Boolean::New(env, held));
  }
  if (!status.ok()) return throw_status(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("slots", slots);
  result.Set("locks", locks);
  return result;
}

Napi::Value kernel_features(const Napi::CallbackInfo& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("heavyBarriers", Napi::Boolean::New(info.Env(), register_for_heavy_barriers() && heavy_barrier()));
  result.Set("populate", Napi::Boolean::New(info.Env(), can_populate()));
  result.Set("crc32", Napi::String::New(info.Env(), crc32_path().name));
  return result;
}

}  // namespace hermes::binding
