// Vectors as the int8 cascade takes them: the slice and the whole of each in
// integers, and the terms of its bounds. Names follow the proof in
// Indexer.docc/ExactAssignment.md.
#pragma once

#include <math.h>
#include <string.h>

#include "CKernels.h"
#include "CRows.h"
#include "cascade.h"
#include "cascade_threshold.h"
#include "cascade_turn.h"
#include "search.h"

// A vector on its way: the terms of its bounds, in units of the slice's scales
// where they meet integers.
struct vector {
  // A second look reads these and search.lower: one line of the cache.
  double known;      // score(x, mc)
  double slack;      // rounding of everything in binary32 and binary64
  double scale;      // of the whole vector in 16 bits
  double error;      // at least |e| of it
  double length;     // at least |scale * elements|
  int32_t slice_sum; // the sum of its slice times what is added to elements of rows
  struct search search;
  double size;       // at least |a|
  double turning;    // how far the turned vector may be from P a
} __attribute__((aligned(64)));

// Rows on their way from memory, to a binary64 score and to a second look.
enum { QUEUE = 16, AHEAD = 16 };

// A row for a second look at it.
struct hit {
  uint32_t vector;
  uint32_t position;
};

// Rows that looked best of their vector, on their way from memory to a score.
struct promising {
  struct vector *vector;
  const float *x;
  double upper;
  uint32_t row;
};

struct queue {
  struct promising item[QUEUE];
  uint32_t next;
};

// Where the parts of the scratch are, for tiles of `count` vectors.
struct layout {
  size_t groups, vectors, centred, wide, turned, slices, narrow, sums, tails, thresholds, rest, error, length, lower,
      seeds, hits, hit_room, total;
};

static struct layout lay_out(const struct ckernels_cascade *k, size_t count) {
  struct layout at;
  size_t next = 0;
  at.groups = (count + GROUP_VECTORS - 1) / GROUP_VECTORS;
  const size_t padded = at.groups * GROUP_VECTORS + 16;
#define PART(name, bytes) at.name = next, next += ((bytes) + 63) / 64 * 64
  PART(vectors, count * sizeof(struct vector));
  PART(centred, count * k->dimension * sizeof(float));
  PART(wide, at.groups * GROUP_VECTORS * k->whole_width * sizeof(int16_t));
  PART(turned, at.groups * GROUP_VECTORS * cascade_turned_width(k) * sizeof(float));
  PART(slices, at.groups * GROUP_VECTORS * k->padded);
  PART(narrow, k->tail_blocks > 0 ? at.groups * GROUP_VECTORS * k->whole_width : 0);
  PART(sums, padded * sizeof(int32_t));
  PART(tails, padded * sizeof(double));
  PART(thresholds, padded * sizeof(int32_t));
  PART(rest, padded * sizeof(float));
  PART(error, padded * sizeof(float));
  PART(length, padded * sizeof(float));
  PART(lower, padded * sizeof(float));
  PART(seeds, count * SEEDS * sizeof(uint32_t));
  at.hit_room = count * BLOCK_ROWS * 2;
  PART(hits, at.hit_room * sizeof(struct hit));
#undef PART
  at.total = next;
  return at;
}

// A tile of vectors and the rows that they are compared with.
struct tile {
  int level;
  const struct ckernels_cascade *k;
  const float *vectors;  // [count x d]
  size_t count;
  size_t groups;         // of six
  struct vector *v;
  int16_t *wide;         // [groups x GROUP_VECTORS x whole_width]
  int8_t *slices;        // [groups x padded x GROUP_VECTORS] in fours
  int32_t *thresholds;
  // How the terms of each vector differ from the usual ones, and what sums of its slice must reach but for those.
  float *rest, *error, *length, *lower;
  uint32_t *seeds;  // [count x SEEDS] positions
  struct hit *hits;
  size_t hit_room, hit_count;
  struct queue queue;
  struct ckernels_counts *counts;
};

