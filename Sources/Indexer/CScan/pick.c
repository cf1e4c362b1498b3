// The best centroids: a query reads all of them, so all sums come first. Bounds and terms are
// scan.c's.
#include <math.h>

#include "internal.h"

/// What centroids are picked by.
struct picking {
  struct show show;
  const struct cscan_tiles *bytes;  // for parts
  const struct cscan_centroids *rows;
};

void cscan_sum(
    int level, const struct cscan_coder *c, const struct cscan_centroids *rows, size_t first, size_t end,
    const struct cscan_query *queries, size_t count, int32_t *sums) {
  const struct cscan_tiles *tiles = cscan_tiles_of(level, cscan_kind_of(c));
  const size_t size = c->code_size, block = cscan_block_of(c, count);
  const int32_t thresholds[4] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
  for (; first < end; first += block) {
    const size_t after = end - first < block ? end : first + block;
    const size_t ahead = after < end ? (after - first) * size : 0;
    for (size_t q = 0; q < count;) {
      const size_t width = count - q >= 4 ? 4 : count - q >= 2 ? 2 : 1, height = TILE / width;
      const int8_t *planes[4];
      for (size_t i = 0; i < width; i++) planes[i] = queries[q + i].plane;
      for (size_t i = first; i < after; i += height) {
        const uint8_t *shown[TILE];
        int32_t own[TILE];
        for (size_t r = 0; r < height; r++) shown[r] = rows->levels + (i + r < after ? i + r : after - 1) * size;
        tiles->of[width / 2](shown, planes, size, q == 0 ? ahead : 0, thresholds, own);
        const size_t whole = after - i < height ? after - i : height;
        for (size_t j = 0; j < width; j++)
          for (size_t r = 0; r < whole; r++) sums[(q + j) * rows->count + i + r] = own[r * width + j];
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
static CCPU_INLINE int32_t kth_greatest_above(
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
static CCPU_INLINE int32_t kth_greatest_sum(const int32_t *sums, size_t count, size_t k, struct cscan_found *heap) {
  enum { PARTS = 4096 };
  int32_t most[PARTS];
  const size_t parts = count / 8 < PARTS ? count / 8 : PARTS;
  if (parts <= k) return kth_greatest_above(INT32_MIN, sums, count, k, heap);
  for (size_t p = 0; p < parts; p++) most[p] = sums[p];
  // Every `parts`-th sum is of one part.
  for (size_t first = parts; first < count; first += parts) {
    const size_t width = count - first < parts ? count - first : parts;
    for (size_t p = 0; p < width; p++) most[p] = sums[first + p] > most[p] ? sums[first + p] : most[p];
  }
  const int32_t least = kth_greatest_above(INT32_MIN, most, parts, k, heap);
  return kth_greatest_above(least > INT32_MIN ? least - 1 : least, sums, count, k, heap);
}

/// The least sum of a row that may be among the k best: of the rows with the k greatest sums none scores under
/// base + scale * S - error, S the least of those sums, so one under S - 2 error / scale is beaten by all of them.
static CCPU_INLINE int32_t least_open(const struct cscan_query *s, int32_t least_of_k) {
  // Three more than the quotient, for its rounding and those of the sums.
  const double limit = least_of_k - ceil(2 * s->error[0] / s->scale[0]) - 3;
  return limit > -0x1p31 ? (int32_t)limit : INT32_MIN;
}

/// Rows that are asked for and looked at once AHEAD others have been asked for after them.
struct way {
  size_t rows[AHEAD], put, taken;
};

#define NONE SIZE_MAX

/// Asks for a row, and says which one's turn it is; NONE for none.
static CCPU_INLINE size_t put(struct way *w, size_t row, const uint8_t *bytes, size_t count) {
  cscan_expect(bytes + row * count, count);
  const size_t due = w->put - w->taken < AHEAD ? NONE : w->rows[w->taken++ % AHEAD];
  w->rows[w->put++ % AHEAD] = row;
  return due;
}

/// The next one of those that are left; NONE in the end.
static CCPU_INLINE size_t take(struct way *w) { return w->taken < w->put ? w->rows[w->taken++ % AHEAD] : NONE; }

/// Adds the lower plane to a sum, in units of the upper one: under 2^24 of them, where upper sums leave room for 2^24.
static CCPU_INLINE void add_lower(const struct picking *p, const struct cscan_query *s, double unit, int32_t *sums, size_t i) {
  const size_t d = p->show.coder->dimension;
  sums[i] += (int32_t)lrint(unit * p->show.tiles->dot(p->rows->levels + i * d, s->plane + p->show.plane_size, d));
}

/// Adds the lower plane to the sums that are not under `least`. The others become INT32_MIN.
static CCPU_INLINE void add_lower_from(
    const struct picking *p, const struct cscan_query *s, int32_t *sums, int32_t least) {
  const size_t count = p->rows->count, d = p->show.coder->dimension;
  const double unit = s->scale[1] / s->scale[0];
  struct way way = {.put = 0};
  size_t due;
  for (size_t first = 0; first < count; first += SPAN) {
    const size_t end = count - first < SPAN ? count : first + SPAN;
    const int is_open = greatest(sums + first, count - first) >= least;
    for (size_t i = first; i < end; i++) {
      if (!is_open || sums[i] < least) sums[i] = INT32_MIN;
      else if ((due = put(&way, i, p->rows->levels, d)) != NONE) add_lower(p, s, unit, sums, due);
    }
  }
  while ((due = take(&way)) != NONE) add_lower(p, s, unit, sums, due);
  p->show.counts->refined += way.put;
}

/// Adds the parts of a centroid to the sum of its levels, and keeps it if it may be among the best.
static CCPU_INLINE void keep_closer(const struct picking *p, struct cscan_query *s, const int32_t *sums, size_t i) {
  const size_t d = p->show.coder->dimension;
  const double parts = p->bytes->dot(p->rows->parts + i * d, s->plane, d);
  const double middle = s->base[2] + s->scale[0] * ((double)sums[i] + parts / 256);
  // The lower plane's share of the sum was rounded to an integer.
  const double error = s->error[2] + s->scale[0] * 0.51, upper = middle + error;
  if (upper < s->floor) return;
  const struct cscan_found row = {middle - error, upper, (int64_t)i, p->rows->exact + i * 4 * d};
  cscan_keep(&p->show, s, row);
}

/// Looks closer at the centroids with sums from `least` to `most`.
static CCPU_INLINE void keep_between(
    const struct picking *p, struct cscan_query *s, const int32_t *sums, int32_t least, int32_t most) {
  const size_t count = p->rows->count, d = p->show.coder->dimension;
  struct way way = {.put = 0};
  size_t due;
  for (size_t first = 0; first < count; first += SPAN) {
    const size_t end = count - first < SPAN ? count : first + SPAN;
    if (greatest(sums + first, count - first) < least) continue;
    for (size_t i = first; i < end; i++) {
      if (sums[i] < least || sums[i] > most) continue;
      if ((due = put(&way, i, p->rows->parts, d)) != NONE) keep_closer(p, s, sums, due);
    }
  }
  while ((due = take(&way)) != NONE) keep_closer(p, s, sums, due);
}

static CCPU_INLINE void pick(const struct picking *p, struct cscan_query *s, int32_t *sums) {
  const size_t count = p->rows->count, size = 4 * p->show.coder->dimension;
  const int32_t least =
      s->k < count && s->scale[0] > 0 ? least_open(s, kth_greatest_sum(sums, count, s->k, s->found)) : INT32_MIN;
  if (least == INT32_MIN) {
    for (size_t i = 0; i < count; i++) cscan_score_row(&p->show, s, p->rows->exact + i * size, (int64_t)i);
    return;
  }
  add_lower_from(p, s, sums, least);
  // The k that seem best first: the others are held to what those reach.
  const int32_t least_of_k = kth_greatest_sum(sums, count, s->k, s->found);
  keep_between(p, s, sums, least_of_k, INT32_MAX);
  const int32_t beaten = cscan_threshold(s, s->floor, 2);
  if (beaten < least_of_k - 1) keep_between(p, s, sums, beaten + 1, least_of_k - 1);
}

CCPU_COMPILE(void, pick, (const struct picking *p, struct cscan_query *s, int32_t *sums), (p, s, sums))

void cscan_pick(
    int level, const struct cscan_coder *c, const struct cscan_centroids *rows, struct cscan_query *s, int32_t *sums,
    struct cscan_counts *counts) {
  float scratch[c->dimension] __attribute__((aligned(64)));
  const struct picking p = {
      .show = {
          .level = level, .coder = c, .tiles = cscan_tiles_of(level, cscan_kind_of(c)),
          .plane_size = cscan_plane_size(c), .counts = counts, .scratch = scratch},
      .bytes = cscan_tiles_of(level, BYTES), .rows = rows};
  CCPU_CALL(level, pick, &p, s, sums);
  cscan_finish(level, c, s, 0, counts);
  cscan_sort(s->found, s->count);
}
