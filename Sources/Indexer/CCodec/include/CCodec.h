// The scalar codecs: float32 rows in, codes out, bit for bit what FAISS's own
// encoder gives. Every SIMD path returns the same bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The instruction sets an encoder can be told to use; each must exist on the
/// machine (see ccodec_best_path).
enum { ccodec_path_baseline = 0, ccodec_path_avx2 = 1, ccodec_path_avx512 = 2 };

/// The widest path this machine runs.
int ccodec_best_path(void);

/// Encodes `n` rows of `d` floats, 4 bits a component, two to a byte, the even
/// component in the low half; `codes` holds n * ((d + 1) / 2) bytes. `minima`
/// and `widths` hold d floats, all finite, widths >= 0; a width of 0 gives
/// level 0.
void ccodec_encode_sq4(int path, const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes);

/// As ccodec_encode_sq4 with one byte a component.
void ccodec_encode_sq8(int path, const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes);

/// Rounds `count` floats to IEEE half precision, nearest, ties to even.
void ccodec_encode_fp16(int path, const float *x, size_t count, uint16_t *halves);

/// Lowers `minima` and raises `maxima` (d floats each) to cover `n` rows.
void ccodec_extend_range(int path, const float *x, size_t n, size_t d, float *minima, float *maxima);

/// Adds 1 to counts[j * 65536 + key] for each component j of n rows, where key
/// is the rank of the component, rounded to half precision, among all halves.
void ccodec_count_halves(int path, const float *x, size_t n, size_t d, uint32_t *counts);

#ifdef __cplusplus
}
#endif