// Quantizes a slice into its place in a group of six.
static int32_t quantize_slice(
    const float *p, size_t width, float scale, const struct cascade_range *range, float *rest, float *kept, int8_t *out) {
  const float inverse = 1 / scale, most = (float)range->vector_most;
  int32_t sum = 0;
  for (size_t j = 0; j < width; j++) {
    float q = rintf(p[j] * inverse);
    q = q < most ? q : most;
    q = q > -most ? q : -most;
    kept[j] = scale * q;
    rest[j] = p[j] - kept[j];
    sum += (int32_t)q;
    out[j / 4 * 4 * GROUP_VECTORS + j % 4] = (int8_t)q;
  }
  return range->row_offset * sum;
}

// Lengths of the tails, at least: of N a where a is a vector's integers, and for
// what they leave out as much as it can be.
static void measure_tails(
    const struct ckernels_cascade *k, const struct layout *at, const struct vector *v, size_t count, char *base,
    float *quantized, float *left) {
  const size_t d = k->dimension;
  int8_t *narrow = (int8_t *)(base + at->narrow);
  int32_t *sums = (int32_t *)(base + at->sums);
  double *tails = (double *)(base + at->tails);
  double scales[count], errors[count];
  memset(narrow, 0, at->groups * GROUP_VECTORS * k->whole_width);
  for (size_t i = 0; i < count; i++) {
    const float *a = (const float *)(base + at->centred) + i * d;
    float greatest = 0;
    for (size_t j = 0; j < d; j++) greatest = fabsf(a[j]) > greatest ? fabsf(a[j]) : greatest;
    const float scale = greatest > 0x1p-80f ? greatest / (float)k->form->tail.vector_most : 1;
    int8_t *out = narrow + i / GROUP_VECTORS * GROUP_VECTORS * k->whole_width + i % GROUP_VECTORS * 4;
    sums[i] = quantize_slice(a, d, scale, &k->form->tail, left, quantized, out);
    scales[i] = (double)scale;
    errors[i] = norm_above(left, d) + 0x1p-22 * v[i].size;
  }
  tail_squares(k, narrow, sums, at->groups, tails);
  for (size_t i = 0; i < count; i++) {
    tails[i] = scales[i] * sqrt(tails[i]) * (1 + 0x1p-18) + k->tail_norm * errors[i];
  }
}

