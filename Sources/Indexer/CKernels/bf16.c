// The best row by way of bfloat16: products of elements rounded to 8 bits, summed
// in float32 by vdpbf16ps, and what the rounding took away measured row by row
// and vector by vector. The proof is in Indexer.docc/ExactAssignment.md.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CCpu.h"
#include "CKernels.h"
#include "cascade.h"
#include "products.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif


struct ckernels_bf16 {
  const struct ckernels_rows *rows;
  size_t pairs;         // elements two by two: d / 2 rounded up
  uint16_t *packed;     // [blocks x pairs x BLOCK_ROWS x 2]
  double *row_errors;   // of each tile, at least every |c - c'|
};

// Rounds to nearest, ties to even; what would be subnormal becomes zero, as the
// instruction would take it. Returns the element as bfloat16 and leaves what it lost.
static CCPU_INLINE uint16_t narrowed(float value, float *lost) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  uint32_t kept = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  kept = (kept & 0x7F800000) == 0 ? 0 : kept;
  float rounded;
  memcpy(&rounded, &kept, 4);
  // Exact: the part of a float that rounding to fewer bits takes away is one.
  *lost = value - rounded;
  return (uint16_t)(kept >> 16);
}

size_t ckernels_bf16_tiles(size_t count) { return (count + TILE_ROWS - 1) / TILE_ROWS; }

