// What the forms of the products share: how a tile is asked for, and the table of a form.
//
// A plane has 64 weights for each 64 bytes of a row of bytes, and 64 + 64 for each 64
// bytes of a row of nibbles: those of the low halves, then of the high ones. Weights past
// the end of a row are 0.
//
// No sum overflows: 65,536 * 255 * 127 < 2^31.
#pragma once

#include <string.h>

#include "internal.h"

#define TILE_ARGUMENTS                                                                                            \
  const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, const int32_t *thresholds, \
      int32_t *sums

/// Whole bytes, or two nibbles in each: what a row has for each weight.
enum { BYTES = 0, NIBBLES = 1 };

static CCPU_INLINE uint32_t greater(const int32_t *sums, const int32_t *thresholds, int width) {
  uint32_t mask = 0;
  for (int i = 0; i < TILE; i++) mask |= (uint32_t)(sums[i] > thresholds[i % width]) << i;
  return mask;
}

#define KERNEL(form, target, nibbles, width)                                              \
  target static uint32_t tile_##form##_##nibbles##_##width(TILE_ARGUMENTS) {              \
    return tile_##form(rows, planes, bytes, ahead, thresholds, sums, nibbles, width);     \
  }
#define KERNELS(form, target, nibbles)                                                    \
  KERNEL(form, target, nibbles, 1)                                                        \
  KERNEL(form, target, nibbles, 2)                                                        \
  KERNEL(form, target, nibbles, 4)                                                        \
  target static int32_t dot_##form##_##nibbles(const uint8_t *row, const int8_t *plane, size_t bytes) { \
    return dot_##form(row, plane, bytes, nibbles);                                        \
  }
#define TABLE(form, nibbles)                                                                     \
  {{tile_##form##_##nibbles##_1, tile_##form##_##nibbles##_2, tile_##form##_##nibbles##_4}, dot_##form##_##nibbles}

/// The functions of a form, `tile_form` and `dot_form`, for bytes and for nibbles.
#define FORM(form, target)    \
  KERNELS(form, target, 0)    \
  KERNELS(form, target, 1)    \
  const struct cscan_tiles cscan_##form[2] = {TABLE(form, 0), TABLE(form, 1)};
