// The best row by way of float32 products: of each tile of rows, the greatest
// product raises what the winner must reach, and the rows within the proved
// bound of that are candidates for binary64 scores. The proof is in
// Indexer.docc/ExactAssignment.md; names here follow it.
#include "products.h"

#include <math.h>

#include "CCpu.h"
#include "search.h"

// The greatest of n products. The ternary is maxps exactly, so that the
// compiler may take 16 at a time.
static CCPU_INLINE float greatest(const float *p, size_t n) {
  float m[16];
  for (int l = 0; l < 16; l++) m[l] = -INFINITY;
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int l = 0; l < 16; l++) m[l] = p[i + l] > m[l] ? p[i + l] : m[l];
  }
  for (; i < n; i++) m[0] = p[i] > m[0] ? p[i] : m[0];
  for (int l = 1; l < 16; l++) m[0] = m[l] > m[0] ? m[l] : m[0];
  return m[0];
}

static CCPU_INLINE void look_through(
    int level, struct search *s, const float *p, size_t n, size_t base, double error,
    const struct ckernels_rows *rows, const float *x, struct ckernels_counts *counts) {
  double top = (double)greatest(p, n);
  if (top - error > s->lower) s->lower = top - error;
  float threshold = float_below(s->lower - error);
  if (top < (double)threshold) return;
  for (size_t i = 0; i < n; i += 16) {
    size_t end = i + 16 < n ? i + 16 : n;
    if (end - i == 16 && !any_reaches(p + i, threshold)) continue;
    for (size_t c = i; c < end; c++) {
      if (!(p[c] >= threshold)) continue;
      // One addition in binary64 of numbers below 2^128: the bound's slack covers its rounding.
      search_add(level, s, (uint32_t)(base + c), (double)p[c] + error, rows, x, counts);
    }
  }
}

CCPU_COMPILE(
    void, look_through,
    (int level, struct search *s, const float *p, size_t n, size_t base, double error,
     const struct ckernels_rows *rows, const float *x, struct ckernels_counts *counts),
    (level, s, p, n, base, error, rows, x, counts))

size_t products_scratch(size_t count) {
  return count * (TILE_ROWS * sizeof(float) + sizeof(struct search) + sizeof(double)) + 64;
}

void products_best(
    int level, const struct ckernels_rows *rows, const struct product_source *source, const float *vectors,
    size_t count, void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts) {
  const size_t d = rows->dimension;
  struct search *searches = scratch;
  float *products = (float *)(searches + count);
  double *norms = (double *)(products + count * TILE_ROWS);
  for (size_t i = 0; i < count; i++) {
    searches[i] = search_start();
    norms[i] = products_norm_above(level, vectors + i * d, d);
  }
  for (size_t base = 0; base < rows->count; base += TILE_ROWS) {
    const size_t width = rows->count - base < TILE_ROWS ? rows->count - base : TILE_ROWS;
    double longest = 0;
    for (size_t c = base; c < base + width; c++) longest = rows->norms[c] > longest ? rows->norms[c] : longest;
    const double row_error = source->row_errors != NULL ? source->row_errors[base / TILE_ROWS] : 0;
    source->multiply(source->context, base, width, products);
    for (size_t i = 0; i < count; i++) {
      const double size = norms[i] * longest;
      const float *x = vectors + i * d, *p = products + i * TILE_ROWS;
      // A partial sum is at most a little more than |x||c| in magnitude: below
      // 2^127 no product or sum overflows, and no rounded element either.
      // Otherwise this tile is scored outright.
      if (!(size < 0x1p126 && norms[i] < 0x1p126 && longest < 0x1p126)) {
        for (size_t c = base; c < base + width; c++) search_score(level, searches + i, rows, x, (uint32_t)c);
        counts->rescored += width;
        counts->fallbacks += 1;
        continue;
      }
      const double vector_error = source->vector_errors != NULL ? source->vector_errors[i] : 0;
      const double rounding = (vector_error * longest + norms[i] * (1 + 0x1p-8) * row_error) * (1 + 0x1p-20);
      const double error = source->gamma * size + rounding + source->tiny;
      CCPU_CALL(level, look_through, level, searches + i, p, width, base, error, rows, x, counts);
    }
  }
  for (size_t i = 0; i < count; i++) {
    search_rescore(level, &searches[i], rows, vectors + i * d, counts);
    winners[i] = searches[i].winner;
    scores[i] = searches[i].best;
  }
}
