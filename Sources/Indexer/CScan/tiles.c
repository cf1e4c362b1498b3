// Integer products of coded rows and quantized queries, many at a time. A plane
// has 64 weights for each 64 bytes of a row of bytes, and 64 + 64 for each 64
// bytes of a row of nibbles: those of the low halves, then of the high ones.
// Weights past the end of a row are 0.
//
// No sum overflows: 65,536 * 255 * 127 < 2^31.
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define TILE_ARGUMENTS                                                                                            \
  const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, const int32_t *thresholds, \
      int32_t *sums

static CCPU_INLINE uint32_t greater(const int32_t *sums, const int32_t *thresholds, int width) {
  uint32_t mask = 0;
  for (int i = 0; i < TILE; i++) mask |= (uint32_t)(sums[i] > thresholds[i % width]) << i;
  return mask;
}

// -- portable

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

#if defined(__x86_64__)
// -- AVX2

CCPU_TARGET_AVX2 static CCPU_INLINE __m256i add_products_avx2(__m256i sum, __m256i codes, const int8_t *w, int nibbles) {
  const __m256i weights = _mm256_loadu_si256((const __m256i *)w);
  if (nibbles)  // 2 * 15 * 127 fits in 16 bits
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, weights), _mm256_set1_epi16(1)));
  const __m256i low = _mm256_madd_epi16(
      _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes)), _mm256_cvtepi8_epi16(_mm256_castsi256_si128(weights)));
  const __m256i high = _mm256_madd_epi16(
      _mm256_cvtepu8_epi16(_mm256_extracti128_si256(codes, 1)),
      _mm256_cvtepi8_epi16(_mm256_extracti128_si256(weights, 1)));
  return _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
}

CCPU_TARGET_AVX2 static CCPU_INLINE __m256i add_step_avx2(__m256i sum, __m256i codes, const int8_t *w, int nibbles) {
  if (!nibbles) return add_products_avx2(sum, codes, w, 0);
  const __m256i mask = _mm256_set1_epi8(15);
  sum = add_products_avx2(sum, _mm256_and_si256(codes, mask), w, 1);
  return add_products_avx2(sum, _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask), w + 64, 1);
}

CCPU_TARGET_AVX2 static CCPU_INLINE int32_t dot_avx2(const uint8_t *row, const int8_t *plane, size_t bytes, int nibbles) {
  __m256i sum = _mm256_setzero_si256();
  size_t j = 0;
  const size_t factor = nibbles ? 2 : 1;
  for (; j + 32 <= bytes; j += 32)
    sum = add_step_avx2(
        sum, _mm256_loadu_si256((const __m256i *)(row + j)), plane + factor * (j & ~(size_t)63) + (j & 63), nibbles);
  if (j < bytes) {
    uint8_t rest[32] = {0};
    memcpy(rest, row + j, bytes - j);
    sum = add_step_avx2(
        sum, _mm256_loadu_si256((const __m256i *)rest), plane + factor * (j & ~(size_t)63) + (j & 63), nibbles);
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

CCPU_TARGET_AVX2 static CCPU_INLINE uint32_t tile_avx2(TILE_ARGUMENTS, int nibbles, int width) {
  for (int r = 0; r < TILE / width; r++)
    for (size_t j = 0; j < bytes; j += 64) _mm_prefetch((const char *)((uintptr_t)rows[r] + j + ahead), _MM_HINT_T1);
  for (int i = 0; i < TILE; i++) sums[i] = dot_avx2(rows[i / width], planes[i % width], bytes, nibbles);
  return greater(sums, thresholds, width);
}

// -- AVX-512 VNNI

/// Adds the 16 lanes of each of 16 vectors: lane i of the result is the sum of
/// vector i.
CCPU_TARGET_VNNI static CCPU_INLINE __m512i sum_lanes(const __m512i a[TILE]) {
  __m512i quarter[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    const __m512i *v = a + 4 * i;
    const __m512i left = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i right = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    quarter[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(left, right), _mm512_unpackhi_epi64(left, right));
  }
  const __m512i left = _mm512_add_epi32(
      _mm512_shuffle_i32x4(quarter[0], quarter[1], 0x44), _mm512_shuffle_i32x4(quarter[0], quarter[1], 0xEE));
  const __m512i right = _mm512_add_epi32(
      _mm512_shuffle_i32x4(quarter[2], quarter[3], 0x44), _mm512_shuffle_i32x4(quarter[2], quarter[3], 0xEE));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(left, right, 0x88), _mm512_shuffle_i32x4(left, right, 0xDD));
}

/// Adds the products of one 64-byte step of some rows with all queries, and has memory bring what is `ahead` of it.
CCPU_TARGET_VNNI static CCPU_INLINE void add_step_vnni(
    __m512i *sum, const uint8_t *const *rows, const int8_t *const *planes, size_t at, size_t ahead, __mmask64 valid,
    int whole, int nibbles, int width, int height) {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i weights[8];
  const size_t first = nibbles ? 2 * at : at;
#pragma clang loop unroll(full)
  for (int q = 0; q < width; q++) {
    weights[2 * q] = _mm512_load_si512(planes[q] + first);
    if (nibbles) weights[2 * q + 1] = _mm512_load_si512(planes[q] + first + 64);
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < height; r++) {
    const uint8_t *source = rows[r] + at;
    _mm_prefetch((const char *)((uintptr_t)source + ahead), _MM_HINT_T1);
    const __m512i codes = whole ? _mm512_loadu_si512(source) : _mm512_maskz_loadu_epi8(valid, source);
    const __m512i low = nibbles ? _mm512_and_si512(codes, mask) : codes;
    const __m512i high = nibbles ? _mm512_and_si512(_mm512_srli_epi16(codes, 4), mask) : codes;
#pragma clang loop unroll(full)
    for (int q = 0; q < width; q++) {
      __m512i *s = sum + r * width + q;
      *s = _mm512_dpbusd_epi32(*s, low, weights[2 * q]);
      if (nibbles) *s = _mm512_dpbusd_epi32(*s, high, weights[2 * q + 1]);
    }
  }
}

/// Products of `height` rows with all queries.
CCPU_TARGET_VNNI static CCPU_INLINE void products_vnni(
    __m512i *sum, const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, int nibbles,
    int width, int height) {
#pragma clang loop unroll(full)
  for (int i = 0; i < height * width; i++) sum[i] = _mm512_setzero_si512();
  size_t j = 0;
  for (; j + 64 <= bytes; j += 64) add_step_vnni(sum, rows, planes, j, ahead, 0, 1, nibbles, width, height);
  if (j < bytes)
    add_step_vnni(sum, rows, planes, j, ahead, ~0ull >> (64 - (bytes - j)), 0, nibbles, width, height);
}

CCPU_TARGET_VNNI static CCPU_INLINE uint32_t tile_vnni(TILE_ARGUMENTS, int nibbles, int width) {
  __m512i sum[TILE];
  if (width == 1 && ahead) {
    // Limited by memory, which likes rows one after the other, as they lie.
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE; i++) products_vnni(sum + i, rows + i, planes, bytes, ahead, nibbles, 1, 1);
  } else if (width == 1) {
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE; i += 4) products_vnni(sum + i, rows + i, planes, bytes, 0, nibbles, 1, 4);
  } else {
    products_vnni(sum, rows, planes, bytes, ahead, nibbles, width, TILE / width);
  }
  const __m512i all = sum_lanes(sum);
  _mm512_storeu_si512(sums, all);
  const __m512i limits =
      width == 4   ? _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)thresholds))
      : width == 2 ? _mm512_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)thresholds))
                   : _mm512_set1_epi32(thresholds[0]);
  return _mm512_cmpgt_epi32_mask(all, limits);
}

