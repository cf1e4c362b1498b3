// The scan: bounds first, the defining score for what they leave.
//
// A component of a row stands for V = m + (c + 1/2) w / S, c its level, S the
// steps of the codec; the decoded float differs by roundings. With
// a = q w / S the score is
//
//   sum q m + sum a/2 + sum a c,   a = scale A + r,   A an integer in -127...127
//
// and sum r c = (S/2) sum r + sum r (c - S/2), the last at most (S/2) sum |r|.
// So the integer sum of A c gives the score but for that error; 8 more bits,
// r = scale' B + r', make it 250 times smaller. It is also at most the length of r
// times that of c - S/2, of which the greatest is known for rows that many queries
// are shown (radius.c). Of centroids all codes are
// known beforehand, so another middle than S/2 is taken: the mean u of a
// component's levels. sum r (c - u) is at most G sum |r|, G the greatest level
// met, and at most the length of r times that of c - u, of which the greatest is
// known. Roundings add, with M = sum |q| (|m| + 1.04 w):
//
//   - of the decoder: t = (c + 1/2) / S, t w, m + t w: at most 2^-22 (|m| + w) a component, and 2^-148 where
//     a product is subnormal;
//   - of the defining score and of every sum, product and quotient here, all in binary64 and of numbers up to
//     (d + 1) M: under (d + 64) 2^-46 M together.
//
// Centroids are scored by other values than their levels: that adds
// min(sum |q| difference, |q| distance). They have parts besides, p in -128...127
// 256ths of a level: sum a p / 256 = scale sum A p / 256 + sum r p / 256, the last
// at most sum |r| / 2 and the length of r times that of p / 256; what they still
// differ by is some 200 times less.
//
// A row whose upper bound is below the floor of a query is beaten by k rows; the
// others are kept (best.c).
#include <math.h>
#include <string.h>

#include "internal.h"

size_t cscan_plane_size(const struct cscan_coder *c) {
  const struct cscan_levels levels = cscan_levels_of(c->codec);
  return levels.steps == 0 ? 0 : (c->code_size + levels.step_bytes - 1) / levels.step_bytes * levels.step_weights;
}

enum { LANES = 8 };

