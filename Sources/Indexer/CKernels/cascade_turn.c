// Turning vectors onto the axes of the slice, in 16-bit integers: P x is exact,
// and what x leaves out of a vector is known. And the length of the tail, in
// 8-bit integers.
#include <math.h>
#include <string.h>

#include "cascade.h"
#include "lanes.h"

// At least the norm of a float32 vector, and closely: 64 lanes of float32, so a
// square passes through d / 64 + 8 roundings at most.
CCPU_TARGET_VNNI double cascade_norm_above(const float *x, size_t d) {
  float_lanes s[4] = {lanes_zero(), lanes_zero(), lanes_zero(), lanes_zero()};
  for (size_t j = 0; j < d; j += 64) {
    for (size_t r = 0; r < 4; r++) {
      const size_t at = j + 16 * r, left = at < d ? d - at : 0;
      const float_lanes y = lanes_load_some(x + at, left);
      s[r] = lanes_add_square(s[r], y);
    }
  }
  const float sum = lanes_sum_floats(lanes_add_floats(lanes_add_floats(s[0], s[1]), lanes_add_floats(s[2], s[3])));
  // Squares below the normal range lose less than 2^-126 each.
  return sqrt(((double)sum + (double)d * 0x1p-125) * (1 + ((double)d / 64 + 16) * 0x1p-23));
}

// Quantizes a centred vector to 16 bits, for the turning: the length of the
// integers stays below 30,100, so that their products with the axes, of
// length 2^16 and a little, fit 32 bits.
CCPU_TARGET_VNNI float cascade_quantize_wide(const float *a, size_t d, double size, float *rest, int16_t *out) {
  const float scale = size > 0x1p-80 ? (float)(size / 30000) : 1;
  const float inverse = 1 / scale;
  for (size_t j = 0; j < d; j++) {
    const float q = rintf(a[j] * inverse);
    out[j] = (int16_t)(int32_t)q;
    rest[j] = a[j] - scale * q;
  }
  if (d % 2 != 0) out[d] = 0;
  return scale;
}

// Products of six vectors with some panels of 16 axes, times the scales.
#define TURN(panels)                                                                                  \
  lanes s[GROUP_VECTORS][panels];                                                                     \
  for (int v = 0; v < GROUP_VECTORS; v++)                                                             \
    for (int r = 0; r < panels; r++) s[v][r] = lanes_all(0);                                          \
  for (size_t j = 0; j < pairs; j++) {                                                                \
    lanes p[panels];                                                                                  \
    for (int r = 0; r < panels; r++) p[r] = lanes_load(axes + ((size_t)r * pairs + j) * 32);          \
    _Pragma("clang loop unroll(full)") for (int v = 0; v < GROUP_VECTORS; v++) {                      \
      int32_t two;                                                                                    \
      memcpy(&two, vectors + ((size_t)v * pairs + j) * 2, 4);                                         \
      for (int r = 0; r < panels; r++) s[v][r] = lanes_add_twos(s[v][r], p[r], lanes_all(two));       \
    }                                                                                                 \
  }                                                                                                   \
  for (int v = 0; v < GROUP_VECTORS; v++)                                                             \
    for (int r = 0; r < panels; r++)                                                                  \
      lanes_store_floats(                                                                             \
          out + (size_t)v * stride + r * 16,                                                          \
          lanes_multiply(lanes_to_float(s[v][r]), lanes_all_float(scales[v])))
#define TURN_ARGUMENTS \
  const int16_t *axes, const int16_t *vectors, size_t pairs, const float *scales, float *out, size_t stride
CCPU_TARGET_VNNI static void turn4(TURN_ARGUMENTS) { TURN(4); }
CCPU_TARGET_VNNI static void turn3(TURN_ARGUMENTS) { TURN(3); }
CCPU_TARGET_VNNI static void turn2(TURN_ARGUMENTS) { TURN(2); }
CCPU_TARGET_VNNI static void turn1(TURN_ARGUMENTS) { TURN(1); }

