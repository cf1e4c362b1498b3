/* Doors to zlib and libzstd for files that are read as a stream, and the block
 * compression of packs, and a search for bytes in text.
 *
 * Bytes come from files of which nothing is believed: every function reads only
 * the bytes it was given and writes only as many as it was asked for. */
#ifndef CUNPACK_H
#define CUNPACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cunpack_stream cunpack_stream;

/* Begins a stream of gzip members (is_zstd 0) or of Zstandard frames (1); NULL where
 * there is no memory. Windows are at most 128 MiB. */
cunpack_stream *cunpack_open(int is_zstd);
void cunpack_close(cunpack_stream *stream);

/* Unpacks some. `input_count` and `output_count` are what there is and become what was
 * taken and written. Returns 1 where a member or frame is complete, 0 within one, -1 for
 * what is no such stream, -2 for a window that is too large. */
int cunpack_run(cunpack_stream *stream, const void *input, size_t *input_count, void *output, size_t *output_count);

/* The most bytes that `cunpack_pack` writes for `count`. */
size_t cunpack_bound(size_t count);

/* Packs a block as an LZ4 block: the same bytes on every machine. Returns how many. At
 * most 2^30 bytes.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md */
size_t cunpack_pack(const uint8_t *input, size_t count, uint8_t *output);

/* Unpacks an LZ4 block into exactly `output_count` bytes. Returns 0, or -1 for what is none. */
int cunpack_unpack(const uint8_t *input, size_t count, uint8_t *output, size_t output_count);

/* Where some bytes, one at least, lie within others first; -1 where they do not. */
ptrdiff_t cunpack_find(const void *bytes, size_t count, const void *part, size_t part_count);

/* The CRC-32 of gzip. */
uint32_t cunpack_crc32(const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
