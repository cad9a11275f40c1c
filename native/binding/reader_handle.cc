#include "binding/reader_handle.h"

#include "binding/addon.h"
#include "binding/errors.h"
#include "binding/metrics_handle.h"
#include "binding/scratch_layout.h"
#include "binding/shared_memory.h"
#include "core/log/repair.h"
#include "core/platform/clock.h"

namespace hermes::binding {

using namespace scan_scratch;

namespace {

/// Of the stamps of messages whose age is looked at.
constexpr uint64_t kSampleEveryNs = 1'000'000;

}  // namespace

napi_value ReaderHandle::define(napi_env env) {
  return define_class(env, "Reader",
                      {method<&ReaderHandle::scan_function>("scanFunction"), method<&ReaderHandle::count_in>("countIn"),
                       method<&ReaderHandle::region>("region"), method<&ReaderHandle::seek>("seek"),
                       method<&ReaderHandle::next_segment>("nextSegment"),
                       method<&ReaderHandle::skip_damage>("skipDamage"), method<&ReaderHandle::repair>("repair"),
                       method<&ReaderHandle::wait>("wait"), method<&ReaderHandle::check>("check"),
                       method<&ReaderHandle::cancel>("cancel"), method<&ReaderHandle::close>("close")});
}

void ReaderHandle::adopt(std::shared_ptr<Log> log, std::shared_ptr<Dispatcher> dispatcher, bool verify) {
  verify_ = verify;
  log_ = log;
  dispatcher_ = std::move(dispatcher);
  max_payload_ = log->control().max_payload;
  // A mapping of its own and read-only: what JavaScript is given can't change the log, and no address is wrapped twice.
  reader_ = std::make_unique<Reader>(std::move(log), MappedFile::Access::kRead);
}

/// scanFunction(scratch: ArrayBuffer) → the function. It must not outlive this object (lib/ keeps both together).
napi_value ReaderHandle::scan_function(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!scratch_.hold(env, info[0], kBytes)) return throw_usage(env, "scanFunction(scratch: ArrayBuffer of 64 bytes)");
  return to_function(env, "scan", &ReaderHandle::scan, this);
}

napi_value ReaderHandle::scan(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* self = static_cast<ReaderHandle*>(data);
  Scratch& scratch = self->scratch_;
  const uint32_t offset = scratch.get<uint32_t>(kOffsetAt);
  const auto sequence = static_cast<uint64_t>(scratch.get<double>(kSequenceAt));
  const Segment* segment = self->reader_ != nullptr ? self->reader_->segment().get() : nullptr;
  if (segment == nullptr || offset < kSegmentHeaderBytes || offset > segment->bytes() || offset % kFrameAlign != 0)
      [[unlikely]] {
    Scan nothing;
    nothing.end = offset;
    nothing.sequence = sequence;
    self->report(nothing, sequence);
    return nullptr;
  }
  if (!self->reader_->is_read(offset)) [[unlikely]] {
    const Status status = self->reader_->read_ahead(offset);
    if (!status.ok()) {
      throw_status(env, status);
      return nullptr;
    }
  }
  if (self->reader_->awaits_time()) [[unlikely]]
    return self->scan_awaiting(env);
  // Made in place: a copy would read at once, in wider words, what was just stored.
  Scan result = self->stream_.scan(*segment, offset, sequence, scratch.get<uint32_t>(kLimitAt), self->max_payload_,
                                   self->verify_);
  if (result.stop == ScanStop::kEmpty && result.messages == 0 && self->log_->is_hole(*segment, result.end))
      [[unlikely]] {
    result.stop = ScanStop::kDamage;
  }
  self->report(result, sequence);
  return nullptr;
}

/// As scan, while the message that a seek by time has asked for has not come: earlier ones are passed over. What follows it is found by the
/// next call, or by this one.
napi_value ReaderHandle::scan_awaiting(napi_env env) {
  take_position();
  Scan result;
  Status status = reader_->pass_earlier(&result.stop);
  if (!status.ok()) {
    throw_status(env, status);
    return nullptr;
  }
  const Position at = reader_->position();
  result.end = at.offset;
  result.sequence = at.sequence;
  if (!reader_->awaits_time()) {
    result = stream_.scan(*reader_->segment(), at.offset, at.sequence, scratch_.get<uint32_t>(kLimitAt), max_payload_,
                          verify_);
  }
  scratch_.set<uint32_t>(kOffsetAt, static_cast<uint32_t>(at.offset));
  scratch_.set<double>(kBeginSequenceAt, static_cast<double>(at.sequence));
  report(result, at.sequence);
  return nullptr;
}

