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

/// What of a product is at work at a time: rows of a group and columns of a panel, whose sums stay in registers; groups
/// and panels whose factors stay in the near caches; and the depth to which they go.
enum { ROWS = 6, COLUMNS = 16, GROUPS = 12, PANELS = 4, DEPTH = 256 };
enum { BLOCK_ROWS = GROUPS * ROWS, BLOCK_COLUMNS = PANELS * COLUMNS };

static CCPU_INLINE v16 fused(v16 a, v16 b, v16 c) { return __builtin_elementwise_fma(a, b, c); }
static CCPU_INLINE v16 all(float value) { return (v16){0} + value; }

/// Adds the products of a group's rows with a panel to what is at `out`, or to 0, in ascending order of depth.
static CCPU_INLINE void add_group(
    const float *a, size_t row_step, size_t depth_step, const v16 *panel, size_t depth, float *out, size_t out_step,
    int is_first) {
  v16 sums[ROWS];
#pragma clang loop unroll(full)
  for (int r = 0; r < ROWS; r++) {
    sums[r] = all(0);
    if (!is_first) memcpy(&sums[r], out + (size_t)r * out_step, sizeof(v16));
  }
  for (size_t k = 0; k < depth; k++) {
    const v16 b = panel[k];
#pragma clang loop unroll(full)
    for (int r = 0; r < ROWS; r++) {
      const float x = a[(size_t)r * row_step + k * depth_step];
      sums[r] = fused((v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}, b, sums[r]);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < ROWS; r++) memcpy(out + (size_t)r * out_step, &sums[r], sizeof(v16));
}

/// Copies up to 16 floats; nearly always it is all of them.
static CCPU_INLINE void copy_floats(float *to, const float *from, size_t count) {
  if (count == COLUMNS) memcpy(to, from, COLUMNS * sizeof(float));
  else memcpy(to, from, count * sizeof(float));
}

/// Packs columns, 16 a panel; those past the end are 0.
static CCPU_INLINE void pack_columns(
    const float *b, size_t depth_step, size_t column_step, size_t columns, size_t depth, v16 (*panels)[DEPTH]) {
  for (size_t first = 0; first < columns; first += COLUMNS) {
    v16 *panel = panels[first / COLUMNS];
    const size_t width = columns - first < COLUMNS ? columns - first : COLUMNS;
    const float *from = b + first * column_step;
    if (width < COLUMNS) memset(panel, 0, depth * sizeof(v16));
    if (column_step == 1) {
      for (size_t k = 0; k < depth; k++) copy_floats((float *)&panel[k], from + k * depth_step, width);
    } else {
      float *to = (float *)panel;
      for (size_t j = 0; j < width; j++)
        for (size_t k = 0; k < depth; k++) to[k * COLUMNS + j] = from[j * column_step + k * depth_step];
    }
  }
}

/// Packs rows as they lie, depth by depth or row by row, -0 as 0. What is past their end are other numbers.
static CCPU_INLINE void pack_rows(
    const float *a, size_t row_step, size_t depth_step, size_t rows, size_t depth, float *to) {
  if (depth_step == 1)
    for (size_t r = 0; r < rows; r++)
      for (size_t k = 0; k < depth; k++) to[r * DEPTH + k] = 0.0f + a[r * row_step + k];
  else
    for (size_t k = 0; k < depth; k++)
      for (size_t r = 0; r < rows; r++) to[k * BLOCK_ROWS + r] = 0.0f + a[r * row_step + k * depth_step];
}

static CCPU_INLINE void product(
    size_t rows, size_t columns, size_t depth_all, const float *a, size_t row_step, size_t depth_step, const float *b,
    size_t b_depth_step, size_t b_column_step, float *out, size_t out_step) {
  v16 panels[PANELS][DEPTH] __attribute__((aligned(64)));
  float packed[BLOCK_ROWS * DEPTH] __attribute__((aligned(64)));
  memset(packed, 0, sizeof packed);
  for (size_t column = 0; column < columns; column += BLOCK_COLUMNS) {
    const size_t width = columns - column < BLOCK_COLUMNS ? columns - column : BLOCK_COLUMNS;
    for (size_t start = 0; start < depth_all || start == 0; start += DEPTH) {
      const size_t depth = depth_all - start < DEPTH ? depth_all - start : DEPTH;
      pack_columns(b + start * b_depth_step + column * b_column_step, b_depth_step, b_column_step, width, depth, panels);
      for (size_t row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        pack_rows(a + row * row_step + start * depth_step, row_step, depth_step, height, depth, packed);
        for (size_t panel = 0; panel < width; panel += COLUMNS) {
          const size_t wide = width - panel < COLUMNS ? width - panel : COLUMNS;
          for (size_t group = 0; group < height; group += ROWS) {
            const size_t high = height - group < ROWS ? height - group : ROWS;
            const int is_whole = wide == COLUMNS && high == ROWS;
            float *to = out + (row + group) * out_step + column + panel;
            float tile[ROWS * COLUMNS];
            if (!is_whole && start > 0)
              for (size_t r = 0; r < high; r++) copy_floats(tile + r * COLUMNS, to + r * out_step, wide);
            float *sums = is_whole ? to : tile;
            const size_t step = is_whole ? out_step : COLUMNS;
            if (depth_step == 1)
              add_group(packed + group * DEPTH, DEPTH, 1, panels[panel / COLUMNS], depth, sums, step, start == 0);
            else
              add_group(packed + group, 1, BLOCK_ROWS, panels[panel / COLUMNS], depth, sums, step, start == 0);
            if (!is_whole)
              for (size_t r = 0; r < high; r++) copy_floats(to + r * out_step, tile + r * COLUMNS, wide);
          }
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
