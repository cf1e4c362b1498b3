/* Doors to zlib for entries of zip archives: a stream that is inflated piece by piece, and the
 * checksum of zip. */
#ifndef CZIP_H
#define CZIP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A deflated stream without a head, under way. */
typedef struct czip_stream czip_stream;

/* Begins one; NULL where there is no memory. Ended with `czip_end`. */
czip_stream *czip_begin(void);
void czip_end(czip_stream *stream);

/* What became of a piece. */
enum czip_status {
  /* All of the input was taken, or the output is full. */
  CZIP_GOES_ON = 0,
  /* The stream has ended; input behind its end is left. */
  CZIP_ENDED = 1,
  /* The bytes are no such stream. */
  CZIP_DAMAGED = 2,
};

/* Inflates from `*input_count` bytes into at most `*output_count`; both become what is left. */
enum czip_status czip_inflate(czip_stream *stream, const void *input, size_t *input_count, void *output,
                              size_t *output_count);

/* The CRC-32 of bytes that follow those of `sum`; 0 is that of none. */
uint32_t czip_crc32(uint32_t sum, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
