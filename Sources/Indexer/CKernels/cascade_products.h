// Products of the slice in integers: a block of 64 rows with six vectors, a tile
// of both at a time that the registers hold.
#pragma once

#include "cascade.h"
#include "lanes.h"

// Sums of one tile: rows from the first of a sixteen, vectors from the first of a few.
#define TILE partial_sums s[TILE_VECTORS][TILE_LANES]
static CCPU_INLINE void multiply_tile(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, TILE) {
  for (int r = 0; r < TILE_LANES; r++) {
    const lanes offset = lanes_load(offsets + 16 * r);
    for (int v = 0; v < TILE_VECTORS; v++) s[v][r] = lanes_begin(offset);
  }
  for (size_t q = 0; q < quads; q += LANES_QUADS) {
    lanes row[TILE_LANES][LANES_QUADS];
    for (int r = 0; r < TILE_LANES; r++) {
      for (int i = 0; i < LANES_QUADS; i++) row[r][i] = lanes_load(rows + 4 * BLOCK_ROWS * i + 64 * r);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < TILE_VECTORS; v++) {
      lanes x[LANES_QUADS];
      for (int i = 0; i < LANES_QUADS; i++) {
        int32_t four;
        memcpy(&four, vectors + 4 * GROUP_VECTORS * i + 4 * v, 4);
        x[i] = lanes_all(four);
      }
      for (int r = 0; r < TILE_LANES; r++) s[v][r] = lanes_add_products(s[v][r], row[r], x);
    }
    rows += 4 * BLOCK_ROWS * LANES_QUADS;
    vectors += 4 * GROUP_VECTORS * LANES_QUADS;
  }
}

// Each tile of six vectors and the sixteens [first, end) of a block in turn: `use` sees its sums.
#define FOR_EACH_TILE(rows, first, end, vectors, quads, offsets, use)                                       \
  for (int first_row = (first) / TILE_LANES * TILE_LANES; first_row < (end); first_row += TILE_LANES) {     \
    for (int first_vector = 0; first_vector < GROUP_VECTORS; first_vector += TILE_VECTORS) {                \
      TILE;                                                                                                 \
      multiply_tile((rows) + 64 * first_row, (vectors) + 4 * first_vector, quads, (offsets) + 16 * first_row, s); \
      _Pragma("clang loop unroll(full)") for (int v = 0; v < TILE_VECTORS; v++) {                           \
        _Pragma("clang loop unroll(full)") for (int r = 0; r < TILE_LANES; r++) { use; }                    \
      }                                                                                                     \
    }                                                                                                       \
  }

// Products of a block with six vectors, [GROUP_VECTORS x BLOCK_ROWS], offsets added.
static void multiply_block(
    const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, int32_t *products) {
  FOR_EACH_TILE(
      rows, 0, 4, vectors, quads, offsets,
      lanes_store(products + (first_vector + v) * BLOCK_ROWS + 16 * (first_row + r), lanes_end(s[v][r])));
}

// Which products of the sixteens [first, end), and of others perhaps, reach their vector's threshold, compared in
// the registers.
static CCPU_INLINE void find_reaching(
    const uint8_t *rows, int first, int end, const int8_t *vectors, size_t quads, const int32_t *offsets,
    const int32_t *thresholds, uint64_t masks[GROUP_VECTORS]) {
  for (int v = 0; v < GROUP_VECTORS; v++) masks[v] = 0;
  FOR_EACH_TILE(
      rows, first, end, vectors, quads, offsets,
      masks[first_vector + v] |=
      (uint64_t)lanes_reaching(lanes_end(s[v][r]), lanes_all(thresholds[first_vector + v])) << 16 * (first_row + r));
}
