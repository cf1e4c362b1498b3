// Integer products of coded rows and quantized queries for CPUs with AVX2.
//
// A nibble and a weight make 15 * 127 at most, and two of these products are added to a
// lane of 16 bits at a time. Eight times two fit: 8 * 2 * 15 * 127 < 2^15. Whole bytes are
// taken as two nibbles, whose sums are kept apart until lanes are widened.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tiles.h"

/// Rows times queries whose 16-bit sums the registers hold; of whole bytes, half as many.
enum { HELD = 8 };

/// Adds the products of 64 bytes of some rows with all queries to 16-bit lanes: four times
/// to `low` for nibbles, twice to `low` and to `high` for bytes.
CCPU_TARGET_AVX2 static CCPU_INLINE void add_step_avx2(
    __m256i *low, __m256i *high, const uint8_t *const *sources, const int8_t *const *planes, size_t at, int nibbles,
    int width, int height) {
  const __m256i mask = _mm256_set1_epi8(15);
#pragma clang loop unroll(full)
  for (size_t half = 0; half < 64; half += 32) {
    __m256i lower[HELD], upper[HELD];
#pragma clang loop unroll(full)
    for (int r = 0; r < height; r++) {
      const __m256i codes = _mm256_loadu_si256((const __m256i *)(sources[r] + half));
      lower[r] = _mm256_and_si256(codes, mask);
      upper[r] = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < width; q++) {
      const int8_t *plane = planes[q] + (nibbles ? 2 * at : at) + half;
      const __m256i first = _mm256_load_si256((const __m256i *)plane);
      const __m256i second = nibbles ? _mm256_load_si256((const __m256i *)(plane + 64)) : first;
#pragma clang loop unroll(full)
      for (int r = 0; r < height; r++) {
        const int i = r * width + q;
        __m256i *other = nibbles ? low : high;
        low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(lower[r], first));
        other[i] = _mm256_add_epi16(other[i], _mm256_maddubs_epi16(upper[r], second));
      }
    }
  }
}

/// Products of `height` rows with all queries, eight 32-bit lanes for each, and has memory
/// bring what is `ahead`.
CCPU_TARGET_AVX2 static CCPU_INLINE void products_avx2(
    __m256i *sums, const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, int nibbles,
    int width, int height) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma clang loop unroll(full)
  for (int i = 0; i < height * width; i++) sums[i] = _mm256_setzero_si256();
  for (size_t j = 0; j < bytes;) {
    __m256i low[HELD], high[HELD];
#pragma clang loop unroll(full)
    for (int i = 0; i < height * width; i++) low[i] = high[i] = _mm256_setzero_si256();
    const size_t span = nibbles ? 128 : 256, end = bytes - j < span ? bytes : j + span;
    for (; j < end; j += 64) {
      const uint8_t *sources[HELD];
      uint8_t rest[HELD][64];
#pragma clang loop unroll(full)
      for (int r = 0; r < height; r++) {
        sources[r] = rows[r] + j;
        _mm_prefetch((const char *)((uintptr_t)sources[r] + ahead), _MM_HINT_T1);
      }
      if (bytes - j < 64) {
        for (int r = 0; r < height; r++) {
          memset(rest[r], 0, 64);
          memcpy(rest[r], rows[r] + j, bytes - j);
          sources[r] = rest[r];
        }
      }
      add_step_avx2(low, high, sources, planes, j, nibbles, width, height);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < height * width; i++) {
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(low[i], ones));
      if (!nibbles)
        sums[i] = _mm256_add_epi32(sums[i], _mm256_slli_epi32(_mm256_madd_epi16(high[i], ones), 4));
    }
  }
}

/// Adds the eight lanes of each of eight vectors: lane i of the result is the sum of vector i.
CCPU_TARGET_AVX2 static CCPU_INLINE __m256i sum_lanes_avx2(const __m256i *v) {
  const __m256i one = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  const __m256i two = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(one, two, 0x20), _mm256_permute2x128_si256(one, two, 0x31));
}

CCPU_TARGET_AVX2 static CCPU_INLINE uint32_t tile_avx2(TILE_ARGUMENTS, int nibbles, int width) {
  // A lone query is limited by memory, which likes rows one after the other, as they lie.
  const int height = width == 1 ? 1 : (nibbles ? HELD : HELD / 2) / width;
  __m256i each[TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < TILE / width; r += height)
    products_avx2(each + r * width, rows + r, planes, bytes, ahead, nibbles, width, height);
  const __m256i limits =
      width == 4   ? _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)thresholds))
      : width == 2 ? _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)thresholds))
                   : _mm256_set1_epi32(thresholds[0]);
  uint32_t mask = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < TILE; i += 8) {
    const __m256i all = sum_lanes_avx2(each + i);
    _mm256_storeu_si256((__m256i *)(sums + i), all);
    mask |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(all, limits))) << i;
  }
  return mask;
}

CCPU_TARGET_AVX2 static CCPU_INLINE int32_t dot_avx2(const uint8_t *row, const int8_t *plane, size_t bytes, int nibbles) {
  __m256i sum;
  products_avx2(&sum, &row, &plane, bytes, 0, nibbles, 1, 1);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

FORM(avx2, CCPU_TARGET_AVX2)
#endif
