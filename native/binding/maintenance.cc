#include "binding/maintenance.h"

#include <functional>
#include <utility>

#include "binding/errors.h"
#include "binding/reports.h"
#include "binding/task.h"
#include "core/crc32/crc32.h"
#include "core/log/removal.h"
#include "core/log/verify.h"
#include "core/platform/futex.h"

namespace hermes::binding {
namespace {

/// lib/ asks again: see log_handle.cc.
constexpr uint32_t kOpenTimeoutMs = 10;

class Verify final : public Task {
 public:
  Verify(napi_env env, std::shared_ptr<Log> log, uint64_t number) : Task(env), log_(std::move(log)), number_(number) {}

 protected:
  Status work() override { return hermes::verify_segment(*log_, number_, &report_); }
  napi_value result(napi_env env) override {
    ObjectBuilder object(env);
    object.set("segment", to_number(env, report_.number));
    object.set("firstSequence", to_number(env, report_.first_sequence));
    object.set("nextSequence", to_number(env, report_.next_sequence));
    object.set("messages", to_number(env, report_.messages));
    object.set("voids", to_number(env, report_.voids));
    object.set("bytes", to_number(env, report_.bytes));
    object.set("sealed", to_boolean(env, report_.sealed));
    object.set("damage", to_array(env, report_.damage));
    return object.value();
  }

 private:
  std::shared_ptr<Log> log_;
  uint64_t number_;
  SegmentReport report_;
};

class Repair final : public Task {
 public:
  Repair(napi_env env, std::shared_ptr<Log> log) : Task(env), log_(std::move(log)) {}

 protected:
  Status work() override {
    if (!log_->writable()) {
      return Status::error(Code::kAccessDenied, "this process may not write to " + log_->folder());
    }
    LockFile locks;
    Status status = log_->open_lock(&locks);
    if (!status.ok()) return status;
    ScopedLock recovery(&locks, kRecoveryByte);
    status = recovery.acquire(kOpenTimeoutMs);
    if (!status.ok()) return status;
    status = locks.try_lock(kPublishersByte, LockFile::Mode::kExclusive);
    if (status.code == Code::kBusy) {
      return Status::error(Code::kExclusiveHeld, "the topic has publishers; it can be repaired when they are closed");
    }
    if (status.ok()) status = recover(*log_, true, &report_, kOpenTimeoutMs);
    if (!status.ok()) return status;
    // As the last publisher leaves it: nothing is left to recover.
    log_->advance_checkpoint();
    log_->control().closed_in_order.store(1, std::memory_order_release);
    return status;
  }
  napi_value result(napi_env env) override { return to_object(env, report_); }

 private:
  std::shared_ptr<Log> log_;
  RecoveryReport report_;
};

/// Something about a topic's folder that ends in a status.
class FolderWork final : public Task {
 public:
  FolderWork(napi_env env, std::function<Status()> work) : Task(env), work_(std::move(work)) {}

 protected:
  Status work() override { return work_(); }
  napi_value result(napi_env env) override { return to_undefined(env); }

 private:
  std::function<Status()> work_;
};

}  // namespace

napi_value remove_topic(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  std::string folder;
  std::string aside;
  if (!read(env, info[0], &folder) || !read(env, info[1], &aside)) {
    return throw_usage(env, "removeTopic(folder: string, aside: string, force: boolean)");
  }
  const bool force = is_true(env, info[2]);
  return Task::start("hermes:remove-topic", std::make_unique<FolderWork>(env, [folder, aside, force] {
                       return hermes::remove_topic(folder, aside, force, kOpenTimeoutMs);
                     }));
}

napi_value finish_removal(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  std::string aside;
  if (!read(env, info[0], &aside)) return throw_usage(env, "finishRemoval(aside: string)");
  return Task::start("hermes:finish-removal",
                     std::make_unique<FolderWork>(env, [aside] { return hermes::finish_removal(aside); }));
}

napi_value verify_segment(napi_env env, std::shared_ptr<Log> log, uint64_t number) {
  return Task::start("hermes:verify", std::make_unique<Verify>(env, std::move(log), number));
}

napi_value repair_topic(napi_env env, std::shared_ptr<Log> log) {
  return Task::start("hermes:repair", std::make_unique<Repair>(env, std::move(log)));
}

napi_value participants(napi_env env, const Log& log) {
  LockFile probe;
  Status status = log.open_lock(&probe);
  ArrayBuilder slots(env);
  for (uint32_t n = 0; status.ok() && n < kSlots; ++n) {
    const ParticipantSlot& slot = log.control().slots[n];
    if (slot.state.load(std::memory_order_relaxed) == 0) continue;
    bool alive = false;
    status = probe.is_held(kSlotByte + n, &alive);
    ObjectBuilder entry(env);
    entry.set("slot", to_number(env, n));
    entry.set("pid", to_number(env, slot.pid.load(std::memory_order_relaxed)));
    entry.set("alive", to_boolean(env, alive));
    entry.set("takenMs", to_number(env, slot.taken_ns.load(std::memory_order_relaxed) / 1'000'000));
    slots.push(entry.value());
  }
  ObjectBuilder locks(env);
  constexpr std::pair<const char*, uint64_t> kNames[] = {
      {"recovery", kRecoveryByte}, {"publishers", kPublishersByte}, {"prepare", kPrepareByte}, {"sync", kSyncByte}};
  for (const auto& [name, byte] : kNames) {
    bool held = false;
    if (status.ok()) status = probe.is_held(byte, &held);
    locks.set(name, to_boolean(env, held));
  }
  if (!status.ok()) return throw_status(env, status);
  ObjectBuilder result(env);
  result.set("slots", slots.value());
  result.set("locks", locks.value());
  return result.value();
}

napi_value kernel_features(napi_env env, napi_callback_info) {
  ObjectBuilder result(env);
  result.set("heavyBarriers", to_boolean(env, register_for_heavy_barriers() && heavy_barrier()));
  result.set("populate", to_boolean(env, can_populate()));
  result.set("crc32", to_text(env, crc32_path().name));
  return result.value();
}

}  // namespace hermes::binding
