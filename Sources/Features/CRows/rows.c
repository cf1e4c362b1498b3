// Kernels that read rows as they are stored: widening, checks, sums. Each body
// is written once and compiled once per level; none has a rounding that
// depends on the width of a register.
#include <string.h>

#include "CCpu.h"
#include "CRows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

static void widen_portable(const unsigned char *input, size_t count, float *output) {
  widen_tail(input, 0, count, output);
}

#if defined(__x86_64__)
CCPU_TARGET_AVX2 static void widen_avx2(const unsigned char *input, size_t count, float *output) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(output + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(input + 2 * i))));
  }
  widen_tail(input, i, count, output);
}

CCPU_TARGET_AVX512 static void widen_avx512(const unsigned char *input, size_t count, float *output) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(output + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(input + 2 * i))));
  }
  widen_tail(input, i, count, output);
}
#endif

// The rarer types. Each conversion is exact or rounded once, whatever the width of a
// register; the rounding is that of the environment, which nobody changes.
static CCPU_INLINE void convert(const unsigned char *input, int element, size_t count, float *output) {
  switch (element) {
    case CROWS_FLOAT64:
      for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, input + 8 * i, 8);
        output[i] = (float)value;
      }
      break;
    case CROWS_BFLOAT16:
      for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, input + 2 * i, 2);
        const uint32_t bits = (uint32_t)half << 16 | ((half & 0x7FFF) > 0x7F80 ? 0x400000u : 0);
        memcpy(output + i, &bits, 4);
      }
      break;
    case CROWS_UINT8:
      for (size_t i = 0; i < count; i++) output[i] = (float)input[i];
      break;
    case CROWS_INT8:
      for (size_t i = 0; i < count; i++) output[i] = (float)(int8_t)input[i];
      break;
  }
}

CCPU_COMPILE(
    void, convert, (const unsigned char *input, int element, size_t count, float *output),
    (input, element, count, output))

static CCPU_INLINE size_t size_of(int element) {
  switch (element) {
    case CROWS_UINT8:
    case CROWS_INT8: return 1;
    case CROWS_FLOAT64: return 8;
    case CROWS_FLOAT32: return 4;
    default: return 2;
  }
}

void crows_widen(int level, const void *input, int element, size_t count, float *output) {
  switch (element) {
    case CROWS_FLOAT32: memcpy(output, input, 4 * count); break;
    case CROWS_FLOAT16: CCPU_CALL(level, widen, input, count, output); break;
    default: CCPU_CALL(level, convert, input, element, count, output);
  }
}

// Without its sign, a float's bits order as its magnitude does, infinity and
// NaN on top: the greatest says all there is to know of a row.
static CCPU_INLINE int check_row16(const unsigned char *row, size_t dimension) {
  uint16_t greatest = 0;
  for (size_t j = 0; j < dimension; j++) {
    uint16_t bits;
    memcpy(&bits, row + 2 * j, 2);
    bits &= 0x7FFF;
    greatest = bits > greatest ? bits : greatest;
  }
  if (greatest > 0x7C00) return CROWS_ROW_NAN;
  if (greatest == 0x7C00) return CROWS_ROW_INFINITE;
  return greatest == 0 ? CROWS_ROW_ZERO : CROWS_ROW_GOOD;
}

static CCPU_INLINE int check_row32(const unsigned char *row, size_t dimension) {
  uint32_t greatest = 0;
  for (size_t j = 0; j < dimension; j++) {
    uint32_t bits;
    memcpy(&bits, row + 4 * j, 4);
    bits &= 0x7FFFFFFF;
    greatest = bits > greatest ? bits : greatest;
  }
  if (greatest > 0x7F800000) return CROWS_ROW_NAN;
  if (greatest == 0x7F800000) return CROWS_ROW_INFINITE;
  return greatest == 0 ? CROWS_ROW_ZERO : CROWS_ROW_GOOD;
}

