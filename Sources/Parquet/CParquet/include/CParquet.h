/* Kernels of the parquet reader, and the doors to the libraries that unpack pages.
 *
 * Bytes come from files of which nothing is believed: every function reads only
 * the bytes it was given and writes only as many as it was asked for, and says
 * where the bytes did not suffice. */
#ifndef CPARQUET_H
#define CPARQUET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs of repeated and of bit-packed numbers, read piece by piece.
 * https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE */
typedef struct cparquet_runs {
  const unsigned char *next;
  const unsigned char *end;
  /* Where the bit-packed run ends that `next` is in. */
  const unsigned char *packed_end;
  /* Numbers left of the run, of which one of the two is 0. */
  uint64_t repeated;
  uint64_t packed;
  /* What is repeated. */
  uint32_t value;
  /* Bits of a number, 0...32. */
  uint32_t width;
  /* Bits taken of the byte at `next`. */
  uint32_t bit;
} cparquet_runs;

/* Begins with `count` bytes of runs; they must outlive the reading. */
void cparquet_runs_begin(cparquet_runs *runs, const void *bytes, size_t count, uint32_t width);

/* Begins with `count` bytes that are one bit-packed run without a head. */
void cparquet_runs_begin_packed(cparquet_runs *runs, const void *bytes, size_t count, uint32_t width);

/* The next `count` numbers, of at most 8 bits and at most 32; fewer where the
 * bytes end. Returns how many. */
size_t cparquet_runs_small(cparquet_runs *runs, size_t count, uint8_t *output);
size_t cparquet_runs_numbers(cparquet_runs *runs, size_t count, uint32_t *output);

/* Numbers of `width` bits, 0...64, that lie densely from a bit of `bytes` on; those
 * that would lie behind the `byte_count` bytes are 0. */
void cparquet_unpack(const void *bytes, size_t byte_count, size_t bit, uint32_t width, size_t count,
                     uint64_t *output);

/* Whether no level is above `most`. */
int cparquet_levels_within(const uint8_t *levels, size_t count, uint8_t most);

/* Levels equal to `level`. */
size_t cparquet_count_levels(const uint8_t *levels, size_t count, uint8_t level);

/* How many levels from the first on are those of rows of `dimension` elements that
 * are all there. `filled` is how many elements the open row has, `dimension` where
 * none is open, and is kept up to date. */
size_t cparquet_whole_rows(const uint8_t *repetition, const uint8_t *definition, size_t count, uint8_t present,
                           size_t dimension, size_t *filled);

/* Copies values of `width` bytes out of a dictionary of `dictionary_count`. Returns
 * the place of the first index that the dictionary lacks, or `count`. */
size_t cparquet_gather(const void *dictionary, size_t dictionary_count, size_t width, const uint32_t *indices,
                       size_t count, void *output);

/* Values `first`... of `value_count` whose bytes lie in one stream for each of their
 * `width` places. */
void cparquet_join_streams(const void *bytes, size_t value_count, size_t width, size_t first, size_t count,
                           void *output);

/* Unpack a page into exactly `output_count` bytes. Return 0, or -1 when the bytes
 * are no such stream or unfold to another length.
 * https://github.com/google/snappy, https://zlib.net/manual.html, https://facebook.github.io/zstd/zstd_manual.html */
int cparquet_unsnappy(const void *input, size_t input_count, void *output, size_t output_count);
int cparquet_ungzip(const void *input, size_t input_count, void *output, size_t output_count);
int cparquet_unzstd(const void *input, size_t input_count, void *output, size_t output_count);

/* The CRC-32 of gzip. */
uint32_t cparquet_crc32(const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
