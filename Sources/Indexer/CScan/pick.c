// The best rows when all sums come first: those of centroids, which a query reads all of. Bounds
// and terms are scan.c's.
#include <math.h>

#include "internal.h"

/// Into the second cache: the first one has fewer places for what is on its way.
static CCPU_INLINE void prefetch(const uint8_t *bytes, size_t count) {
  for (size_t at = 0; at < count; at += 64) __builtin_prefetch(bytes + at, 0, 2);
}

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

/// Whether any of up to SPAN sums is greater than another.
static CCPU_INLINE int any_greater(const int32_t *sums, size_t count, int32_t than) {
  int32_t most = INT32_MIN;
  if (count >= SPAN)
    for (size_t i = 0; i < SPAN; i++) most = sums[i] > most ? sums[i] : most;
  else
    for (size_t i = 0; i < count; i++) most = sums[i] > most ? sums[i] : most;
  return most > than;
}

/// The k-th greatest of `count` sums, k of them at most; `heap` has room for k, and its ids hold sums meanwhile.
static CCPU_INLINE int32_t greatest_but(const int32_t *sums, size_t count, size_t k, struct cscan_found *heap) {
  for (size_t i = 0; i < k; i++) heap[i].id = INT32_MIN;
  for (size_t first = 0; first < count; first += SPAN) {
    if (!any_greater(sums + first, count - first, (int32_t)heap[0].id)) continue;
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

/// The least sum of a row that may be among the k best: of the rows with the k greatest sums none scores under
/// base + scale * S - error, S the least of those sums, so one under S - 2 error / scale is beaten by all of them.
static CCPU_INLINE int32_t least_open(const struct cscan_query *s, const int32_t *sums, size_t count, double error) {
  if (s->k >= count || s->scale[0] == 0) return INT32_MIN;
  // Three more than the quotient, for its rounding and those of the sums.
  const double limit = greatest_but(sums, count, s->k, s->found) - ceil(2 * error / s->scale[0]) - 3;
  return limit > -0x1p31 ? (int32_t)limit : INT32_MIN;
}

static CCPU_INLINE void pick(const struct show *w, struct cscan_query *s, int32_t *sums) {
  enum { AHEAD = 4 };
  const struct cscan_coder *c = w->coder;
  const struct cscan_rows *rows = w->rows;
  const size_t count = rows->count;
  size_t open[AHEAD], waiting = 0;
  int32_t least = least_open(s, sums, count, s->error[0]);
  if (least > INT32_MIN) {
    // The lower plane, in units of the upper one: under 2^24 of them, where the upper sums leave room for 2^24.
    const double unit = s->scale[1] / s->scale[0];
#define REFINE(i)                                                                                                    \
  sums[i] +=                                                                                                         \
      (int32_t)lrint(unit * w->tiles->dot(rows->codes + (i) * c->code_size, s->plane + w->plane_size, c->code_size))
    for (size_t first = 0; first < count; first += SPAN) {
      const size_t end = count - first < SPAN ? count : first + SPAN;
      const int is_open = any_greater(sums + first, count - first, least - 1);
      for (size_t i = first; i < end; i++) {
        if (!is_open || sums[i] < least) {
          sums[i] = INT32_MIN;
          continue;
        }
        prefetch(rows->codes + i * c->code_size, c->code_size);
        if (waiting >= AHEAD) REFINE(open[waiting % AHEAD]);
        open[waiting++ % AHEAD] = i;
      }
    }
    for (size_t i = waiting < AHEAD ? 0 : waiting - AHEAD; i < waiting; i++) REFINE(open[i % AHEAD]);
    w->counts->refined += waiting;
    least = least_open(s, sums, count, s->error[1]);
  }
  waiting = 0;
  for (size_t first = 0; first < count; first += SPAN) {
    const size_t end = count - first < SPAN ? count : first + SPAN;
    if (least > INT32_MIN && !any_greater(sums + first, count - first, least - 1)) continue;
    for (size_t i = first; i < end; i++) {
      if (sums[i] < least) continue;
      // They lie far apart in memory: a few are on their way while one is scored.
      if (rows->exact) prefetch(rows->exact + i * 4 * c->dimension, 4 * c->dimension);
      if (waiting >= AHEAD) cscan_score_row(w, s, open[waiting % AHEAD]);
      open[waiting++ % AHEAD] = i;
    }
  }
  for (size_t i = waiting < AHEAD ? 0 : waiting - AHEAD; i < waiting; i++) cscan_score_row(w, s, open[i % AHEAD]);
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
