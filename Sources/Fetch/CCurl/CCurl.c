/* The typed doors of CCurl.h. */
#define _GNU_SOURCE
#include "CCurl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

_Static_assert(sizeof(uintptr_t) == sizeof(void *), "a tag travels as a pointer");

CURLcode ccurl_global_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

/* curl numbers its options in blocks of 10000 by argument type. */
static int takes(CURLoption option, int type) { return (int)option / 10000 == type / 10000; }

CURLcode ccurl_set_long(CURL *easy, CURLoption option, long value) {
  if (!takes(option, CURLOPTTYPE_LONG)) return CURLE_UNKNOWN_OPTION;
  return curl_easy_setopt(easy, option, value);
}

CURLcode ccurl_set_string(CURL *easy, CURLoption option, const char *value) {
  if (!takes(option, CURLOPTTYPE_STRINGPOINT)) return CURLE_UNKNOWN_OPTION;
  return curl_easy_setopt(easy, option, value);
}

CURLcode ccurl_set_headers(CURL *easy, struct curl_slist *list) {
  return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
}

void ccurl_empty_header(struct curl_slist *list, const char *name) {
  size_t count = strlen(name);
  for (; list != NULL; list = list->next) {
    if (strncasecmp(list->data, name, count) == 0 && list->data[count] == ':') list->data[count + 1] = '\0';
  }
}

CURLcode ccurl_set_callbacks(CURL *easy, ccurl_bytes_callback on_header, ccurl_bytes_callback on_body, void *context) {
  CURLcode result = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_HEADERDATA, context);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_WRITEDATA, context);
  return result;
}

CURLcode ccurl_set_upload(CURL *easy, ccurl_bytes_callback on_need, ccurl_seek_callback on_seek, void *context,
                          int64_t count, int64_t rate) {
  CURLcode result = curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_need);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_READDATA, context);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_SEEKDATA, context);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)count);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)rate);
  return result;
}

CURLcode ccurl_set_error_buffer(CURL *easy, char *buffer) {
  return curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, buffer);
}

static int allows(const ccurl_peer_check *check, const char *address, int port, int is_connected) {
  return check->allows(address, port, is_connected, check->context);
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  char text[INET6_ADDRSTRLEN] = "";
  int port = 0;
  if (address->family == AF_INET) {
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address->addr;
    inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
    port = ntohs(four->sin_port);
  } else if (address->family == AF_INET6) {
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&address->addr;
    inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
    port = ntohs(six->sin6_port);
  }
  if (!allows(context, text, port, 0)) return CURL_SOCKET_BAD;
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int before_request(void *context, char *address, char *own_address, int port, int own_port) {
  (void)own_address;
  (void)own_port;
  return allows(context, address, port, 1) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

CURLcode ccurl_set_peer_check(CURL *easy, ccurl_peer_check *check) {
  CURLcode result = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, check);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
  if (result == CURLE_OK) result = curl_easy_setopt(easy, CURLOPT_PREREQDATA, check);
  return result;
}

CURLcode ccurl_get_peer(CURL *easy, const char **address, long *port) {
  CURLcode result = curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, address);
  if (result == CURLE_OK) result = curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, port);
  return result;
}

CURLcode ccurl_set_tag(CURL *easy, uintptr_t tag) {
  return curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)tag);
}

CURLcode ccurl_get_tag(CURL *easy, uintptr_t *tag) {
  char *pointer = NULL;
  CURLcode result = curl_easy_getinfo(easy, CURLINFO_PRIVATE, &pointer);
  *tag = (uintptr_t)pointer;
  return result;
}

CURLMcode ccurl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
  if ((int)option / 10000 != CURLOPTTYPE_LONG / 10000) return CURLM_UNKNOWN_OPTION;
  return curl_multi_setopt(multi, option, value);
}

int ccurl_multi_next_finished(CURLM *multi, CURL **easy, CURLcode *result) {
  int left = 0;
  CURLMsg *message;
  while ((message = curl_multi_info_read(multi, &left)) != NULL) {
    if (message->msg != CURLMSG_DONE) continue;
    *easy = message->easy_handle;
    *result = message->data.result;
    return 1;
  }
  return 0;
}

void ccurl_begin_writing_back(int descriptor, int64_t offset, int64_t count) {
  (void)sync_file_range(descriptor, offset, count, SYNC_FILE_RANGE_WRITE);
}

int ccurl_allocate(int descriptor, int64_t count) {
  return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, count) == 0 ? 0 : errno;
}
