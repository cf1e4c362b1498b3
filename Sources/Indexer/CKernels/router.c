// The arithmetic of router training: products, softmax and Adam in float32,
// every operation IEEE's own and in one written order, so that the bits depend
// on no CPU, no BLAS and no number of threads.
//
// Multiply-add is fused at every level: fmaf is one rounding, whether an
// instruction or libm carries it out. Vectors of 16 are for speed alone:
// no sum crosses their lanes but in softmax, where the order is written out.
#include <math.h>
#include <string.h>

#include "CCpu.h"
#include "CKernels.h"

// Vectors are passed to functions that are inlined whatever happens: no call, no ABI.
#pragma GCC diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64), aligned(4)));

enum { DEPTH = 256, ROWS = 6 };

static CCPU_INLINE v16 fused(v16 a, v16 b, v16 c) { return __builtin_elementwise_fma(a, b, c); }
static CCPU_INLINE v16 all(float value) { return (v16){0} + value; }

// c[r][0..16) += a's rows times a packed panel, in ascending order of depth.
#define PANEL_ROWS(n)                                                                      \
  {                                                                                        \
    v16 sum[n];                                                                            \
    for (int r = 0; r < n; r++) memcpy(&sum[r], c + (size_t)r * 16, sizeof(v16));          \
    for (size_t k = 0; k < depth; k++) {                                                   \
      v16 b = panel[k];                                                                    \
      for (int r = 0; r < n; r++) {                                                        \
        sum[r] = fused(all(a[(size_t)r * row_step + k * depth_step]), b, sum[r]);          \
      }                                                                                    \
    }                                                                                      \
    for (int r = 0; r < n; r++) memcpy(c + (size_t)r * 16, &sum[r], sizeof(v16));          \
  }

static CCPU_INLINE void product(
    size_t rows, size_t columns, size_t depth_all, const float *a0, size_t row_step, size_t depth_step, const float *b,
    size_t b_depth_step, size_t b_column_step, float *out, size_t out_step) {
  v16 panel[DEPTH];
  float tile[ROWS * 16];
  for (size_t column = 0; column < columns; column += 16) {
    const size_t width = columns - column < 16 ? columns - column : 16;
    for (size_t start = 0; start < depth_all || start == 0; start += DEPTH) {
      const size_t depth = depth_all - start < DEPTH ? depth_all - start : DEPTH;
      memset(panel, 0, sizeof(panel));
      const float *from = b + start * b_depth_step + column * b_column_step;
      if (b_column_step == 1) {
        for (size_t k = 0; k < depth; k++) memcpy(&panel[k], from + k * b_depth_step, width * sizeof(float));
      } else {
        float *to = (float *)panel;
        for (size_t j = 0; j < width; j++) {
          for (size_t k = 0; k < depth; k++) to[k * 16 + j] = from[j * b_column_step + k * b_depth_step];
        }
      }
      for (size_t row = 0; row < rows; row += ROWS) {
        const size_t height = rows - row < ROWS ? rows - row : ROWS;
        const float *a = a0 + row * row_step + start * depth_step;
        float *c = tile;
        memset(tile, 0, sizeof(tile));
        if (start > 0) {
          for (size_t r = 0; r < height; r++) {
            memcpy(tile + r * 16, out + (row + r) * out_step + column, width * sizeof(float));
          }
        }
        if (height == ROWS) {
          PANEL_ROWS(ROWS)
        } else {
          for (size_t r = 0; r < height; r++, a += row_step, c += 16) PANEL_ROWS(1)
        }
        for (size_t r = 0; r < height; r++) {
          memcpy(out + (row + r) * out_step + column, tile + r * 16, width * sizeof(float));
        }
      }
    }
  }
}

// e^x for x <= 0 in float32: x = n ln 2 + r, a polynomial of degree 7 in r.
// Below -80 it is 0. Not libm's, whose last bit depends on its version.
static CCPU_INLINE v16 exponential(v16 x) {
  const i16 tiny = x < -80.0f;
  x = (v16)(((i16)x & ~tiny) | ((i16)all(-80.0f) & tiny));
  const v16 magic = all(0x1.8p23f);
  const v16 shifted = fused(x, all(0x1.715476p0f), magic);
  const v16 n = shifted - magic;
  v16 r = fused(n, all(-0x1.62e4p-1f), x);
  r = fused(n, all(-0x1.7f7d1cp-20f), r);
  v16 p = all(0x1.a01a02p-13f);
  p = fused(p, r, all(0x1.6c16c2p-10f));
  p = fused(p, r, all(0x1.111112p-7f));
  p = fused(p, r, all(0x1.555556p-5f));
  p = fused(p, r, all(0x1.555556p-3f));
  p = fused(p, r, all(0x1p-1f));
  p = fused(p, r, all(1.0f));
  p = fused(p, r, all(1.0f));
  const i16 exponent = ((i16)shifted - (i16)magic) << 23;
  const v16 value = (v16)((i16)p + exponent);
  return (v16)((i16)value & ~tiny);
}

