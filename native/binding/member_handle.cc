#include "binding/member_handle.h"

#include <algorithm>

#include "binding/errors.h"
#include "binding/scratch_layout.h"
#include "core/platform/clock.h"

namespace hermes::binding {

using namespace member_scratch;

static_assert(kRecordBytes == sizeof(ClaimRecord) && kSettlingAt == kClaimedAt + kMaxClaim * sizeof(ClaimRecord));
static_assert(kLostAt == kSettlingAt + kMaxClaim * sizeof(ClaimRecord) && kFramesAt == kLostAt + kMaxClaim &&
              kFramesAt % 8 == 0);
static_assert(kRecordFrameAt == offsetof(ClaimRecord, frame) &&
              kRecordDeliveriesAt == offsetof(ClaimRecord, deliveries));
static_assert(kRecordNumberAt == offsetof(ClaimRecord, number) && kRecordBucketAt == offsetof(ClaimRecord, bucket));

napi_value MemberHandle::define(napi_env env) {
  return define_class(env, "Member",
                      {method<&MemberHandle::attach>("attach"), method<&MemberHandle::last_error>("lastError"),
                       method<&MemberHandle::enter>("enter"), method<&MemberHandle::slot>("slot"),
                       method<&MemberHandle::renew>("renew"), method<&MemberHandle::is_late>("isLate"),
                       method<&MemberHandle::skip>("skip"), method<&MemberHandle::activate>("activate"),
                       method<&MemberHandle::commit>("commit"), method<&MemberHandle::committed>("committed"),
                       method<&MemberHandle::check_held>("checkHeld"), method<&MemberHandle::note_lost>("noteLost"),
                       method<&MemberHandle::wait>("wait"), method<&MemberHandle::cancel>("cancel"),
                       method<&MemberHandle::close>("close")});
}

void MemberHandle::adopt(std::unique_ptr<Member> member, std::shared_ptr<Dispatcher> dispatcher) {
  member_ = std::move(member);
  dispatcher_ = std::move(dispatcher);
}

/// attach(scratch: ArrayBuffer) → { claim, settle, peek }. Again with a larger one: the functions of before work on that. They must not outlive this
/// object (lib/ keeps both together).
napi_value MemberHandle::attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!scratch_.hold(env, info[0], kFramesAt + kFrameHeaderBytes))
    return throw_usage(env, "attach(scratch: ArrayBuffer with room for a frame)");
  ObjectBuilder result(env);
  result.set("claim", to_function(env, "claim", &MemberHandle::claim, this));
  result.set("settle", to_function(env, "settle", &MemberHandle::settle, this));
  result.set("peek", to_function(env, "peek", &MemberHandle::peek, this));
  return result.value();
}

ClaimBuffer MemberHandle::buffer() noexcept {
  return {reinterpret_cast<ClaimRecord*>(scratch_.bytes() + kClaimedAt),
          std::min(scratch_.get<uint32_t>(kLimitAt), kMaxClaim), scratch_.bytes() + kFramesAt,
          (scratch_.size() - kFramesAt) / 8 * 8};
}

void MemberHandle::report(const Status& status, const ClaimResult& result) noexcept {
  if (!status.ok()) [[unlikely]]
    last_ = status;
  scratch_.set<int32_t>(kStatusAt, -static_cast<int32_t>(status.code));
  scratch_.set<uint32_t>(kCountAt, result.count);
  scratch_.set<int32_t>(kStopAt, static_cast<int32_t>(result.stop));
  scratch_.set<double>(kNeededAt, static_cast<double>(result.needed));
  scratch_.set<double>(kSequenceAt, static_cast<double>(result.sequence));
}

napi_value MemberHandle::claim(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<MemberHandle*>(data);
  ClaimResult result;
  const Status status = self->member_ != nullptr ? self->member_->claim(self->buffer(), &result)
                                                 : Status::error(Code::kClosed, "the member is closed");
  self->report(status, result);
  return nullptr;
}

napi_value MemberHandle::peek(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<MemberHandle*>(data);
  ClaimResult result;
  const Status status = self->member_ != nullptr ? self->member_->peek(self->buffer(), &result)
                                                 : Status::error(Code::kClosed, "the member is closed");
  self->report(status, result);
  return nullptr;
}

napi_value MemberHandle::settle(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<MemberHandle*>(data);
  Scratch& scratch = self->scratch_;
  const uint32_t count = std::min(scratch.get<uint32_t>(kLimitAt), kMaxClaim);
  const auto* const records = reinterpret_cast<const ClaimRecord*>(scratch.bytes() + kSettlingAt);
  auto* const lost = reinterpret_cast<uint8_t*>(scratch.bytes() + kLostAt);
  const auto outcome =
      static_cast<Outcome>(std::min(scratch.get<uint32_t>(kOutcomeAt), static_cast<uint32_t>(Outcome::kReleased)));
  const double delay_ms = scratch.get<double>(kDelayAt);
  // A year is longer than any delay that can be kept; below zero, and no number, is the back-off.
  const uint64_t delay_ns = !(delay_ms >= 0) ? kBackoff : static_cast<uint64_t>(std::min(delay_ms, 3.2e10) * 1e6);
  uint32_t settled = 0;
  if (self->member_ != nullptr) {
    settled = self->member_->settle(records, count, outcome, delay_ns, lost);
  } else {
    std::fill(lost, lost + count, uint8_t{1});
  }
  scratch.set<uint32_t>(kCountAt, settled);
  return nullptr;
}

