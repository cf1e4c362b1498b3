// The scalar codecs: float32 rows in, codes out, bit for bit what FAISS's own
// encoder gives, at every level of the CPU (CCpu.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Encodes `n` rows of `d` floats, 4 bits a component, two to a byte, the even
/// component in the low half; `codes` holds n * ((d + 1) / 2) bytes. `minima`
/// and `widths` hold d floats, all finite, widths >= 0; a width of 0 gives
/// level 0.
void ccodec_encode_sq4(int level, const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes);

/// As ccodec_encode_sq4 with one byte a component.
void ccodec_encode_sq8(int level, const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes);

/// Rounds `count` floats to IEEE half precision, nearest, ties to even.
void ccodec_encode_fp16(int level, const float *x, size_t count, uint16_t *halves);

/// Lowers `minima` and raises `maxima` (d floats each) to cover `n` rows.
void ccodec_extend_range(int level, const float *x, size_t n, size_t d, float *minima, float *maxima);

/// Adds 1 to counts[j * 65536 + key] for each component j of n rows, where key
/// is the rank of the component, rounded to half precision, among all halves.
void ccodec_count_halves(int level, const float *x, size_t n, size_t d, uint32_t *counts);

#ifdef __cplusplus
}
#endif
