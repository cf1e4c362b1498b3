// Streams of gzip members and of Zstandard frames, one behind the other.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "CUnpack.h"

struct cunpack_stream {
  ZSTD_DStream *zstd;
  z_stream gzip;
  // Whether the last member is complete and the next has not begun.
  int is_between;
};

cunpack_stream *cunpack_open(int is_zstd) {
  cunpack_stream *stream = calloc(1, sizeof *stream);
  if (!stream) return NULL;
  if (is_zstd) {
    stream->zstd = ZSTD_createDStream();
    if (!stream->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(stream->zstd, ZSTD_d_windowLogMax, 27))) {
      cunpack_close(stream);
      return NULL;
    }
  } else if (inflateInit2(&stream->gzip, 15 + 16) != Z_OK) {
    free(stream);
    return NULL;
  }
  return stream;
}

void cunpack_close(cunpack_stream *stream) {
  if (stream->zstd) {
    ZSTD_freeDStream(stream->zstd);
  } else {
    inflateEnd(&stream->gzip);
  }
  free(stream);
}

static int run_zstd(ZSTD_DStream *zstd, const void *input, size_t *input_count, void *output, size_t *output_count) {
  ZSTD_inBuffer in = {input, *input_count, 0};
  ZSTD_outBuffer out = {output, *output_count, 0};
  size_t left = ZSTD_decompressStream(zstd, &out, &in);
  *input_count = in.pos;
  *output_count = out.pos;
  if (!ZSTD_isError(left)) return left == 0;
  return strstr(ZSTD_getErrorName(left), "memory") ? -2 : -1;
}

int cunpack_run(cunpack_stream *stream, const void *input, size_t *input_count, void *output, size_t *output_count) {
  if (stream->zstd) return run_zstd(stream->zstd, input, input_count, output, output_count);
  if (*input_count > UINT32_MAX || *output_count > UINT32_MAX) return -1;
  if (stream->is_between && *input_count > 0) {
    if (inflateReset(&stream->gzip) != Z_OK) return -1;
    stream->is_between = 0;
  }
  z_stream *gzip = &stream->gzip;
  gzip->next_in = (Bytef *)input;
  gzip->avail_in = (uInt)*input_count;
  gzip->next_out = output;
  gzip->avail_out = (uInt)*output_count;
  int status = inflate(gzip, Z_NO_FLUSH);
  *input_count -= gzip->avail_in;
  *output_count -= gzip->avail_out;
  if (status == Z_STREAM_END) {
    stream->is_between = 1;
    return 1;
  }
  return status == Z_OK || status == Z_BUF_ERROR ? 0 : -1;
}

uint32_t cunpack_crc32(const void *bytes, size_t count) {
  uLong sum = crc32_z(0L, Z_NULL, 0);
  return (uint32_t)crc32_z(sum, bytes, count);
}
