#include "binding/group_handle.h"

#include "binding/addon.h"
#include "binding/errors.h"
#include "binding/log_handle.h"
#include "binding/member_handle.h"
#include "binding/task.h"
#include "core/platform/clock.h"

namespace hermes::binding {
namespace {

bool read_rules(napi_env env, napi_value object, GroupRules* rules) {
  return read_property(env, object, "maxDeliveries", &rules->max_deliveries) &&
         read_property(env, object, "leaseMs", &rules->lease_ms) &&
         read_property(env, object, "backoffMs", &rules->backoff_ms) &&
         read_property(env, object, "maxBackoffMs", &rules->max_backoff_ms) &&
         read_property(env, object, "keyOffset", &rules->key_offset) &&
         read_property(env, object, "keyBytes", &rules->key_bytes);
}

bool read_plan(napi_env env, napi_value object, GroupPlan* plan) {
  uint32_t kind = 0;
  if (!read_property(env, object, "kind", &kind) || kind > static_cast<uint32_t>(GroupKind::kDurable)) return false;
  plan->kind = static_cast<GroupKind>(kind);
  plan->up_to_synced = is_true(env, property(env, object, "upToSynced"));
  return read_property(env, object, "window", &plan->window) && read_property(env, object, "start", &plan->start) &&
         read_property(env, object, "settings", &plan->settings) &&
         read_property(env, object, "fileMode", &plan->file_mode) && read_rules(env, object, &plan->rules);
}

/// Opens a group off the event loop: others may be joining, and a long log may have to be walked to its end.
class OpenGroup final : public Task {
 public:
  OpenGroup(napi_env env, std::shared_ptr<Log> log, std::string path, bool create, GroupPlan plan)
      : Task(env), log_(std::move(log)), path_(std::move(path)), create_(create), plan_(std::move(plan)) {}

 protected:
  Status work() override {
    Status status = Group::open(path_, log_, &group_, &opening_);
    if (status.code != Code::kNotFound || !create_) return status;
    status = Group::create(path_, *log_, plan_);
    if (status.ok()) status = Group::open(path_, log_, &group_, &opening_);
    made_ = true;
    return status;
  }
  napi_value result(napi_env env) override {
    const napi_value handle = make_object(env, Addon::of(env).group_class);
    GroupHandle* const native = GroupHandle::of(env, handle);
    // A worker that is being terminated makes no objects any more. The group closes itself.
    if (native == nullptr) return nullptr;
    ObjectBuilder object(env, handle);
    object.set("made", to_boolean(env, made_));
    object.set("recovered", to_boolean(env, opening_.recovered));
    object.set("mended", to_boolean(env, opening_.mended));
    object.set("lostFrom", to_number(env, opening_.lost_from));
    object.set("lostTo", to_number(env, opening_.lost_to));
    object.set("kind", to_number(env, static_cast<uint32_t>(group_->kind())));
    object.set("window", to_number(env, group_->window()));
    native->adopt(std::move(group_));
    return object.value();
  }

 private:
  std::shared_ptr<Log> log_;
  std::string path_;
  bool create_;
  GroupPlan plan_;
  std::shared_ptr<Group> group_;
  GroupOpening opening_;
  bool made_ = false;
};

/// Takes a slot off the event loop: another process may hold the membership lock.
class Join final : public Task {
 public:
  Join(napi_env env, std::shared_ptr<Group> group, MemberOptions options, std::shared_ptr<Dispatcher> dispatcher)
      : Task(env), group_(std::move(group)), options_(std::move(options)), dispatcher_(std::move(dispatcher)) {
    options_.beat = std::make_shared<Beat>();
    options_.beat->turned_ns = monotonic_ns();
    // The keeper may ask again before a loop that hangs has answered: one question at a time.
    options_.beat->ask = [dispatcher = std::weak_ptr<Dispatcher>(dispatcher_),
                          beat = std::weak_ptr<Beat>(options_.beat),
                          asked = std::make_shared<std::atomic<bool>>(false)] {
      const auto there = dispatcher.lock();
      if (there == nullptr || asked->exchange(true)) return;
      there->nudge([beat, asked](Napi::Env) {
        if (const auto mine = beat.lock()) mine->turned_ns.store(monotonic_ns(), std::memory_order_relaxed);
        asked->store(false);
      });
    };
  }