// Turns groups of six vectors, a few panels at a time.
CCPU_TARGET_VNNI void cascade_turn(
    const struct ckernels_cascade *k, const int16_t *vectors, const float *scales, size_t groups, float *turned) {
  const size_t pairs = cascade_pairs(k), stride = cascade_turned_width(k), panels = stride / PANEL_AXES, steps = (panels + 3) / 4;
  for (size_t step = 0; step < steps; step++) {
    const size_t first = step * panels / steps, end = (step + 1) * panels / steps;
    const int16_t *axes = k->panels + first * pairs * PANEL_AXES * 2;
    for (size_t group = 0; group < groups; group++) {
      const int16_t *six = vectors + group * GROUP_VECTORS * pairs * 2;
      const float *scale = scales + group * GROUP_VECTORS;
      float *out = turned + group * GROUP_VECTORS * stride + first * PANEL_AXES;
      switch (end - first) {
        case 4: turn4(axes, six, pairs, scale, out, stride); break;
        case 3: turn3(axes, six, pairs, scale, out, stride); break;
        case 2: turn2(axes, six, pairs, scale, out, stride); break;
        default: turn1(axes, six, pairs, scale, out, stride); break;
      }
    }
  }
}

// Six vectors with a block of 64 axes.
CCPU_TARGET_VNNI static void add_squares(
    const uint8_t *axes, const float *scales, const int8_t *const vectors[GROUP_VECTORS],
    const int32_t sums[GROUP_VECTORS], size_t quads, double squares[GROUP_VECTORS]) {
  lanes s[GROUP_VECTORS][4];
  for (int v = 0; v < GROUP_VECTORS; v++) {
    for (int r = 0; r < 4; r++) s[v][r] = lanes_all(-sums[v]);
  }
  for (size_t q = 0; q < quads; q++) {
    lanes a[4];
    for (int r = 0; r < 4; r++) a[r] = lanes_load(axes + 4 * BLOCK_ROWS * q + 64 * r);
#pragma clang loop unroll(full)
    for (int v = 0; v < GROUP_VECTORS; v++) {
      int32_t four;
      memcpy(&four, vectors[v] + 4 * q, 4);
      const lanes x = lanes_all(four);
      for (int r = 0; r < 4; r++) s[v][r] = lanes_add_fours(s[v][r], a[r], x);
    }
  }
  for (int v = 0; v < GROUP_VECTORS; v++) {
    float_lanes square = lanes_zero();
    for (int r = 0; r < 4; r++) {
      const float_lanes y = lanes_multiply(lanes_to_float(s[v][r]), lanes_load_floats(scales + 16 * r));
      square = lanes_add_square(square, y);
    }
    squares[v] += (double)lanes_sum_floats(square);
  }
}

CCPU_TARGET_VNNI void cascade_tail_squares(
    const struct ckernels_cascade *k, const int8_t *vectors, const int32_t *sums, size_t count, double *squares) {
  for (size_t i = 0; i < count; i++) squares[i] = 0;
  for (size_t block = 0; block < k->tail_blocks; block++) {
    for (size_t first = 0; first < count; first += GROUP_VECTORS) {
      const int8_t *six[GROUP_VECTORS];
      int32_t six_sums[GROUP_VECTORS];
      double six_squares[GROUP_VECTORS] = {0};
      for (size_t v = 0; v < GROUP_VECTORS; v++) {
        const size_t i = first + v < count ? first + v : count - 1;
        six[v] = vectors + i * k->whole_width;
        six_sums[v] = sums[i];
      }
      add_squares(
          k->tail_axes + block * BLOCK_ROWS * k->whole_width, k->tail_scales + block * BLOCK_ROWS, six, six_sums,
          k->whole_width / 4, six_squares);
      for (size_t v = 0; v < GROUP_VECTORS && first + v < count; v++) squares[first + v] += six_squares[v];
    }
  }
}
