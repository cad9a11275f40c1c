#pragma once

#include <napi.h>

#include <memory>

#include "binding/dispatcher.h"
#include "binding/ring_parker.h"
#include "core/ring/ring_file.h"

namespace hermes::binding {

/// A ring in a file, as lib/ring sees it: the mapping, for atomics in JavaScript; the locks that
/// tell who lives; and the futexes. Each handle maps the file for itself and is one participant at
/// most.
///
/// Lifetime: the mapping lives as long as the handle or its ArrayBuffer, whichever is longer. The
/// locks go with `close`, with the handle, or with the environment.
class RingFileHandle final : public Napi::ObjectWrap<RingFileHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit RingFileHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value region(const Napi::CallbackInfo& info);
  Napi::Value attach(const Napi::CallbackInfo& info);
  Napi::Value join(const Napi::CallbackInfo& info);
  Napi::Value probe(const Napi::CallbackInfo& info);
  Napi::Value wake(const Napi::CallbackInfo& info);
  Napi::Value sleep(const Napi::CallbackInfo& info);
  Napi::Value park(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  RingBell bell(const Napi::Value& room) const;

  std::shared_ptr<RingFile> file_;  // null once closed
  std::shared_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<RingParker> parker_;  // from the first wait on
  std::shared_ptr<bool> parked_ =
      std::make_shared<bool>(false);  // used on the environment's thread only
  Napi::Reference<Napi::ArrayBuffer> region_;
};

}  // namespace hermes::binding
