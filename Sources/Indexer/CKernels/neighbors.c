// The k best rows of each vector, exactly: float32 products of cache-sized
// tiles, and binary64 scores of the rows whose product comes within the proved
// bound of the k-th best so far. The bound is that of sgemm.c.
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "CCpu.h"
#include "CKernels.h"
#include "CRows.h"
#include "products.h"

size_t ckernels_nearest_scratch(size_t count) { return count * TILE_ROWS * sizeof(float) + 64; }

// Puts a row among the k best; rows come in ascending order of id, so an equal
// score keeps the lower id by going after it.
static void insert(double score, int64_t id, size_t k, int64_t *ids, double *scores, uint32_t *found) {
  size_t at = *found;
  if (at == k) {
    if (!(score > scores[k - 1])) return;
    at = k - 1;
  } else {
    *found += 1;
  }
  size_t low = 0, high = at;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (scores[middle] >= score) low = middle + 1; else high = middle;
  }
  memmove(scores + low + 1, scores + low, (at - low) * sizeof(double));
  memmove(ids + low + 1, ids + low, (at - low) * sizeof(int64_t));
  scores[low] = score;
  ids[low] = id;
}

static CCPU_INLINE void look_through(
    int level, const struct ckernels_rows *rows, const float *x, const float *p, size_t base, size_t n, double error,
    double floor, int64_t first_id, size_t k, int64_t *ids, double *scores, uint32_t *found) {
  float threshold = float_below((*found < k ? floor : fmax(floor, scores[k - 1])) - error);
  for (size_t i = 0; i < n; i += 16) {
    size_t end = i + 16 < n ? i + 16 : n;
    if (end - i == 16 && !any_reaches(p + i, threshold)) continue;
    for (size_t c = i; c < end; c++) {
      if (!(p[c] >= threshold)) continue;
      size_t row = base + c;
      double score = crows_score(level, x, rows->values + row * rows->dimension, rows->dimension);
      insert(score, first_id + (int64_t)row, k, ids, scores, found);
      if (*found == k) threshold = float_below(fmax(floor, scores[k - 1]) - error);
    }
  }
}

CCPU_COMPILE(
    void, look_through,
    (int level, const struct ckernels_rows *rows, const float *x, const float *p, size_t base, size_t n, double error,
     double floor, int64_t first_id, size_t k, int64_t *ids, double *scores, uint32_t *found),
    (level, rows, x, p, base, n, error, floor, first_id, k, ids, scores, found))

void ckernels_nearest(
    int level, const struct ckernels_rows *rows, int64_t first_id, const float *vectors, const double *floors,
    size_t count, size_t k, void *scratch, int64_t *ids, double *scores, uint32_t *found) {
  const size_t d = rows->dimension;
  float *products = scratch;
  const double gamma = products_float32_gamma(d), tiny = products_float32_tiny(d);
  for (size_t base = 0; base < rows->count; base += TILE_ROWS) {
    const size_t width = rows->count - base < TILE_ROWS ? rows->count - base : TILE_ROWS;
    double longest = 0;
    for (size_t c = base; c < base + width; c++) longest = rows->norms[c] > longest ? rows->norms[c] : longest;
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, (blasint)width, (blasint)d, 1.0f, vectors, (blasint)d,
        rows->values + base * d, (blasint)d, 0.0f, products, TILE_ROWS);
    for (size_t i = 0; i < count; i++) {
      const float *x = vectors + i * d, *p = products + i * TILE_ROWS;
      const double size = products_norm_above(level, x, d) * longest;
      int64_t *out_ids = ids + i * k;
      double *out_scores = scores + i * k;
      // Where a partial sum might overflow the bound says nothing: score all.
      if (!(size < 0x1p126)) {
        for (size_t c = base; c < base + width; c++) {
          insert(crows_score(level, x, rows->values + c * d, d), first_id + (int64_t)c, k, out_ids, out_scores, found + i);
        }
        continue;
      }
      const double error = gamma * size + tiny;
      CCPU_CALL(
          level, look_through, level, rows, x, p, base, width, error, floors[i], first_id, k, out_ids, out_scores,
          found + i);
    }
  }
}
