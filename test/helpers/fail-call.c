// To be preloaded: makes one system call of the addon fail, as the orders say that lie in the file HERMES_TEST_CALL (it is mapped, so the process
// that tests can give them to itself). Only calls that the addon makes are looked at, not Node's.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kOpen = 1, kFallocate, kFtruncate, kMmap, kMadvise, kFdatasync, kFsync, kLink, kRename, kRemove, kLock, kThread, kRead, kWrite, kStat, kRoom, kFolder, kMsync, kAccept, kReceive, kSend, kWatch, kRing };

struct orders {
  _Atomic int call;    // 0: none fails
  _Atomic int error;
  _Atomic int first;   // the first one that fails, from 1
  _Atomic int times;   // so many in a row
  _Atomic int seen;    // calls of that kind so far
  _Atomic int failed;
  _Atomic int thread;  // only of the thread with this id; 0: of any
};

static struct orders* orders;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("HERMES_TEST_CALL");
  if (path == NULL) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* page = (void*)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (page != MAP_FAILED) orders = page;
}

/** hermes.node of a build, or a prebuild: hermes-linux-x64-glibc.node. */
static int is_addon(const char* path) {
  const char* name = strrchr(path, '/');
  name = name == NULL ? path : name + 1;
  const size_t length = strlen(name);
  return strncmp(name, "hermes", 6) == 0 && length > 5 && strcmp(name + length - 5, ".node") == 0;
}

static int fails(int call, void* caller) {
  if (orders == NULL || orders->call != call) return 0;
  Dl_info info;
  if (dladdr(caller, &info) == 0 || info.dli_fname == NULL || !is_addon(info.dli_fname)) return 0;
  const int thread = orders->thread;
  if (thread != 0 && thread != (int)syscall(SYS_gettid)) return 0;
  const int nth = atomic_fetch_add(&orders->seen, 1) + 1;
  if (nth < orders->first || nth >= orders->first + orders->times) return 0;
  atomic_fetch_add(&orders->failed, 1);
  errno = orders->error;
  return 1;
}

#define FAILS(call) fails(call, __builtin_return_address(0))
#define REAL(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                   \
  int name(const char* path, int flags, ...) {                       \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    const mode_t mode = va_arg(rest, mode_t);                        \
    va_end(rest);                                                    \
    if (FAILS(kOpen)) return -1;                                     \
    return REAL(int, name, const char*, int, ...)(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define LOCK(name)                                            \
  int name(int fd, int command, ...) {                        \
    va_list rest;                                             \
    va_start(rest, command);                                  \
    void* argument = va_arg(rest, void*);                     \
    va_end(rest);                                             \
    if (command >= 36 && command <= 38 && FAILS(kLock)) return -1; \
    return REAL(int, name, int, int, ...)(fd, command, argument); \
  }
LOCK(fcntl)
LOCK(fcntl64)

/** The names of glibc's large files, and the plain ones that an addon built for an older glibc uses: with 64 bits, the same. */
#define BOTH(define) define() define(64)
#define FALLOCATE(bits)                                                                                  \
  int fallocate##bits(int fd, int mode, off64_t from, off64_t bytes) {                                   \
    return FAILS(kFallocate) ? -1 : REAL(int, fallocate64, int, int, off64_t, off64_t)(fd, mode, from, bytes); \
  }
BOTH(FALLOCATE)
#define FTRUNCATE(bits)                                                              \
  int ftruncate##bits(int fd, off64_t bytes) {                                       \
    return FAILS(kFtruncate) ? -1 : REAL(int, ftruncate64, int, off64_t)(fd, bytes); \
  }
BOTH(FTRUNCATE)
#define MMAP(bits)                                                                                \
  void* mmap##bits(void* at, size_t bytes, int protection, int flags, int fd, off64_t offset) {   \
    if (FAILS(kMmap)) return MAP_FAILED;                                                          \
    return REAL(void*, mmap64, void*, size_t, int, int, int, off64_t)(at, bytes, protection, flags, fd, offset); \
  }
