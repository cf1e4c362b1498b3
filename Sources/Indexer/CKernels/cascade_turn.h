// Turning vectors onto the axes of the slice, in 16-bit integers: P x is exact,
// and what x leaves out of a vector is known. And the length of the tail, in
// integers like those of the slice.
#pragma once

#include <math.h>
#include <string.h>

#include "cascade.h"
#include "cascade_products.h"
#include "lanes.h"

// At least the norm of a float32 vector, and closely: 64 lanes of float32, so a
// square passes through d / 64 + 8 roundings at most.
static double norm_above(const float *x, size_t d) {
  float_lanes s[4] = {{0}, {0}, {0}, {0}};
  size_t j = 0;
  for (; j + 64 <= d; j += 64) {
    for (size_t r = 0; r < 4; r++) {
      const float_lanes y = lanes_load_floats(x + j + 16 * r);
      s[r] += y * y;
    }
  }
  for (size_t r = 0; j < d; j += 16, r++) {
    const float_lanes y = lanes_load_some(x + j, d - j);
    s[r] += y * y;
  }
  const float sum = lanes_sum_floats((s[0] + s[1]) + (s[2] + s[3]));
  // Squares below the normal range lose less than 2^-126 each.
  return sqrt(((double)sum + (double)d * 0x1p-125) * (1 + ((double)d / 64 + 16) * 0x1p-23));
}

// Quantizes a centred vector of a length up to `size` to 16 bits; leaves the
// rest and returns the scale. The length of the integers stays below 30,100, so
// that their products with the axes, of length 2^16 and a little, fit 32 bits,
// and those with rows in 8 bits too.
static float quantize_wide(const float *a, size_t d, size_t padded, double size, float *rest, int16_t *out) {
  const float scale = size > 0x1p-80 ? (float)(size / 30000) : 1;
  const float inverse = 1 / scale;
  for (size_t j = 0; j < d; j++) {
    const float q = rintf(a[j] * inverse);
    out[j] = (int16_t)(int32_t)q;
    rest[j] = a[j] - scale * q;
  }
  memset(out + d, 0, (padded - d) * sizeof(int16_t));
  return scale;
}

// Products of six vectors with a panel of 16 axes, times the scales.
static CCPU_INLINE void turn_group(
    const int16_t *axes, size_t pairs, const int16_t *vectors, size_t vector_stride, const float *scales, float *out,
    size_t stride) {
  lanes s[GROUP_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < GROUP_VECTORS; v++) s[v] = lanes_all(0);
  for (size_t j = 0; j < pairs; j++) {
    const lanes p = lanes_load(axes + 2 * PANEL_AXES * j);
#pragma clang loop unroll(full)
    for (int v = 0; v < GROUP_VECTORS; v++) {
      int32_t two;
      memcpy(&two, vectors + (size_t)v * vector_stride + 2 * j, 4);
      s[v] = lanes_add_twos(s[v], p, lanes_all(two));
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < GROUP_VECTORS; v++) {
    lanes_store_floats(out + (size_t)v * stride, lanes_to_float(s[v]) * lanes_all_float(scales[v]));
  }
}

// Turns groups of six vectors, [groups x GROUP_VECTORS x cascade_turned_width]:
// their products with P, over basis_step, times the scales.
static void turn(
    const struct ckernels_cascade *k, const int16_t *vectors, const float *scales, size_t groups, float *turned) {
  const size_t pairs = cascade_pairs(k), stride = cascade_turned_width(k);
  for (size_t axis = 0; axis < stride; axis += PANEL_AXES) {
    for (size_t group = 0; group < groups; group++) {
      turn_group(
          k->panels + axis * pairs * 2, pairs, vectors + group * GROUP_VECTORS * k->whole_width, k->whole_width,
          scales + group * GROUP_VECTORS, turned + group * GROUP_VECTORS * stride + axis, stride);
    }
  }
}

// Squares of the lengths of N times groups of six integer vectors, [groups x
// whole_width x GROUP_VECTORS] in fours; right to 1 part in 2^19. `sums` is what
// was added to each element of N for each vector.
static void tail_squares(
    const struct ckernels_cascade *k, const int8_t *vectors, const int32_t *sums, size_t groups, double *squares) {
  const int32_t none[BLOCK_ROWS] = {0};
  for (size_t i = 0; i < groups * GROUP_VECTORS; i++) squares[i] = 0;
  for (size_t block = 0; block < k->tail_blocks; block++) {
    const float *scales = k->tail_scales + block * BLOCK_ROWS;
    for (size_t group = 0; group < groups; group++) {
      int32_t products[GROUP_VECTORS * BLOCK_ROWS];
      multiply_block(
          k->tail_axes + block * BLOCK_ROWS * k->whole_width, vectors + group * GROUP_VECTORS * k->whole_width,
          k->whole_width / 4, none, products);
      for (size_t v = 0; v < GROUP_VECTORS; v++) {
        const lanes sum = lanes_all(sums[group * GROUP_VECTORS + v]);
        float_lanes square = {0};
        for (size_t r = 0; r < 4; r++) {
          const float_lanes y = lanes_to_float(lanes_load(products + v * BLOCK_ROWS + 16 * r) - sum) *
                                lanes_load_floats(scales + 16 * r);
          square += y * y;
        }
        squares[group * GROUP_VECTORS + v] += (double)lanes_sum_floats(square);
      }
    }
  }
}
