// The best rows when all sums come first: those of centroids, which a query reads all of. Bounds
// and terms are scan.c's.
#include <math.h>

#include "internal.h"

void cscan_sum(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, const struct cscan_query *queries,
    size_t count, int32_t *sums, size_t stride) {
  const struct cscan_tiles *tiles = cscan_tiles_of(level, c);
  const size_t block = cscan_block_of(c, count);
  const int32_t thresholds[4] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
  for (size_t first = 0; first < rows->count; first += block) {
    const size_t end = rows->count - first < block ? rows->count : first + block;
    const size_t ahead = cscan_ahead_of(c, rows, first, end);
    for (size_t q = 0; q < count;) {
      const size_t width = count - q >= 4 ? 4 : count - q >= 2 ? 2 : 1, height = TILE / width;
      const int8_t *planes[4];
      for (size_t i = 0; i < width; i++) planes[i] = queries[q + i].plane;
      for (size_t i = first; i < end; i += height) {
        const uint8_t *shown[TILE];
        int32_t own[TILE];
        for (size_t r = 0; r < height; r++) shown[r] = rows->codes + (i + r < end ? i + r : end - 1) * c->code_size;
        tiles->of[width / 2](shown, planes, c->code_size, q == 0 ? ahead : 0, thresholds, own);
        const size_t whole = end - i < height ? end - i : height;
        for (size_t j = 0; j < width; j++)
          for (size_t r = 0; r < whole; r++) sums[(q + j) * stride + i + r] = own[r * width + j];
      }
      q += width;
    }
  }
}

enum { SPAN = 64 };

/// The greatest of up to SPAN sums.
static CCPU_INLINE int32_t greatest(const int32_t *sums, size_t count) {
  int32_t most = INT32_MIN;
  if (count >= SPAN)
    for (size_t i = 0; i < SPAN; i++) most = sums[i] > most ? sums[i] : most;
  else
    for (size_t i = 0; i < count; i++) most = sums[i] > most ? sums[i] : most;
  return most;
}

/// The k-th greatest of `count` sums, or `least` when fewer than k are greater; `heap` has room for k, and its ids hold
/// sums meanwhile.
static CCPU_INLINE int32_t greatest_above(
    int32_t least, const int32_t *sums, size_t count, size_t k, struct cscan_found *heap) {
  for (size_t i = 0; i < k; i++) heap[i].id = least;
  for (size_t first = 0; first < count; first += SPAN) {
    if (greatest(sums + first, count - first) <= heap[0].id) continue;
    for (size_t i = first; i < count && i < first + SPAN; i++) {
      if (sums[i] <= heap[0].id) continue;
      size_t hole = 0;
      for (size_t child; (child = 2 * hole + 1) < k; hole = child) {
        if (child + 1 < k && heap[child + 1].id < heap[child].id) child += 1;
        if (heap[child].id >= sums[i]) break;
        heap[hole].id = heap[child].id;
      }
      heap[hole].id = sums[i];
    }
  }
  return (int32_t)heap[0].id;
}

/// The k-th greatest of `count` sums, k of them at most. Of parts of the sums, k have one that reaches the k-th greatest of
/// the parts' greatest: so only sums that do are looked at closely.
static CCPU_INLINE int32_t greatest_but(const int32_t *sums, size_t count, size_t k, struct cscan_found *heap) {
  enum { PARTS = 4096 };
  int32_t most[PARTS];
  const size_t parts = count / 8 < PARTS ? count / 8 : PARTS;
  if (parts <= k) return greatest_above(INT32_MIN, sums, count, k, heap);
  for (size_t p = 0; p < parts; p++) most[p] = sums[p];
  // Every `parts`-th sum is of one part.
  for (size_t first = parts; first < count; first += parts) {
    const size_t width = count - first < parts ? count - first : parts;
    for (size_t p = 0; p < width; p++) most[p] = sums[first + p] > most[p] ? sums[first + p] : most[p];
  }
  const int32_t least = greatest_above(INT32_MIN, most, parts, k, heap);
  return greatest_above(least > INT32_MIN ? least - 1 : least, sums, count, k, heap);
}

