// Integer products of coded rows and quantized queries for aarch64. Who includes this
// defines add_products(sum, codes, weights), four lanes of sums of 16 products, and FORM_OF,
// which makes the table of what is here. Whole bytes are taken as two nibbles, as products
// want codes with a sign; those under 128 can have one.
#include <arm_neon.h>

#include "tiles.h"

/// Rows times queries whose sums the registers hold; of whole bytes, half as many.
enum { HELD = 8 };

/// Adds the products of 64 bytes of some rows with all queries: of the low and of the high
/// nibbles.
static CCPU_INLINE void add_step(
    int32x4_t *low, int32x4_t *high, const uint8_t *const *sources, const int8_t *const *planes, size_t at, int kind,
    int width, int height) {
#pragma clang loop unroll(full)
  for (size_t part = 0; part < 64; part += 16) {
    int8x16_t lower[HELD], upper[HELD];
#pragma clang loop unroll(full)
    for (int r = 0; r < height; r++) {
      const uint8x16_t codes = vld1q_u8(sources[r] + part);
      lower[r] = vreinterpretq_s8_u8(kind == SEVENS ? codes : vandq_u8(codes, vdupq_n_u8(15)));
      upper[r] = vreinterpretq_s8_u8(vshrq_n_u8(codes, 4));
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < width; q++) {
      const int8_t *plane = planes[q] + (kind == NIBBLES ? 2 * at : at) + part;
      const int8x16_t first = vld1q_s8(plane), second = kind == NIBBLES ? vld1q_s8(plane + 64) : first;
#pragma clang loop unroll(full)
      for (int r = 0; r < height; r++) {
        const int i = r * width + q;
        int32x4_t *other = kind == NIBBLES ? low : high;
        low[i] = add_products(low[i], lower[r], first);
        if (kind != SEVENS) other[i] = add_products(other[i], upper[r], second);
      }
    }
  }
}

/// Products of `height` rows with all queries; has memory bring what is `ahead`.
static CCPU_INLINE void products(
    int32_t *sums, const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, int kind,
    int width, int height) {
  int32x4_t low[HELD], high[HELD];
#pragma clang loop unroll(full)
  for (int i = 0; i < height * width; i++) low[i] = high[i] = vdupq_n_s32(0);
  for (size_t j = 0; j < bytes; j += 64) {
    const uint8_t *sources[HELD];
    uint8_t rest[HELD][64];
#pragma clang loop unroll(full)
    for (int r = 0; r < height; r++) {
      sources[r] = rows[r] + j;
      __builtin_prefetch((const void *)((uintptr_t)sources[r] + ahead), 0, 2);
    }
    if (bytes - j < 64) {
      for (int r = 0; r < height; r++) {
        memset(rest[r], 0, 64);
        memcpy(rest[r], rows[r] + j, bytes - j);
        sources[r] = rest[r];
      }
    }
    add_step(low, high, sources, planes, j, kind, width, height);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < height * width; i++) sums[i] = vaddvq_s32(low[i]) + (kind == BYTES ? 16 * vaddvq_s32(high[i]) : 0);
}

static CCPU_INLINE uint32_t tile(TILE_ARGUMENTS, int kind, int width) {
  // A lone query is limited by memory, which likes rows one after the other, as they lie.
  const int height = width == 1 ? 1 : (kind == BYTES ? HELD / 2 : HELD) / width;
#pragma clang loop unroll(full)
  for (int r = 0; r < TILE / width; r += height)
    products(sums + r * width, rows + r, planes, bytes, ahead, kind, width, height);
  return greater(sums, thresholds, width);
}

static CCPU_INLINE int32_t dot(const uint8_t *row, const int8_t *plane, size_t bytes, int kind) {
  int32_t sum;
  products(&sum, &row, &plane, bytes, 0, kind, 1, 1);
  return sum;
}