bool ReaderHandle::deliver(Connection& connection, const Delivery& delivery, bool hold, TransferResult* result) {
  const uint32_t offset = scratch_.bytes() != nullptr ? scratch_.get<uint32_t>(kOffsetAt) : 0;
  const auto sequence = static_cast<uint64_t>(scratch_.bytes() != nullptr ? scratch_.get<double>(kSequenceAt) : 0);
  const std::shared_ptr<Segment> segment = reader_ != nullptr ? reader_->segment() : nullptr;
  if (segment == nullptr || offset < kSegmentHeaderBytes || offset >= segment->bytes() || offset % kFrameAlign != 0 ||
      reader_->awaits_time() || (!reader_->is_read(offset) && !reader_->read_ahead(offset).ok())) {
    return false;
  }
  const Scan run = find_run(*segment, offset, sequence, delivery, max_payload_);
  if (run.end == offset) return false;
  *result = hermes::deliver(connection, segment, offset, sequence, run, delivery, hold);
  report(run, sequence);
  return true;
}

/// countIn(cell)
napi_value ReaderHandle::count_in(const Napi::CallbackInfo& info) {
  MetricsCellHandle* const handle = MetricsCellHandle::of(info.Env(), info[0]);
  if (reader_ == nullptr) return throw_closed(info.Env(), "subscriber");
  if (cell_ != nullptr || handle == nullptr || handle->cell() == nullptr || !handle->cell()->is_wide()) {
    return throw_usage(info.Env(), "countIn(cell of a subscriber), once");
  }
  cell_ = handle->cell();
  counted_ = cell_->wide();
  return nullptr;
}

/// Counts what a scan has found, once for all its messages. It began where the scratch memory says, at sequence
/// `from`. REQUIRES: counted_ is not null.
void ReaderHandle::count(const Scan& result, uint64_t from) noexcept {
  // Relaxed: nothing else is read because of these.
  counted_->states[kSubNext].store(result.sequence, std::memory_order_relaxed);
  if (result.stop == ScanStop::kDamage) count_up(counted_->counters[kSubDamage]);
  const uint64_t begin = scratch_.get<uint32_t>(kOffsetAt);
  if (result.end <= begin || reader_->segment() == nullptr) return;
  const uint64_t sequences = result.sequence - from;
  count_up(counted_->counters[kSubMessages], result.messages);
  count_up(counted_->counters[kSubBytes], result.end - begin);
  count_up(counted_->counters[kSubScans]);
  if (sequences > result.messages) count_up(counted_->counters[kSubVoids], sequences - result.messages);
  // How old is the first of them? Once for each millisecond of stamps at most: that is cheap in a dense stream, and misses none in a thin one.
  const uint64_t stamped = reader_->segment()->frame(begin)->timestamp_ns;
  if (stamped - sampled_ns_ < kSampleEveryNs) return;
  sampled_ns_ = stamped;
  const uint64_t now = realtime_ns();
  const uint64_t us = now > stamped ? (now - stamped) / 1000 : 0;
  count_up(counted_->counters[kSubSamples]);
  count_up(counted_->counters[kSubSumUs], us);
  count_up(counted_->histogram[bucket_of(us)]);
  counted_->states[kSubFoundNs].store(now, std::memory_order_relaxed);
}

void ReaderHandle::report(const Scan& result, uint64_t from) noexcept {
  if (counted_ != nullptr) count(result, from);
  scratch_.set<uint32_t>(kMessagesAt, result.messages);
  scratch_.set<uint32_t>(kEndAt, static_cast<uint32_t>(result.end));
  scratch_.set<int32_t>(kStopAt, static_cast<int32_t>(result.stop));
  scratch_.set<double>(kSequenceAt, static_cast<double>(result.sequence));
}

/// The mapped segment as an ArrayBuffer, for lib/ only: a store into it would be a fault. Null before the first segment.
/// It's detached by close() and when the reader goes to another segment; the mapping lives until then at least.
napi_value ReaderHandle::region(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!region_.is_empty()) {
    detach(env, region_.value());
    region_.release();
  }
  if (reader_ == nullptr || reader_->segment() == nullptr) return to_null(env);
  const auto& segment = reader_->segment();
  const napi_value buffer = share_memory(env, segment->data(), segment->bytes(), segment);
  if (buffer != nullptr) (void)region_.keep(env, buffer);
  return buffer;
}

napi_value ReaderHandle::position(napi_env env) {
  const Position at = reader_->position();
  ObjectBuilder result(env);
  result.set("segment", to_number(env, at.segment));
  result.set("offset", to_number(env, at.offset));
  result.set("sequence", to_number(env, at.sequence));
  return result.value();
}

/// JavaScript moves the position forward by itself; learn where it is.
void ReaderHandle::take_position() {
  if (reader_->segment() == nullptr || scratch_.bytes() == nullptr) return;
  const uint32_t offset = scratch_.get<uint32_t>(kOffsetAt);
  if (offset < kSegmentHeaderBytes || offset > reader_->segment()->bytes() || offset % kFrameAlign != 0) return;
  reader_->set_position(offset, static_cast<uint64_t>(scratch_.get<double>(kSequenceAt)));
}

