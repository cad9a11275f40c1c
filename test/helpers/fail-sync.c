// To be preloaded: makes fdatasync fail, as a full or failing disk does. The file that HERMES_TEST_SYNC names says how:
// "<errno> <how often>". Only files of topics are looked at, and not those that JavaScript writes.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int is_segment(int fd) {
  char link[64];
  char path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, "/topics/") != NULL && strstr(path, ".json") == NULL;
}

int fdatasync(int fd) {
  const char* const orders = getenv("HERMES_TEST_SYNC");
  if (orders != NULL && is_segment(fd)) {
    int error = 0;
    int times = 0;
    pthread_mutex_lock(&turn);
    FILE* file = fopen(orders, "r");
    if (file != NULL) {
      if (fscanf(file, "%d %d", &error, &times) != 2) times = 0;
      fclose(file);
    }
    if (times > 0 && (file = fopen(orders, "w")) != NULL) {
      fprintf(file, "%d %d\n", error, times - 1);
      fclose(file);
    }
    pthread_mutex_unlock(&turn);
    if (times > 0) {
      errno = error;
      return -1;
    }
  }
  int (*const real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return real(fd);
}
