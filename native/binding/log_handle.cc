#include "binding/log_handle.h"

#include "binding/addon.h"
#include "binding/appender_handle.h"
#include "binding/errors.h"
#include "binding/maintenance.h"
#include "binding/reader_handle.h"
#include "binding/reports.h"
#include "binding/task.h"
#include "core/log/reader.h"
#include "core/log/recovery.h"
#include "core/log/retention.h"
#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

/// No wait in a thread of the pool is long: it has four, which all file access of the process shares, and the process can't end while
/// one is at work. lib/ asks again.
constexpr uint32_t kOpenTimeoutMs = 10;
/// A piece of work after which a search looks whether it's still wanted.
constexpr uint64_t kSearchNs = 50'000'000;

/// Makes what opening a topic needs, off the event loop: files are synced, and another process that does the same is waited for.
class MakeLog final : public Task {
 public:
  MakeLog(napi_env env, std::string folder, const TopicSettings& settings)
      : Task(env), folder_(std::move(folder)), settings_(settings) {}

 protected:
  Status work() override {
    std::shared_ptr<Log> log;
    LogOptions options;
    options.timeout_ms = kOpenTimeoutMs;
    return Log::open(folder_, &settings_, options, &log);
  }
  napi_value result(napi_env env) override { return to_undefined(env); }

 private:
  const std::string folder_;
  const TopicSettings settings_;
};

/// Removes what retention does not keep: unlinking large files takes a while.
class Retain final : public Task {
 public:
  Retain(napi_env env, std::shared_ptr<Log> log) : Task(env), log_(std::move(log)) {}

 protected:
  Status work() override {
    Status status = apply_retention(*log_);
    // The holder of the lock will have released it when the next segment is made.
    return status.code == Code::kTimedOut ? Status::success() : status;
  }
  napi_value result(napi_env env) override { return to_undefined(env); }

 private:
  std::shared_ptr<Log> log_;
};

/// Has the indexes made that a search for a sequence or a time needs.
class PrepareSeek final : public Task {
 public:
  PrepareSeek(napi_env env, std::shared_ptr<Log> log, uint64_t target, bool by_time)
      : Task(env), log_(std::move(log)), target_(target), by_time_(by_time) {}

 protected:
  Status work() override {
    Reader reader(log_, MappedFile::Access::kRead);
    const Status status = by_time_ ? reader.prepare_time(target_, kSearchNs, &done_) : reader.prepare_sequence(target_);
    // What is wrong is told by the search itself.
    if (!status.ok()) done_ = true;
    return Status::success();
  }
  napi_value result(napi_env env) override { return to_boolean(env, done_); }

 private:
  std::shared_ptr<Log> log_;
  uint64_t target_;
  bool by_time_;
  bool done_ = true;
};

/// Opens an appender off the event loop: another publisher's recovery may have to be waited for, or done here.
class OpenAppender final : public Task {
 public:
  OpenAppender(napi_env env, std::shared_ptr<Log> log, const Appender::Options& options, uint32_t sync_interval_ms)
      : Task(env), log_(std::move(log)), options_(options), sync_interval_ms_(sync_interval_ms) {}

 protected:
  Status work() override { return Appender::open(log_, options_, &appender_, &report_); }
  napi_value result(napi_env env) override {
    const napi_value handle = make_object(env, Addon::of(env).appender_class);
    AppenderHandle* const native = AppenderHandle::of(env, handle);
    // A worker that is being terminated makes no objects any more. The appender closes itself.
    if (native == nullptr) return nullptr;
    native->adopt(std::move(appender_), sync_interval_ms_);
    ObjectBuilder object(env, handle);
    object.set("recovery", to_object(env, report_));
    return object.value();
  }

 private:
  std::shared_ptr<Log> log_;
  Appender::Options options_;
  uint32_t sync_interval_ms_;
  std::unique_ptr<Appender> appender_;
  RecoveryReport report_;
};

}  // namespace

napi_value LogHandle::define(napi_env env) {
  return define_class(
      env, "Log",
      {method<&LogHandle::open_appender>("openAppender"), method<&LogHandle::open_reader>("openReader"),
       method<&LogHandle::open_group>("openGroup"), method<&LogHandle::info>("info"),
       method<&LogHandle::control>("control"), method<&LogHandle::next_sequence>("nextSequence"),
       method<&LogHandle::synced_sequence>("syncedSequence"), method<&LogHandle::verify_segment>("verifySegment"),
       method<&LogHandle::repair>("repair"), method<&LogHandle::participants>("participants"),
       method<&LogHandle::set_retention>("setRetention"), method<&LogHandle::prepare_seek>("prepareSeek"),
       method<&LogHandle::trace_producers>("traceProducers"), method<&LogHandle::close>("close")});
}

namespace {

bool read_settings(napi_env env, napi_value from, TopicSettings* settings) {
  return read_property(env, from, "segmentBytes", &settings->segment_bytes) &&
         read_property(env, from, "maxPayloadBytes", &settings->max_payload) &&
         read_property(env, from, "fileMode", &settings->file_mode);
}

}  // namespace

