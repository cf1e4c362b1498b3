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

// Vectors by the group that they look through.
struct lookers {
  uint32_t *starts;   // [groups + 1] in `vectors`
  uint32_t *vectors;
};

// Puts vectors under the groups that they look through; those of vector i are
// [firsts[i], firsts[i + 1]).
static void put_by_group(
    size_t groups, size_t count, const uint32_t *firsts, const uint32_t *probed, struct lookers *by) {
  memset(by->starts, 0, (groups + 1) * sizeof(uint32_t));
  for (size_t i = firsts[0]; i < firsts[count]; i++) by->starts[probed[i] + 1] += 1;
  for (size_t g = 0; g < groups; g++) by->starts[g + 1] += by->starts[g];
  // Each start moves down to that of the group before while its vectors are put in, the last first.
  for (size_t i = count; i-- > 0;) {
    for (size_t j = firsts[i + 1]; j-- > firsts[i];) by->vectors[--by->starts[probed[j] + 1]] = (uint32_t)i;
  }
  const uint32_t end = firsts[count] - firsts[0];
  for (size_t g = 0; g < groups; g++) by->starts[g] = by->starts[g + 1];
  by->starts[groups] = end;
}

// Where the parts of the scratch are.
struct guess_parts {
  int32_t *products;   // of six vectors: [GROUP_VECTORS x pivots in whole blocks]
  int32_t *tops;       // [count x SEEDS] greatest products so far, falling
  uint32_t *probed;    // [count x probes] pivots
  uint32_t *firsts;    // [count + 1] in `probed`
  struct lookers by;
  int8_t *six;         // slices of vectors that probe the same group
  size_t total;
};

static struct guess_parts lay_out_guess(const struct ckernels_cascade *k, size_t count, char *scratch) {
  const size_t pairs = count * probes_of(k);
  struct guess_parts at;
  size_t next = 0;
#define PART(name, bytes) at.name = scratch ? (void *)(scratch + next) : NULL, next += ((bytes) + 63) / 64 * 64
  PART(products, GROUP_VECTORS * pivot_blocks(k) * BLOCK_ROWS * sizeof(int32_t));
  PART(tops, count * SEEDS * sizeof(int32_t));
  PART(probed, pairs * sizeof(uint32_t));
  PART(firsts, (count + 1) * sizeof(uint32_t));
  PART(by.starts, (k->groups + 1) * sizeof(uint32_t));
  PART(by.vectors, pairs * sizeof(uint32_t));
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

// The slices of up to six vectors, side by side.
static void gather_six(
    const int8_t *slices, size_t padded, const uint32_t *vectors, size_t count, int8_t *six) {
  for (size_t v = 0; v < count; v++) {
    const size_t i = vectors[v];
    const int8_t *slice = slices + i / GROUP_VECTORS * GROUP_VECTORS * padded + i % GROUP_VECTORS * 4;
    for (size_t j = 0; j < padded; j += 4) memcpy(six + j * GROUP_VECTORS + v * 4, slice + j * GROUP_VECTORS, 4);
  }
}

// The lanes of a block whose positions lie in [first, end).
static inline uint64_t lanes_within(size_t block, size_t first, size_t end) {
  const size_t start = block * BLOCK_ROWS;
  uint64_t mask = ~(uint64_t)0;
  if (start < first) mask &= ~(uint64_t)0 << (first - start);
  if (end < start + BLOCK_ROWS) mask &= ~(~(uint64_t)0 << (end - start));
  return mask;
}

// The greatest product of each of up to six vectors in each block of a group.
static void look_through(
    const struct ckernels_cascade *k, size_t pivot, const int8_t *six, const uint32_t *vectors, size_t count,
    int32_t *tops, uint32_t *seeds) {
  const size_t first = k->group_starts[pivot], end = k->group_starts[pivot + 1];
  int32_t products[GROUP_VECTORS * BLOCK_ROWS];
  for (size_t block = first / BLOCK_ROWS; block * BLOCK_ROWS < end; block++) {
    multiply_block(
        k->packed + block * BLOCK_ROWS * k->padded, six, k->padded / 4, k->offsets + block * BLOCK_ROWS, products);
    // Rows at the ends that are of the groups beside it.
    const uint64_t others = ~lanes_within(block, first, end);
    for (size_t v = 0; v < count; v++) {
      int32_t *p = products + v * BLOCK_ROWS;
      for (uint64_t mask = others; mask != 0; mask &= mask - 1) p[__builtin_ctzll(mask)] = INT32_MIN;
      const lanes top = lanes_max(
          lanes_max(lanes_load(p), lanes_load(p + 16)), lanes_max(lanes_load(p + 32), lanes_load(p + 48)));
      if (lanes_greatest(top) <= tops[vectors[v] * SEEDS + SEEDS - 1]) continue;
      const size_t lane = greatest(p, BLOCK_ROWS);
      remember(p[lane], (uint32_t)(block * BLOCK_ROWS + lane), tops + vectors[v] * SEEDS, seeds + vectors[v] * SEEDS);
    }
  }
}

// The rows with the greatest products in the groups that vectors look through: [count x SEEDS].
static void find_seeds(
    const struct ckernels_cascade *k, const int8_t *slices, size_t count, const struct lookers *by, int8_t *six,
    int32_t *tops, uint32_t *seeds) {
  for (size_t i = 0; i < count * SEEDS; i++) {
    tops[i] = INT32_MIN;
    seeds[i] = UINT32_MAX;
  }
  for (size_t g = 0; g < k->groups; g++) {
    for (size_t first = by->starts[g]; first < by->starts[g + 1]; first += GROUP_VECTORS) {
      const size_t left = by->starts[g + 1] - first;
      const size_t some = left < GROUP_VECTORS ? left : GROUP_VECTORS;
      gather_six(slices, k->padded, by->vectors + first, some, six);
      look_through(k, g, six, by->vectors + first, some, tops, seeds);
    }
  }
}

static void guess(
    const struct ckernels_cascade *k, const int8_t *slices, size_t count, void *scratch, uint32_t *seeds) {
  struct guess_parts at = lay_out_guess(k, count, scratch);
  const size_t probes = probes_of(k), padded = k->padded;
  for (size_t i = 0; i < count; i += GROUP_VECTORS) {
    const size_t left = count - i < GROUP_VECTORS ? count - i : GROUP_VECTORS;
    choose_groups(k, slices + i * padded, left, at.products, at.probed + i * probes);
  }
  for (size_t i = 0; i <= count; i++) at.firsts[i] = (uint32_t)(i * probes);
  put_by_group(k->groups, count, at.firsts, at.probed, &at.by);
  find_seeds(k, slices, count, &at.by, at.six, at.tops, seeds);
}
