// Integer products of coded rows and quantized queries for CPUs with AVX2.
//
// A row's bytes are shown to one query after the other, whose weights come from the first
// cache: nothing but the sums has to stay in a register.
//
// A nibble and a weight make 15 * 127 at most, and two of these products are added to a
// lane of 16 bits at a time. Eight times two fit: 8 * 2 * 15 * 127 < 2^15. So 128 bytes are
// taken at a time. Whole bytes are taken as two nibbles, the upper ones sixteen times as
// heavy once lanes are widened; of bytes under 128, two products fit: 2 * 127 * 127 < 2^15.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tiles.h"

/// Products of some levels and their weights, two in each lane of 16 bits.
CCPU_TARGET_AVX2 static CCPU_INLINE __m256i weigh_avx2(__m256i levels, const int8_t *weights) {
  return _mm256_maddubs_epi16(levels, _mm256_load_si256((const __m256i *)weights));
}

/// Adds the products of 64 or 128 bytes of a row, two registers or four, with all queries;
/// `at` is where they begin.
CCPU_TARGET_AVX2 static CCPU_INLINE void add_bytes_avx2(
    __m256i *sums, const uint8_t *source, const int8_t *const *planes, size_t at, int halves, int kind, int width) {
  const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1), sixteens = _mm256_set1_epi16(16);
  const size_t first = kind == NIBBLES ? 2 * at : at;
  __m256i lower[4], upper[4];
#pragma clang loop unroll(full)
  for (int h = 0; h < halves; h++) {
    const __m256i codes = _mm256_loadu_si256((const __m256i *)(source + 32 * h));
    lower[h] = kind == SEVENS ? codes : _mm256_and_si256(codes, mask);
    upper[h] = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
  }
#pragma clang loop unroll(full)
  for (int q = 0; q < width; q++) {
    __m256i low = _mm256_setzero_si256(), high = low;
#pragma clang loop unroll(full)
    for (int h = 0; h < halves; h++) {
      const int8_t *weights = planes[q] + first + (kind == NIBBLES ? 128 * (h / 2) + 32 * (h % 2) : 32 * h);
      const __m256i products = weigh_avx2(lower[h], weights);
      if (kind == SEVENS) {
        sums[q] = _mm256_add_epi32(sums[q], _mm256_madd_epi16(products, ones));
        continue;
      }
      low = _mm256_add_epi16(low, products);
      high = _mm256_add_epi16(high, weigh_avx2(upper[h], weights + (kind == NIBBLES ? 64 : 0)));
    }
    if (kind == NIBBLES) {
      sums[q] = _mm256_add_epi32(sums[q], _mm256_madd_epi16(_mm256_add_epi16(low, high), ones));
    } else if (kind == BYTES) {
      const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, sixteens));
      sums[q] = _mm256_add_epi32(sums[q], both);
    }
  }
}

/// Products of a row with all queries, eight 32-bit lanes for each; memory brings what is `ahead`.
CCPU_TARGET_AVX2 static CCPU_INLINE void products_avx2(
    __m256i *sums, const uint8_t *row, const int8_t *const *planes, size_t bytes, size_t ahead, int kind, int width) {
#pragma clang loop unroll(full)
  for (int q = 0; q < width; q++) sums[q] = _mm256_setzero_si256();
  size_t j = 0;
  for (; bytes - j >= 128; j += 128) {
    _mm_prefetch((const char *)((uintptr_t)row + j + ahead), _MM_HINT_T1);
    _mm_prefetch((const char *)((uintptr_t)row + j + 64 + ahead), _MM_HINT_T1);
    add_bytes_avx2(sums, row + j, planes, j, 4, kind, width);
  }
  for (; j < bytes; j += 64) {
    _mm_prefetch((const char *)((uintptr_t)row + j + ahead), _MM_HINT_T1);
    uint8_t rest[64] = {0};
    const uint8_t *source = bytes - j < 64 ? memcpy(rest, row + j, bytes - j) : row + j;
    add_bytes_avx2(sums, source, planes, j, 2, kind, width);
  }
}

/// Adds the eight lanes of each of eight vectors: lane i of the result is the sum of vector i.
CCPU_TARGET_AVX2 static CCPU_INLINE __m256i sum_lanes_avx2(const __m256i *v) {
  const __m256i one = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  const __m256i two = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(one, two, 0x20), _mm256_permute2x128_si256(one, two, 0x31));
}

CCPU_TARGET_AVX2 static CCPU_INLINE uint32_t tile_avx2(TILE_ARGUMENTS, int kind, int width) {
  __m256i each[TILE];
  for (int r = 0; r < TILE / width; r++)
    products_avx2(each + r * width, rows[r], planes, bytes, ahead, kind, width);
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

CCPU_TARGET_AVX2 static CCPU_INLINE int32_t dot_avx2(const uint8_t *row, const int8_t *plane, size_t bytes, int kind) {
  __m256i sum;
  products_avx2(&sum, row, &plane, bytes, 0, kind, 1);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

FORM(avx2, CCPU_TARGET_AVX2)
#endif