/// makeLog(folder, { segmentBytes, maxPayloadBytes, fileMode }) → Promise. Makes the control file, and `locks` if that is lost and no process has the
/// topic open. Rejects with TIMED_OUT or BUSY soon if another process does the same, or has it open: to be tried again.
napi_value LogHandle::make(napi_env env, napi_callback_info given) {
  const Napi::CallbackInfo info(env, given);
  std::string folder;
  TopicSettings settings;
  if (!read(env, info[0], &folder) || !read_settings(env, info[1], &settings)) {
    return throw_usage(env, "makeLog(folder: string, create: { segmentBytes, maxPayloadBytes, fileMode })");
  }
  return Task::start("hermes:make-topic", std::make_unique<MakeLog>(env, std::move(folder), settings));
}

/// new openLog(folder, { lowWaterBytes?, toMake? }). NOT_FOUND without a control file; with `toMake`, also without `locks`: see makeLog.
bool LogHandle::construct(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string folder;
  if (!read(env, info[0], &folder)) {
    throw_usage(env, "new openLog(folder: string, options?: { lowWaterBytes, toMake })");
    return false;
  }
  LogOptions options;
  uint64_t low_water_bytes = 0;
  if (is_of_type(env, info[1], napi_object) && read_property(env, info[1], "lowWaterBytes", &low_water_bytes)) {
    options.low_water_bytes = low_water_bytes;
  }
  options.timeout_ms = 0;
  Status status = Log::open(folder, nullptr, options, &log_);
  if (status.ok() && is_true(env, property(env, info[1], "toMake")) && !log_->has_locks()) {
    status = Status::error(Code::kNotFound, folder + "/locks is lost");
    log_.reset();
  }
  if (!status.ok()) throw_status(env, status);
  return status.ok();
}

/// openAppender(exclusive, syncIntervalMs?) → Promise of a publisher's native half. 0: syncs when asked. Rejects with TIMED_OUT soon if another
/// participant recovers the topic, or syncs it: to be tried again.
napi_value LogHandle::open_appender(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Appender::Options options;
  options.exclusive = is_true(info.Env(), info[0]);
  options.recovery_timeout_ms = kOpenTimeoutMs;
  uint32_t sync_interval_ms = 0;
  if (info.Length() > 1 && !read(info.Env(), info[1], &sync_interval_ms)) {
    return throw_usage(info.Env(), "openAppender(exclusive: boolean, syncIntervalMs?: number)");
  }
  return Task::start("hermes:open-publisher",
                     std::make_unique<OpenAppender>(info.Env(), log_, options, sync_interval_ms));
}

napi_value LogHandle::open_reader(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  const Addon& addon = Addon::of(info.Env());
  const napi_value handle = make_object(info.Env(), addon.reader_class);
  ReaderHandle* const native = ReaderHandle::of(info.Env(), handle);
  if (native == nullptr) return nullptr;
  native->adopt(log_, addon.dispatcher(), is_true(info.Env(), info[0]));
  return handle;
}

/// The sequence that the next message will get.
napi_value LogHandle::next_sequence(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Position committed;
  Status status = log_->check_control();
  if (status.ok()) status = end_.find(*log_, &committed);
  if (status.code == Code::kNotFound && log_->active() == 0) return to_number(info.Env(), 1.0);
  if (!status.ok()) return throw_status(info.Env(), status);
  return to_number(info.Env(), committed.sequence);
}

/// syncedSequence() → the sequence before which everything is known to be on stable storage. Looks at one record, and not at the log.
napi_value LogHandle::synced_sequence(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  Position synced;
  const bool known = load_position(log_->control().synced, &synced) && log_->is_plausible(synced);
  return to_number(info.Env(), known ? synced.sequence : 1);
}

/// verifySegment(number) → Promise of what a look at every frame of the segment found.
napi_value LogHandle::verify_segment(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  uint64_t number = 0;
  if (!read(info.Env(), info[0], &number)) return throw_usage(info.Env(), "verifySegment(number: number)");
  return binding::verify_segment(info.Env(), log_, number);
}

/// repair() → Promise of what a recovery of the whole topic did.
napi_value LogHandle::repair(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  return repair_topic(info.Env(), log_);
}

/// participants() → who holds what.
napi_value LogHandle::participants(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  return binding::participants(info.Env(), *log_);
}

/// What the control file's words say of segments and retention: no system call, and no look at the log.
napi_value LogHandle::control(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (log_ == nullptr) return throw_closed(env, "topic");
  const Retention retention = load_retention(log_->control());
  ObjectBuilder result(env);
  result.set("firstSegment", to_number(env, log_->first()));
  result.set("activeSegment", to_number(env, log_->active()));
  result.set("retentionBytes", to_number(env, retention.bytes));
  result.set("retentionAgeMs", to_number(env, retention.age_ns / 1'000'000));
  return result.value();
}

