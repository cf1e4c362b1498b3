// The codecs: float32 rows in, codes out and back, bit for bit what FAISS's own
// encoder and decoder give, at every level of the CPU (CCpu.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The codecs, by their numbers in tarn's own files; never renumbered. A range
/// is the minimum and the width of a dimension.
enum ccodec_codec {
  CCODEC_SQ4 = 0,   // 4 bits a component in a range per dimension, the even component in the low half of a byte
  CCODEC_SQ8 = 1,   // 8 bits a component in a range per dimension
  CCODEC_FP16 = 2,  // IEEE half precision, nearest, ties to even
  CCODEC_FLAT = 3,  // float32
};

/// Encodes `n` rows of `d` floats. `minima` and `widths` hold d floats, all
/// finite, widths >= 0, a width of 0 giving level 0; NULL for a codec without
/// ranges. `codes` needs no alignment.
void ccodec_encode(
    int level, int codec, const float *x, size_t n, size_t d, const float *minima, const float *widths,
    uint8_t *codes);

/// Decodes one code to `d` floats, which are aligned.
void ccodec_decode(
    int level, int codec, const uint8_t *code, size_t d, const float *minima, const float *widths, float *row);

/// Lowers `minima` and raises `maxima` (d floats each) to cover `n` rows.
void ccodec_extend_range(int level, const float *x, size_t n, size_t d, float *minima, float *maxima);

/// Adds 1 to counts[j * 65536 + key] for each component j of n rows, where key
/// is the rank of the component, rounded to half precision, among all halves.
void ccodec_count_halves(int level, const float *x, size_t n, size_t d, uint32_t *counts);

#ifdef __cplusplus
}
#endif
