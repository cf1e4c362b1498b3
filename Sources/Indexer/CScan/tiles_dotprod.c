// Integer products of coded rows and quantized queries for aarch64 CPUs with the products
// of ARMv8.2.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "CCpu.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
static CCPU_INLINE int32x4_t add_products(int32x4_t sum, int8x16_t codes, int8x16_t weights) {
  return vdotq_s32(sum, codes, weights);
}

#include "tiles_arm.h"

#define tile_dotprod tile
#define dot_dotprod dot
FORM(dotprod, )
#pragma clang attribute pop
#endif
