// Sixteen 32-bit lanes and what the cascade does with them. Included once by each
// form of the cascade, compiled for its instructions, which LANES_ and its name say;
// what is written for the portable form says what each function means.
#pragma once

#include <stdint.h>
#include <string.h>

#include "CCpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Every function on lanes is inlined: none is passed in the way that other
// instructions would change.
#pragma clang diagnostic ignored "-Wpsabi"

typedef int32_t lanes __attribute__((vector_size(64)));
typedef float float_lanes __attribute__((vector_size(64)));
#define LANES static CCPU_INLINE

LANES lanes lanes_load(const void *from) {
  lanes a;
  memcpy(&a, from, sizeof a);
  return a;
}
LANES void lanes_store(void *to, lanes a) { memcpy(to, &a, sizeof a); }
LANES lanes lanes_all(int32_t value) { return (lanes){0} + value; }
LANES lanes lanes_max(lanes a, lanes b) { return __builtin_elementwise_max(a, b); }
LANES int32_t lanes_greatest(lanes a) { return __builtin_reduce_max(a); }
LANES float_lanes lanes_to_float(lanes a) { return __builtin_convertvector(a, float_lanes); }

LANES float_lanes lanes_all_float(float value) { return (float_lanes){0} + value; }
LANES float_lanes lanes_load_floats(const float *from) {
  float_lanes a;
  memcpy(&a, from, sizeof a);
  return a;
}
/// The first `count` lanes, the others 0.
LANES float_lanes lanes_load_some(const float *from, size_t count) {
  if (count >= 16) return lanes_load_floats(from);
  float_lanes a = {0};
  memcpy(&a, from, count * sizeof(float));
  return a;
}
LANES void lanes_store_floats(float *to, float_lanes a) { memcpy(to, &a, sizeof a); }
LANES float lanes_sum_floats(float_lanes a) {
  typedef float half __attribute__((vector_size(32)));
  typedef float quarter __attribute__((vector_size(16)));
  const half h = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
  const quarter q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
  return (q[0] + q[2]) + (q[1] + q[3]);
}

// What follows differs from form to form:
//   LANES_QUADS         steps of four elements whose products are added together
//   TILE_VECTORS, TILE_LANES  vectors and sixteens of rows whose sums fit the registers
//   lanes_begin, _end   sums that start at an offset, and what they came to
//   lanes_add_products  adds to each lane the products of its four bytes, the
//                       row's of the form's kind and the vector's signed
//   lanes_add_twos      adds to each lane the products of its two halves, signed
//   lanes_reaching, _equal  a bit for each lane that is not less; that is equal
//   row_product         the sum of products of bytes and halves, all signed,
//                       modulo 2^32; the width is a multiple of 64
#if defined(LANES_AVX512VNNI)
enum { LANES_QUADS = 1, TILE_VECTORS = 6, TILE_LANES = 4 };
typedef lanes partial_sums;
LANES partial_sums lanes_begin(lanes offset) { return offset; }
LANES lanes lanes_end(partial_sums sum) { return sum; }
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  return (lanes)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)rows[0], (__m512i)vector[0]);
}
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) {
  return (lanes)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
LANES uint32_t lanes_reaching(lanes a, lanes b) { return _mm512_cmpge_epi32_mask((__m512i)a, (__m512i)b); }
LANES uint32_t lanes_equal(lanes a, lanes b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
LANES int32_t row_product(const int8_t *row, const int16_t *vector, size_t width) {
  __m512i s[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (size_t j = 0; j < width; j += 64) {
    for (size_t i = 0; i < 2; i++) {
      const __m512i r = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(row + j + 32 * i)));
      s[i] = _mm512_dpwssd_epi32(s[i], r, _mm512_loadu_si512(vector + j + 32 * i));
    }
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(s[0], s[1]));
}

#elif defined(LANES_AVX2) || defined(LANES_AVXVNNI)
// Two registers make the sixteen lanes.
#define HALVES(a) \
  (__m256i)__builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7), (__m256i)__builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15)
