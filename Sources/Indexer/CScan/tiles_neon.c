// Integer products of coded rows and quantized queries for every aarch64 CPU.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "CCpu.h"

/// Two products at most fit a lane of 16 bits: 2 * 127 * 127 < 2^15.
static CCPU_INLINE int32x4_t add_products(int32x4_t sum, int8x16_t codes, int8x16_t weights) {
  const int16x8_t half = vmull_s8(vget_low_s8(codes), vget_low_s8(weights));
  return vpadalq_s16(sum, vmlal_high_s8(half, codes, weights));
}

#include "tiles_arm.h"

#define tile_neon tile
#define dot_neon dot
FORM(neon, )
#endif