// Takes vectors in; 0 when one is out of the range for which bounds and integers
// are sized, and the tile is for others.
static int begin_tile(
    struct tile *t, int level, const struct ckernels_cascade *k, const float *vectors, size_t count, void *scratch,
    struct ckernels_counts *counts) {
  const size_t d = k->dimension, width = k->width;
  const struct layout at = lay_out(k, count);
  char *base = scratch;
  struct vector *v = (struct vector *)(base + at.vectors);
  float *centred = (float *)(base + at.centred), *turned = (float *)(base + at.turned);
  int16_t *wide = (int16_t *)(base + at.wide);
  int8_t *slices = (int8_t *)(base + at.slices);
  float *rest = (float *)(base + at.rest), *error = (float *)(base + at.error), *length = (float *)(base + at.length),
        *lower = (float *)(base + at.lower);
  *t = (struct tile){
      .level = level, .k = k, .vectors = vectors, .count = count, .groups = at.groups, .v = v, .wide = wide,
      .slices = slices, .thresholds = (int32_t *)(base + at.thresholds), .rest = rest, .error = error, .length = length,
      .lower = lower, .seeds = (uint32_t *)(base + at.seeds), .hits = (struct hit *)(base + at.hits),
      .hit_room = at.hit_room, .counts = counts};
  for (size_t i = 0; i < count; i++) {
    float *a = centred + i * d;
    for (size_t j = 0; j < d; j++) a[j] = vectors[i * d + j] - k->mean_vectors[j];
    v[i].search = search_start();
    v[i].size = norm_above(a, d);
    // |x| + |mx|, as x is a and mx.
    const double both = v[i].size * (1 + 0x1p-20) + 2 * k->mean_vectors_norm;
    // Differences from the means are rounded to binary32, the rest to binary64.
    v[i].slack = 0x1p-22 * both * k->spread + ((double)d + 16) * 0x1p-50 * both * k->longest + 0x1p-100;
    // Out of the range for which bounds and integers are sized.
    const double reach = 4 * both * k->spread * k->vector_stretch * k->row_stretch * fmax(1, k->tail_norm);
    if (!((reach + v[i].slack) / k->unit < 0x1p40) || !(both < 0x1p40)) {
      counts->fallbacks += 1;
      return 0;
    }
  }
  const size_t stride = width < d ? cascade_turned_width(k) : d;
  float quantized[d], left[d];
  for (size_t i = 0; i < at.groups * GROUP_VECTORS; i++) lower[i] = 0;
  memset(wide + count * k->whole_width, 0, (at.groups * GROUP_VECTORS - count) * k->whole_width * sizeof(int16_t));
  for (size_t i = 0; i < count; i++) {
    const float scale = quantize_wide(centred + i * d, d, k->whole_width, v[i].size, left, wide + i * k->whole_width);
    lower[i] = scale * (float)k->basis_step;
    v[i].known = crows_score(level, vectors + i * d, k->mean_rows, d);
    v[i].scale = (double)scale;
    // left[] is rounded by a few 2^-24 of |a|.
    v[i].error = norm_above(left, d) + 0x1p-22 * v[i].size;
    v[i].length = v[i].size + v[i].error;
    // The turned vector is rounded by as little.
    v[i].turning = width < d ? (v[i].error + 0x1p-21 * v[i].size) * k->vector_stretch : 0;
  }
  if (width < d) turn(k, wide, lower, at.groups, turned);
  else turned = centred;
  const double *tails = (const double *)(base + at.tails);
  if (k->tail_blocks > 0) measure_tails(k, &at, v, count, base, quantized, left);
  memset(slices, 0, at.groups * GROUP_VECTORS * k->padded);
  for (size_t i = at.groups * GROUP_VECTORS; i-- > 0;) {
    // Vectors that fill up the last group match nothing.
    rest[i] = error[i] = length[i] = 0;
    lower[i] = 3.0e9f;
  }
  for (size_t i = 0; i < count; i++) {
    const float *p = turned + i * stride;
    // At least |a| and |P a|.
    const double size = v[i].size * k->vector_stretch;
    int8_t *out = slices + i / GROUP_VECTORS * GROUP_VECTORS * k->padded + i % GROUP_VECTORS * 4;
    v[i].slice_sum = quantize_slice(p, width, (float)k->vector_scale, &k->form->slice, left, quantized, out);
    const double rho = v[i].turning;
    const double e = norm_above(left, width) + 0x1p-22 * size + rho;
    // norm_above() is not above by more than this.
    const double kept = fmax(norm_above(p, width) * (1 - ((double)width / 64 + 16) * 0x1p-22) - 0x1p-50 - rho, 0);
    double outside = fmax(v[i].size * v[i].size * (1 + 2 * k->skew) * (1 + 0x1p-40) - kept * kept, 0);
    if (k->tail_blocks > 0) outside = tails[i] * tails[i];
    // How the vector's terms differ from the usual ones, rounded up.
    const double up = 0x1p-20 * (size + sqrt(outside)), unit = k->unit;
    rest[i] = (float)((sqrt(e * e + outside) - (double)k->usual.rest + up) / unit);
    error[i] = (float)((e - (double)k->usual.error + up) / unit);
    length[i] = (float)((norm_above(quantized, width) - (double)k->usual.length + up) / unit);
  }
  return 1;
}

// What sums of a vector's slice must reach, but for the terms of its bound, so
// that a row may still win.
static inline float lower_of(const struct ckernels_cascade *k, const struct vector *v) {
  return lower_in_units((v->search.lower - v->known - v->slack) / k->unit, v->slice_sum);
}