// One row becomes its softmax; `count` is a multiple of 16.
static CCPU_INLINE void softmax(float *values, const float *offsets, size_t count) {
  v16 greatest = all(-INFINITY);
  for (size_t i = 0; i < count; i += 16) {
    v16 x, o;
    memcpy(&x, values + i, sizeof(x));
    memcpy(&o, offsets + i, sizeof(o));
    x = x + o;
    memcpy(values + i, &x, sizeof(x));
    const i16 more = x > greatest;
    greatest = (v16)(((i16)x & more) | ((i16)greatest & ~more));
  }
  float most = greatest[0];
  for (int l = 1; l < 16; l++) most = greatest[l] > most ? greatest[l] : most;
  v16 sum = all(0.0f);
  for (size_t i = 0; i < count; i += 16) {
    v16 x;
    memcpy(&x, values + i, sizeof(x));
    x = exponential(x - most);
    memcpy(values + i, &x, sizeof(x));
    sum = sum + x;
  }
  for (int step = 8; step > 0; step /= 2) {
    for (int l = 0; l < step; l++) sum[l] = sum[l] + sum[l + step];
  }
  const v16 total = all(sum[0]);
  for (size_t i = 0; i < count; i += 16) {
    v16 x;
    memcpy(&x, values + i, sizeof(x));
    x = x / total;
    memcpy(values + i, &x, sizeof(x));
  }
}

static CCPU_INLINE void adam(
    float *weights, float *first, float *second, const float *gradient, size_t count, float gradient_scale,
    float rate, float second_correction) {
  const v16 one_less_b1 = all(0x1.99999ap-4f), b1 = all(0x1.ccccccp-1f);
  const v16 one_less_b2 = all(0x1.0624dep-10f), b2 = all(0x1.ff7ceep-1f);
  for (size_t i = 0; i < count; i += 16) {
    const size_t width = count - i < 16 ? count - i : 16;
    v16 w = all(0), m = w, v = w, g = w;
    memcpy(&w, weights + i, width * 4);
    memcpy(&m, first + i, width * 4);
    memcpy(&v, second + i, width * 4);
    memcpy(&g, gradient + i, width * 4);
    g = g * all(gradient_scale);
    m = fused(b1, m, one_less_b1 * g);
    v = fused(b2, v, one_less_b2 * (g * g));
    v16 root = v * all(second_correction);
    for (int l = 0; l < 16; l++) root[l] = sqrtf(root[l]);
    w = w - all(rate) * m / (root + all(0x1p-27f));
    memcpy(weights + i, &w, width * 4);
    memcpy(first + i, &m, width * 4);
    memcpy(second + i, &v, width * 4);
  }
}

static CCPU_INLINE void pull(
    float *gradient, const float *weights, const float *anchor, size_t count, float scale, float decay) {
  for (size_t i = 0; i < count; i += 16) {
    const size_t width = count - i < 16 ? count - i : 16;
    v16 g = all(0), w = g, a = g;
    memcpy(&g, gradient + i, width * 4);
    memcpy(&w, weights + i, width * 4);
    memcpy(&a, anchor + i, width * 4);
    g = fused(all(decay), w - all(scale) * a, g);
    memcpy(gradient + i, &g, width * 4);
  }
}

#define PRODUCT_PARAMETERS                                                                                           \
  size_t rows, size_t columns, size_t depth, const float *a, size_t row_step, size_t depth_step, const float *b,     \
      size_t b_depth_step, size_t b_column_step, float *out, size_t out_step
#define PRODUCT_ARGUMENTS rows, columns, depth, a, row_step, depth_step, b, b_depth_step, b_column_step, out, out_step
CCPU_COMPILE(void, product, (PRODUCT_PARAMETERS), (PRODUCT_ARGUMENTS))

void ckernels_product(int level, PRODUCT_PARAMETERS) { CCPU_CALL(level, product, PRODUCT_ARGUMENTS); }

CCPU_COMPILE(void, softmax, (float *values, const float *offsets, size_t count), (values, offsets, count))

void ckernels_softmax(int level, float *values, const float *offsets, size_t count) {
  CCPU_CALL(level, softmax, values, offsets, count);
}

#define PULL_PARAMETERS \
  float *gradient, const float *weights, const float *anchor, size_t count, float scale, float decay
#define PULL_ARGUMENTS gradient, weights, anchor, count, scale, decay
CCPU_COMPILE(void, pull, (PULL_PARAMETERS), (PULL_ARGUMENTS))

void ckernels_pull(int level, PULL_PARAMETERS) { CCPU_CALL(level, pull, PULL_ARGUMENTS); }

#define ADAM_PARAMETERS                                                                                     \
  float *weights, float *first, float *second, const float *gradient, size_t count, float gradient_scale, \
      float rate, float second_correction
#define ADAM_ARGUMENTS weights, first, second, gradient, count, gradient_scale, rate, second_correction
CCPU_COMPILE(void, adam, (ADAM_PARAMETERS), (ADAM_ARGUMENTS))

void ckernels_adam(int level, ADAM_PARAMETERS) { CCPU_CALL(level, adam, ADAM_ARGUMENTS); }
