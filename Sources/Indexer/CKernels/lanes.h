// Sixteen 32-bit lanes and what the cascade does with them: AVX-512 VNNI where
// there is an x86 CPU, elsewhere plain C, which says what each one means.
#pragma once

#include <stdint.h>
#include <string.h>

#include "CCpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef __m512i lanes;
typedef __m512 float_lanes;
#define LANES CCPU_TARGET_VNNI static CCPU_INLINE

LANES lanes lanes_load(const void *from) { return _mm512_loadu_si512(from); }
LANES void lanes_store(void *to, lanes a) { _mm512_storeu_si512(to, a); }
LANES lanes lanes_all(int32_t value) { return _mm512_set1_epi32(value); }
LANES lanes lanes_add(lanes a, lanes b) { return _mm512_add_epi32(a, b); }
LANES lanes lanes_max(lanes a, lanes b) { return _mm512_max_epi32(a, b); }
LANES int32_t lanes_greatest(lanes a) { return _mm512_reduce_max_epi32(a); }
LANES int32_t lanes_sum(lanes a) { return _mm512_reduce_add_epi32(a); }
LANES uint32_t lanes_equal(lanes a, lanes b) { return _mm512_cmpeq_epi32_mask(a, b); }
LANES uint32_t lanes_reaching(lanes a, lanes b) { return _mm512_cmpge_epi32_mask(a, b); }
LANES lanes lanes_add_fours(lanes sum, lanes a, lanes b) { return _mm512_dpbusd_epi32(sum, a, b); }
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) { return _mm512_dpwssd_epi32(sum, a, b); }
LANES float_lanes lanes_to_float(lanes a) { return _mm512_cvtepi32_ps(a); }

LANES float_lanes lanes_zero(void) { return _mm512_setzero_ps(); }
LANES float_lanes lanes_all_float(float value) { return _mm512_set1_ps(value); }
LANES float_lanes lanes_load_floats(const float *from) { return _mm512_loadu_ps(from); }
LANES float_lanes lanes_load_some(const float *from, size_t count) {
  return _mm512_maskz_loadu_ps(count >= 16 ? 0xFFFF : (__mmask16)((1u << count) - 1), from);
}
LANES void lanes_store_floats(float *to, float_lanes a) { _mm512_storeu_ps(to, a); }
LANES float_lanes lanes_add_floats(float_lanes a, float_lanes b) { return _mm512_add_ps(a, b); }
LANES float_lanes lanes_multiply(float_lanes a, float_lanes b) { return _mm512_mul_ps(a, b); }
LANES float_lanes lanes_add_square(float_lanes sum, float_lanes a) { return _mm512_fmadd_ps(a, a, sum); }
LANES float lanes_sum_floats(float_lanes a) { return _mm512_reduce_add_ps(a); }
#else
typedef int32_t lanes __attribute__((vector_size(64)));
typedef float float_lanes __attribute__((vector_size(64)));
#define LANES static CCPU_INLINE
#define EACH(expression) \
  for (int l = 0; l < 16; l++) expression

LANES lanes lanes_load(const void *from) {
  lanes a;
  memcpy(&a, from, sizeof a);
  return a;
}
LANES void lanes_store(void *to, lanes a) { memcpy(to, &a, sizeof a); }
LANES lanes lanes_all(int32_t value) { return (lanes){0} + value; }
LANES lanes lanes_add(lanes a, lanes b) { return a + b; }
LANES lanes lanes_max(lanes a, lanes b) {
  EACH(a[l] = a[l] > b[l] ? a[l] : b[l]);
  return a;
}
LANES int32_t lanes_greatest(lanes a) {
  EACH(a[0] = a[l] > a[0] ? a[l] : a[0]);
  return a[0];
}
LANES int32_t lanes_sum(lanes a) {
  int32_t sum = 0;
  EACH(sum += a[l]);
  return sum;
}
/// A bit for each lane.
LANES uint32_t lanes_equal(lanes a, lanes b) {
  uint32_t mask = 0;
  EACH(mask |= (uint32_t)(a[l] == b[l]) << l);
  return mask;
}
/// A bit for each lane that is not less.
LANES uint32_t lanes_reaching(lanes a, lanes b) {
  uint32_t mask = 0;
  EACH(mask |= (uint32_t)(a[l] >= b[l]) << l);
  return mask;
}
/// Adds to each lane the products of its four bytes: unsigned times signed.
LANES lanes lanes_add_fours(lanes sum, lanes a, lanes b) {
  uint8_t x[64];
  int8_t y[64];
  memcpy(x, &a, sizeof x);
  memcpy(y, &b, sizeof y);
  EACH(for (int i = 4 * l; i < 4 * l + 4; i++) sum[l] += x[i] * y[i]);
  return sum;
}
/// Adds to each lane the products of its two halves, signed.
LANES lanes lanes_add_twos(lanes sum, lanes a, lanes b) {
  int16_t x[32], y[32];
  memcpy(x, &a, sizeof x);
  memcpy(y, &b, sizeof y);
  EACH(sum[l] += x[2 * l] * y[2 * l] + x[2 * l + 1] * y[2 * l + 1]);
  return sum;
}
LANES float_lanes lanes_to_float(lanes a) { return __builtin_convertvector(a, float_lanes); }

LANES float_lanes lanes_zero(void) { return (float_lanes){0}; }
LANES float_lanes lanes_all_float(float value) { return (float_lanes){0} + value; }
LANES float_lanes lanes_load_floats(const float *from) {
  float_lanes a;
  memcpy(&a, from, sizeof a);
  return a;
}
/// The first `count` lanes, the others 0.
LANES float_lanes lanes_load_some(const float *from, size_t count) {
  float_lanes a = {0};
  memcpy(&a, from, (count < 16 ? count : 16) * sizeof(float));
  return a;
}
LANES void lanes_store_floats(float *to, float_lanes a) { memcpy(to, &a, sizeof a); }
LANES float_lanes lanes_add_floats(float_lanes a, float_lanes b) { return a + b; }
LANES float_lanes lanes_multiply(float_lanes a, float_lanes b) { return a * b; }
LANES float_lanes lanes_add_square(float_lanes sum, float_lanes a) {
  EACH(sum[l] = __builtin_fmaf(a[l], a[l], sum[l]));
  return sum;
}
LANES float lanes_sum_floats(float_lanes a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int l = 0; l < width; l++) a[l] += a[l + width];
  }
  return a[0];
}
#undef EACH
#endif
#undef LANES