/// The least sum of a row that may be among the k best: of the rows with the k greatest sums none scores under
/// base + scale * S - error, S the least of those sums, so one under S - 2 error / scale is beaten by all of them.
static CCPU_INLINE int32_t least_open(const struct cscan_query *s, int32_t least_of_k) {
  // Three more than the quotient, for its rounding and those of the sums.
  const double limit = least_of_k - ceil(2 * s->error[0] / s->scale[0]) - 3;
  return limit > -0x1p31 ? (int32_t)limit : INT32_MIN;
}

/// Adds the lower plane to the sums that are not under `least`, in units of the upper one: under 2^24 of them, where the
/// upper sums leave room for 2^24. The others become INT32_MIN.
static CCPU_INLINE void add_lower(const struct show *w, const struct cscan_query *s, int32_t *sums, int32_t least) {
  const struct cscan_rows *rows = w->rows;
  const size_t count = rows->count, size = w->coder->code_size;
  const double unit = s->scale[1] / s->scale[0];
  size_t open[AHEAD], waiting = 0;
#define REFINE(i) \
  sums[i] += (int32_t)lrint(unit * w->tiles->dot(rows->codes + (i) * size, s->plane + w->plane_size, size))
  for (size_t first = 0; first < count; first += SPAN) {
    const size_t end = count - first < SPAN ? count : first + SPAN;
    const int is_open = greatest(sums + first, count - first) >= least;
    for (size_t i = first; i < end; i++) {
      if (!is_open || sums[i] < least) {
        sums[i] = INT32_MIN;
        continue;
      }
      cscan_expect(rows->codes + i * size, size);
      if (waiting >= AHEAD) REFINE(open[waiting % AHEAD]);
      open[waiting++ % AHEAD] = i;
    }
  }
  for (size_t i = waiting < AHEAD ? 0 : waiting - AHEAD; i < waiting; i++) REFINE(open[i % AHEAD]);
#undef REFINE
  w->counts->refined += waiting;
}

/// Scores the rows with sums from `least` to `most`.
static CCPU_INLINE void score_between(
    const struct show *w, struct cscan_query *s, const int32_t *sums, int32_t least, int32_t most) {
  const struct cscan_rows *rows = w->rows;
  const size_t count = rows->count, size = 4 * w->coder->dimension;
  size_t open[AHEAD], waiting = 0;
  for (size_t first = 0; first < count; first += SPAN) {
    const size_t end = count - first < SPAN ? count : first + SPAN;
    if (greatest(sums + first, count - first) < least) continue;
    for (size_t i = first; i < end; i++) {
      if (sums[i] < least || sums[i] > most) continue;
      if (rows->exact) cscan_expect(rows->exact + i * size, size);
      if (waiting >= AHEAD) cscan_score_row(w, s, open[waiting % AHEAD]);
      open[waiting++ % AHEAD] = i;
    }
  }
  for (size_t i = waiting < AHEAD ? 0 : waiting - AHEAD; i < waiting; i++) cscan_score_row(w, s, open[i % AHEAD]);
}

static CCPU_INLINE void pick(const struct show *w, struct cscan_query *s, int32_t *sums) {
  const size_t count = w->rows->count;
  const int32_t least =
      s->k < count && s->scale[0] > 0 ? least_open(s, greatest_but(sums, count, s->k, s->found)) : INT32_MIN;
  if (least == INT32_MIN) {
    score_between(w, s, sums, INT32_MIN, INT32_MAX);
    return;
  }
  add_lower(w, s, sums, least);
  // The k that seem best first: once they are scored, others are held to what they really reach.
  const int32_t least_of_k = greatest_but(sums, count, s->k, s->found);
  score_between(w, s, sums, least_of_k, INT32_MAX);
  const int32_t beaten = cscan_threshold(s, s->floor, 2);
  if (beaten < least_of_k - 1) score_between(w, s, sums, beaten + 1, least_of_k - 1);
}

CCPU_COMPILE(void, pick, (const struct show *w, struct cscan_query *s, int32_t *sums), (w, s, sums))

void cscan_pick(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, struct cscan_query *s, int32_t *sums,
    struct cscan_counts *counts) {
  float scratch[c->dimension] __attribute__((aligned(64)));
  const struct show w = {
      .level = level, .coder = c, .rows = rows, .tiles = cscan_tiles_of(level, c),
      .plane_size = cscan_plane_size(c), .counts = counts, .scratch = scratch};
  CCPU_CALL(level, pick, &w, s, sums);
}
