/* Typed doors to libcurl's variadic functions, which Swift cannot call.
 *
 * Each setter takes exactly the C type that libcurl reads from its argument
 * list (`long`, a pointer) and refuses an option of another type,
 * so a wrong pairing is an error code and never a misread stack. */
#ifndef CCURL_H
#define CCURL_H

#include <curl/curl.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* > size_t write_callback(char *ptr, size_t size, size_t nmemb, void *userdata);
 * https://curl.se/libcurl/c/CURLOPT_WRITEFUNCTION.html
 * https://curl.se/libcurl/c/CURLOPT_HEADERFUNCTION.html */
typedef size_t (*ccurl_bytes_callback)(char *bytes, size_t size, size_t count, void *context);

/* Says how the process ends where libcurl cannot be loaded, which happens at the first
 * call of any of its functions: `end` gets the reason and does not return. */
void ccurl_end_without(void (*end)(const char *reason));

/* Why the library cannot be loaded, until the next call; NULL where it can. */
const char *ccurl_fault(void);

/* Initialises the library once, from any thread (7.84+ is thread-safe).
 * https://curl.se/libcurl/c/curl_global_init.html */
CURLcode ccurl_global_init(void);

/* https://curl.se/libcurl/c/curl_easy_setopt.html
 * CURLE_UNKNOWN_OPTION when the option does not take that type. */
CURLcode ccurl_set_long(CURL *easy, CURLoption option, long value);
CURLcode ccurl_set_string(CURL *easy, CURLoption option, const char *value);

/* The list must outlive the transfer.
 * https://curl.se/libcurl/c/CURLOPT_HTTPHEADER.html */
CURLcode ccurl_set_headers(CURL *easy, struct curl_slist *list);

/* Takes the value of a header line away, so that libcurl sends no such line. The list is read
 * once the request is sent: within `allows` of a peer that is connected that is still to come.
 * https://curl.se/libcurl/c/CURLOPT_HTTPHEADER.html */
void ccurl_empty_header(struct curl_slist *list, const char *name);

/* Both callbacks get `context`.
 * https://curl.se/libcurl/c/CURLOPT_WRITEFUNCTION.html
 * https://curl.se/libcurl/c/CURLOPT_HEADERFUNCTION.html */
CURLcode ccurl_set_callbacks(CURL *easy, ccurl_bytes_callback on_header, ccurl_bytes_callback on_body, void *context);

/* > size_t read_callback(char *buffer, size_t size, size_t nitems, void *userdata);
 * > int seek_callback(void *clientp, curl_off_t offset, int origin);
 * https://curl.se/libcurl/c/CURLOPT_READFUNCTION.html
 * https://curl.se/libcurl/c/CURLOPT_SEEKFUNCTION.html */
typedef int (*ccurl_seek_callback)(void *context, curl_off_t offset, int origin);

/* Sends a body of exactly `count` bytes, at most `rate` bytes a second if that is
 * not 0; both callbacks get `context`.
 * https://curl.se/libcurl/c/CURLOPT_UPLOAD.html
 * https://curl.se/libcurl/c/CURLOPT_INFILESIZE_LARGE.html
 * https://curl.se/libcurl/c/CURLOPT_MAX_SEND_SPEED_LARGE.html */
CURLcode ccurl_set_upload(CURL *easy, ccurl_bytes_callback on_need, ccurl_seek_callback on_seek, void *context,
                          int64_t count, int64_t rate);

/* `buffer` has at least CURL_ERROR_SIZE bytes and outlives the transfer.
 * https://curl.se/libcurl/c/CURLOPT_ERRORBUFFER.html */
CURLcode ccurl_set_error_buffer(CURL *easy, char *buffer);

/* Whether a connection to an address may be made, or used again: 0 for no. */
typedef struct ccurl_peer_check {
  int (*allows)(const char *address, int port, int is_connected, void *context);
  void *context;
} ccurl_peer_check;

/* Asks before every connection, and before a request is sent over one that
 * another request left open. `check` outlives the transfer.
 * https://curl.se/libcurl/c/CURLOPT_OPENSOCKETFUNCTION.html
 * https://curl.se/libcurl/c/CURLOPT_PREREQFUNCTION.html */
CURLcode ccurl_set_peer_check(CURL *easy, ccurl_peer_check *check);

/* The address and port of the other end; the text lives until the handle's next
 * transfer.
 * https://curl.se/libcurl/c/CURLINFO_PRIMARY_IP.html */
CURLcode ccurl_get_peer(CURL *easy, const char **address, long *port);

/* A number that tells this handle from the others of its multi handle.
 * https://curl.se/libcurl/c/CURLOPT_PRIVATE.html */
CURLcode ccurl_set_tag(CURL *easy, uintptr_t tag);

/* https://curl.se/libcurl/c/CURLINFO_PRIVATE.html */
CURLcode ccurl_get_tag(CURL *easy, uintptr_t *tag);

/* https://curl.se/libcurl/c/curl_multi_setopt.html */
CURLMcode ccurl_multi_set_long(CURLM *multi, CURLMoption option, long value);

/* The next finished transfer: 1 and its handle and result, or 0 for none.
 * https://curl.se/libcurl/c/curl_multi_info_read.html */
int ccurl_multi_next_finished(CURLM *multi, CURL **easy, CURLcode *result);

/* Not libcurl's: Swift's Glibc module does not show it. Asks the kernel to begin
 * writing `count` bytes at `offset` back to the disk, without waiting; a hint.
 * https://man7.org/linux/man-pages/man2/sync_file_range.2.html */
void ccurl_begin_writing_back(int descriptor, int64_t offset, int64_t count);

/* Likewise. Asks the file system for `count` bytes without changing the size of
 * the file: 0, or the error's number.
 * https://man7.org/linux/man-pages/man2/fallocate.2.html */
int ccurl_allocate(int descriptor, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
