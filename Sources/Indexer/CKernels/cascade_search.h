// The int8 cascade: a slice of the dimensions in int8 against all rows, the
// rows that could still win in int8 over all dimensions with the vector in 16
// bits, the last few in binary64. Every step drops only rows whose score is provably below another's;
// the proof is in Indexer.docc/ExactAssignment.md and names follow it.
#pragma once

#include <math.h>
#include <string.h>

#include "CCpu.h"
#include "CKernels.h"
#include "cascade.h"
#include "cascade_guess.h"
#include "cascade_products.h"
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

struct hit {
  uint32_t vector;
  uint32_t position;
};

// Where the parts of the scratch are, for tiles of `count` vectors.
struct layout {
  size_t groups, vectors, centred, wide, turned, slices, narrow, sums, tails, thresholds, rest, error, length, lower,
      guess, seeds, hits, hit_room, sgemm, total;
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
  PART(guess, guess_scratch(k, count));
  PART(seeds, count * SEEDS * sizeof(uint32_t));
  at.hit_room = count * BLOCK_ROWS * 2;
  PART(hits, at.hit_room * sizeof(struct hit));
  PART(sgemm, ckernels_sgemm_scratch(count));
#undef PART
  at.total = next;
  return at;
}

static size_t scratch_bytes(const struct ckernels_cascade *k, size_t count) { return lay_out(k, count).total + 64; }

// The second look at a row: its score lies within `reach` of the result.
static inline double second_look(
    const struct ckernels_cascade *k, const struct vector *v, const int16_t *vector, size_t position, double *reach,
    uint32_t *row) {
  const uint8_t *whole = k->whole + position * k->whole_stride;
  const struct whole_row *about = (const struct whole_row *)(whole + k->whole_width);
  const int32_t product = row_product((const int8_t *)whole, vector, k->whole_width);
  const double error = (double)about->error, length = (double)about->length;
  *reach = (v->error * length + v->length * error + v->error * error) * (1 + 0x1p-30) + v->slack;
  *row = about->row;
  return about->bias + v->known + v->scale * (double)about->scale * (double)product;
}

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

// Into the second cache: a whole row would displace too much of the first.
static inline void prefetch(const void *start, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)start + at, 0, 2);
}

// Scores what has waited longest.
static void score_oldest(
    int level, const struct ckernels_cascade *k, struct queue *queue, struct ckernels_counts *counts) {
  struct promising *p = queue->item + queue->next % QUEUE;
  queue->next += 1;
  if (p->vector != NULL && p->upper >= p->vector->search.lower) {
    search_score(level, &p->vector->search, k->rows, p->x, p->row);
    counts->rescored += 1;
  }
  p->vector = NULL;
}

static void consider(
    int level, const struct ckernels_cascade *k, struct vector *v, const int16_t *vector, const float *x,
    size_t position, struct queue *queue, struct ckernels_counts *counts) {
  double reach;
  uint32_t row;
  const double middle = second_look(k, v, vector, position, &reach, &row);
  if (middle + reach < v->search.lower) return;
  // It has its score already.
  if (row == v->search.winner) return;
  // A row that looks better than what is known is scored soon: its exact score
  // spares other rows their second look.
  if (middle > v->search.lower + reach / 4) {
    if (middle - reach > v->search.lower) v->search.lower = middle - reach;
    prefetch(k->rows->values + (size_t)row * k->dimension, k->dimension * sizeof(float));
    score_oldest(level, k, queue, counts);
    queue->item[(queue->next - 1) % QUEUE] = (struct promising){v, x, middle + reach, row};
    return;
  }
  search_add(level, &v->search, row, middle + reach, k->rows, x, counts);
}

static int32_t clamped(float value) { return (int32_t)fminf(fmaxf(value, -2.0e9f), 2.0e9f); }

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

