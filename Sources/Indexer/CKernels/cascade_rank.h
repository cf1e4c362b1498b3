// The rows with the n greatest scores of each vector, as a set: the int8 sums of a
// slice for all rows, a second look at those that may be among the n, binary64 scores of
// those that second looks leave in doubt. The proof is in Indexer.docc/ExactAssignment.md.
#pragma once

#include "cascade_search.h"

// A row that may be among the n best, and between what its score lies.
struct contender {
  double least, most;
  uint32_t row;
};

struct rank_parts {
  int32_t *sums;                 // of six vectors: [GROUP_VECTORS x blocks x BLOCK_ROWS]
  struct contender *contenders;  // [rows]
  double *ends;                  // [rows]
  size_t total;
};

static struct rank_parts lay_out_rank(const struct ckernels_cascade *k, char *scratch) {
  struct rank_parts at;
  size_t next = 0;
#define PART(name, bytes) at.name = scratch ? (void *)(scratch + next) : NULL, next += ((bytes) + 63) / 64 * 64
  PART(sums, GROUP_VECTORS * k->blocks * BLOCK_ROWS * sizeof(int32_t));
  PART(contenders, k->rows->count * sizeof(struct contender));
  PART(ends, k->rows->count * sizeof(double));
#undef PART
  at.total = next;
  return at;
}

static size_t rank_scratch_bytes(const struct ckernels_cascade *k, size_t count) {
  return lay_out(k, count).total + lay_out_rank(k, NULL).total + 64;
}

// How many of so many sums reach a number; `width` is in whole blocks.
static size_t count_reaching(const int32_t *sums, size_t width, int32_t least) {
  const lanes all = lanes_all(least);
  size_t reaching = 0;
  for (size_t i = 0; i < width; i += 16) reaching += (size_t)__builtin_popcount(lanes_reaching(lanes_load(sums + i), all));
  return reaching;
}

// A number that at least n of the sums reach, and as a rule not many more.
static int32_t reached_by(const int32_t *sums, size_t width, size_t n) {
  lanes top = lanes_load(sums);
  for (size_t i = 16; i < width; i += 16) top = lanes_max(top, lanes_load(sums + i));
  // `low` is reached by n, `high` by fewer. What fills up the last block has less than that.
  int64_t low = INT32_MIN / 2 + 1, high = (int64_t)lanes_greatest(top) + 1;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    const size_t reaching = count_reaching(sums, width, (int32_t)middle);
    if (reaching >= n) low = middle; else high = middle;
    if (reaching >= n && reaching <= n + n / 4) break;
  }
  return (int32_t)low;
}

// The n-th greatest of some numbers, which it puts into another order; -infinity where there are fewer.
static double nth_greatest(double *values, size_t count, size_t n) {
  if (n > count) return -INFINITY;
  size_t low = 0, high = count - 1, place = n - 1;
  while (low < high) {
    const double pivot = values[(low + high) / 2];
    size_t i = low, j = high;
    while (1) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i >= j) break;
      const double swapped = values[i];
      values[i++] = values[j];
      values[j--] = swapped;
    }
    if (place <= j) high = j; else low = j + 1;
  }
  return values[place];
}

// The n best of contenders, and of more than n all that may be: those that fewer than n others can
// reach are among them, those that n others are above are not, and scores decide between the rest.
static void take_best(
    struct tile *t, size_t i, struct contender *contenders, size_t count, double *ends, size_t n, uint32_t *ranked) {
  const struct ckernels_rows *rows = t->k->rows;
  const float *x = t->vectors + i * rows->dimension;
  for (size_t c = 0; c < count; c++) ends[c] = contenders[c].least;
  const double reached = nth_greatest(ends, count, n);
  for (size_t c = 0; c < count; c++) ends[c] = contenders[c].most;
  const double beyond = nth_greatest(ends, count, n + 1);
  size_t taken = 0, doubtful = 0, likeliest = 0;
  for (size_t c = 1; c < count; c++) likeliest = contenders[c].least > contenders[likeliest].least ? c : likeliest;
  const uint32_t first = contenders[likeliest].row;
  for (size_t c = 0; c < count; c++) {
    if (contenders[c].most < reached) continue;
    if (contenders[c].least > beyond) {
      ranked[taken++] = contenders[c].row;
      continue;
    }
    // In its own place or an earlier one's.
    const double score = crows_score(t->level, x, rows->values + (size_t)contenders[c].row * rows->dimension, rows->dimension);
    contenders[doubtful++] = (struct contender){score, score, contenders[c].row};
  }
  t->counts->rescored += doubtful;
  for (; taken < n; taken++) {
    size_t best = 0;
    for (size_t c = 1; c < doubtful; c++) {
      const struct contender *a = contenders + c, *b = contenders + best;
      if (a->least > b->least || (a->least == b->least && a->row < b->row)) best = c;
    }
    ranked[taken] = contenders[best].row;
    contenders[best] = contenders[--doubtful];
  }
  for (size_t c = 1; c < n; c++) {
    if (ranked[c] != first) continue;
    ranked[c] = ranked[0];
    ranked[0] = first;
  }
}

