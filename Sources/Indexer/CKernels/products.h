// What the engines on float32 products share: the search, given the products of
// a tile of rows and a bound of how far they may be from the scores.
#pragma once

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "CCpu.h"
#include "CKernels.h"
#include "CRows.h"

enum { TILE_ROWS = 1024 };

// Where products come from. A product f and the score S of a vector x and a row
// c are no further apart than
//   gamma |x||c| + vector_error |c| + (1 + 2^-8) |x| row_error + tiny.
struct product_source {
  // Writes the products of all vectors with rows [base, base + width),
  // [count x TILE_ROWS]; base is a multiple of TILE_ROWS.
  void (*multiply)(const void *context, size_t base, size_t width, float *products);
  const void *context;
  double gamma, tiny;
  // What elements lost before they were multiplied; NULL for nothing.
  const double *vector_errors;  // [count]
  const double *row_errors;     // the greatest of each tile of rows
};

// Bytes of scratch that products_best needs for up to `count` vectors.
size_t products_scratch(size_t count);

// The winners and their scores.
void products_best(
    int level, const struct ckernels_rows *, const struct product_source *, const float *vectors, size_t count,
    void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts);

// At least the norm of a vector: the score of a vector with itself is its
// squared norm to 1 part in 2^33.
static inline double products_norm_above(int level, const float *x, size_t d) {
  return sqrt(crows_score(level, x, x, d)) * (1 + 0x1p-30);
}

// gamma of Higham for n roundings of 2^-bits.
static inline double products_gamma(double n, double unit) { return n * unit / (1 - n * unit); }

// What a float32 product of rows of d elements may be off by, gamma |x||c| + tiny:
// (d + 16) roundings of 2^-24 for the product, as many of 2^-53 for the score
// itself, 1/64 more for the arithmetic of the bound.
static inline double products_float32_gamma(size_t d) {
  const double n = (double)d + 16;
  return (products_gamma(n, 0x1p-24) + n * 0x1p-53) * (1 + 0x1p-6);
}

// Products and sums below the normal range lose at most 2^-126 each, flushed or not.
static inline double products_float32_tiny(size_t d) { return ((double)d + 16) * 0x1p-124; }

// A float at most `value`: conversion rounds to nearest, one step down undoes it.
static inline float float_below(double value) {
  if (value > FLT_MAX) return FLT_MAX;
  if (value < -FLT_MAX) return -INFINITY;
  return nextafterf((float)value, -INFINITY);
}

// Whether any of 16 products reaches the threshold.
static CCPU_INLINE int any_reaches(const float *p, float threshold) {
  int any = 0;
  for (int l = 0; l < 16; l++) any |= p[l] >= threshold;
  return any;
}
