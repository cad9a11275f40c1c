#include "core/platform/thread.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <memory>

namespace hermes {
namespace {

/// Plenty for what runs here; the default of 8 MiB counts where memory is not overcommitted.
constexpr size_t kStackBytes = size_t{1} << 20;

struct Start {
  const char* name;
  void (*main)(void*);
  void* argument;
};

void* run(void* given) {
  const std::unique_ptr<Start> start(static_cast<Start*>(given));
#if defined(__linux__)
  (void)::pthread_setname_np(::pthread_self(), start->name);
#endif
  start->main(start->argument);
  return nullptr;
}

}  // namespace

Status start_thread(const char* name, void (*main)(void*), void* argument) {
  auto start = std::make_unique<Start>(Start{name, main, argument});
  pthread_attr_t attributes;
  int error = ::pthread_attr_init(&attributes);
  if (error != 0) return Status::from_errno(error, "start a thread");
  (void)::pthread_attr_setstacksize(&attributes, kStackBytes);
  (void)::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // A new thread inherits the mask. What a thread does wrong by itself (SIGSEGV, SIGBUS) and profilers (SIGPROF) must still reach it.
  sigset_t blocked;
  sigset_t before;
  ::sigfillset(&blocked);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) ::sigdelset(&blocked, own);
  (void)::pthread_sigmask(SIG_SETMASK, &blocked, &before);
  pthread_t thread;
  error = ::pthread_create(&thread, &attributes, run, start.get());
  (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  (void)::pthread_attr_destroy(&attributes);
  if (error == 0) {
    (void)start.release();  // the thread's from now on
    return Status::success();
  }
  if (error == EAGAIN || error == ENOMEM) {
    return {Code::kLimit, error,
            "the kernel gives this process no further thread: it is at a limit of tasks (ulimit -u, pids.max of its "
            "control group, "
            "TasksMax of its systemd unit) or of memory"};
  }
  return Status::from_errno(error, "start a thread");
}

}  // namespace hermes
