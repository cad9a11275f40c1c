#pragma once

#include <napi.h>

#include <memory>

#include "binding/dispatcher.h"
#include "binding/ring_parker.h"
#include "binding/wrapped.h"
#include "core/ring/ring_file.h"

namespace hermes::binding {

/// A ring in a file, as lib/ring sees it: the mapping, for atomics in JavaScript; the locks that
/// tell who lives; and the futexes. Each handle maps the file for itself and is one participant at
/// most.
///
/// Lifetime: the mapping lives as long as the handle or its ArrayBuffer, whichever is longer. The
/// locks go with `close`, with the handle, or with the environment.
class RingFileHandle final : public Wrapped<RingFileHandle> {
 public:
  static napi_value define(napi_env env);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value region(const Napi::CallbackInfo& info);
  napi_value attach(const Napi::CallbackInfo& info);
  napi_value join(const Napi::CallbackInfo& info);
  napi_value probe(const Napi::CallbackInfo& info);
  napi_value wake(const Napi::CallbackInfo& info);
  napi_value sleep(const Napi::CallbackInfo& info);
  napi_value park(const Napi::CallbackInfo& info);
  napi_value cancel(const Napi::CallbackInfo& info);
  napi_value close(const Napi::CallbackInfo& info);
  RingEventcount eventcount(bool room) const;

  std::shared_ptr<RingFile> file_;  // null once closed
  std::shared_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<RingParker> parker_;                            // from the first wait on
  std::shared_ptr<bool> parked_ = std::make_shared<bool>(false);  // used on the environment's thread only
  Kept region_;
};

}  // namespace hermes::binding
