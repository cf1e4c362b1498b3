// The scan: bounds first, the defining score for what they leave.
//
// A component of a row stands for V = m + (c + 1/2) w / S, c its level, S the
// steps of the codec (15, 255); the decoded float differs by roundings. With
// a = q w / S the score is
//
//   sum q m + sum a/2 + sum a c,   a = scale A + r,   A an integer in -127...127
//
// and sum r c = (S/2) sum r + sum r (c - S/2), the last at most (S/2) sum |r|.
// So the integer sum of A c gives the score but for that error; 8 more bits,
// r = scale' B + r', make it 250 times smaller. Roundings add, with
// M = sum |q| (|m| + 1.04 w):
//
//   - of the decoder: t = (c + 1/2) / S, t w, m + t w: at most 2^-22 (|m| + w) a component, and 2^-148 where
//     a product is subnormal;
//   - of the defining score and of every sum, product and quotient here, all in binary64 and of numbers up to
//     (d + 1) M: under (d + 64) 2^-46 M together.
//
// Rows that are scored by other values than their codes (centroids) add
// min(sum |q| difference, |q| distance).
#include <math.h>
#include <sched.h>
#include <string.h>

#include "internal.h"

static size_t steps_of(const struct cscan_coder *c) { return c->codec == CSCAN_SQ4 ? 15 : 255; }

size_t cscan_plane_size(const struct cscan_coder *c) {
  const size_t whole = (c->code_size + 63) / 64 * 64;
  return c->codec == CSCAN_SQ4 ? 2 * whole : c->codec == CSCAN_SQ8 ? whole : 0;
}

/// Where the weight of component j is in a plane.
static ALWAYS_INLINE size_t place(int nibbles, size_t j) {
  return nibbles ? (j / 128 * 128) + (j % 2 * 64) + (j % 128 / 2) : j;
}

/// Quantizes weights to a plane and leaves what remains of them.
static ALWAYS_INLINE double quantize(double *weights, size_t d, int nibbles, int8_t *plane) {
  double greatest = 0;
  for (size_t j = 0; j < d; j++) greatest = fmax(greatest, fabs(weights[j]));
  const double scale = greatest / 127;
  if (!(scale >= 0x1p-900)) return 0;  // so small that all of it may be error
  const double units = 1 / scale;
  for (size_t j = 0; j < d; j++) {
    // To the nearest integer, by adding and taking away 1.5 * 2^52.
    const double unit = fmin(fmax((weights[j] * units + 0x1.8p52) - 0x1.8p52, -127), 127);
    plane[place(nibbles, j)] = (int8_t)unit;
    weights[j] -= scale * unit;
  }
  return scale;
}

static ALWAYS_INLINE void prepare(const struct cscan_coder *c, struct cscan_query *s) {
  const size_t d = c->dimension, size = cscan_plane_size(c);
  const double steps = (double)steps_of(c);
  const int nibbles = c->codec == CSCAN_SQ4;
  double weights[d];
  double base[4] = {0}, magnitude[4] = {0}, length[4] = {0}, differences[4] = {0}, squares[4] = {0};
  for (size_t j = 0; j < d; j++) {
    const double q = s->vector[j], m = c->minima[j], w = c->widths[j];
    weights[j] = q * w / steps;
    base[j & 3] += q * m + weights[j] / 2;
    magnitude[j & 3] += fabs(q) * (fabs(m) + 1.04 * w);
    length[j & 3] += fabs(q);
    squares[j & 3] += q * q;
    if (c->differences) differences[j & 3] += fabs(q) * (double)c->differences[j];
  }
#define FOLD(v) ((v[0] + v[1]) + (v[2] + v[3]))
  double roundings = FOLD(magnitude) * (0x1p-22 + ((double)d + 64) * 0x1p-46) + FOLD(length) * 0x1p-148;
  if (c->differences) roundings += fmin(FOLD(differences), sqrt(FOLD(squares)) * c->distance) * (1 + 0x1p-20);
  roundings *= 1 + 0x1p-10;
  memset(s->plane, 0, 2 * size);
  for (int p = 0; p < 2; p++) {
    s->scale[p] = quantize(weights, d, nibbles, s->plane + (size_t)p * size);
    double rest[4] = {0}, error[4] = {0};
    for (size_t j = 0; j < d; j++) {
      rest[j & 3] += weights[j];
      error[j & 3] += fabs(weights[j]);
    }
    s->base[p] = FOLD(base) + steps / 2 * FOLD(rest);
    s->error[p] = steps / 2 * FOLD(error) * (1 + 0x1p-20) + roundings;
  }
}

