#include "binding/loop_bell.h"

#include <dlfcn.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "binding/js.h"
#include "binding/libuv.h"
#include "core/log/bells.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

namespace hermes::binding {
namespace {

/// More are left to the pool's threads: a look at all of them must not hold the loop up.
constexpr uint64_t kMostSleepers = 256;
/// So often in a row a publisher may leave the bell silent before it is not relied on any more.
constexpr uint32_t kMostMissed = 3;
/// So many rings in a row without any news: somebody rings who should not.
constexpr uint32_t kMostForNothing = 100'000;

/// Whether libuv's functions are those of Node. Others declare some of them, and end the process when they are called.
bool is_node(napi_env env) {
  napi_value global = nullptr;
  if (napi_get_global(env, &global) != napi_ok) return false;
  const napi_value process = property(env, global, "process");
  const napi_value versions = process != nullptr ? property(env, process, "versions") : nullptr;
  return versions != nullptr && is_of_type(env, property(env, versions, "uv"), napi_string) &&
         is_of_type(env, property(env, versions, "bun"), napi_undefined) &&
         is_of_type(env, property(env, global, "Deno"), napi_undefined) &&
         ::dlsym(RTLD_DEFAULT, "uv_poll_init") != nullptr;
}

}  // namespace

/// Owned by libuv from its first use to its last.
struct LoopBell::Handles {
  napi_env env = nullptr;
  LoopBell* owner = nullptr;
  std::unique_ptr<Bell> bell;
  std::unique_ptr<std::byte[]> poll_bytes;
  std::unique_ptr<std::byte[]> timer_bytes;
  Kept resource;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  std::shared_ptr<Handles> self;
  int open = 0;
  bool ended = false;

  uv_poll_s* poll() noexcept { return reinterpret_cast<uv_poll_s*>(poll_bytes.get()); }
  uv_timer_s* timer() noexcept { return reinterpret_cast<uv_timer_s*>(timer_bytes.get()); }
  uv_handle_s* any(const std::unique_ptr<std::byte[]>& bytes) noexcept {
    return reinterpret_cast<uv_handle_s*>(bytes.get());
  }

  void end() noexcept {
    if (ended) return;
    ended = true;
    if (owner != nullptr) owner->end();
    owner = nullptr;
    resource.release();
    if (context != nullptr) (void)napi_async_destroy(env, context);
    context = nullptr;
    const auto closed = [](uv_handle_s* handle) {
      auto* const own = static_cast<Handles*>(uv_handle_get_data(handle));
      if (--own->open > 0) return;
      // An environment that ends waits for this.
      if (own->cleanup != nullptr) (void)napi_remove_async_cleanup_hook(own->cleanup);
      own->self.reset();
    };
    uv_close(any(poll_bytes), closed);
    uv_close(any(timer_bytes), closed);
  }

