// The int8 products of the cascade: a block of 64 rows with six vectors or one,
// and whole rows.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "CCpu.h"
#include "cascade.h"

// Products of a block of 64 rows with six vectors: 24 sums in registers.
#define SUMS __m512i s[GROUP_VECTORS][4]
CCPU_TARGET_VNNI static CCPU_INLINE void multiply(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, SUMS) {
  for (int r = 0; r < 4; r++) {
    const __m512i offset = _mm512_loadu_si512(offsets + 16 * r);
    for (int v = 0; v < GROUP_VECTORS; v++) s[v][r] = offset;
  }
  for (size_t q = 0; q < quads; q++) {
    const __m512i r0 = _mm512_loadu_si512(rows), r1 = _mm512_loadu_si512(rows + 64),
                  r2 = _mm512_loadu_si512(rows + 128), r3 = _mm512_loadu_si512(rows + 192);
#pragma clang loop unroll(full)
    for (int v = 0; v < GROUP_VECTORS; v++) {
      int32_t four;
      memcpy(&four, vectors + 4 * v, 4);
      const __m512i x = _mm512_set1_epi32(four);
      s[v][0] = _mm512_dpbusd_epi32(s[v][0], r0, x);
      s[v][1] = _mm512_dpbusd_epi32(s[v][1], r1, x);
      s[v][2] = _mm512_dpbusd_epi32(s[v][2], r2, x);
      s[v][3] = _mm512_dpbusd_epi32(s[v][3], r3, x);
    }
    rows += 4 * BLOCK_ROWS;
    vectors += 4 * GROUP_VECTORS;
  }
}

// Which products reach their vector's threshold, compared in the registers.
CCPU_TARGET_VNNI static inline void find_reaching(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, const int32_t *thresholds,
    uint64_t masks[GROUP_VECTORS]) {
  SUMS;
  multiply(rows, vectors, quads, offsets, s);
  for (int v = 0; v < GROUP_VECTORS; v++) {
    const __m512i t = _mm512_set1_epi32(thresholds[v]);
    masks[v] = (uint64_t)_mm512_cmpge_epi32_mask(s[v][0], t) | (uint64_t)_mm512_cmpge_epi32_mask(s[v][1], t) << 16 |
               (uint64_t)_mm512_cmpge_epi32_mask(s[v][2], t) << 32 | (uint64_t)_mm512_cmpge_epi32_mask(s[v][3], t) << 48;
  }
}

CCPU_TARGET_VNNI static inline int32_t whole_product(const uint8_t *row, const int8_t *vector, size_t width) {
  __m512i a = _mm512_setzero_si512(), b = a;
  size_t j = 0;
  for (; j + 128 <= width; j += 128) {
    a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + j), _mm512_loadu_si512(vector + j));
    b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(row + j + 64), _mm512_loadu_si512(vector + j + 64));
  }
  for (; j < width; j += 64) a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + j), _mm512_loadu_si512(vector + j));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}
