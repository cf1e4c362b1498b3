// The best row among those of some lists: the cascade over the rows of each list
// with the vectors that look through it. What a vector has to beat is found first in
// the list that is likeliest to hold its best row.
#pragma once

#include "cascade_search.h"

// Where the parts of the scratch are that a tile does not have.
struct probe_parts {
  uint32_t *likeliest;      // [count] the first list of each vector
  uint32_t *ones;           // [count + 1] 0, 1, 2, ...
  struct lookers first, all;
  int32_t *tops;            // [count x SEEDS]
  int8_t *six;
  size_t total;
};

static struct probe_parts lay_out_probe(const struct ckernels_cascade *k, size_t count, size_t pairs, char *scratch) {
  struct probe_parts at;
  size_t next = 0;
#define PART(name, bytes) at.name = scratch ? (void *)(scratch + next) : NULL, next += ((bytes) + 63) / 64 * 64
  PART(likeliest, count * sizeof(uint32_t));
  PART(ones, (count + 1) * sizeof(uint32_t));
  PART(first.starts, (k->groups + 1) * sizeof(uint32_t));
  PART(first.vectors, count * sizeof(uint32_t));
  PART(all.starts, (k->groups + 1) * sizeof(uint32_t));
  PART(all.vectors, pairs * sizeof(uint32_t));
  PART(tops, count * SEEDS * sizeof(int32_t));
  PART(six, GROUP_VECTORS * k->padded);
#undef PART
  at.total = next;
  return at;
}

static size_t probe_scratch_bytes(const struct ckernels_cascade *k, size_t count, size_t pairs) {
  return lay_out(k, count).total + lay_out_probe(k, count, pairs, NULL).total + 64;
}

// Rows of a list that may win for up to six of the vectors that look through it.
static void probe_list(struct tile *t, size_t list, const uint32_t *vectors, size_t some, int8_t *six) {
  const struct ckernels_cascade *k = t->k;
  const size_t first = k->group_starts[list], end = k->group_starts[list + 1];
  float lower[GROUP_VECTORS], rest[GROUP_VECTORS], error[GROUP_VECTORS], length[GROUP_VECTORS];
  int32_t thresholds[GROUP_VECTORS];
  gather_six(t->slices, k->padded, vectors, some, six);
  for (size_t v = 0; v < GROUP_VECTORS; v++) {
    // Those that fill up the six match nothing.
    const uint32_t i = vectors[v < some ? v : 0];
    lower[v] = v < some ? lower_of(k, t->v + i) : 3.0e9f;
    rest[v] = t->rest[i];
    error[v] = t->error[i];
    length[v] = t->length[i];
  }
  for (size_t block = first / BLOCK_ROWS; block * BLOCK_ROWS < end; block++) {
    const struct block_bound bound = k->bounds[block];
    for (size_t v = 0; v < GROUP_VECTORS; v++) thresholds[v] = threshold_of(lower[v], rest[v], error[v], length[v], &bound);
    if (t->hit_count + some * BLOCK_ROWS > t->hit_room) look_at_hits(t);
    // Of a block that holds rows of other lists as well, only what is needed.
    const size_t start = block * BLOCK_ROWS;
    const int from = start < first ? (int)(first - start) / 16 : 0;
    const int to = end < start + BLOCK_ROWS ? (int)(end - start + 15) / 16 : 4;
    uint64_t masks[GROUP_VECTORS];
    find_reaching(
        k->packed + start * k->padded, from, to, six, k->padded / 4, k->offsets + start, thresholds, masks);
    const uint64_t own = lanes_within(block, first, end);
    for (size_t v = 0; v < some; v++) {
      for (uint64_t mask = masks[v] & own; mask != 0; mask &= mask - 1) {
        t->hits[t->hit_count++] =
            (struct hit){vectors[v], (uint32_t)(block * BLOCK_ROWS) + (uint32_t)__builtin_ctzll(mask)};
      }
    }
  }
}

// By scores alone.
static void probe_plainly(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *firsts,
    const uint32_t *lists, uint32_t *winners, double *scores, struct ckernels_counts *counts) {
  for (size_t i = 0; i < count; i++) {
    struct search s = search_start();
    for (size_t j = firsts[i]; j < firsts[i + 1]; j++) {
      for (size_t at = k->group_starts[lists[j]]; at < k->group_starts[lists[j] + 1]; at++) {
        const struct whole_row *about = (const struct whole_row *)(k->whole + at * k->whole_stride + k->whole_width);
        search_score(level, &s, k->rows, vectors + i * k->dimension, about->row);
        counts->rescored += 1;
      }
    }
    winners[i] = s.winner;
    scores[i] = s.best;
  }
}

static void best_in_lists(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *firsts,
    const uint32_t *lists, const double *floors, void *scratch, uint32_t *winners, double *scores,
    struct ckernels_counts *counts) {
  char *base = aligned(scratch);
  struct probe_parts at = lay_out_probe(k, count, firsts[count] - firsts[0], base + lay_out(k, count).total);
  struct tile t;
  if (!begin_tile(&t, level, k, vectors, count, base, counts)) {
    probe_plainly(level, k, vectors, count, firsts, lists, winners, scores, counts);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    t.v[i].search.lower = floors[i];
    at.likeliest[i] = lists[firsts[i]];
    at.ones[i] = (uint32_t)i;
  }
  at.ones[count] = (uint32_t)count;
  put_by_group(k->groups, count, at.ones, at.likeliest, &at.first);
  find_seeds(k, t.slices, count, &at.first, at.six, at.tops, t.seeds);
  look_at_seeds(&t);
  put_by_group(k->groups, count, firsts, lists, &at.all);
  for (size_t list = 0; list < k->groups; list++) {
    if (k->group_starts[list] == k->group_starts[list + 1]) continue;
    for (size_t first = at.all.starts[list]; first < at.all.starts[list + 1]; first += GROUP_VECTORS) {
      const size_t left = at.all.starts[list + 1] - first;
      const size_t some = left < GROUP_VECTORS ? left : GROUP_VECTORS;
      probe_list(&t, list, at.all.vectors + first, some, at.six);
    }
    look_at_hits(&t);
  }
  end_tile(&t, winners, scores);
}