struct ckernels_bf16 *ckernels_bf16_new(const struct ckernels_rows *rows) {
  struct ckernels_bf16 *k = cascade_zeroed(1, sizeof *k);
  k->rows = rows;
  k->pairs = (rows->dimension + 1) / 2;
  const size_t blocks = (rows->count + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->packed = cascade_zeroed(blocks * BLOCK_ROWS * k->pairs * 2, sizeof(uint16_t));
  k->row_errors = cascade_zeroed(ckernels_bf16_tiles(rows->count), sizeof(double));
  return k;
}

void ckernels_bf16_pack(struct ckernels_bf16 *k, size_t first, size_t end) {
  const size_t d = k->rows->dimension, count = k->rows->count;
  float *lost = cascade_zeroed(d, sizeof(float));
  for (size_t tile = first; tile < end; tile++) {
    double greatest = 0;
    for (size_t c = tile * TILE_ROWS; c < count && c < (tile + 1) * TILE_ROWS; c++) {
      uint16_t *block = k->packed + c / BLOCK_ROWS * BLOCK_ROWS * k->pairs * 2;
      for (size_t j = 0; j < d; j++) {
        block[(j / 2 * BLOCK_ROWS + c % BLOCK_ROWS) * 2 + j % 2] = narrowed(k->rows->values[c * d + j], lost + j);
      }
      greatest = fmax(greatest, products_norm_above(CCPU_AVX512, lost, d));
    }
    k->row_errors[tile] = greatest;
  }
  free(lost);
}

void ckernels_bf16_free(struct ckernels_bf16 *k) {
  if (k == NULL) return;
  free(k->packed);
  free(k->row_errors);
  free(k);
}

struct packed_vectors {
  const struct ckernels_bf16 *rows;
  const uint16_t *values;  // [groups x pairs x GROUP_VECTORS x 2]
  size_t count;
};

// Sixteen pairs of bfloat16 and sixteen sums of their products: AVX-512 BF16
// where there is an x86 CPU, plain C elsewhere.
#if defined(__x86_64__)
typedef __m512bh pairs16;
typedef __m512 sums16;
CCPU_TARGET_BF16 static CCPU_INLINE pairs16 pairs_at(const uint16_t *from) { return (pairs16)_mm512_loadu_si512(from); }
CCPU_TARGET_BF16 static CCPU_INLINE pairs16 pairs_all(int32_t two) { return (pairs16)_mm512_set1_epi32(two); }
CCPU_TARGET_BF16 static CCPU_INLINE sums16 sums_none(void) { return _mm512_setzero_ps(); }
CCPU_TARGET_BF16 static CCPU_INLINE sums16 add_products(sums16 s, pairs16 a, pairs16 b) {
  return _mm512_dpbf16_ps(s, a, b);
}
CCPU_TARGET_BF16 static CCPU_INLINE void put_sums(float *to, sums16 s) { _mm512_storeu_ps(to, s); }
#else
typedef uint32_t pairs16 __attribute__((vector_size(64)));
typedef float sums16 __attribute__((vector_size(64)));
static CCPU_INLINE pairs16 pairs_at(const uint16_t *from) {
  pairs16 a;
  memcpy(&a, from, sizeof a);
  return a;
}
static CCPU_INLINE pairs16 pairs_all(int32_t two) { return (pairs16){0} + (uint32_t)two; }
static CCPU_INLINE sums16 sums_none(void) { return (sums16){0}; }
static CCPU_INLINE sums16 add_products(sums16 s, pairs16 a, pairs16 b) {
  const pairs16 upper = (pairs16){0} + 0xFFFF0000u;
  s += (sums16)(a & upper) * (sums16)(b & upper);
  return s + (sums16)(a << 16) * (sums16)(b << 16);
}
static CCPU_INLINE void put_sums(float *to, sums16 s) { memcpy(to, &s, sizeof s); }
#endif

// Products of a block of 64 rows with six vectors: 24 sums in registers.
CCPU_TARGET_BF16 static CCPU_INLINE void multiply_block(
    const uint16_t *rows, const uint16_t *vectors, size_t pairs, size_t count, float *products) {
  sums16 s[GROUP_VECTORS][4];
  for (int v = 0; v < GROUP_VECTORS; v++) {
    for (int r = 0; r < 4; r++) s[v][r] = sums_none();
  }
  for (size_t q = 0; q < pairs; q++) {
    pairs16 row[4];
    for (int r = 0; r < 4; r++) row[r] = pairs_at(rows + 32 * r);
#pragma clang loop unroll(full)
    for (int v = 0; v < GROUP_VECTORS; v++) {
      int32_t two;
      memcpy(&two, vectors + 2 * v, 4);
      const pairs16 x = pairs_all(two);
      for (int r = 0; r < 4; r++) s[v][r] = add_products(s[v][r], row[r], x);
    }
    rows += 2 * BLOCK_ROWS;
    vectors += 2 * GROUP_VECTORS;
  }
#pragma clang loop unroll(full)
  for (size_t v = 0; v < GROUP_VECTORS; v++) {
    if (v >= count) break;
    for (int r = 0; r < 4; r++) put_sums(products + v * TILE_ROWS + 16 * r, s[v][r]);
  }
}

CCPU_TARGET_BF16 static void multiply(const void *context, size_t base, size_t width, float *products) {
  const struct packed_vectors *x = context;
  const size_t pairs = x->rows->pairs;
  for (size_t block = 0; block < width; block += BLOCK_ROWS) {
    for (size_t i = 0; i < x->count; i += GROUP_VECTORS) {
      multiply_block(
          x->rows->packed + (base + block) * pairs * 2, x->values + i * pairs * 2, pairs, x->count - i,
          products + i * TILE_ROWS + block);
    }
  }
}

static size_t packed_bytes(const struct ckernels_bf16 *k, size_t count) {
  return (count + GROUP_VECTORS - 1) / GROUP_VECTORS * GROUP_VECTORS * k->pairs * 2 * sizeof(uint16_t);
}

size_t ckernels_bf16_scratch(const struct ckernels_bf16 *k, size_t count) {
  return products_scratch(count) + 64 + count * sizeof(double) + k->rows->dimension * sizeof(float) + packed_bytes(k, count);
}

void ckernels_best_bf16(
    int level, const struct ckernels_bf16 *k, const float *vectors, size_t count, void *scratch, uint32_t *winners,
    double *scores, struct ckernels_counts *counts) {
  const size_t d = k->rows->dimension;
  char *next = (char *)scratch + (products_scratch(count) + 63) / 64 * 64;
  double *errors = (double *)next;
  float *lost = (float *)(errors + count);
  uint16_t *packed = (uint16_t *)(lost + d);
  memset(packed, 0, packed_bytes(k, count));
  for (size_t i = 0; i < count; i++) {
    uint16_t *out = packed + i / GROUP_VECTORS * GROUP_VECTORS * k->pairs * 2 + i % GROUP_VECTORS * 2;
    for (size_t j = 0; j < d; j++) {
      out[j / 2 * GROUP_VECTORS * 2 + j % 2] = narrowed(vectors[i * d + j], lost + j);
    }
    errors[i] = products_norm_above(level, lost, d);
  }
  const struct packed_vectors context = {k, packed, count};
  // Products of 8-bit significands are exact. However the instruction sums its
  // two products, and if it truncated instead of rounding, a product passes
  // through no more than 2 (d + 16) errors of 2^-24.
  const double n = (double)d + 16;
  const struct product_source source = {
      .multiply = multiply,
      .context = &context,
      .gamma = (products_gamma(2 * n, 0x1p-24) + n * 0x1p-53) * (1 + 0x1p-5),
      .tiny = n * 0x1p-123,
      .vector_errors = errors,
      .row_errors = k->row_errors};
  products_best(level, k->rows, &source, vectors, count, scratch, winners, scores, counts);
}
