// Integer products of coded rows and quantized queries for CPUs with AVX-512 VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tiles.h"

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

FORM_OF_BYTES(vnni, CCPU_TARGET_VNNI)
#endif