/// Throws what made the last claim fail.
napi_value MemberHandle::last_error(const Napi::CallbackInfo& info) {
  return last_.ok() ? nullptr : throw_status(info.Env(), last_);
}

/// enter(count): tells the buckets of the first `count` records of the last peek, as JavaScript has filled them in.
napi_value MemberHandle::enter(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  uint32_t count = 0;
  if (!read(env, info[0], &count) || count > kMaxClaim || scratch_.bytes() == nullptr)
    return throw_usage(env, "enter(count: number)");
  const Status status = member_->enter(reinterpret_cast<const ClaimRecord*>(scratch_.bytes() + kClaimedAt), count);
  return status.ok() ? nullptr : throw_status(env, status);
}

napi_value MemberHandle::slot(const Napi::CallbackInfo& info) {
  return member_ == nullptr ? throw_closed(info.Env(), "member") : to_number(info.Env(), member_->number());
}

/// renew(): the lease begins anew.
napi_value MemberHandle::renew(const Napi::CallbackInfo&) {
  if (member_ != nullptr) member_->renew();
  return nullptr;
}

napi_value MemberHandle::is_late(const Napi::CallbackInfo& info) {
  return to_boolean(info.Env(), member_ != nullptr && member_->is_late(monotonic_ns()));
}

/// skip(sequence) → whether a damaged message was settled as lost.
napi_value MemberHandle::skip(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  uint64_t sequence = 0;
  if (!read(env, info[0], &sequence)) return throw_usage(env, "skip(sequence: number)");
  return to_boolean(env, member_->skip(sequence));
}

napi_value MemberHandle::activate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  const Status status = member_->activate();
  return status.ok() ? nullptr : throw_status(env, status);
}

napi_value MemberHandle::commit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  uint64_t sequence = 0;
  if (!read(env, info[0], &sequence)) return throw_usage(env, "commit(sequence: number)");
  const Status status = member_->commit(sequence);
  return status.ok() ? nullptr : throw_status(env, status);
}

/// checkHeld(): throws why this member's position is no longer its own.
napi_value MemberHandle::check_held(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  const Status status = member_->check_held();
  return status.ok() ? nullptr : throw_status(env, status);
}

napi_value MemberHandle::committed(const Napi::CallbackInfo& info) {
  return member_ == nullptr ? throw_closed(info.Env(), "member") : to_number(info.Env(), member_->committed());
}

napi_value MemberHandle::note_lost(const Napi::CallbackInfo& info) {
  uint64_t count = 0;
  if (!read(info.Env(), info[0], &count)) return throw_usage(info.Env(), "noteLost(count: number)");
  if (member_ != nullptr) member_->note_lost(count);
  return nullptr;
}

/// wait(timeoutMs) → Promise<boolean>: true once there's something to claim, false after the time or cancel(). One at a time.
napi_value MemberHandle::wait(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (member_ == nullptr) return throw_closed(env, "member");
  if (*waiting_) return throw_status(env, Status::error(Code::kBusy, "the member is waiting already"));
  uint64_t timeout_ns = 0;
  if (!read_ms(env, info[0], &timeout_ns)) return throw_usage(env, "wait(timeoutMs: number)");
  const auto deferred = std::make_shared<Deferred>(env);
  const napi_value promise = deferred->promise();
  if (promise == nullptr) return nullptr;
  // The pool and the delivered work hold nothing of this object, which may be gone by then.
  const auto sleeper =
      std::make_shared<GroupSleeper>(member_->group(), member_->number(), timeout_ns,
                                     [deferred, waiting = waiting_, dispatcher = dispatcher_](bool news) {
                                       dispatcher->post([deferred, waiting, news](Napi::Env loop) {
                                         *waiting = false;
                                         deferred->resolve(to_boolean(loop, news));
                                       });
                                     });
  sleeper_ = sleeper;
  const Status status = SleeperPool::shared().add(sleeper);
  if (status.ok()) {
    // What is posted meanwhile is delivered on this thread, so not before.
    dispatcher_->expect();
    *waiting_ = true;
  } else {
    deferred->reject(to_error(env, status));
  }
  return promise;
}

napi_value MemberHandle::cancel(const Napi::CallbackInfo&) {
  if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().cancel(*sleeper);
  return nullptr;
}

/// Ends a wait under way, which is still reported.
void MemberHandle::end() noexcept {
  if (const auto sleeper = sleeper_.lock()) SleeperPool::shared().remove(*sleeper);
  sleeper_.reset();
}

napi_value MemberHandle::close(const Napi::CallbackInfo&) {
  end();
  member_.reset();
  return nullptr;
}

}  // namespace hermes::binding
