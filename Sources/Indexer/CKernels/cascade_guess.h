// The first guess: rows that are likely to score high, found before the pass
// over all rows, so that the pass can drop nearly all of them. The groups of
// the pivots nearest to a vector are looked through, a sixteenth of the rows in
// all, group by group for all the vectors that probe it.
#pragma once

#include <string.h>

#include "cascade.h"
#include "cascade_products.h"

// A sixteenth of the groups: about that share of the time of the pass.
static size_t probes_of(const struct ckernels_cascade *k) {
  const size_t share = k->groups / 16;
  return share > 2 ? share : k->groups < 2 ? k->groups : 2;
}

static size_t pivot_blocks(const struct ckernels_cascade *k) { return (k->groups + BLOCK_ROWS - 1) / BLOCK_ROWS; }

// Where the parts of the scratch are.
struct guess_parts {
  int32_t *products;   // of six vectors: [GROUP_VECTORS x pivots in whole blocks]
  int32_t *tops;       // [count x SEEDS] greatest products so far, falling
  uint32_t *probed;    // [count x probes] pivots
  uint32_t *starts;    // [groups + 1] in `vectors`
  uint32_t *vectors;   // [count x probes] by pivot
  int8_t *six;         // slices of vectors that probe the same group
  size_t total;
};

static struct guess_parts lay_out_guess(const struct ckernels_cascade *k, size_t count, char *scratch) {
  const size_t pairs = count * probes_of(k);
  struct guess_parts at;
  size_t next = 0;
#define PART(name, bytes) at.name = (void *)(scratch + next), next += ((bytes) + 63) / 64 * 64
  PART(products, GROUP_VECTORS * pivot_blocks(k) * BLOCK_ROWS * sizeof(int32_t));
  PART(tops, count * SEEDS * sizeof(int32_t));
  PART(probed, pairs * sizeof(uint32_t));
  PART(starts, (k->groups + 1) * sizeof(uint32_t));
  PART(vectors, pairs * sizeof(uint32_t));
  PART(six, GROUP_VECTORS * k->padded);
#undef PART
  at.total = next;
  return at;
}

static size_t guess_scratch(const struct ckernels_cascade *k, size_t count) { return lay_out_guess(k, count, NULL).total; }

// The place of the greatest of n values, n a multiple of 64.
static size_t greatest(const int32_t *values, size_t n) {
  lanes top = lanes_all(INT32_MIN);
  for (size_t i = 0; i < n; i += 16) top = lanes_max(top, lanes_load(values + i));
  const lanes all = lanes_all(lanes_greatest(top));
  for (size_t i = 0;; i += 16) {
    const uint32_t mask = lanes_equal(lanes_load(values + i), all);
    if (mask != 0) return i + (size_t)__builtin_ctz(mask);
  }
}

// The pivots whose groups each of six vectors looks through.
static void choose_groups(
    const struct ckernels_cascade *k, const int8_t *slices, size_t vectors, int32_t *products, uint32_t *probed) {
  const size_t width = pivot_blocks(k) * BLOCK_ROWS, probes = probes_of(k);
  int32_t block[GROUP_VECTORS * BLOCK_ROWS];
  for (size_t pivot = 0; pivot < width; pivot += BLOCK_ROWS) {
    multiply_block(k->pivots + pivot * k->padded, slices, k->padded / 4, k->pivot_offsets + pivot, block);
    for (size_t v = 0; v < GROUP_VECTORS; v++) {
      memcpy(products + v * width + pivot, block + v * BLOCK_ROWS, BLOCK_ROWS * sizeof(int32_t));
    }
  }
  for (size_t v = 0; v < vectors; v++) {
    for (size_t probe = 0; probe < probes; probe++) {
      const size_t pivot = greatest(products + v * width, width);
      products[v * width + pivot] = INT32_MIN;
      // Those that fill up the last block are none; any group will do.
      probed[v * probes + probe] = (uint32_t)(pivot < k->groups ? pivot : 0);
    }
  }
}

