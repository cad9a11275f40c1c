#pragma once

#include <napi.h>

#include <memory>

#include "binding/errors.h"
#include "binding/js.h"

namespace hermes::binding {

/// Native work off the event loop that ends in a value or a status, and settles a promise.
///
/// Thread safety: `work` runs on a thread of libuv's pool; the rest on the environment's.
class Task {
 public:
  virtual ~Task() {
    if (work_ != nullptr) (void)napi_delete_async_work(env_, work_);
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// The promise; nullptr if the environment is ending. `name` is for async_hooks.
  static napi_value start(const char* name, std::unique_ptr<Task> task) {
    const napi_env env = task->env_;
    const napi_value promise = task->deferred_.promise();
    if (promise == nullptr ||
        napi_create_async_work(env, nullptr, to_text(env, name), &Task::execute, &Task::complete, task.get(),
                               &task->work_) != napi_ok ||
        napi_queue_async_work(env, task->work_) != napi_ok) {
      return nullptr;
    }
    (void)task.release();  // complete() is called in every case, also when the environment ends
    return promise;
  }

 protected:
  explicit Task(napi_env env) : env_(env), deferred_(env) {}
  virtual Status work() = 0;
  /// What the promise resolves with. nullptr: the environment is ending.
  virtual napi_value result(napi_env env) = 0;

 private:
  static void execute(napi_env, void* data) {
    auto* const self = static_cast<Task*>(data);
    self->status_ = self->work();
  }
  static void complete(napi_env env, napi_status status, void* data) {
    const std::unique_ptr<Task> self(static_cast<Task*>(data));
    if (status == napi_cancelled) return;
    if (self->status_.ok()) {
      self->deferred_.resolve(self->result(env));
    } else {
      self->deferred_.reject(to_error(env, self->status_));
    }
  }

  napi_env env_;
  napi_async_work work_ = nullptr;
  Deferred deferred_;
  Status status_;
};

}  // namespace hermes::binding