#define PREPARE_ARGUMENTS const struct cscan_coder *c, struct cscan_query *s
static void prepare_portable(PREPARE_ARGUMENTS) { prepare(c, s); }
TARGET_AVX2 static void prepare_avx2(PREPARE_ARGUMENTS) { prepare(c, s); }
TARGET_AVX512 static void prepare_avx512(PREPARE_ARGUMENTS) { prepare(c, s); }

void cscan_prepare(int level, const struct cscan_coder *c, struct cscan_query *s) {
  s->count = 0;
  s->lock = 0;
  s->floor = -INFINITY;
  s->threshold = INT32_MIN;
  if (cscan_plane_size(c) == 0) return;
  switch (level) {
    case CKERNELS_AVX512: prepare_avx512(c, s); break;
    case CKERNELS_AVX2: prepare_avx2(c, s); break;
    default: prepare_portable(c, s);
  }
}

// -- The best rows so far

static double floor_of(struct cscan_query *s) {
  double floor;
  __atomic_load(&s->floor, &floor, __ATOMIC_RELAXED);
  return floor;
}

/// The greatest sum of the upper plane that proves a score below the floor.
static int32_t threshold_at(const struct cscan_query *s, double floor) {
  const double rest = floor - s->base[0] - s->error[0];
  if (s->scale[0] == 0) return rest > 0 ? INT32_MAX : INT32_MIN;
  // One less than the quotient allows: its own rounding is under 2^-20.
  const double sum = ceil(rest / s->scale[0]) - 2;
  if (sum >= 0x1p31 - 1) return INT32_MAX;
  return sum > -0x1p31 ? (int32_t)sum : INT32_MIN;
}

static ALWAYS_INLINE int is_worse(double score, int64_t id, double other, int64_t other_id) {
  return score < other || (score == other && id > other_id);
}

static void sift_down(struct cscan_query *s, size_t count, double score, int64_t id) {
  size_t hole = 0;
  for (;;) {
    size_t child = 2 * hole + 1;
    if (child >= count) break;
    if (child + 1 < count && is_worse(s->scores[child + 1], s->ids[child + 1], s->scores[child], s->ids[child]))
      child += 1;
    if (!is_worse(s->scores[child], s->ids[child], score, id)) break;
    s->scores[hole] = s->scores[child];
    s->ids[hole] = s->ids[child];
    hole = child;
  }
  s->scores[hole] = score;
  s->ids[hole] = id;
}

static void sift_up(struct cscan_query *s, size_t hole, double score, int64_t id) {
  while (hole > 0) {
    const size_t parent = (hole - 1) / 2;
    if (!is_worse(score, id, s->scores[parent], s->ids[parent])) break;
    s->scores[hole] = s->scores[parent];
    s->ids[hole] = s->ids[parent];
    hole = parent;
  }
  s->scores[hole] = score;
  s->ids[hole] = id;
}

static void keep(struct cscan_query *s, double score, int64_t id) {
  for (int tries = 0; __atomic_exchange_n(&s->lock, 1, __ATOMIC_ACQUIRE); tries++)
    if (tries > 100) sched_yield();
  if (s->count < s->k) {
    sift_up(s, s->count, score, id);
    s->count += 1;
  } else if (is_worse(s->scores[0], s->ids[0], score, id)) {
    sift_down(s, s->count, score, id);
  }
  if (s->count == s->k && s->scores[0] > s->floor) {
    double floor = s->scores[0];
    __atomic_store(&s->floor, &floor, __ATOMIC_RELAXED);
    __atomic_store_n(&s->threshold, threshold_at(s, floor), __ATOMIC_RELAXED);
  }
  __atomic_store_n(&s->lock, 0, __ATOMIC_RELEASE);
}

void cscan_finish(struct cscan_query *s) {
  for (size_t left = s->count; left > 1; left--) {
    const double score = s->scores[left - 1];
    const int64_t id = s->ids[left - 1];
    s->scores[left - 1] = s->scores[0];
    s->ids[left - 1] = s->ids[0];
    sift_down(s, left - 1, score, id);
  }
}