typedef int32_t half_lanes __attribute__((vector_size(32)));
LANES lanes lanes_of(__m256i low, __m256i high) {
  return __builtin_shufflevector(
      (half_lanes)low, (half_lanes)high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
typedef lanes partial_sums;
LANES partial_sums lanes_begin(lanes offset) { return offset; }
LANES lanes lanes_end(partial_sums sum) { return sum; }
#if defined(LANES_AVXVNNI)
enum { LANES_QUADS = 1, TILE_VECTORS = 6, TILE_LANES = 1 };
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  const __m256i s[2] = {HALVES(sum)}, r[2] = {HALVES(rows[0])}, x[2] = {HALVES(vector[0])};
  return lanes_of(_mm256_dpbusd_epi32(s[0], r[0], x[0]), _mm256_dpbusd_epi32(s[1], r[1], x[1]));
}
#else
enum { LANES_QUADS = 2, TILE_VECTORS = 3, TILE_LANES = 1 };
// Four products of 7 bits with 6 and a sign fit 16 bits: 4 * 127 * 63 = 32,004.
LANES __m256i lanes_add_eights(__m256i sum, __m256i r0, __m256i r1, __m256i x0, __m256i x1) {
  const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(r0, x0), _mm256_maddubs_epi16(r1, x1));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  const __m256i s[2] = {HALVES(sum)}, r0[2] = {HALVES(rows[0])}, r1[2] = {HALVES(rows[1])},
                x0[2] = {HALVES(vector[0])}, x1[2] = {HALVES(vector[1])};
  return lanes_of(
      lanes_add_eights(s[0], r0[0], r1[0], x0[0], x1[0]), lanes_add_eights(s[1], r0[1], r1[1], x0[1], x1[1]));
}
#endif
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) {
  const __m256i s[2] = {HALVES(sum)}, x[2] = {HALVES(a)}, y[2] = {HALVES(b)};
  return lanes_of(
      _mm256_add_epi32(s[0], _mm256_madd_epi16(x[0], y[0])), _mm256_add_epi32(s[1], _mm256_madd_epi16(x[1], y[1])));
}
// Signs of the lanes.
LANES uint32_t lanes_signs(lanes a) {
  const __m256i s[2] = {HALVES(a)};
  return (uint32_t)_mm256_movemask_ps((__m256)s[0]) | (uint32_t)_mm256_movemask_ps((__m256)s[1]) << 8;
}
LANES uint32_t lanes_reaching(lanes a, lanes b) { return lanes_signs(b > a) ^ 0xFFFF; }
LANES uint32_t lanes_equal(lanes a, lanes b) { return lanes_signs(a == b); }
LANES int32_t row_product(const int8_t *row, const int16_t *vector, size_t width) {
  __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (size_t j = 0; j < width; j += 64) {
    for (size_t i = 0; i < 4; i++) {
      const __m256i r = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(row + j + 16 * i)));
      const __m256i x = _mm256_loadu_si256((const __m256i *)(vector + j + 16 * i));
      s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(r, x));
    }
  }
  const half_lanes sum = (half_lanes)_mm256_add_epi32(_mm256_add_epi32(s[0], s[1]), _mm256_add_epi32(s[2], s[3]));
  return __builtin_reduce_add(sum);
}
#undef HALVES

