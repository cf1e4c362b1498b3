// Integer products of coded rows and quantized queries, many at a time: which of the
// forms serves, and the one of every CPU.
#include "tiles.h"

static CCPU_INLINE int32_t dot_portable(const uint8_t *row, const int8_t *plane, size_t bytes, int nibbles) {
  int32_t sum = 0;
  for (size_t start = 0; start < bytes; start += 64) {
    const size_t n = bytes - start < 64 ? bytes - start : 64;
    const int8_t *w = plane + (nibbles ? 2 : 1) * start;
    for (size_t j = 0; j < n; j++) {
      const int32_t code = row[start + j];
      sum += nibbles ? (code & 15) * w[j] + (code >> 4) * w[64 + j] : code * w[j];
    }
  }
  return sum;
}

static CCPU_INLINE uint32_t tile_portable(TILE_ARGUMENTS, int nibbles, int width) {
  (void)ahead;
  for (int i = 0; i < TILE; i++) sums[i] = dot_portable(rows[i / width], planes[i % width], bytes, nibbles);
  return greater(sums, thresholds, width);
}

FORM_OF_BYTES(portable, )

struct cscan_levels cscan_levels_of(int codec) {
  switch (codec) {
    case CCODEC_SQ4: return (struct cscan_levels){15, 64, 128, 1};
    case CCODEC_SQ8: return (struct cscan_levels){255, 64, 64, 0};
    default: return (struct cscan_levels){0, 0, 0, 0};
  }
}

int cscan_kind_of(const struct cscan_coder *c) {
  return c->codec == CCODEC_SQ4 ? NIBBLES : c->spread && c->spread->greatest < 128 ? SEVENS : BYTES;
}

const struct cscan_tiles *cscan_tiles_of(int level, int kind) {
#if defined(__x86_64__)
  if (level >= CCPU_AVX512 && ccpu_has_vnni()) return cscan_vnni + kind;
  if (level >= CCPU_AVX2) return cscan_avx2 + kind;
#elif defined(__aarch64__)
  if (level >= CCPU_DOTPROD) return cscan_dotprod + kind;
  if (level >= CCPU_NEON) return cscan_neon + kind;
#else
  (void)level;
#endif
  return cscan_portable + kind;
}