// -- Showing rows

struct show {
  int level;
  const struct cscan_coder *coder;
  const struct cscan_rows *rows;
  const struct cscan_tiles *tiles;
  size_t plane_size;
  struct cscan_counts *counts;
  float *scratch;  // [dimension]
};

static void score_row(const struct show *w, struct cscan_query *s, size_t row) {
  w->counts->scored += 1;
  const double score = cscan_score(w->level, w->coder, w->rows, row, s->vector, w->scratch);
  if (score < floor_of(s)) return;
  int64_t id = w->rows->first + (int64_t)row;
  if (w->rows->ids) memcpy(&id, w->rows->ids + 8 * row, 8);
  keep(s, score, id);
}

/// Decides on rows of a tile that the upper plane could not rule out.
static void refine(
    const struct show *w, struct cscan_query *const *queries, int width, const uint8_t *const *rows, size_t first,
    uint32_t mask, const int32_t *sums) {
  while (mask) {
    const int i = __builtin_ctz(mask);
    mask &= mask - 1;
    struct cscan_query *s = queries[i % width];
    w->counts->refined += 1;
    const double floor = floor_of(s);
    if (floor > -INFINITY) {
      const int32_t lower = w->tiles->dot(rows[i / width], s->plane + w->plane_size, w->coder->code_size);
      const double upper = s->base[1] + s->scale[0] * (double)sums[i] + s->scale[1] * (double)lower + s->error[1];
      if (upper < floor) continue;
    }
    score_row(w, s, first + (size_t)(i / width));
  }
}

/// Shows rows [first, end) to up to four queries: 1, 2 or 4.
static void show_tiles(const struct show *w, struct cscan_query *const *queries, int width, size_t first, size_t end) {
  const size_t height = (size_t)(TILE / width), size = w->coder->code_size;
  const cscan_tile tile = w->tiles->of[width / 2];
  const int8_t *planes[4];
  for (int q = 0; q < width; q++) planes[q] = queries[q]->plane;
  for (size_t i = first; i < end; i += height) {
    const uint8_t *rows[TILE];
    // Rows past the end are the last one again; their bits are dropped.
    for (size_t r = 0; r < height; r++) rows[r] = w->rows->codes + (i + r < end ? i + r : end - 1) * size;
    int32_t thresholds[4], sums[TILE];
    for (int q = 0; q < width; q++) thresholds[q] = __atomic_load_n(&queries[q]->threshold, __ATOMIC_RELAXED);
    uint32_t mask = tile(rows, planes, size, thresholds, sums);
    if (i + height > end) mask &= (1u << ((end - i) * (size_t)width)) - 1;
    if (mask) refine(w, queries, width, rows, i, mask, sums);
  }
}

void cscan_sum(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, const struct cscan_query *queries, size_t count,
    int32_t *sums, size_t stride) {
  const struct cscan_tiles *tiles = cscan_tiles_of(level, c->codec);
  const size_t block = count == 1 ? rows->count : 16384 / c->code_size / TILE * TILE + TILE;
  const int32_t thresholds[4] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
  for (size_t first = 0; first < rows->count; first += block) {
    const size_t end = rows->count - first < block ? rows->count : first + block;
    for (size_t q = 0; q < count;) {
      const size_t width = count - q >= 4 ? 4 : count - q >= 2 ? 2 : 1, height = TILE / width;
      const int8_t *planes[4];
      for (size_t i = 0; i < width; i++) planes[i] = queries[q + i].plane;
      for (size_t i = first; i < end; i += height) {
        const uint8_t *shown[TILE];
        int32_t own[TILE];
        for (size_t r = 0; r < height; r++) shown[r] = rows->codes + (i + r < end ? i + r : end - 1) * c->code_size;
        tiles->of[width / 2](shown, planes, c->code_size, thresholds, own);
        const size_t whole = end - i < height ? end - i : height;
        for (size_t j = 0; j < width; j++)
          for (size_t r = 0; r < whole; r++) sums[(q + j) * stride + i + r] = own[r * width + j];
      }
      q += width;
    }
  }
}

