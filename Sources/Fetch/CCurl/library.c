/* libcurl, loaded when it is first asked for something.
 *
 * Debian's brings 27 other libraries along, for LDAP, Kerberos and more, which take
 * the loader longer than a short command takes for everything else. So tarn is not
 * linked with it: each function that tarn calls is defined here, hidden, so that
 * libcurl's own calls do not come by, and hands on to the one in the library. */
#define CURL_DISABLE_TYPECHECK
#include "CCurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

/* The major version of its interface, for which Debian made the name. */
#define LIBRARY "libcurl.so.4"

/* The address is constant there since 8.0. */
#if LIBCURL_VERSION_NUM >= 0x080000
#define READ_ADDRESS const CURLU *
#else
#define READ_ADDRESS CURLU *
#endif

/* What each gives, its name, its parameters, and what is handed on. */
#define FUNCTIONS(FUNCTION)                                                                                       \
  FUNCTION(CURLcode, curl_global_init, (long flags), (flags))                                                     \
  FUNCTION(char *, curl_version, (void), ())                                                                      \
  FUNCTION(void, curl_free, (void *memory), (memory))                                                             \
  FUNCTION(CURL *, curl_easy_init, (void), ())                                                                    \
  FUNCTION(void, curl_easy_cleanup, (CURL * easy), (easy))                                                        \
  FUNCTION(CURLcode, curl_easy_pause, (CURL * easy, int what), (easy, what))                                      \
  FUNCTION(const char *, curl_easy_strerror, (CURLcode code), (code))                                             \
  FUNCTION(CURLM *, curl_multi_init, (void), ())                                                                  \
  FUNCTION(CURLMcode, curl_multi_cleanup, (CURLM * multi), (multi))                                               \
  FUNCTION(CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL *easy), (multi, easy))                          \
  FUNCTION(CURLMcode, curl_multi_remove_handle, (CURLM * multi, CURL *easy), (multi, easy))                       \
  FUNCTION(CURLMcode, curl_multi_perform, (CURLM * multi, int *running), (multi, running))                        \
  FUNCTION(CURLMcode, curl_multi_poll,                                                                            \
           (CURLM * multi, struct curl_waitfd extra[], unsigned int count, int timeout, int *ready),              \
           (multi, extra, count, timeout, ready))                                                                 \
  FUNCTION(CURLMcode, curl_multi_wakeup, (CURLM * multi), (multi))                                                \
  FUNCTION(CURLMsg *, curl_multi_info_read, (CURLM * multi, int *left), (multi, left))                            \
  FUNCTION(const char *, curl_multi_strerror, (CURLMcode code), (code))                                           \
  FUNCTION(struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *text), (list, text))    \
  FUNCTION(void, curl_slist_free_all, (struct curl_slist * list), (list))                                         \
  FUNCTION(CURLU *, curl_url, (void), ())                                                                         \
  FUNCTION(void, curl_url_cleanup, (CURLU * address), (address))                                                  \
  FUNCTION(CURLUcode, curl_url_get, (READ_ADDRESS address, CURLUPart part, char **text, unsigned int flags),      \
           (address, part, text, flags))                                                                          \
  FUNCTION(CURLUcode, curl_url_set, (CURLU * address, CURLUPart part, const char *text, unsigned int flags),      \
           (address, part, text, flags))

/* Of these the last argument is a long, a curl_off_t or a pointer: one general
 * register on every CPU that tarn is for, so that it is handed on as a pointer.
 * https://curl.se/libcurl/c/curl_easy_setopt.html */
#define VARIADIC_FUNCTIONS(FUNCTION)                   \
  FUNCTION(CURLcode, curl_easy_setopt, CURL, CURLoption)  \
  FUNCTION(CURLcode, curl_easy_getinfo, CURL, CURLINFO)   \
  FUNCTION(CURLMcode, curl_multi_setopt, CURLM, CURLMoption)

_Static_assert(sizeof(curl_off_t) == sizeof(void *) && sizeof(long) == sizeof(void *), "an option is one register");

static struct {
#define POINTER(result, name, parameters, arguments) result(*name) parameters;
  FUNCTIONS(POINTER)
#define VARIADIC_POINTER(result, name, handle, option) result (*name)(handle *, option, ...);
  VARIADIC_FUNCTIONS(VARIADIC_POINTER)
} library;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void (*ending)(const char *reason);

void ccurl_end_without(void (*end)(const char *reason)) { ending = end; }

/* As where the loader misses a library that a program is linked with: there is nothing to go on with. */
static void missing(void) {
  const char *reason = dlerror();
  if (ending) ending(reason ? reason : LIBRARY);
  abort();
}

const char *ccurl_fault(void) {
  /* Once loaded it stays, so that a handle is nothing to keep. */
  return dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL) ? NULL : dlerror();
}

static void *found(void *handle, const char *name) {
  void *address = dlsym(handle, name);
  if (!address) missing();
  return address;
}

static void load(void) {
  void *handle = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
  if (!handle) missing();
  /* > POSIX.1-2008 … requires that a function pointer can be cast to a void pointer
   * https://man7.org/linux/man-pages/man3/dlsym.3.html */
#define FIND(result, name, ...) *(void **)&library.name = found(handle, #name);
  FUNCTIONS(FIND)
  VARIADIC_FUNCTIONS(FIND)
}

#pragma GCC visibility push(hidden)

#define FORWARD(result, name, parameters, arguments) \
  result name parameters {                           \
    pthread_once(&once, load);                       \
    return library.name arguments;                   \
  }
FUNCTIONS(FORWARD)

#define VARIADIC_FORWARD(result, name, handle, option) \
  result name(handle *of, option which, ...) {         \
    pthread_once(&once, load);                         \
    va_list rest;                                      \
    va_start(rest, which);                             \
    void *argument = va_arg(rest, void *);             \
    va_end(rest);                                      \
    return library.name(of, which, argument);          \
  }
VARIADIC_FUNCTIONS(VARIADIC_FORWARD)

#pragma GCC visibility pop
