#pragma once

#include <cstddef>

// The few functions of libuv by which a descriptor is watched by Node's event loop. Node exports them, and they are the same in all of
// libuv 1.x; its header is not among those of Node-API, and is not needed for opaque handles.

extern "C" {

struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;
struct uv_timer_s;

typedef void (*uv_poll_cb)(uv_poll_s* handle, int status, int events);
typedef void (*uv_timer_cb)(uv_timer_s* handle);
typedef void (*uv_close_cb)(uv_handle_s* handle);

size_t uv_handle_size(int type);
void* uv_handle_get_data(const uv_handle_s* handle);
void uv_handle_set_data(uv_handle_s* handle, void* data);
void uv_close(uv_handle_s* handle, uv_close_cb close_cb);
int uv_poll_init(uv_loop_s* loop, uv_poll_s* handle, int fd);
int uv_poll_start(uv_poll_s* handle, int events, uv_poll_cb cb);
int uv_poll_stop(uv_poll_s* handle);
void uv_ref(uv_handle_s* handle);
void uv_unref(uv_handle_s* handle);
int uv_timer_init(uv_loop_s* loop, uv_timer_s* handle);
int uv_timer_start(uv_timer_s* handle, uv_timer_cb cb, uint64_t timeout_ms, uint64_t repeat_ms);
}

namespace hermes::binding {

constexpr int kUvPoll = 8;      // UV_POLL of uv_handle_type
constexpr int kUvTimer = 13;    // UV_TIMER
constexpr int kUvReadable = 1;  // UV_READABLE of uv_poll_event

}  // namespace hermes::binding