// Second looks at rows of a vector that a mask of lanes names.
static size_t contend(
    struct tile *t, size_t i, size_t block, uint64_t mask, double reached, struct contender *contenders, size_t count) {
  const struct ckernels_cascade *k = t->k;
  for (; mask != 0; mask &= mask - 1) {
    const size_t position = block * BLOCK_ROWS + (size_t)__builtin_ctzll(mask);
    if (position >= k->rows->count) continue;
    struct contender *c = contenders + count;
    double reach;
    const double middle = second_look(k, t->v + i, t->wide + i * k->whole_width, position, &reach, &c->row);
    c->least = middle - reach;
    c->most = middle + reach;
    count += c->most >= reached;
    t->counts->looked += 1;
  }
  return count;
}

// Which of 64 sums reach a number.
static uint64_t reaching(const int32_t *sums, int32_t least) {
  const lanes all = lanes_all(least);
  uint64_t mask = 0;
  for (int r = 0; r < 4; r++) mask |= (uint64_t)lanes_reaching(lanes_load(sums + 16 * r), all) << 16 * r;
  return mask;
}

static void rank_one(
    struct tile *t, size_t i, const int32_t *sums, size_t n, const struct rank_parts *at, uint32_t *ranked) {
  const struct ckernels_cascade *k = t->k;
  struct vector *v = t->v + i;
  // n rows that look good say what the others must reach.
  const int32_t likely = reached_by(sums, k->blocks * BLOCK_ROWS, n);
  size_t count = 0;
  for (size_t block = 0; block < k->blocks; block++) {
    count = contend(t, i, block, reaching(sums + block * BLOCK_ROWS, likely), -INFINITY, at->contenders, count);
  }
  for (size_t c = 0; c < count; c++) at->ends[c] = at->contenders[c].least;
  v->search.lower = nth_greatest(at->ends, count, n);
  const float lower = lower_of(k, v);
  for (size_t block = 0; block < k->blocks; block++) {
    const int32_t threshold = threshold_of(lower, t->rest[i], t->error[i], t->length[i], k->bounds + block);
    if (threshold >= likely) continue;
    const int32_t *own = sums + block * BLOCK_ROWS;
    count = contend(
        t, i, block, reaching(own, threshold) & ~reaching(own, likely), v->search.lower, at->contenders, count);
  }
  take_best(t, i, at->contenders, count, at->ends, n, ranked);
}

static void rank(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, size_t n, void *scratch,
    uint32_t *ranked, struct ckernels_counts *counts) {
  char *base = aligned(scratch);
  const struct rank_parts at = lay_out_rank(k, base + lay_out(k, count).total);
  const size_t width = k->blocks * BLOCK_ROWS;
  struct tile t;
  const int is_in_range = begin_tile(&t, level, k, vectors, count, base, counts);
  for (size_t i = 0; i < count; i++) {
    if (!is_in_range) {
      for (size_t c = 0; c < k->rows->count; c++) {
        const double score = crows_score(level, vectors + i * k->dimension, k->rows->values + c * k->dimension, k->dimension);
        at.contenders[c] = (struct contender){score, score, (uint32_t)c};
      }
      take_best(&t, i, at.contenders, k->rows->count, at.ends, n, ranked + i * n);
      continue;
    }
    if (i % GROUP_VECTORS == 0) {
      const int8_t *six = t.slices + i * k->padded;
      for (size_t block = 0; block < k->blocks; block++) {
        int32_t products[GROUP_VECTORS * BLOCK_ROWS];
        multiply_block(
            k->packed + block * BLOCK_ROWS * k->padded, six, k->padded / 4, k->offsets + block * BLOCK_ROWS, products);
        for (size_t v = 0; v < GROUP_VECTORS; v++) {
          memcpy(at.sums + v * width + block * BLOCK_ROWS, products + v * BLOCK_ROWS, BLOCK_ROWS * sizeof(int32_t));
        }
      }
    }
    rank_one(&t, i, at.sums + i % GROUP_VECTORS * width, n, &at, ranked + i * n);
  }
}
