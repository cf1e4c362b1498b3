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

static CCPU_INLINE uint32_t greater(const int32_t *sums, const int32_t *thresholds, int width) {
  uint32_t mask = 0;
  for (int i = 0; i < TILE; i++) mask |= (uint32_t)(sums[i] > thresholds[i % width]) << i;
  return mask;
}

#define KERNEL(form, target, kind, width)                                                 \
  target static uint32_t tile_##form##_##kind##_##width(TILE_ARGUMENTS) {                 \
    return tile_##form(rows, planes, bytes, ahead, thresholds, sums, kind, width);        \
  }
#define KERNELS(form, target, kind)                                                       \
  KERNEL(form, target, kind, 1)                                                           \
  KERNEL(form, target, kind, 2)                                                           \
  KERNEL(form, target, kind, 4)                                                           \
  target static int32_t dot_##form##_##kind(const uint8_t *row, const int8_t *plane, size_t bytes) { \
    return dot_##form(row, plane, bytes, kind);                                           \
  }
#define TABLE(form, kind) \
  {{tile_##form##_##kind##_1, tile_##form##_##kind##_2, tile_##form##_##kind##_4}, dot_##form##_##kind}

/// The table of a form, of its functions `tile_form` and `dot_form`.
#define FORM(form, target)       \
  KERNELS(form, target, 0)       \
  KERNELS(form, target, 1)       \
  KERNELS(form, target, 2)       \
  const struct cscan_tiles cscan_##form[3] = {TABLE(form, 0), TABLE(form, 1), TABLE(form, 2)};

/// The same of one to which bytes under 128 are bytes.
#define FORM_OF_BYTES(form, target) \
  KERNELS(form, target, 0)          \
  KERNELS(form, target, 1)          \
  const struct cscan_tiles cscan_##form[3] = {TABLE(form, 0), TABLE(form, 1), TABLE(form, 0)};
