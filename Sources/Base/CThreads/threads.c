#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "CThreads.h"

/// Whether the calling thread is in cthreads_start, whose caller hears of a failure.
static _Thread_local int is_own;

static void (*_Atomic end_without)(int);

void cthreads_end_without(void (*end)(int)) { atomic_store(&end_without, end); }

struct start {
  void (*body)(void *);
  void *context;
};

static void *run(void *memory) {
  const struct start start = *(struct start *)memory;
  free(memory);
  start.body(start.context);
  return NULL;
}

int cthreads_start(void (*body)(void *), void *context, size_t stack_size) {
  struct start *start = malloc(sizeof *start);
  pthread_attr_t attributes;
  if (!start) return ENOMEM;
  *start = (struct start){body, context};
  int error = pthread_attr_init(&attributes);
  if (error) {
    free(start);
    return error;
  }
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_t thread;
  is_own = 1;
  error = pthread_create(&thread, &attributes, run, start);
  is_own = 0;
  pthread_attr_destroy(&attributes);
  if (error) free(start);
  return error;
}

// The sanitizers have a pthread_create of their own, which must be the first.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif

#ifndef IS_SANITIZED
/// Whether a plan says that this thread, of all that the process makes, fails.
static int is_planned_to_fail(void) {
  static atomic_int made;
  const char *plan = getenv("TARN_FAULT");
  int number;
  if (!plan || sscanf(plan, "thread@%d", &number) != 1) return 0;
  return atomic_fetch_add(&made, 1) + 1 >= number;
}

/// In the place of the C library's, for this program and every library it loads.
///
/// Symbols of the program come first, in calls from shared libraries too.
__attribute__((visibility("default"))) int pthread_create(
    pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*body)(void *),
    void *restrict context) {
  typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  static create *_Atomic found;
  create *real = atomic_load(&found);
  if (!real) atomic_store(&found, real = (create *)dlsym(RTLD_NEXT, "pthread_create"));
  const int error = is_planned_to_fail() ? EAGAIN : real(thread, attributes, body, context);
  if (!error || is_own) return error;
  static atomic_flag ends = ATOMIC_FLAG_INIT;
  void (*end)(int) = atomic_load(&end_without);
  if (!end) return error;
  // The process ends on the thread that came first.
  while (atomic_flag_test_and_set(&ends)) pause();
  end(error);
  return error;
}
#endif

static int hearing = -1;

static void hear(int number) {
  const int before = errno;
  const unsigned char byte = (unsigned char)number;
  // A full pipe has been heard already.
  if (write(hearing, &byte, 1) < 0) { }
  errno = before;
}

int cthreads_hear(const int *signals, size_t count) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) || fcntl(ends[1], F_SETFL, O_NONBLOCK)) return -1;
  hearing = ends[1];
  struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < count; i++) {
    struct sigaction before;
    // Under nohup a terminal that goes away ends nothing.
    if (signals[i] == SIGHUP && !sigaction(SIGHUP, NULL, &before) && before.sa_handler == SIG_IGN) continue;
    sigaction(signals[i], &action, NULL);
  }
  return ends[0];
}