BOTH(MMAP)
int madvise(void* at, size_t bytes, int advice) { return FAILS(kMadvise) ? -1 : REAL(int, madvise, void*, size_t, int)(at, bytes, advice); }
int fdatasync(int fd) { return FAILS(kFdatasync) ? -1 : REAL(int, fdatasync, int)(fd); }
int fsync(int fd) { return FAILS(kFsync) ? -1 : REAL(int, fsync, int)(fd); }
int msync(void* at, size_t bytes, int flags) { return FAILS(kMsync) ? -1 : REAL(int, msync, void*, size_t, int)(at, bytes, flags); }
int link(const char* from, const char* to) { return FAILS(kLink) ? -1 : REAL(int, link, const char*, const char*)(from, to); }
int rename(const char* from, const char* to) { return FAILS(kRename) ? -1 : REAL(int, rename, const char*, const char*)(from, to); }
int remove(const char* path) { return FAILS(kRemove) ? -1 : REAL(int, remove, const char*)(path); }
int unlink(const char* path) { return FAILS(kRemove) ? -1 : REAL(int, unlink, const char*)(path); }
int pthread_create(pthread_t* thread, const pthread_attr_t* with, void* (*run)(void*), void* argument) {
  if (FAILS(kThread)) return errno;
  return REAL(int, pthread_create, pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)(thread, with, run, argument);
}
#define PREAD(bits)                                                                              \
  ssize_t pread##bits(int fd, void* into, size_t bytes, off64_t at) {                            \
    return FAILS(kRead) ? -1 : REAL(ssize_t, pread64, int, void*, size_t, off64_t)(fd, into, bytes, at); \
  }
BOTH(PREAD)
#define PWRITE(bits)                                                                                    \
  ssize_t pwrite##bits(int fd, const void* from, size_t bytes, off64_t at) {                            \
    return FAILS(kWrite) ? -1 : REAL(ssize_t, pwrite64, int, const void*, size_t, off64_t)(fd, from, bytes, at); \
  }
BOTH(PWRITE)
int fstat64(int fd, struct stat64* out) { return FAILS(kStat) ? -1 : REAL(int, fstat64, int, struct stat64*)(fd, out); }
int stat64(const char* path, struct stat64* out) { return FAILS(kStat) ? -1 : REAL(int, stat64, const char*, struct stat64*)(path, out); }
/** As a glibc before 2.33 had them, with the layout's number first. */
int __fxstat(int layout, int fd, struct stat* out) {
  return FAILS(kStat) ? -1 : REAL(int, __fxstat, int, int, struct stat*)(layout, fd, out);
}
int __xstat(int layout, const char* path, struct stat* out) {
  return FAILS(kStat) ? -1 : REAL(int, __xstat, int, const char*, struct stat*)(layout, path, out);
}
#define STATVFS(bits)                                                                            \
  int statvfs##bits(const char* path, struct statvfs##bits* out) {                               \
    return FAILS(kRoom) ? -1 : REAL(int, statvfs##bits, const char*, struct statvfs##bits*)(path, out); \
  }
BOTH(STATVFS)
DIR* opendir(const char* path) { return FAILS(kFolder) ? NULL : REAL(DIR*, opendir, const char*)(path); }
int accept4(int fd, struct sockaddr* address, socklen_t* bytes, int flags) {
  return FAILS(kAccept) ? -1 : REAL(int, accept4, int, struct sockaddr*, socklen_t*, int)(fd, address, bytes, flags);
}
ssize_t recv(int fd, void* into, size_t bytes, int flags) {
  return FAILS(kReceive) ? -1 : REAL(ssize_t, recv, int, void*, size_t, int)(fd, into, bytes, flags);
}
ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  return FAILS(kSend) ? -1 : REAL(ssize_t, sendmsg, int, const struct msghdr*, int)(fd, message, flags);
}
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event) {
  return FAILS(kWatch) ? -1 : REAL(int, epoll_ctl, int, int, int, struct epoll_event*)(epoll, operation, fd, event);
}
ssize_t sendto(int fd, const void* from, size_t bytes, int flags, const struct sockaddr* address, socklen_t length) {
  return FAILS(kRing) ? -1 : REAL(ssize_t, sendto, int, const void*, size_t, int, const struct sockaddr*, socklen_t)(fd, from, bytes, flags, address, length);
}