  static Handles* of(void* handle) noexcept {
    return static_cast<Handles*>(uv_handle_get_data(static_cast<const uv_handle_s*>(handle)));
  }
  static void readable(uv_poll_s* handle, int, int) noexcept {
    const std::shared_ptr<Handles> kept = of(handle)->self;
    if (kept->owner == nullptr) return;
    const std::shared_ptr<LoopBell> owner = kept->owner->shared_from_this();
    Finished finished;
    owner->hear(&finished);
    owner->settle(finished);
  }
  static void due(uv_timer_s* handle) noexcept {
    const std::shared_ptr<Handles> kept = of(handle)->self;
    if (kept->owner != nullptr) kept->owner->shared_from_this()->look();
  }
};

LoopSeat::LoopSeat(std::shared_ptr<LoopBell> bell, std::shared_ptr<Log> log, uint64_t tag)
    : bell_(std::move(bell)),
      log_(std::move(log)),
      tag_(tag),
      seat_(take_bell_seat(log_->control(), bell_->name_, tag)) {
  bell_->seats_.emplace(tag_, this);
}

LoopSeat::~LoopSeat() {
  if (seat_ >= 0) leave_bell_seat(log_->control(), seat_, bell_->name_);
  bell_->seats_.erase(tag_);
  const auto there = bell_->by_log_.find(log_.get());
  if (there != bell_->by_log_.end() && there->second.expired()) bell_->by_log_.erase(there);
}

bool LoopSeat::arm() noexcept {
  if (seat_ >= 0 && arm_bell(log_->control(), seat_, bell_->name_)) return true;
  seat_ = -1;
  proven_ = false;
  return false;
}

void LoopSeat::try_out() noexcept { (void)arm(); }

void LoopSeat::heard() noexcept {
  missed_ = 0;
  proven_ = seat_ >= 0;
}

void LoopSeat::missed() noexcept {
  proven_ = false;
  if (++missed_ < kMostMissed || seat_ < 0) return;
  leave_bell_seat(log_->control(), seat_, bell_->name_);
  seat_ = -1;
}

std::shared_ptr<LoopBell> LoopBell::create(napi_env env) {
  std::unique_ptr<Bell> bell;
  if (!is_node(env) || !Bell::create(&bell).ok()) return nullptr;
  auto made = std::make_shared<LoopBell>(env, bell->name());
  return made->begin(std::move(bell)) ? made : nullptr;
}

bool LoopBell::begin(std::unique_ptr<Bell> bell) {
  uv_loop_s* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok || loop == nullptr) return false;
  auto handles = std::make_shared<Handles>();
  handles->env = env_;
  handles->poll_bytes = std::make_unique<std::byte[]>(uv_handle_size(kUvPoll));
  handles->timer_bytes = std::make_unique<std::byte[]>(uv_handle_size(kUvTimer));
  napi_value object = nullptr;
  if (napi_create_object(env_, &object) != napi_ok || !handles->resource.keep(env_, object) ||
      napi_async_init(env_, object, to_text(env_, "hermes:wait"), &handles->context) != napi_ok) {
    return false;
  }
  if (uv_poll_init(loop, handles->poll(), bell->descriptor()) != 0) {
    (void)napi_async_destroy(env_, handles->context);
    return false;
  }
  // From here on the handles are the loop's, until they have been closed. (This always succeeds.)
  (void)uv_timer_init(loop, handles->timer());
  handles->open = 2;
  handles->self = handles;
  handles->bell = std::move(bell);
  handles->owner = this;
  handles_ = handles;
  uv_handle_set_data(handles->any(handles->poll_bytes), handles.get());
  uv_handle_set_data(handles->any(handles->timer_bytes), handles.get());
  uv_unref(handles->any(handles->poll_bytes));
  uv_unref(handles->any(handles->timer_bytes));
  const bool cleaned = napi_add_async_cleanup_hook(
                           env_, [](napi_async_cleanup_hook_handle, void* data) { static_cast<Handles*>(data)->end(); },
                           handles.get(), &handles->cleanup) == napi_ok;
  if (cleaned && uv_poll_start(handles->poll(), kUvReadable, &Handles::readable) == 0) return true;
  handles->end();
  return false;
}

/// The loop lets go of it: who sleeps is forgotten, and nobody new sleeps.
void LoopBell::end() noexcept {
  handles_.reset();
  for (const auto& [tag, seat] : seats_) {
    seat->proven_ = false;
    seat->sleepers_.clear();
  }
  sleeping_ = 0;
}

std::shared_ptr<LoopSeat> LoopBell::seat_in(const std::shared_ptr<Log>& log) {
  if (handles_.expired() || !log->writable()) return nullptr;
  auto& known = by_log_[log.get()];
  auto seat = known.lock();
  if (seat == nullptr) {
    seat = std::make_shared<LoopSeat>(shared_from_this(), log, next_tag_++);
    known = seat;
  }
  return seat;
}

bool LoopBell::sleep(LoopSeat& seat, const std::shared_ptr<LogSleeper>& sleeper) {
  const auto handles = handles_.lock();
  if (handles == nullptr || !seat.is_proven() || sleeping_ >= kMostSleepers) return false;
  const uint64_t now = monotonic_ns();
  if (sleeper->is_over(now)) {
    sleeper->finish();
    return true;
  }
  if (!seat.arm()) return false;
  if (sleeper->lie_down(now).word == nullptr || !heavy_barrier()) return false;
  if (sleeper->is_over(monotonic_ns())) {
    sleeper->finish();
    return true;
  }
  seat.sleepers_.push_back(sleeper);
  if (++sleeping_ == 1) uv_ref(handles->any(handles->poll_bytes));
  set_timer(std::min(next_look_up(now), sleeper->deadline_ns()), now);
  return true;
}

