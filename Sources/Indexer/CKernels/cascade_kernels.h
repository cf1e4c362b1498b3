// The int8 products of the cascade: a block of 64 rows with six vectors or one,
// and whole rows.
#pragma once

#include "cascade.h"
#include "lanes.h"

// Products of a block of 64 rows with six vectors: 24 sums in registers.
#define SUMS lanes s[GROUP_VECTORS][4]
CCPU_TARGET_VNNI static CCPU_INLINE void multiply(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, SUMS) {
  for (int r = 0; r < 4; r++) {
    const lanes offset = lanes_load(offsets + 16 * r);
    for (int v = 0; v < GROUP_VECTORS; v++) s[v][r] = offset;
  }
  for (size_t q = 0; q < quads; q++) {
    const lanes r0 = lanes_load(rows), r1 = lanes_load(rows + 64), r2 = lanes_load(rows + 128),
                r3 = lanes_load(rows + 192);
#pragma clang loop unroll(full)
    for (int v = 0; v < GROUP_VECTORS; v++) {
      int32_t four;
      memcpy(&four, vectors + 4 * v, 4);
      const lanes x = lanes_all(four);
      s[v][0] = lanes_add_fours(s[v][0], r0, x);
      s[v][1] = lanes_add_fours(s[v][1], r1, x);
      s[v][2] = lanes_add_fours(s[v][2], r2, x);
      s[v][3] = lanes_add_fours(s[v][3], r3, x);
    }
    rows += 4 * BLOCK_ROWS;
    vectors += 4 * GROUP_VECTORS;
  }
}

// Which products reach their vector's threshold, compared in the registers.
CCPU_TARGET_VNNI static inline void find_reaching(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, const int32_t *thresholds,
    uint64_t masks[GROUP_VECTORS]) {
  SUMS;
  multiply(rows, vectors, quads, offsets, s);
  for (int v = 0; v < GROUP_VECTORS; v++) {
    const lanes t = lanes_all(thresholds[v]);
    masks[v] = (uint64_t)lanes_reaching(s[v][0], t) | (uint64_t)lanes_reaching(s[v][1], t) << 16 |
               (uint64_t)lanes_reaching(s[v][2], t) << 32 | (uint64_t)lanes_reaching(s[v][3], t) << 48;
  }
}

CCPU_TARGET_VNNI static inline int32_t whole_product(const uint8_t *row, const int8_t *vector, size_t width) {
  lanes a = lanes_all(0), b = a;
  size_t j = 0;
  for (; j + 128 <= width; j += 128) {
    a = lanes_add_fours(a, lanes_load(row + j), lanes_load(vector + j));
    b = lanes_add_fours(b, lanes_load(row + j + 64), lanes_load(vector + j + 64));
  }
  for (; j < width; j += 64) a = lanes_add_fours(a, lanes_load(row + j), lanes_load(vector + j));
  return lanes_sum(lanes_add(a, b));
}