 protected:
  Status work() override { return Member::join(group_, options_, &member_); }
  napi_value result(napi_env env) override {
    const napi_value handle = make_object(env, Addon::of(env).member_class);
    MemberHandle* const native = MemberHandle::of(env, handle);
    if (native == nullptr) return nullptr;
    native->adopt(std::move(member_), dispatcher_);
    return handle;
  }

 private:
  std::shared_ptr<Group> group_;
  MemberOptions options_;
  std::shared_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Member> member_;
};

/// Something that ends in a status, off the event loop.
class Work final : public Task {
 public:
  Work(napi_env env, std::function<Status()> work) : Task(env), work_(std::move(work)) {}

 protected:
  Status work() override { return work_(); }
  napi_value result(napi_env env) override { return to_undefined(env); }

 private:
  std::function<Status()> work_;
};

const char* state_name(EntryState state) {
  switch (state) {
    case EntryState::kClaimed:
      return "claimed";
    case EntryState::kReturned:
      return "returned";
    case EntryState::kDelayed:
      return "delayed";
    default:
      return "";
  }
}

}  // namespace

/// openGroup(path, plan | null) → Promise of a group; makes it if there is none and a plan is given.
napi_value LogHandle::open_group(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (log_ == nullptr) return throw_closed(env, "topic");
  std::string path;
  GroupPlan plan;
  const bool create = is_of_type(env, info[1], napi_object);
  if (!read(env, info[0], &path) || (create && !read_plan(env, info[1], &plan))) {
    return throw_usage(env, "openGroup(path: string, plan: NativeGroupPlan | null)");
  }
  return Task::start("hermes:open-group",
                     std::make_unique<OpenGroup>(env, log_, std::move(path), create, std::move(plan)));
}

napi_value remove_group(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  std::string path;
  if (!read(env, info[0], &path)) return throw_usage(env, "removeGroup(path: string, force: boolean)");
  const bool force = is_true(env, info[1]);
  return Task::start("hermes:remove-group",
                     std::make_unique<Work>(env, [path, force] { return Group::remove(path, force); }));
}

napi_value GroupHandle::define(napi_env env) {
  return define_class(env, "Group",
                      {method<&GroupHandle::join>("join"), method<&GroupHandle::describe>("describe"),
                       method<&GroupHandle::reset>("reset"), method<&GroupHandle::configure>("configure"),
                       method<&GroupHandle::sync>("sync"), method<&GroupHandle::close>("close")});
}

/// join(name, leaseMs) → Promise of a member. 0: the group's lease.
napi_value GroupHandle::join(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (group_ == nullptr) return throw_closed(env, "group");
  MemberOptions options;
  if (!read(env, info[0], &options.name) || !read_ms(env, info[1], &options.lease_ns)) {
    return throw_usage(env, "join(name: string, leaseMs: number)");
  }
  return Task::start("hermes:join-group",
                     std::make_unique<Join>(env, group_, std::move(options), Addon::of(env).dispatcher()));
}

/// describe() → what stands in the file now.
napi_value GroupHandle::describe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (group_ == nullptr) return throw_closed(env, "group");
  GroupReport report;
  const Status status = group_->describe(&report);
  if (!status.ok()) return throw_status(env, status);
  ObjectBuilder result(env);
  result.set("kind", to_number(env, static_cast<uint32_t>(report.kind)));
  result.set("window", to_number(env, report.window));
  result.set("upToSynced", to_boolean(env, report.up_to_synced));
  result.set("createdMs", to_number(env, report.created_ms));
  result.set("floor", to_number(env, report.floor));
  result.set("next", to_number(env, report.next));
  result.set("end", to_number(env, report.end));
  result.set("claimed", to_number(env, report.claimed));
  result.set("returned", to_number(env, report.returned));
  result.set("delayed", to_number(env, report.delayed));
  result.set("settledTotal", to_number(env, report.settled_total));
  result.set("redeliveredTotal", to_number(env, report.redelivered));
  result.set("lateTotal", to_number(env, report.late));
  result.set("rejectedTotal", to_number(env, report.rejected));
  result.set("lostTotal", to_number(env, report.lost));
  result.set("takenTotal", to_number(env, report.taken));
  result.set("cutTotal", to_number(env, report.cut));
  result.set("oldestState", to_text(env, state_name(report.oldest_state)));
  result.set("oldestMember", to_number(env, report.oldest_member));
  result.set("oldestDeliveries", to_number(env, report.oldest_deliveries));
  result.set("oldestBucket", to_number(env, report.oldest_bucket));
  result.set("maxDeliveries", to_number(env, report.rules.max_deliveries));
  result.set("leaseMs", to_number(env, report.rules.lease_ms));
  result.set("backoffMs", to_number(env, report.rules.backoff_ms));
  result.set("maxBackoffMs", to_number(env, report.rules.max_backoff_ms));
  result.set("keyOffset", to_number(env, report.rules.key_offset));
  result.set("keyBytes", to_number(env, report.rules.key_bytes));
  result.set("settings", to_text(env, report.settings));
  ArrayBuilder members(env);
  for (const MemberReport& m : report.members) {
    ObjectBuilder member(env);
    member.set("slot", to_number(env, m.slot));
    member.set("pid", to_number(env, m.pid));
    member.set("name", to_text(env, m.name));
    member.set("takenMs", to_number(env, m.taken_ms));
    member.set("alive", to_boolean(env, m.alive));
    member.set("late", to_boolean(env, m.late));
    member.set("active", to_boolean(env, m.active));
    member.set("inFlight", to_number(env, m.in_flight));
    member.set("oldest", to_number(env, m.oldest));
    member.set("claimedTotal", to_number(env, m.claimed));
    member.set("settledTotal", to_number(env, m.settled));
    members.push(member.value());
  }
  result.set("members", members.value());
  return result.value();
}