/// The k-th greatest of `count` sums, k of them at most; `heap` has room for k.
static int32_t greatest_but(const int32_t *sums, size_t count, size_t k, int64_t *heap) {
  for (size_t i = 0; i < k; i++) heap[i] = INT32_MIN;
  for (size_t i = 0; i < count; i++) {
    if (sums[i] <= heap[0]) continue;
    size_t hole = 0;
    for (size_t child; (child = 2 * hole + 1) < k; hole = child) {
      if (child + 1 < k && heap[child + 1] < heap[child]) child += 1;
      if (heap[child] >= sums[i]) break;
      heap[hole] = heap[child];
    }
    heap[hole] = sums[i];
  }
  return (int32_t)heap[0];
}

/// The least sum of a row that may be among the k best: of the rows with the k greatest sums none scores under
/// base + scale * S - error, S the least of those sums, so one under S - 2 error / scale is beaten by all of them.
static int32_t least_open(const struct cscan_query *s, const int32_t *sums, size_t count, double error) {
  if (s->k >= count || s->scale[0] == 0) return INT32_MIN;
  // Three more than the quotient, for its rounding and those of the sums.
  const double limit = greatest_but(sums, count, s->k, s->ids) - ceil(2 * error / s->scale[0]) - 3;
  return limit > -0x1p31 ? (int32_t)limit : INT32_MIN;
}

void cscan_pick(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, struct cscan_query *s, int32_t *sums,
    struct cscan_counts *counts) {
  enum { AHEAD = 4 };
  float scratch[c->dimension] __attribute__((aligned(64)));
  const struct show w = {
      .level = level, .coder = c, .rows = rows, .tiles = cscan_tiles_of(level, c->codec), .counts = counts,
      .scratch = scratch};
  const size_t plane = cscan_plane_size(c);
  int32_t least = least_open(s, sums, rows->count, s->error[0]);
  if (least > INT32_MIN) {
    // The lower plane, in units of the upper one: under 2^24 of them, where the upper sums leave room for 2^24.
    const double unit = s->scale[1] / s->scale[0];
    for (size_t i = 0; i < rows->count; i++) {
      if (sums[i] < least) {
        sums[i] = INT32_MIN;
        continue;
      }
      counts->refined += 1;
      sums[i] += (int32_t)lrint(unit * w.tiles->dot(rows->codes + i * c->code_size, s->plane + plane, c->code_size));
    }
    least = least_open(s, sums, rows->count, s->error[1]);
  }
  size_t open[AHEAD], waiting = 0;
  for (size_t i = 0; i < rows->count; i++) {
    if (sums[i] < least) continue;
    // They lie far apart in memory: a few are on their way while one is scored.
    if (rows->exact)
      for (size_t at = 0; at < 4 * c->dimension; at += 64)
        __builtin_prefetch(rows->exact + i * 4 * c->dimension + at);
    if (waiting >= AHEAD) score_row(&w, s, open[waiting % AHEAD]);
    open[waiting++ % AHEAD] = i;
  }
  for (size_t i = waiting < AHEAD ? 0 : waiting - AHEAD; i < waiting; i++) score_row(&w, s, open[i % AHEAD]);
}

void cscan_show(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, struct cscan_query *queries,
    const uint32_t *which, size_t count, struct cscan_counts *counts) {
  float scratch[c->dimension] __attribute__((aligned(64)));
  const int is_coded = c->codec == CSCAN_SQ4 || c->codec == CSCAN_SQ8;
  const struct show w = {
      .level = level, .coder = c, .rows = rows, .tiles = is_coded ? cscan_tiles_of(level, c->codec) : NULL,
      .plane_size = cscan_plane_size(c), .counts = counts, .scratch = scratch};
  if (!is_coded) {
    for (size_t q = 0; q < count; q++)
      for (size_t i = 0; i < rows->count; i++) score_row(&w, queries + which[q], i);
    return;
  }
  // Several queries share rows while these are in the first cache.
  const size_t block = count == 1 ? rows->count : 16384 / c->code_size / TILE * TILE + TILE;
  for (size_t first = 0; first < rows->count; first += block) {
    const size_t end = rows->count - first < block ? rows->count : first + block;
    for (size_t q = 0; q < count;) {
      const int width = count - q >= 4 ? 4 : count - q >= 2 ? 2 : 1;
      struct cscan_query *group[4];
      for (int i = 0; i < width; i++) group[i] = queries + which[q + (size_t)i];
      show_tiles(&w, group, width, first, end);
      q += (size_t)width;
    }
  }
}
