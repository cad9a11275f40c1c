#pragma once

#include <napi.h>

#include <memory>

#include "binding/wrapped.h"
#include "core/platform/file_view.h"

namespace hermes::binding {

/// A mapped stretch of a file for lib/mmap.ts, which keeps this object alive as long as the
/// ArrayBuffer.
///
/// The memory is given back when both are gone: this object, which lives as long as any view that
/// JavaScript or a call in the thread pool holds, and the buffer's backing store, which may have
/// moved to another ArrayBuffer. unmap() detaches the buffer and lets go of the file at once.
class FileMapping final : public Wrapped<FileMapping> {
 public:
  /// Sets `FileMapping` and `mappingConstants` of `exports`.
  static void define(napi_env env, ObjectBuilder& exports);
  bool construct(const Napi::CallbackInfo& info);

 private:
  napi_value region(const Napi::CallbackInfo& info);
  napi_value advise(const Napi::CallbackInfo& info);
  napi_value sync(const Napi::CallbackInfo& info);
  napi_value incore(const Napi::CallbackInfo& info);
  napi_value unmap(const Napi::CallbackInfo& info);

  std::shared_ptr<FileView> view_;
  bool handed_out_ = false;
};

}  // namespace hermes::binding