// By what the elements convert to: one that is rounded to zero or to an infinity is that.
#define CHUNK 256
static CCPU_INLINE int check_converted(const unsigned char *row, int element, size_t dimension) {
  float values[CHUNK];
  int found = CROWS_ROW_ZERO;
  for (size_t start = 0; start < dimension; start += CHUNK) {
    const size_t count = dimension - start < CHUNK ? dimension - start : CHUNK;
    convert(row + start * size_of(element), element, count, values);
    const int part = check_row32((const unsigned char *)values, count);
    if (part == CROWS_ROW_NAN) return part;
    if (part == CROWS_ROW_INFINITE || found == CROWS_ROW_ZERO) found = part;
  }
  return found;
}

static CCPU_INLINE int check_row(const unsigned char *row, int element, size_t dimension) {
  switch (element) {
    case CROWS_FLOAT16: return check_row16(row, dimension);
    case CROWS_FLOAT32: return check_row32(row, dimension);
    default: return check_converted(row, element, dimension);
  }
}

static CCPU_INLINE size_t find_bad_row(
    const unsigned char *matrix, int element, size_t dimension, size_t first, size_t end, int *cause) {
  for (size_t i = first; i < end; i++) {
    const int found = check_row(matrix + size_of(element) * dimension * i, element, dimension);
    if (found != CROWS_ROW_GOOD) {
      *cause = found;
      return i;
    }
  }
  *cause = CROWS_ROW_GOOD;
  return end;
}

CCPU_COMPILE(
    size_t, find_bad_row, (const unsigned char *m, int e, size_t d, size_t first, size_t end, int *cause),
    (m, e, d, first, end, cause))

size_t crows_find_bad_row(
    int level, const void *matrix, int element, size_t dimension, size_t first, size_t end, int *cause) {
  return CCPU_CALL(level, find_bad_row, matrix, element, dimension, first, end, cause);
}

size_t crows_find_nonfinite_row(int level, const float *rows, size_t dimension, size_t count) {
  int cause;
  size_t first = 0;
  do {
    first = crows_find_bad_row(level, rows, CROWS_FLOAT32, dimension, first, count, &cause);
  } while (cause == CROWS_ROW_ZERO && ++first <= count);
  return first;
}

static void add_tail(const unsigned char *row, int element, size_t first, size_t dimension, double *sums) {
  for (size_t j = first; j < dimension; j++) {
    float value;
    switch (element) {
      case CROWS_FLOAT32: memcpy(&value, row + 4 * j, 4); break;
      case CROWS_FLOAT16: widen_tail(row + 2 * j, 0, 1, &value); break;
      default: convert(row + size_of(element) * j, element, 1, &value);
    }
    sums[j] += (double)value;
  }
}

static void add_portable(const unsigned char *row, int element, size_t dimension, double *sums) {
  add_tail(row, element, 0, dimension, sums);
}

#if defined(__x86_64__)
CCPU_TARGET_AVX2 static void add_avx2(const unsigned char *row, int element, size_t dimension, double *sums) {
  size_t j = 0;
  for (; j + 4 <= dimension; j += 4) {
    __m128 value = element == CROWS_FLOAT32 ? _mm_loadu_ps((const float *)(row + 4 * j))
                                               : _mm_cvtph_ps(_mm_loadu_si64(row + 2 * j));
    _mm256_storeu_pd(sums + j, _mm256_add_pd(_mm256_loadu_pd(sums + j), _mm256_cvtps_pd(value)));
  }
  add_tail(row, element, j, dimension, sums);
}

CCPU_TARGET_AVX512 static void add_avx512(const unsigned char *row, int element, size_t dimension, double *sums) {
  size_t j = 0;
  for (; j + 8 <= dimension; j += 8) {
    __m256 value = element == CROWS_FLOAT32 ? _mm256_loadu_ps((const float *)(row + 4 * j))
                                               : _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * j)));
    _mm512_storeu_pd(sums + j, _mm512_add_pd(_mm512_loadu_pd(sums + j), _mm512_cvtps_pd(value)));
  }
  add_tail(row, element, j, dimension, sums);
}
#endif

void crows_add_row(int level, const void *row, int element, size_t dimension, double *sums) {
  if (element != CROWS_FLOAT16 && element != CROWS_FLOAT32) level = CCPU_PORTABLE;
  CCPU_CALL(level, add, row, element, dimension, sums);
}
