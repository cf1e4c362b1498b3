// The best row by way of OpenBLAS: float32 products of cache-sized tiles, the
// rows whose product comes within the proved bound of the best, and binary64
// scores of those. The proof is in Indexer.docc/ExactAssignment.md; names here
// follow it.
#include <cblas.h>
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "CKernels.h"
#include "levels.h"

enum { TILE_ROWS = 1024, CANDIDATES = 48 };

// One vector's search as it goes over the tiles.
struct search {
  double norm;          // at least the vector's norm
  double lower;         // some row's score is at least this
  double best;          // greatest binary64 score so far
  uint32_t winner;      // its row
  uint32_t count;       // candidates waiting
  uint32_t candidate[CANDIDATES];
  double upper[CANDIDATES];  // their scores are at most this
};

size_t ckernels_sgemm_scratch(size_t count) {
  return count * (TILE_ROWS * sizeof(float) + sizeof(struct search)) + 64;
}

void ckernels_single_threaded_blas(void) { openblas_set_num_threads(1); }

const char *ckernels_blas_name(void) { return openblas_get_config(); }

static void drop_beaten(struct search *s) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < s->count; i++) {
    if (s->upper[i] < s->lower) continue;
    s->candidate[kept] = s->candidate[i];
    s->upper[kept++] = s->upper[i];
  }
  s->count = kept;
}

static void rescore(
    int level, struct search *s, const struct ckernels_rows *rows, const float *x, struct ckernels_counts *counts) {
  drop_beaten(s);
  for (uint32_t i = 0; i < s->count; i++) {
    uint32_t c = s->candidate[i];
    double score = ckernels_score(level, x, rows->values + c * rows->dimension, rows->dimension);
    if (score > s->best || (score == s->best && c < s->winner)) {
      s->best = score;
      s->winner = c;
    }
  }
  counts->rescored += s->count;
  if (s->best > s->lower) s->lower = s->best;
  s->count = 0;
}

// The greatest of n products. The ternary is maxps exactly, so that the
// compiler may take 16 at a time.
static ALWAYS_INLINE float greatest(const float *p, size_t n) {
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

// Whether any of 16 products reaches the threshold.
static ALWAYS_INLINE int any_reaches(const float *p, float threshold) {
  int any = 0;
  for (int l = 0; l < 16; l++) any |= p[l] >= threshold;
  return any;
}

// A float at most `value`: conversion rounds to nearest, one step down undoes it.
static float float_below(double value) {
  if (value > FLT_MAX) return FLT_MAX;
  if (value < -FLT_MAX) return -INFINITY;
  return nextafterf((float)value, -INFINITY);
}

static ALWAYS_INLINE void look_through(
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
      if (s->count == CANDIDATES) {
        drop_beaten(s);
        if (s->count > CANDIDATES / 2) rescore(level, s, rows, x, counts);
      }
      s->candidate[s->count] = (uint32_t)(base + c);
      // One addition in binary64 of numbers below 2^128: the bound's slack covers its rounding.
      s->upper[s->count++] = (double)p[c] + error;
    }
  }
}

#define LOOK_ARGUMENTS                                                                                    \
  int level, struct search *s, const float *p, size_t n, size_t base, double error,                       \
      const struct ckernels_rows *rows, const float *x, struct ckernels_counts *counts
static void look_portable(LOOK_ARGUMENTS) { look_through(level, s, p, n, base, error, rows, x, counts); }
TARGET_AVX2 static void look_avx2(LOOK_ARGUMENTS) { look_through(level, s, p, n, base, error, rows, x, counts); }
TARGET_AVX512 static void look_avx512(LOOK_ARGUMENTS) { look_through(level, s, p, n, base, error, rows, x, counts); }

void ckernels_best_sgemm(
    int level, const struct ckernels_rows *rows, const float *vectors, size_t count, void *scratch, uint32_t *winners,
    double *scores, struct ckernels_counts *counts) {
  const size_t d = rows->dimension;
  struct search *searches = scratch;
  float *products = (float *)(searches + count);
  // gamma: (d + 16) roundings of 2^-24 for the float32 product, as many of
  // 2^-53 for the score itself, 1/64 more for the arithmetic of the bound.
  const double n = (double)d + 16;
  const double gamma = (n * 0x1p-24 / (1 - n * 0x1p-24) + n * 0x1p-53) * (1 + 0x1p-6);
  // Products and sums below the normal range lose at most 2^-126 each, flushed or not.
  const double tiny = n * 0x1p-124;

  for (size_t i = 0; i < count; i++) {
    const float *x = vectors + i * d;
    searches[i] = (struct search){
        .norm = sqrt(ckernels_score(level, x, x, d)) * (1 + 0x1p-30),
        .lower = -INFINITY, .best = -INFINITY, .winner = UINT32_MAX};
  }
  for (size_t base = 0; base < rows->count; base += TILE_ROWS) {
    const size_t width = rows->count - base < TILE_ROWS ? rows->count - base : TILE_ROWS;
    double longest = 0;
    for (size_t c = base; c < base + width; c++) longest = rows->norms[c] > longest ? rows->norms[c] : longest;
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, (blasint)width, (blasint)d, 1.0f, vectors, (blasint)d,
        rows->values + base * d, (blasint)d, 0.0f, products, TILE_ROWS);
    for (size_t i = 0; i < count; i++) {
      const double size = searches[i].norm * longest;
      const float *x = vectors + i * d, *p = products + i * TILE_ROWS;
      // A partial sum is at most |x||c|(1 + gamma) in magnitude: below 2^127 no
      // product or sum overflows. Otherwise this tile is scored outright.
      if (!(size < 0x1p126)) {
        for (size_t c = base; c < base + width; c++) {
          double score = ckernels_score(level, x, rows->values + c * d, d);
          if (score > searches[i].best || (score == searches[i].best && c < searches[i].winner)) {
            searches[i].best = score;
            searches[i].winner = (uint32_t)c;
          }
        }
        if (searches[i].best > searches[i].lower) searches[i].lower = searches[i].best;
        counts->rescored += width;
        counts->fallbacks += 1;
        continue;
      }
      const double error = gamma * size + tiny;
      switch (level) {
        case CKERNELS_AVX512: look_avx512(level, searches + i, p, width, base, error, rows, x, counts); break;
        case CKERNELS_AVX2: look_avx2(level, searches + i, p, width, base, error, rows, x, counts); break;
        default: look_portable(level, searches + i, p, width, base, error, rows, x, counts);
      }
    }
  }
  for (size_t i = 0; i < count; i++) {
    rescore(level, searches + i, rows, vectors + i * d, counts);
    winners[i] = searches[i].winner;
    scores[i] = searches[i].best;
  }
}