/// reset(sequence, force) → Promise.
napi_value GroupHandle::reset(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (group_ == nullptr) return throw_closed(env, "group");
  uint64_t sequence = 0;
  if (!read(env, info[0], &sequence)) return throw_usage(env, "reset(sequence: number, force: boolean)");
  const bool force = is_true(env, info[1]);
  return Task::start("hermes:reset-group", std::make_unique<Work>(env, [group = group_, sequence, force] {
                       return group->reset(sequence, force);
                     }));
}

/// configure(rules, settings) → Promise.
napi_value GroupHandle::configure(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (group_ == nullptr) return throw_closed(env, "group");
  GroupRules rules;
  std::string settings;
  if (!read_rules(env, info[0], &rules) || !read(env, info[1], &settings)) {
    return throw_usage(env, "configure(rules: NativeGroupRules, settings: string)");
  }
  return Task::start("hermes:configure-group", std::make_unique<Work>(env, [group = group_, rules, settings] {
                       return group->configure(rules, settings);
                     }));
}

/// sync() → Promise: all that was settled before is on stable storage.
napi_value GroupHandle::sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (group_ == nullptr) return throw_closed(env, "group");
  return Task::start("hermes:sync-group", std::make_unique<Work>(env, [group = group_] { return group->sync(); }));
}

napi_value GroupHandle::close(const Napi::CallbackInfo&) {
  group_.reset();
  return nullptr;
}

}  // namespace hermes::binding