CCPU_TARGET_VNNI static CCPU_INLINE int32_t dot_vnni(const uint8_t *row, const int8_t *plane, size_t bytes, int nibbles) {
  // Two sums, so that neither waits for the other's products.
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i low = _mm512_setzero_si512(), high = low;
  for (size_t j = 0; j < bytes; j += 64) {
    const __m512i codes = bytes - j >= 64 ? _mm512_loadu_si512(row + j)
                                          : _mm512_maskz_loadu_epi8(~0ull >> (64 - (bytes - j)), row + j);
    if (nibbles) {
      low = _mm512_dpbusd_epi32(low, _mm512_and_si512(codes, mask), _mm512_load_si512(plane + 2 * j));
      high = _mm512_dpbusd_epi32(
          high, _mm512_and_si512(_mm512_srli_epi16(codes, 4), mask), _mm512_load_si512(plane + 2 * j + 64));
    } else {
      low = _mm512_dpbusd_epi32(low, codes, _mm512_load_si512(plane + j));
    }
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
}
#endif

#define KERNEL(level, target, nibbles, width)                                              \
  target static uint32_t tile_##level##_##nibbles##_##width(TILE_ARGUMENTS) {              \
    return tile_##level(rows, planes, bytes, ahead, thresholds, sums, nibbles, width);     \
  }
#define KERNELS(level, target, nibbles)                                                    \
  KERNEL(level, target, nibbles, 1)                                                        \
  KERNEL(level, target, nibbles, 2)                                                        \
  KERNEL(level, target, nibbles, 4)                                                        \
  target static int32_t dot_##level##_##nibbles(const uint8_t *row, const int8_t *plane, size_t bytes) { \
    return dot_##level(row, plane, bytes, nibbles);                                        \
  }                                                                                        \
  static const struct cscan_tiles tiles_##level##_##nibbles = {                            \
      {tile_##level##_##nibbles##_1, tile_##level##_##nibbles##_2, tile_##level##_##nibbles##_4}, \
      dot_##level##_##nibbles};

KERNELS(portable, , 0)
KERNELS(portable, , 1)
#if defined(__x86_64__)
KERNELS(avx2, CCPU_TARGET_AVX2, 0)
KERNELS(avx2, CCPU_TARGET_AVX2, 1)
KERNELS(vnni, CCPU_TARGET_VNNI, 0)
KERNELS(vnni, CCPU_TARGET_VNNI, 1)
#endif

struct cscan_levels cscan_levels_of(int codec) {
  switch (codec) {
    case CCODEC_SQ4: return (struct cscan_levels){15, 64, 128, 1};
    case CCODEC_SQ8: return (struct cscan_levels){255, 64, 64, 0};
    default: return (struct cscan_levels){0, 0, 0, 0};
  }
}

const struct cscan_tiles *cscan_tiles_of(int level, int codec) {
  const int nibbles = codec == CCODEC_SQ4;
#if defined(__x86_64__)
  if (level >= CCPU_AVX512 && ccpu_has_vnni()) return nibbles ? &tiles_vnni_1 : &tiles_vnni_0;
  if (level >= CCPU_AVX2) return nibbles ? &tiles_avx2_1 : &tiles_avx2_0;
#else
  (void)level;
#endif
  return nibbles ? &tiles_portable_1 : &tiles_portable_0;
}
