#pragma once

#include <napi.h>

#include <memory>

#include "core/platform/file_view.h"

namespace hermes::binding {

/// A mapped stretch of a file for lib/mmap.ts, which keeps this object alive as long as the
/// ArrayBuffer.
///
/// The memory is given back when both are gone: this object, which lives as long as any view that
/// JavaScript or a call in the thread pool holds, and the buffer's backing store, which may have
/// moved to another ArrayBuffer. unmap() detaches the buffer and lets go of the file at once.
class FileMapping final : public Napi::ObjectWrap<FileMapping> {
 public:
  /// Sets `FileMapping` and `mappingConstants` of `exports`.
  static void define(Napi::Env env, Napi::Object exports);
  explicit FileMapping(const Napi::CallbackInfo& info);

 private:
  Napi::Value region(const Napi::CallbackInfo& info);
  Napi::Value advise(const Napi::CallbackInfo& info);
  Napi::Value sync(const Napi::CallbackInfo& info);
  Napi::Value incore(const Napi::CallbackInfo& info);
  Napi::Value unmap(const Napi::CallbackInfo& info);

  std::shared_ptr<FileView> view_;
  bool handed_out_ = false;
};

}  // namespace hermes::binding
