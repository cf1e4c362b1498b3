// Kernels that read rows as they are stored: widening, checks, sums. Each body
// is written once and compiled once per level; none has a rounding that
// depends on the width of a register.
#include <immintrin.h>
#include <string.h>

#include "CKernels.h"
#include "levels.h"

int ckernels_best_level(void) {
  __builtin_cpu_init();
  int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? CKERNELS_AVX512 : avx2 ? CKERNELS_AVX2 : CKERNELS_PORTABLE;
}

// IEEE 754-2019 binary16 to binary32; subnormals are exact as (float)m * 2^-24.
static inline float widen_one(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t rest = half & 0x7FFF;
  uint32_t bits;
  if (rest >= 0x7C00) {
    bits = 0x7F800000u | (rest & 0x3FF) << 13 | (rest > 0x7C00 ? 0x400000u : 0);
  } else if (rest >= 0x0400) {
    bits = (rest << 13) + 0x38000000u;
  } else {
    float value = (float)rest * 0x1p-24f;
    memcpy(&bits, &value, 4);
  }
  bits |= sign;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

static void widen_tail(const unsigned char *input, size_t first, size_t count, float *output) {
  for (size_t i = first; i < count; i++) {
    uint16_t half;
    memcpy(&half, input + 2 * i, 2);
    output[i] = widen_one(half);
  }
}

TARGET_AVX2 static void widen_avx2(const unsigned char *input, size_t count, float *output) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(output + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(input + 2 * i))));
  }
  widen_tail(input, i, count, output);
}

TARGET_AVX512 static void widen_avx512(const unsigned char *input, size_t count, float *output) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(output + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(input + 2 * i))));
  }
  widen_tail(input, i, count, output);
}

void ckernels_widen(int level, const void *input, int element, size_t count, float *output) {
  if (element == CKERNELS_FLOAT32) {
    memcpy(output, input, 4 * count);
    return;
  }
  switch (level) {
    case CKERNELS_AVX512: widen_avx512(input, count, output); break;
    case CKERNELS_AVX2: widen_avx2(input, count, output); break;
    default: widen_tail(input, 0, count, output);
  }
}

// Without its sign, a float's bits order as its magnitude does, infinity and
// NaN on top: the greatest says all there is to know of a row.
static ALWAYS_INLINE int check_row16(const unsigned char *row, size_t dimension) {
  uint16_t greatest = 0;
  for (size_t j = 0; j < dimension; j++) {
    uint16_t bits;
    memcpy(&bits, row + 2 * j, 2);
    bits &= 0x7FFF;
    greatest = bits > greatest ? bits : greatest;
  }
  if (greatest > 0x7C00) return CKERNELS_ROW_NAN;
  if (greatest == 0x7C00) return CKERNELS_ROW_INFINITE;
  return greatest == 0 ? CKERNELS_ROW_ZERO : CKERNELS_ROW_GOOD;
}

static ALWAYS_INLINE int check_row32(const unsigned char *row, size_t dimension) {
  uint32_t greatest = 0;
  for (size_t j = 0; j < dimension; j++) {
    uint32_t bits;
    memcpy(&bits, row + 4 * j, 4);
    bits &= 0x7FFFFFFF;
    greatest = bits > greatest ? bits : greatest;
  }
  if (greatest > 0x7F800000) return CKERNELS_ROW_NAN;
  if (greatest == 0x7F800000) return CKERNELS_ROW_INFINITE;
  return greatest == 0 ? CKERNELS_ROW_ZERO : CKERNELS_ROW_GOOD;
}

static ALWAYS_INLINE size_t find_bad_row(
    const unsigned char *matrix, int element, size_t dimension, size_t first, size_t end, int *cause) {
  for (size_t i = first; i < end; i++) {
    int found = element == CKERNELS_FLOAT16 ? check_row16(matrix + 2 * dimension * i, dimension)
                                            : check_row32(matrix + 4 * dimension * i, dimension);
    if (found != CKERNELS_ROW_GOOD) {
      *cause = found;
      return i;
    }
  }
  *cause = CKERNELS_ROW_GOOD;
  return end;
}

#define FIND_ARGUMENTS const unsigned char *m, int e, size_t d, size_t first, size_t end, int *cause
static size_t find_portable(FIND_ARGUMENTS) { return find_bad_row(m, e, d, first, end, cause); }
TARGET_AVX2 static size_t find_avx2(FIND_ARGUMENTS) { return find_bad_row(m, e, d, first, end, cause); }
TARGET_AVX512 static size_t find_avx512(FIND_ARGUMENTS) { return find_bad_row(m, e, d, first, end, cause); }

size_t ckernels_find_bad_row(
    int level, const void *matrix, int element, size_t dimension, size_t first, size_t end, int *cause) {
  switch (level) {
    case CKERNELS_AVX512: return find_avx512(matrix, element, dimension, first, end, cause);
    case CKERNELS_AVX2: return find_avx2(matrix, element, dimension, first, end, cause);
    default: return find_portable(matrix, element, dimension, first, end, cause);
  }
}

size_t ckernels_find_nonfinite_row(int level, const float *rows, size_t dimension, size_t count) {
  int cause;
  size_t first = 0;
  do {
    first = ckernels_find_bad_row(level, rows, CKERNELS_FLOAT32, dimension, first, count, &cause);
  } while (cause == CKERNELS_ROW_ZERO && ++first <= count);
  return first;
}

static void add_tail(const unsigned char *row, int element, size_t first, size_t dimension, double *sums) {
  for (size_t j = first; j < dimension; j++) {
    float value;
    if (element == CKERNELS_FLOAT32) {
      memcpy(&value, row + 4 * j, 4);
    } else {
      widen_tail(row + 2 * j, 0, 1, &value);
    }
    sums[j] += (double)value;
  }
}

TARGET_AVX2 static void add_avx2(const unsigned char *row, int element, size_t dimension, double *sums) {
  size_t j = 0;
  for (; j + 4 <= dimension; j += 4) {
    __m128 value = element == CKERNELS_FLOAT32 ? _mm_loadu_ps((const float *)(row + 4 * j))
                                               : _mm_cvtph_ps(_mm_loadu_si64(row + 2 * j));
    _mm256_storeu_pd(sums + j, _mm256_add_pd(_mm256_loadu_pd(sums + j), _mm256_cvtps_pd(value)));
  }
  add_tail(row, element, j, dimension, sums);
}

TARGET_AVX512 static void add_avx512(const unsigned char *row, int element, size_t dimension, double *sums) {
  size_t j = 0;
  for (; j + 8 <= dimension; j += 8) {
    __m256 value = element == CKERNELS_FLOAT32 ? _mm256_loadu_ps((const float *)(row + 4 * j))
                                               : _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * j)));
    _mm512_storeu_pd(sums + j, _mm512_add_pd(_mm512_loadu_pd(sums + j), _mm512_cvtps_pd(value)));
  }
  add_tail(row, element, j, dimension, sums);
}

void ckernels_add_row(int level, const void *row, int element, size_t dimension, double *sums) {
  switch (level) {
    case CKERNELS_AVX512: add_avx512(row, element, dimension, sums); break;
    case CKERNELS_AVX2: add_avx2(row, element, dimension, sums); break;
    default: add_tail(row, element, 0, dimension, sums);
  }
}