static CCPU_INLINE double fold(const double *v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/// Puts the weights of components where the products want them.
static CCPU_INLINE void place(const int8_t *units, size_t padded, struct cscan_levels levels, int8_t *plane) {
  if (!levels.odd_apart) {
    memcpy(plane, units, padded);
    return;
  }
  const size_t half = levels.step_weights / 2;
  for (size_t j = 0; j < padded; j += 2 * half)
    for (size_t i = 0; i < half; i++) {
      plane[j + i] = units[j + 2 * i];
      plane[j + half + i] = units[j + 2 * i + 1];
    }
}

/// Quantizes weights to units and leaves what remains of them.
static CCPU_INLINE double quantize(double *weights, size_t padded, int8_t *units) {
  double greatest[LANES] = {0};
  for (size_t j = 0; j < padded; j += LANES)
    for (size_t l = 0; l < LANES; l++) {
      const double size = fabs(weights[j + l]);
      greatest[l] = size > greatest[l] ? size : greatest[l];
    }
  for (size_t l = 1; l < LANES; l++) greatest[0] = fmax(greatest[0], greatest[l]);
  const double scale = greatest[0] / 127;
  if (!(scale >= 0x1p-900)) {  // so small that all of it may be error
    memset(units, 0, padded);
    return 0;
  }
  const double inverse = 1 / scale;
  for (size_t j = 0; j < padded; j += LANES)
    for (size_t l = 0; l < LANES; l++) {
      // To the nearest integer, by adding and taking away 1.5 * 2^52: at most 127, as the quotient is under 127.1.
      const double unit = (weights[j + l] * inverse + 0x1.8p52) - 0x1.8p52;
      units[j + l] = (int8_t)(int32_t)unit;
      weights[j + l] -= scale * unit;
    }
  return scale;
}

static CCPU_INLINE void prepare(const struct cscan_coder *c, struct cscan_query *s) {
  const size_t d = c->dimension, size = cscan_plane_size(c);
  const struct cscan_levels levels = cscan_levels_of(c->codec);
  const double steps = (double)levels.steps, step = 1 / steps;
  const struct cscan_spread *t = c->spread;
  double weights[size];
  int8_t units[size] __attribute__((aligned(64)));
  double base[LANES] = {0}, magnitude[LANES] = {0}, length[LANES] = {0}, differences[LANES] = {0}, squares[LANES] = {0};
#define ADD(at, l)                                                                  \
  do {                                                                              \
    const double q = s->vector[at], m = c->minima[at], w = c->widths[at];           \
    weights[at] = q * w * step;                                                     \
    base[l] += q * m + weights[at] / 2;                                             \
    magnitude[l] += fabs(q) * (fabs(m) + 1.04 * w);                                 \
    length[l] += fabs(q);                                                           \
    squares[l] += q * q;                                                            \
    if (t) differences[l] += fabs(q) * (double)t->differences[at];                  \
  } while (0)
  const size_t whole = d / LANES * LANES;
  for (size_t j = 0; j < whole; j += LANES)
    for (size_t l = 0; l < LANES; l++) ADD(j + l, l);
  for (size_t j = whole; j < d; j++) ADD(j, j - whole);
#undef ADD
  for (size_t j = d; j < size; j++) weights[j] = 0;
  const double roundings = fold(magnitude) * (0x1p-22 + ((double)d + 64) * 0x1p-46) + fold(length) * 0x1p-148;
  const double size_of_query = sqrt(fold(squares));
  const double floats = t ? fmin(fold(differences), size_of_query * t->distance[0]) : 0;
  double of_parts = 0;
  int32_t all_units = 0;
  for (int p = 0; p < 2; p++) {
    s->scale[p] = quantize(weights, size, units);
    place(units, size, levels, s->plane + (size_t)p * size);
    double rest[LANES] = {0}, sizes[LANES] = {0}, lengths[LANES] = {0};
    for (size_t j = 0; j < size; j += LANES)
      for (size_t l = 0; l < LANES; l++) {
        const double weight = weights[j + l];
        rest[l] += t ? weight * (double)t->middles[j + l] : weight * (steps / 2);
        sizes[l] += fabs(weight);
        lengths[l] += weight * weight;
      }
    s->base[p] = fold(base) + fold(rest);
    const double by_levels = (t ? (double)t->greatest : steps / 2) * fold(sizes);
    // No square underflows: what is left of a product of floats is 0 or more than 2^-450.
    const double by_length = t ? sqrt(fold(lengths)) * t->radius[0] : by_levels;
    const double error_of_levels = fmin(by_levels, by_length);
    s->error[p] = (error_of_levels + floats + roundings) * (1 + 0x1p-10);
    if (!t && p == 0) {
      s->slack = by_levels;
      s->length = sqrt(fold(lengths)) * (1 + 0x1p-20);
    }
    if (!t) continue;
    if (p == 0) {
      of_parts = fmin(fold(sizes) / 2, sqrt(fold(lengths)) * t->radius[1]);
      for (size_t j = 0; j < size; j++) all_units += units[j];
    } else {
      s->base[2] = s->base[1] - s->scale[0] * all_units / 2;
      s->error[2] = (error_of_levels + of_parts + size_of_query * t->distance[1] + roundings) * (1 + 0x1p-10);
    }
  }
}

CCPU_COMPILE(void, prepare, (const struct cscan_coder *c, struct cscan_query *s), (c, s))

void cscan_prepare(int level, const struct cscan_coder *c, struct cscan_query *s) {
  s->count = 0;
  s->limit = s->k;
  s->lock = 0;
  s->floor = -INFINITY;
  s->threshold = INT32_MIN;
  s->slack = s->length = 0;
  if (cscan_plane_size(c) == 0) return;
  CCPU_CALL(level, prepare, c, s);
}

// -- Showing rows

/// Where a row is among those that lie in memory.
static CCPU_INLINE size_t place_of(const struct cscan_rows *rows, size_t row) {
  return rows->places ? rows->places[row] : row;
}

static CCPU_INLINE const uint8_t *code_of(const struct show *w, size_t row) {
  const struct cscan_rows *rows = w->rows;
  return rows->apart ? rows->apart[row] : rows->codes + place_of(rows, row) * w->coder->code_size;
}

static int64_t id_of(const struct cscan_rows *rows, size_t row) {
  const size_t place = place_of(rows, row);
  int64_t id = (int64_t)place;
  if (rows->ids) memcpy(&id, rows->ids + 8 * place, 8);
  return id;
}

/// How many bytes after rows [first, end) those lie that are shown next; 0
/// where that is not known.
static size_t ahead_of(const struct show *w, size_t first, size_t end) {
  const struct cscan_rows *rows = w->rows;
  const size_t size = w->coder->code_size;
  if (rows->apart) return 0;
  if (end < rows->count) return (end - first) * size;
  return rows->next ? (uintptr_t)rows->next - (uintptr_t)(rows->codes + first * size) : 0;
}

/// Has memory bring the codes of rows [first, end) that lie apart, those that are read after these among them.
static void expect_apart(const struct show *w, size_t first, size_t end) {
  if (!w->rows->apart) return;
  for (size_t i = first; i < end && i < w->rows->count + w->rows->apart_next; i++) cscan_expect(w->rows->apart[i], w->coder->code_size);
}

void cscan_score_row(const struct show *w, struct cscan_query *s, const uint8_t *at, int64_t id) {
  w->counts->scored += 1;
  const double score = cscan_score(w->level, w->coder, at, s->vector, w->scratch);
  if (score < cscan_floor(s)) return;
  cscan_keep(w, s, (struct cscan_found){.lower = score, .upper = score, .id = id});
}

/// Decides on rows of a tile that the upper plane could not rule out.
static void refine(
    const struct show *w, struct cscan_query *const *queries, int width, const uint8_t *const *rows, size_t first,
    uint32_t mask, const int32_t *sums) {
  w->counts->refined += (uint64_t)__builtin_popcount(mask);
  for (; mask; mask &= mask - 1) {
    const int i = __builtin_ctz(mask);
    struct cscan_query *s = queries[i % width];
    const int32_t lower = w->tiles->dot(rows[i / width], s->plane + w->plane_size, w->coder->code_size);
    const double middle = s->base[1] + s->scale[0] * (double)sums[i] + s->scale[1] * (double)lower;
    const double upper = middle + s->error[1];
    if (upper < cscan_floor(s)) continue;
    const int64_t id = id_of(w->rows, first + (size_t)(i / width));
    if (s->at_once)
      cscan_score_row(w, s, rows[i / width], id);
    else
      cscan_keep(w, s, (struct cscan_found){middle - s->error[1], upper, id, rows[i / width]});
  }
}

/// By how much a query's threshold is higher for rows whose radius is known.
static int32_t relief_of(const struct cscan_query *s, double radius) {
  const double saved = s->slack - s->length * radius;
  return radius > 0 && saved > 0 && s->scale[0] > 0 ? (int32_t)(saved / s->scale[0]) : 0;
}

/// What sums of a query have to be greater than. No sum of levels and weights is as near to the least number as relief.
static CCPU_INLINE int32_t threshold_of(const struct cscan_query *s, int32_t relief) {
  const int32_t threshold = __atomic_load_n(&s->threshold, __ATOMIC_RELAXED);
  return threshold > INT32_MAX - relief ? INT32_MAX : threshold + relief;
}

/// Shows rows [first, end) to 1, 2 or 4 queries. Of each `turns` tiles this is
/// the turn to bring what is `ahead` of number `turn`.
static void show_tiles(
    const struct show *w, struct cscan_query *const *queries, int width, size_t first, size_t end, size_t ahead,
    size_t turn, size_t turns) {
  const size_t height = (size_t)(TILE / width), size = w->coder->code_size;
  const cscan_tile tile = w->tiles->of[width / 2];
  const int8_t *planes[4];
  int32_t reliefs[4];
  for (int q = 0; q < width; q++) {
    planes[q] = queries[q]->plane;
    reliefs[q] = relief_of(queries[q], w->rows->radius);
  }
  for (size_t i = first; i < end; i += height) {
    const uint8_t *rows[TILE];
    // Rows past the end are the last one again; their bits are dropped.
    for (size_t r = 0; r < height; r++) rows[r] = code_of(w, i + r < end ? i + r : end - 1);
    int32_t thresholds[4], sums[TILE];
    for (int q = 0; q < width; q++) thresholds[q] = threshold_of(queries[q], reliefs[q]);
    const size_t own = (i - first) / TILE % turns == turn ? ahead : 0;
    uint32_t mask = tile(rows, planes, size, own, thresholds, sums);
    if (i + height > end) mask &= (1u << ((end - i) * (size_t)width)) - 1;
    if (mask) refine(w, queries, width, rows, i, mask, sums);
  }
}

void cscan_show(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, struct cscan_query *queries,
    const uint32_t *which, size_t count, struct cscan_counts *counts) {
  float scratch[c->dimension] __attribute__((aligned(64)));
  const int is_coded = cscan_levels_of(c->codec).steps > 0;
  const struct show w = {
      .level = level, .coder = c, .rows = rows, .tiles = is_coded ? cscan_tiles_of(level, cscan_kind_of(c)) : NULL,
      .plane_size = cscan_plane_size(c), .counts = counts, .scratch = scratch};
  if (!is_coded) {
    for (size_t q = 0; q < count; q++)
      for (size_t i = 0; i < rows->count; i++) {
        expect_apart(&w, i == 0 ? 1 : i + AHEAD, i + AHEAD + 1);
        cscan_score_row(&w, queries + which[q], code_of(&w, i), id_of(rows, i));
      }
    return;
  }
  // Each group of queries brings its share of the next block.
  const size_t block = cscan_block_of(c, count), groups = count / 4 ? count / 4 : 1;
  const size_t turns = groups < block / TILE ? groups : block / TILE;
  expect_apart(&w, 0, block);
  for (size_t first = 0; first < rows->count; first += block) {
    const size_t end = rows->count - first < block ? rows->count : first + block;
    const size_t ahead = ahead_of(&w, first, end);
    expect_apart(&w, end, end + block);
    if (rows->ids && !rows->places) cscan_expect(rows->ids + 8 * first, 8 * (end - first));
    size_t turn = 0;
    for (size_t q = 0; q < count; turn++) {
      const int width = count - q >= 4 ? 4 : count - q >= 2 ? 2 : 1;
      struct cscan_query *group[4];
      for (int i = 0; i < width; i++) group[i] = queries + which[q + (size_t)i];
      show_tiles(&w, group, width, first, end, ahead, turn, turns);
      q += (size_t)width;
    }
  }
}
