// zlib behind a stream of its own, https://zlib.net/manual.html.
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "CZip.h"

struct czip_stream {
  z_stream z;
};

czip_stream *czip_begin(void) {
  czip_stream *stream = calloc(1, sizeof *stream);
  // Negative: zip has no head of zlib's before its streams.
  if (stream && inflateInit2(&stream->z, -15) != Z_OK) {
    free(stream);
    return NULL;
  }
  return stream;
}

void czip_end(czip_stream *stream) {
  inflateEnd(&stream->z);
  free(stream);
}

enum czip_status czip_inflate(czip_stream *stream, const void *input, size_t *input_count, void *output,
                              size_t *output_count) {
  z_stream *z = &stream->z;
  uInt given = *input_count > UINT_MAX ? UINT_MAX : (uInt)*input_count;
  uInt room = *output_count > UINT_MAX ? UINT_MAX : (uInt)*output_count;
  z->next_in = (Bytef *)input;
  z->avail_in = given;
  z->next_out = output;
  z->avail_out = room;
  int status = inflate(z, Z_NO_FLUSH);
  *input_count -= given - z->avail_in;
  *output_count -= room - z->avail_out;
  if (status == Z_STREAM_END) return CZIP_ENDED;
  // Z_BUF_ERROR: nothing could be done with what there is, which is no fault of the stream's.
  return status == Z_OK || status == Z_BUF_ERROR ? CZIP_GOES_ON : CZIP_DAMAGED;
}

uint32_t czip_crc32(uint32_t sum, const void *bytes, size_t count) { return (uint32_t)crc32_z(sum, bytes, count); }