/// Null, unless nothing will ever come this way.
napi_value ReaderHandle::nothing_yet(napi_env env) {
  const Status status = log_->check_control();
  return status.ok() ? to_null(env) : throw_status(env, status);
}

/// check(): throws CORRUPT once the topic's control file was made anew. Looks at most every 100 ms.
napi_value ReaderHandle::check(const Napi::CallbackInfo& info) {
  if (reader_ == nullptr) return throw_closed(info.Env(), "subscriber");
  const Status status = log_->check_control();
  return status.ok() ? to_undefined(info.Env()) : throw_status(info.Env(), status);
}

/// seek('earliest' | 'latest' | sequence: number | timestampNs: bigint) → position, or null if the topic has no segment yet.
napi_value ReaderHandle::seek(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  Status status;
  take_position();
  const Reader before = *reader_;
  uint64_t number = 0;
  bool lossless = true;
  std::string end;
  if (read(env, info[0], &number)) {
    status = reader_->seek_sequence(number);
  } else if (napi_get_value_bigint_uint64(env, info[0], &number, &lossless) == napi_ok) {
    status = reader_->seek_time(number);
  } else if (read(env, info[0], &end) && end == "latest") {
    status = reader_->seek_latest();
  } else if (end == "earliest") {
    status = reader_->seek_earliest();
  } else {
    return throw_usage(env, "seek('earliest' | 'latest' | sequence: number | timestampNs: bigint)");
  }
  // JavaScript still reads the old segment: a search that failed half-way leaves the reader there too.
  // One in a topic without segments leaves it where it is as well, but notes which time is awaited.
  if (!status.ok() && status.code != Code::kNotFound) *reader_ = before;
  if (status.code == Code::kNotFound) return nothing_yet(env);
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// nextSegment() → position, or null while there is none.
napi_value ReaderHandle::next_segment(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  const Reader before = *reader_;
  const Status status = reader_->next_segment();
  if (!status.ok()) *reader_ = before;
  if (status.code == Code::kNotFound) return nothing_yet(env);
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// skipDamage() → position behind damage at the position, or null if nothing whole follows it yet.
napi_value ReaderHandle::skip_damage(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  const Status status = reader_->skip_damage();
  if (status.code == Code::kNotFound) return to_null(env);
  if (!status.ok()) return throw_status(env, status);
  return position(env);
}

/// repair() → true if a dead publisher's claim stood at the position and is void now.
napi_value ReaderHandle::repair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  take_position();
  if (!log_->writable() || reader_->segment() == nullptr) return to_boolean(env, false);
  RepairOutcome outcome;
  const Status status = repair_claim(*log_, reader_->position(), &outcome);
  if (!status.ok()) return throw_status(env, status);
  return to_boolean(env, outcome == RepairOutcome::kRepaired);
}

/// wait(timeoutMs) → Promise<boolean>: true once there is news at the position, false after the time or cancel(). One at a time.
napi_value ReaderHandle::wait(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (reader_ == nullptr) return throw_closed(env, "subscriber");
  if (*waiting_) return throw_status(env, Status::error(Code::kBusy, "the subscriber is waiting already"));
  take_position();
  uint64_t timeout_ns = 0;
  if (!read_ms(env, info[0], &timeout_ns)) return throw_usage(env, "wait(timeoutMs: number)");
  const auto deferred = std::make_shared<Deferred>(env);
  const napi_value promise = deferred->promise();
  if (promise == nullptr) return nullptr;
  if (parker_ == nullptr) parker_ = std::make_unique<Parker>(env, log_, dispatcher_, Addon::of(env).loop_bell());
  *waiting_ = true;
  const Status status = parker_->wait(reader_->segment(), reader_->position(), timeout_ns,
                                      [deferred, waiting = waiting_](napi_env loop, bool news) {
                                        *waiting = false;
                                        deferred->resolve(to_boolean(loop, news));
                                      });
  if (!status.ok()) {
    *waiting_ = false;
    deferred->reject(to_error(env, status));
  }
  return promise;
}

napi_value ReaderHandle::cancel(const Napi::CallbackInfo&) {
  // (A closed one has none, and its last wait may not be told yet.)
  if (parker_ != nullptr && *waiting_) parker_->cancel();
  return nullptr;
}

napi_value ReaderHandle::close(const Napi::CallbackInfo& info) {
  parker_.reset();
  if (!region_.is_empty()) {
    detach(info.Env(), region_.value());
    region_.release();
  }
  reader_.reset();
  log_.reset();
  counted_ = nullptr;
  cell_.reset();
  return nullptr;
}

}  // namespace hermes::binding