// Keeps the greatest products, each row once.
static void remember(int32_t product, uint32_t position, int32_t *tops, uint32_t *seeds) {
  for (size_t i = 0; i < SEEDS; i++) {
    if (seeds[i] == position) return;
  }
  size_t i = SEEDS - 1;
  for (; i > 0 && tops[i - 1] < product; i--) {
    tops[i] = tops[i - 1];
    seeds[i] = seeds[i - 1];
  }
  tops[i] = product;
  seeds[i] = position;
}

// The greatest product of each of up to six vectors in each block of a group.
static void look_through(
    const struct ckernels_cascade *k, size_t pivot, const int8_t *six, const uint32_t *vectors, size_t count,
    int32_t *tops, uint32_t *seeds) {
  const size_t end = k->group_starts[pivot + 1];
  int32_t products[GROUP_VECTORS * BLOCK_ROWS];
  for (size_t block = k->group_starts[pivot] / BLOCK_ROWS; block * BLOCK_ROWS < end; block++) {
    multiply_block(
        k->packed + block * BLOCK_ROWS * k->padded, six, k->padded / 4, k->offsets + block * BLOCK_ROWS, products);
    for (size_t v = 0; v < count; v++) {
      const int32_t *p = products + v * BLOCK_ROWS;
      const lanes top = lanes_max(
          lanes_max(lanes_load(p), lanes_load(p + 16)), lanes_max(lanes_load(p + 32), lanes_load(p + 48)));
      if (lanes_greatest(top) <= tops[vectors[v] * SEEDS + SEEDS - 1]) continue;
      const size_t lane = greatest(p, BLOCK_ROWS);
      remember(p[lane], (uint32_t)(block * BLOCK_ROWS + lane), tops + vectors[v] * SEEDS, seeds + vectors[v] * SEEDS);
    }
  }
}

static void guess(
    const struct ckernels_cascade *k, const int8_t *slices, size_t count, void *scratch, uint32_t *seeds) {
  const struct guess_parts at = lay_out_guess(k, count, scratch);
  const size_t probes = probes_of(k), padded = k->padded;
  for (size_t i = 0; i < count * SEEDS; i++) {
    at.tops[i] = INT32_MIN;
    seeds[i] = UINT32_MAX;
  }
  for (size_t i = 0; i < count; i += GROUP_VECTORS) {
    const size_t left = count - i < GROUP_VECTORS ? count - i : GROUP_VECTORS;
    choose_groups(k, slices + i * padded, left, at.products, at.probed + i * probes);
  }
  // Vectors by the groups that they look through.
  memset(at.starts, 0, (k->groups + 1) * sizeof(uint32_t));
  for (size_t i = 0; i < count * probes; i++) at.starts[at.probed[i] + 1] += 1;
  for (size_t g = 0; g < k->groups; g++) at.starts[g + 1] += at.starts[g];
  for (size_t i = count * probes; i-- > 0;) at.vectors[--at.starts[at.probed[i] + 1]] = (uint32_t)(i / probes);
  // Each start has moved down to that of the group before: start[g + 1] is where g begins.
  for (size_t g = 0; g < k->groups; g++) {
    const size_t begin = at.starts[g + 1], end = g + 1 < k->groups ? at.starts[g + 2] : count * probes;
    for (size_t first = begin; first < end; first += GROUP_VECTORS) {
      const size_t left = end - first < GROUP_VECTORS ? end - first : GROUP_VECTORS;
      for (size_t v = 0; v < left; v++) {
        const size_t i = at.vectors[first + v];
        const int8_t *slice = slices + i / GROUP_VECTORS * GROUP_VECTORS * padded + i % GROUP_VECTORS * 4;
        for (size_t j = 0; j < padded; j += 4) {
          memcpy(at.six + j * GROUP_VECTORS + v * 4, slice + j * GROUP_VECTORS, 4);
        }
      }
      look_through(k, g, at.six, at.vectors + first, left, at.tops, seeds);
    }
  }
}