/// What the control file and the disk say now. Walks to the end of the log, from where that was found last.
napi_value LogHandle::info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (log_ == nullptr) return throw_closed(env, "topic");
  const ControlBlock& control = log_->control();
  ObjectBuilder result(env);
  const uint64_t first = log_->first();
  const uint64_t active = log_->active();
  // In this order, as they only rise: a later look never falls behind an earlier one.
  Position synced;
  if (!load_position(control.synced, &synced)) synced = {};
  Position committed;
  Position claimed;
  uint64_t earliest = 0;
  if (active != 0) {
    Status status = log_->check_control();
    if (status.ok()) status = end_.find(*log_, &committed);
    if (status.ok()) status = log_->claimed_from(committed, &claimed);
    if (!status.ok()) return throw_status(env, status);
    uint64_t ignored = 0;
    // Retention may go on meanwhile; a file of an old name without a base is about to be removed.
    for (uint64_t number = first; number <= active; number = std::max(log_->first(), number + 1)) {
      if (Segment::peek(log_->folder(), number, &earliest, &ignored).ok() && earliest != 0) break;
    }
  }
  uint32_t publishers = 0;
  LockFile probe;
  Status status = log_->open_lock(&probe);
  for (uint32_t slot = 0; status.ok() && slot < kSlots; ++slot) {
    if (control.slots[slot].state.load(std::memory_order_relaxed) == 0) continue;
    bool held = false;
    status = probe.is_held(kSlotByte + slot, &held);
    if (held) ++publishers;
  }
  if (!status.ok()) return throw_status(env, status);
  result.set("segmentBytes", to_number(env, control.segment_bytes));
  result.set("maxPayloadBytes", to_number(env, control.max_payload));
  result.set("createdMs", to_number(env, control.created_ns / 1'000'000));
  result.set("firstSegment", to_number(env, first));
  result.set("activeSegment", to_number(env, active));
  result.set("firstSequence", to_number(env, active == 0 ? uint64_t{1} : earliest));
  result.set("nextSequence", to_number(env, active == 0 ? uint64_t{1} : committed.sequence));
  result.set("claimedSequence", to_number(env, active == 0 ? uint64_t{1} : claimed.sequence));
  result.set("syncedSequence", to_number(env, synced.sequence == 0 ? uint64_t{1} : synced.sequence));
  result.set("tailOffset", to_number(env, committed.offset));
  result.set("publishers", to_number(env, publishers));
  result.set("retentionBytes", to_number(env, control.retention_bytes.load(std::memory_order_relaxed)));
  result.set("retentionWaitBytes", to_number(env, control.retention_wait.load(std::memory_order_relaxed)));
  result.set("retentionAgeMs", to_number(env, control.retention_age_ns.load(std::memory_order_relaxed) / 1'000'000));
  result.set("diskAlarm", to_boolean(env, control.disk_alarm.load(std::memory_order_relaxed) != 0));
  result.set("syncFailure", to_number(env, static_cast<uint64_t>(load_sync_failure(control))));
  result.set("writable", to_boolean(env, log_->writable()));
  return result.value();
}

/// setRetention(bytes, ageMs, waitBytes) → Promise: 0 = unlimited; and groups are not waited for. Applies at once and whenever a segment is added.
napi_value LogHandle::set_retention(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  if (!log_->writable()) {
    return throw_status(info.Env(),
                        Status::error(Code::kAccessDenied, "this process may not write to " + log_->folder()));
  }
  uint64_t bytes = 0;
  uint64_t age_ms = 0;
  uint64_t wait_bytes = 0;
  if (!read(info.Env(), info[0], &bytes) || !read(info.Env(), info[1], &age_ms) ||
      !read(info.Env(), info[2], &wait_bytes)) {
    return throw_usage(info.Env(), "setRetention(bytes: number, ageMs: number, waitBytes: number)");
  }
  store_retention(log_->control(), {bytes, age_ms * 1'000'000, wait_bytes});
  return Task::start("hermes:retain", std::make_unique<Retain>(info.Env(), log_));
}

/// prepareSeek(sequence: number | timestampNs: bigint) → Promise<boolean>: false if there is more to do, so that it is to be called again. A reader's
/// seek() there is quick then.
napi_value LogHandle::prepare_seek(const Napi::CallbackInfo& info) {
  if (log_ == nullptr) return throw_closed(info.Env(), "topic");
  uint64_t target = 0;
  bool lossless = true;
  const bool by_sequence = read(info.Env(), info[0], &target);
  if (!by_sequence && napi_get_value_bigint_uint64(info.Env(), info[0], &target, &lossless) != napi_ok) {
    return throw_usage(info.Env(), "prepareSeek(sequence: number | timestampNs: bigint)");
  }
  return Task::start("hermes:prepare-seek", std::make_unique<PrepareSeek>(info.Env(), log_, target, !by_sequence));
}

napi_value LogHandle::close(const Napi::CallbackInfo&) {
  log_.reset();
  return nullptr;
}

}  // namespace hermes::binding