void LoopBell::cancel(LoopSeat& seat, const std::shared_ptr<LogSleeper>& sleeper) {
  const auto there = std::find(seat.sleepers_.begin(), seat.sleepers_.end(), sleeper);
  if (there == seat.sleepers_.end()) return;
  seat.sleepers_.erase(there);
  forget(1);
  sleeper->finish();
}

void LoopBell::forget(uint64_t count) noexcept {
  sleeping_ -= count;
  const auto handles = handles_.lock();
  if (sleeping_ > 0 || count == 0 || handles == nullptr) return;
  uv_unref(handles->any(handles->poll_bytes));
}

/// Takes what was rung.
void LoopBell::hear(Finished* finished) {
  const auto handles = handles_.lock();
  const Bell::Heard heard = handles->bell->hear();
  if (heard.count == 0) return;
  const uint64_t now = monotonic_ns();
  if (heard.perhaps_more) {
    for (const auto& [tag, seat] : seats_) look_at(*seat, now, true, finished);
  } else {
    for (uint32_t i = 0; i < heard.count; ++i) {
      const auto there = seats_.find(heard.tags[i]);
      if (there == seats_.end()) continue;
      there->second->heard();
      look_at(*there->second, now, true, finished);
    }
  }
  for_nothing_ = finished->empty() && sleeping_ > 0 ? for_nothing_ + heard.count : 0;
  if (for_nothing_ < kMostForNothing) return;
  // The pool's threads look after those who come from now on.
  for (const auto& [tag, seat] : seats_) {
    seat->missed_ = kMostMissed;
    seat->missed();
  }
  (void)uv_poll_stop(handles->poll());
}

/// What no bell tells of: the ends of waits, claims of dead publishers, publishers that can't ring.
void LoopBell::look() {
  timer_due_ns_ = 0;
  Finished finished;
  hear(&finished);
  const uint64_t now = monotonic_ns();
  for (const auto& [tag, seat] : seats_) look_at(*seat, now, false, &finished);
  uint64_t due = next_look_up(now);
  for (const auto& [tag, seat] : seats_) {
    for (const auto& sleeper : seat->sleepers_) due = std::min(due, sleeper->deadline_ns());
  }
  if (sleeping_ > 0) set_timer(due, now);
  settle(finished);
}

/// Those who have finished leave; the others lie down again.
void LoopBell::look_at(LoopSeat& seat, uint64_t now_ns, bool by_bell, Finished* finished) {
  auto& sleepers = seat.sleepers_;
  if (sleepers.empty()) return;
  bool missed = false;
  const auto take = [&](uint64_t at_ns) {
    size_t left = 0;
    for (auto& sleeper : sleepers) {
      if (sleeper->is_over(at_ns)) {
        missed = missed || sleeper->news();
        finished->push_back(std::move(sleeper));
      } else if (&sleepers[left++] != &sleeper) {
        sleepers[left - 1] = std::move(sleeper);
      }
    }
    forget(sleepers.size() - left);
    sleepers.resize(left);
  };
  take(now_ns);
  if (missed && !by_bell) seat.missed();
  if (sleepers.empty()) return;
  (void)seat.arm();
  for (const auto& sleeper : sleepers) (void)sleeper->lie_down(now_ns);
  (void)heavy_barrier();
  take(monotonic_ns());
}

void LoopBell::set_timer(uint64_t due_ns, uint64_t now_ns) {
  const auto handles = handles_.lock();
  if (handles == nullptr || (timer_due_ns_ != 0 && timer_due_ns_ <= due_ns)) return;
  timer_due_ns_ = due_ns;
  // Rounded up: a look that comes too early would be for nothing.
  const uint64_t ms = due_ns <= now_ns ? 0 : (due_ns - now_ns + 999'999) / 1'000'000;
  (void)uv_timer_start(handles->timer(), &Handles::due, ms, 0);
}

/// Tells those who have finished, as one callback of the loop.
void LoopBell::settle(const Finished& finished) {
  const auto handles = handles_.lock();
  if (finished.empty() || handles == nullptr) return;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  napi_callback_scope callback = nullptr;
  const napi_value resource = handles->resource.value();
  if (resource != nullptr && napi_open_callback_scope(env_, resource, handles->context, &callback) == napi_ok) {
    for (const auto& sleeper : finished) sleeper->finish();
    (void)napi_close_callback_scope(env_, callback);
  }
  (void)napi_close_handle_scope(env_, scope);
}

}  // namespace hermes::binding