static void best(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *guesses,
    void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts) {
  const size_t d = k->dimension, width = k->width;
  const struct layout at = lay_out(k, count);
  char *base = (char *)(((uintptr_t)scratch + 63) / 64 * 64);
  struct vector *v = (struct vector *)(base + at.vectors);
  float *centred = (float *)(base + at.centred), *turned = (float *)(base + at.turned);
  int16_t *wide = (int16_t *)(base + at.wide);
  int8_t *slices = (int8_t *)(base + at.slices);
  int32_t *thresholds = (int32_t *)(base + at.thresholds);
  float *rest = (float *)(base + at.rest), *error = (float *)(base + at.error), *length = (float *)(base + at.length),
        *lower = (float *)(base + at.lower);
  struct hit *hits = (struct hit *)(base + at.hits);

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
      ckernels_best_sgemm(level, k->rows, vectors, count, base + at.sgemm, winners, scores, counts);
      return;
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

  // A row that is known to be good is scored first; the others then have that to beat.
  for (size_t i = 0; guesses != NULL && i < count + AHEAD; i++) {
    if (i < count && guesses[i] < k->rows->count) prefetch(k->rows->values + guesses[i] * d, d * sizeof(float));
    if (i < AHEAD || guesses[i - AHEAD] >= k->rows->count) continue;
    search_score(level, &v[i - AHEAD].search, k->rows, vectors + (i - AHEAD) * d, guesses[i - AHEAD]);
    counts->rescored += 1;
  }
  uint32_t *seeds = (uint32_t *)(base + at.seeds);
  guess(k, slices, count, base + at.guess, seeds);
  struct queue queue = {0};
  for (size_t i = 0; i < count * SEEDS; i++) {
    if (i + AHEAD < count * SEEDS && seeds[i + AHEAD] < k->rows->count) {
      prefetch(k->whole + seeds[i + AHEAD] * k->whole_stride, k->whole_stride);
    }
    if (seeds[i] >= k->rows->count) continue;
    const size_t vector = i / SEEDS;
    consider(level, k, v + vector, wide + vector * k->whole_width, vectors + vector * d, seeds[i], &queue, counts);
  }
  for (size_t i = 0; i < QUEUE; i++) score_oldest(level, k, &queue, counts);

  for (size_t first = 0; first < k->blocks;) {
    // Chunks grow, so that early ones raise the lower bounds for the others.
    size_t end = first + (first < 1 ? 1 : first < CHUNK_BLOCKS ? first : CHUNK_BLOCKS);
    if (end > k->blocks) end = k->blocks;
    for (size_t i = 0; i < count; i++) {
      // In the middle of rounding at 2^-24 of each term, four units and 2^-20.
      const double value = (v[i].search.lower - v[i].known - v[i].slack) / k->unit;
      lower[i] = (float)(value - fabs(value) * 0x1p-20 + (double)v[i].slice_sum - 4);
    }
    size_t hit_count = 0;
    for (size_t block = first; block < end; block++) {
      const struct block_bound bound = k->bounds[block];
      for (size_t i = 0; i < at.groups * GROUP_VECTORS; i++) {
        const float by_rest = fmaxf(rest[i] * bound.least.rest, rest[i] * bound.most.rest);
        const float by_error = fmaxf(error[i] * bound.least.error, error[i] * bound.most.error);
        const float by_length = fmaxf(length[i] * bound.least.length, length[i] * bound.most.length);
        const float rounding = (fabsf(by_rest) + fabsf(by_error) + fabsf(by_length)) * 0x1p-18f;
        thresholds[i] = clamped(lower[i] - (by_rest + by_error + by_length) - rounding - 2);
      }
      const uint8_t *packed = k->packed + block * BLOCK_ROWS * k->padded;
      for (size_t group = 0; group < at.groups; group++) {
        uint64_t masks[GROUP_VECTORS];
        find_reaching(
            packed, slices + group * GROUP_VECTORS * k->padded, k->padded / 4, k->offsets + block * BLOCK_ROWS,
            thresholds + group * GROUP_VECTORS, masks);
        for (size_t i = 0; i < GROUP_VECTORS; i++) {
          for (uint64_t mask = masks[i]; mask != 0; mask &= mask - 1) {
            hits[hit_count++] = (struct hit){
                (uint32_t)(group * GROUP_VECTORS + i), (uint32_t)(block * BLOCK_ROWS) + (uint32_t)__builtin_ctzll(mask)};
          }
        }
      }
      // Room for one more block must remain.
      if (block + 1 < end && hit_count + at.groups * GROUP_VECTORS * BLOCK_ROWS <= at.hit_room) continue;
      for (size_t h = 0; h < hit_count; h++) {
        const uint32_t i = hits[h].vector, position = hits[h].position;
        if (h + AHEAD < hit_count) {
          const struct hit next = hits[h + AHEAD];
          prefetch(k->whole + next.position * k->whole_stride, k->whole_stride);
          __builtin_prefetch(v + next.vector, 0, 2);
        }
        if (i >= count || position >= k->rows->count) continue;
        consider(level, k, v + i, wide + i * k->whole_width, vectors + i * d, position, &queue, counts);
      }
      for (size_t i = 0; i < QUEUE; i++) score_oldest(level, k, &queue, counts);
      counts->looked += hit_count;
      hit_count = 0;
    }
    first = end;
  }
  // Candidates of the next vectors are on their way from memory meanwhile.
  for (size_t next = 0; next < count + 3; next++) {
    if (next < count) {
      struct search *search = &v[next].search;
      search_drop_beaten(search);
      for (uint32_t c = 0; c < search->count; c++) {
        prefetch(k->rows->values + (size_t)search->candidate[c] * d, d * sizeof(float));
      }
    }
    if (next < 3) continue;
    const size_t i = next - 3;
    search_rescore(level, &v[i].search, k->rows, vectors + i * d, counts);
    winners[i] = v[i].search.winner;
    scores[i] = v[i].search.best;
  }
}

static uint64_t products(const struct ckernels_cascade *k, const int8_t *slices, size_t groups) {
  int32_t thresholds[GROUP_VECTORS];
  uint64_t masks[GROUP_VECTORS], found = 0;
  for (size_t i = 0; i < GROUP_VECTORS; i++) thresholds[i] = 1 << 30;
  for (size_t block = 0; block < k->blocks; block++) {
    for (size_t group = 0; group < groups; group++) {
      find_reaching(
          k->packed + block * BLOCK_ROWS * k->padded, slices + group * GROUP_VECTORS * k->padded, k->padded / 4,
          k->offsets + block * BLOCK_ROWS, thresholds, masks);
      for (size_t i = 0; i < GROUP_VECTORS; i++) found += masks[i] != 0;
    }
  }
  return found;
}