#elif defined(LANES_NEON) || defined(LANES_DOTPROD)
// Four registers make the sixteen lanes.
typedef int32_t quarter_lanes __attribute__((vector_size(16)));
LANES int32x4_t lanes_quarter(const lanes *a, size_t i) {
  int32x4_t quarter;
  memcpy(&quarter, (const char *)a + 16 * i, 16);
  return quarter;
}
LANES void lanes_put_quarter(lanes *a, size_t i, int32x4_t quarter) { memcpy((char *)a + 16 * i, &quarter, 16); }
#if defined(LANES_DOTPROD)
enum { LANES_QUADS = 1, TILE_VECTORS = 6, TILE_LANES = 1 };
typedef lanes partial_sums;
LANES partial_sums lanes_begin(lanes offset) { return offset; }
LANES lanes lanes_end(partial_sums sum) { return sum; }
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  for (size_t i = 0; i < 4; i++) {
    const int8x16_t r = vreinterpretq_s8_s32(lanes_quarter(rows, i)), x = vreinterpretq_s8_s32(lanes_quarter(vector, i));
    lanes_put_quarter(&sum, i, vdotq_s32(lanes_quarter(&sum, i), r, x));
  }
  return sum;
}
#else
enum { LANES_QUADS = 2, TILE_VECTORS = 2, TILE_LANES = 1 };
// Sums of the first two bytes of each lane beside those of the other two.
typedef struct {
  int32x4_t eighth[8];
} partial_sums;
LANES partial_sums lanes_begin(lanes offset) {
  partial_sums s;
  for (size_t i = 0; i < 4; i++) {
    const int32x4_t from = lanes_quarter(&offset, i), none = vdupq_n_s32(0);
    s.eighth[2 * i] = vzip1q_s32(from, none);
    s.eighth[2 * i + 1] = vzip2q_s32(from, none);
  }
  return s;
}
LANES lanes lanes_end(partial_sums s) {
  lanes sum = {0};
  for (size_t i = 0; i < 4; i++) lanes_put_quarter(&sum, i, vpaddq_s32(s.eighth[2 * i], s.eighth[2 * i + 1]));
  return sum;
}
// Two products of 7 bits and a sign fit 16 bits: 2 * 127 * 127 = 32,258.
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  for (size_t i = 0; i < 4; i++) {
    const int8x16_t r0 = vreinterpretq_s8_s32(lanes_quarter(rows, i)), r1 = vreinterpretq_s8_s32(lanes_quarter(rows + 1, i)),
                    x0 = vreinterpretq_s8_s32(lanes_quarter(vector, i)), x1 = vreinterpretq_s8_s32(lanes_quarter(vector + 1, i));
    const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(r0), vget_low_s8(x0)), vget_low_s8(r1), vget_low_s8(x1));
    const int16x8_t high = vmlal_high_s8(vmull_high_s8(r0, x0), r1, x1);
    sum.eighth[2 * i] = vpadalq_s16(sum.eighth[2 * i], low);
    sum.eighth[2 * i + 1] = vpadalq_s16(sum.eighth[2 * i + 1], high);
  }
  return sum;
}
#endif
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) {
  for (size_t i = 0; i < 4; i++) {
    const int16x8_t x = vreinterpretq_s16_s32(lanes_quarter(&a, i)), y = vreinterpretq_s16_s32(lanes_quarter(&b, i));
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
    lanes_put_quarter(&sum, i, vaddq_s32(lanes_quarter(&sum, i), vpaddq_s32(low, high)));
  }
  return sum;
}
// A bit for each lane that is all ones.
LANES uint32_t lanes_bits(lanes a) {
  const lanes bits = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (uint32_t)__builtin_reduce_add(a & bits);
}
LANES uint32_t lanes_reaching(lanes a, lanes b) { return lanes_bits(a >= b); }
LANES uint32_t lanes_equal(lanes a, lanes b) { return lanes_bits(a == b); }
LANES int32_t row_product(const int8_t *row, const int16_t *vector, size_t width) {
  int32x4_t s[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (size_t j = 0; j < width; j += 32) {
    for (size_t i = 0; i < 2; i++) {
      const int8x16_t bytes = vld1q_s8(row + j + 16 * i);
      const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
      const int16x8_t x = vld1q_s16(vector + j + 16 * i), y = vld1q_s16(vector + j + 16 * i + 8);
      s[2 * i] = vmlal_high_s16(vmlal_s16(s[2 * i], vget_low_s16(low), vget_low_s16(x)), low, x);
      s[2 * i + 1] = vmlal_high_s16(vmlal_s16(s[2 * i + 1], vget_low_s16(high), vget_low_s16(y)), high, y);
    }
  }
  return vaddvq_s32(vaddq_s32(vaddq_s32(s[0], s[1]), vaddq_s32(s[2], s[3])));
}

#else
enum { LANES_QUADS = 1, TILE_VECTORS = 3, TILE_LANES = 2 };
typedef lanes partial_sums;
LANES partial_sums lanes_begin(lanes offset) { return offset; }
LANES lanes lanes_end(partial_sums sum) { return sum; }
LANES partial_sums lanes_add_products(partial_sums sum, const lanes *rows, const lanes *vector) {
  uint8_t r[64];
  int8_t x[64];
  memcpy(r, rows, sizeof r);
  memcpy(x, vector, sizeof x);
  for (int l = 0; l < 16; l++) {
    for (int i = 4 * l; i < 4 * l + 4; i++) sum[l] += r[i] * x[i];
  }
  return sum;
}
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) {
  int16_t x[32], y[32];
  memcpy(x, &a, sizeof x);
  memcpy(y, &b, sizeof y);
  // Sums may wrap on the way.
  for (int l = 0; l < 16; l++) {
    sum[l] = (int32_t)((uint32_t)sum[l] + (uint32_t)(x[2 * l] * y[2 * l]) + (uint32_t)(x[2 * l + 1] * y[2 * l + 1]));
  }
  return sum;
}
LANES uint32_t lanes_reaching(lanes a, lanes b) {
  uint32_t mask = 0;
  for (int l = 0; l < 16; l++) mask |= (uint32_t)(a[l] >= b[l]) << l;
  return mask;
}
LANES uint32_t lanes_equal(lanes a, lanes b) {
  uint32_t mask = 0;
  for (int l = 0; l < 16; l++) mask |= (uint32_t)(a[l] == b[l]) << l;
  return mask;
}
LANES int32_t row_product(const int8_t *row, const int16_t *vector, size_t width) {
  uint32_t sum = 0;
  for (size_t j = 0; j < width; j++) sum += (uint32_t)(row[j] * vector[j]);
  return (int32_t)sum;
}
#endif
#undef LANES
