// Doors to the libraries that unpack pages: each into a buffer of the length that
// the page's head states, and into no byte more.
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "CParquet.h"

int cparquet_unsnappy(const void *input, size_t input_count, void *output, size_t output_count) {
  size_t length = 0;
  // What it would unfold to stands at its start: held against the head before anything is written.
  if (snappy_uncompressed_length(input, input_count, &length) != SNAPPY_OK || length != output_count) return -1;
  if (snappy_uncompress(input, input_count, output, &length) != SNAPPY_OK || length != output_count) return -1;
  return 0;
}

int cparquet_ungzip(const void *input, size_t input_count, void *output, size_t output_count) {
  if (input_count > UINT32_MAX || output_count > UINT32_MAX) return -1;
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  // 32 more than the window: heads of gzip and of zlib are told apart.
  if (inflateInit2(&stream, 15 + 32) != Z_OK) return -1;
  stream.next_in = (Bytef *)input;
  stream.avail_in = (uInt)input_count;
  stream.next_out = output;
  stream.avail_out = (uInt)output_count;
  int status;
  // A page may be several members, one behind the other.
  while ((status = inflate(&stream, Z_FINISH)) == Z_STREAM_END && stream.avail_in > 0) {
    if (inflateReset(&stream) != Z_OK) break;
  }
  int is_good = status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  return is_good ? 0 : -1;
}

int cparquet_unzstd(const void *input, size_t input_count, void *output, size_t output_count) {
  return ZSTD_decompress(output, output_count, input, input_count) == output_count ? 0 : -1;
}

uint32_t cparquet_crc32(const void *bytes, size_t count) {
  uLong sum = crc32_z(0L, Z_NULL, 0);
  return (uint32_t)crc32_z(sum, bytes, count);
}
