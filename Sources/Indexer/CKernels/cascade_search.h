// The int8 cascade: a slice of the dimensions in int8 against all rows, the
// rows that could still win in int8 over all dimensions with the vector in 16
// bits, the last few in binary64. Every step drops only rows whose score is provably below another's;
// the proof is in Indexer.docc/ExactAssignment.md and names follow it.
#pragma once

#include "cascade_guess.h"
#include "cascade_looks.h"

// The scratch of a call: a tile, and what it needs besides.
static char *aligned(void *scratch) { return (char *)(((uintptr_t)scratch + 63) / 64 * 64); }

static size_t scratch_bytes(const struct ckernels_cascade *k, size_t count) {
  const size_t guess = guess_scratch(k, count), sgemm = ckernels_sgemm_scratch(count);
  return lay_out(k, count).total + (guess > sgemm ? guess : sgemm) + 64;
}

static void best(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *guesses,
    void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts) {
  const size_t d = k->dimension;
  char *base = aligned(scratch), *besides = base + lay_out(k, count).total;
  struct tile t;
  if (!begin_tile(&t, level, k, vectors, count, base, counts)) {
    ckernels_best_sgemm(level, k->rows, vectors, count, besides, winners, scores, counts);
    return;
  }
  // A row that is known to be good is scored first; the others then have that to beat.
  for (size_t i = 0; guesses != NULL && i < count + AHEAD; i++) {
    if (i < count && guesses[i] < k->rows->count) prefetch(k->rows->values + guesses[i] * d, d * sizeof(float));
    if (i < AHEAD || guesses[i - AHEAD] >= k->rows->count) continue;
    search_score(level, &t.v[i - AHEAD].search, k->rows, vectors + (i - AHEAD) * d, guesses[i - AHEAD]);
    counts->rescored += 1;
  }
  guess(k, t.slices, count, besides, t.seeds);
  look_at_seeds(&t);

  for (size_t first = 0; first < k->blocks;) {
    // Chunks grow, so that early ones raise the lower bounds for the others.
    size_t end = first + (first < 1 ? 1 : first < CHUNK_BLOCKS ? first : CHUNK_BLOCKS);
    if (end > k->blocks) end = k->blocks;
    for (size_t i = 0; i < count; i++) t.lower[i] = lower_of(k, t.v + i);
    for (size_t block = first; block < end; block++) {
      const struct block_bound bound = k->bounds[block];
      for (size_t i = 0; i < t.groups * GROUP_VECTORS; i++) {
        t.thresholds[i] = threshold_of(t.lower[i], t.rest[i], t.error[i], t.length[i], &bound);
      }
      const uint8_t *packed = k->packed + block * BLOCK_ROWS * k->padded;
      for (size_t group = 0; group < t.groups; group++) {
        uint64_t masks[GROUP_VECTORS];
        find_reaching(
            packed, 0, 4, t.slices + group * GROUP_VECTORS * k->padded, k->padded / 4, k->offsets + block * BLOCK_ROWS,
            t.thresholds + group * GROUP_VECTORS, masks);
        for (size_t i = 0; i < GROUP_VECTORS; i++) {
          for (uint64_t mask = masks[i]; mask != 0; mask &= mask - 1) {
            t.hits[t.hit_count++] = (struct hit){
                (uint32_t)(group * GROUP_VECTORS + i), (uint32_t)(block * BLOCK_ROWS) + (uint32_t)__builtin_ctzll(mask)};
          }
        }
      }
      // Room for one more block must remain.
      if (block + 1 < end && t.hit_count + t.groups * GROUP_VECTORS * BLOCK_ROWS <= t.hit_room) continue;
      look_at_hits(&t);
    }
    first = end;
  }
  end_tile(&t, winners, scores);
}

static uint64_t products(const struct ckernels_cascade *k, const int8_t *slices, size_t groups) {
  int32_t thresholds[GROUP_VECTORS];
  uint64_t masks[GROUP_VECTORS], found = 0;
  for (size_t i = 0; i < GROUP_VECTORS; i++) thresholds[i] = 1 << 30;
  for (size_t block = 0; block < k->blocks; block++) {
    for (size_t group = 0; group < groups; group++) {
      find_reaching(
          k->packed + block * BLOCK_ROWS * k->padded, 0, 4, slices + group * GROUP_VECTORS * k->padded, k->padded / 4,
          k->offsets + block * BLOCK_ROWS, thresholds, masks);
      for (size_t i = 0; i < GROUP_VECTORS; i++) found += masks[i] != 0;
    }
  }
  return found;
}
