// One body per kernel, compiled for every level of the CPU. The arithmetic is
// elementwise and uncontracted, so the width of a register never shows.

#include "CCodec.h"

#include <string.h>

#include "CCpu.h"
#include "CRows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/// Components whose levels are computed before they are packed; even.
#define CHUNK 512

/// Where `x` lies in its range, 0 at the minimum and 1 at the maximum. FAISS
/// 1.7.3 (QuantizerTemplate::encode_vector): float subtraction, float division,
/// both ends clamped, 0 when the range is empty.
static CCPU_INLINE float position_in_range(float x, float minimum, float width) {
  float position = (x - minimum) / (width == 0.0f ? 1.0f : width);
  position = position < 0.0f ? 0.0f : position;
  position = position > 1.0f ? 1.0f : position;
  return width == 0.0f ? 0.0f : position;
}

static CCPU_INLINE void encode_sq4(const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes) {
  uint8_t levels[CHUNK];
  for (size_t i = 0; i < n; i++) {
    for (size_t start = 0; start < d; start += CHUNK) {
      const size_t count = d - start < CHUNK ? d - start : CHUNK;
      const float *row = x + start, *low = minima + start, *width = widths + start;
      // Binary64, as FAISS's `x * 15.0`: the product is exact there, so the
      // level is the true floor.
      for (size_t j = 0; j < count; j++)
        levels[j] = (uint8_t)(int)((double)position_in_range(row[j], low[j], width[j]) * 15.0);
      for (size_t j = 0; j + 1 < count; j += 2)
        codes[j / 2] = (uint8_t)(levels[j] | levels[j + 1] << 4);
      if (count & 1) codes[count / 2] = levels[count - 1];
      codes += (count + 1) / 2;
    }
    x += d;
  }
}

static CCPU_INLINE void encode_sq8(const float *x, size_t n, size_t d, const float *minima, const float *widths,
                       uint8_t *codes) {
  for (size_t i = 0; i < n; i++, x += d, codes += d)
    // Binary32, as FAISS's `255 * x`: the product is rounded before it is cut.
    for (size_t j = 0; j < d; j++)
      codes[j] = (uint8_t)(int)(255.0f * position_in_range(x[j], minima[j], widths[j]));
}

/// The IEEE half nearest to a float, ties to even, in integer arithmetic.
static CCPU_INLINE uint16_t half_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude >= 0x7F800000u) return (uint16_t)(sign | (magnitude > 0x7F800000u ? 0x7E00u : 0x7C00u));
  if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); // 65520 and more
  if (magnitude >= 0x38800000u) {                                  // normal halves
    const uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded - (112u << 23)) >> 13);
  }
  if (magnitude < 0x33000000u) return (uint16_t)sign; // under half of the least half
  const uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
  const uint32_t shift = 126u - (magnitude >> 23), whole = significand >> shift;
  const uint32_t rest = significand & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
  return (uint16_t)(sign | (whole + (rest > middle || (rest == middle && (whole & 1u)))));
}

static CCPU_INLINE void extend_range(const float *x, size_t n, size_t d, float *minima, float *maxima) {
  for (size_t i = 0; i < n; i++, x += d)
    for (size_t j = 0; j < d; j++) {
      minima[j] = x[j] < minima[j] ? x[j] : minima[j];
      maxima[j] = x[j] > maxima[j] ? x[j] : maxima[j];
    }
}

// Decoding is FAISS's: minimum + (level + 0.5) / steps * width, each operation
// rounded to binary32.

static CCPU_INLINE void decode_sq4(
    const uint8_t *code, size_t d, const float *minima, const float *widths, float *row) {
  for (size_t j = 0; j + 1 < d; j += 2) {
    row[j] = (float)(code[j / 2] & 15);
    row[j + 1] = (float)(code[j / 2] >> 4);
  }
  if (d & 1) row[d - 1] = (float)(code[d / 2] & 15);
  for (size_t j = 0; j < d; j++) row[j] = minima[j] + (row[j] + 0.5f) / 15.0f * widths[j];
}

static CCPU_INLINE void decode_sq8(
    const uint8_t *code, size_t d, const float *minima, const float *widths, float *row) {
  for (size_t j = 0; j < d; j++) row[j] = minima[j] + ((float)code[j] + 0.5f) / 255.0f * widths[j];
}

#define SCALAR_CODEC(name)                                                                                    \
  CCPU_COMPILE(                                                                                               \
      void, encode_##name,                                                                                    \
      (const float *x, size_t n, size_t d, const float *minima, const float *widths, uint8_t *codes),         \
      (x, n, d, minima, widths, codes))                                                                       \
  CCPU_COMPILE(                                                                                               \
      void, decode_##name,                                                                                    \
      (const uint8_t *code, size_t d, const float *minima, const float *widths, float *row),                  \
      (code, d, minima, widths, row))
SCALAR_CODEC(sq4)
SCALAR_CODEC(sq8)
CCPU_COMPILE(
    void, extend_range, (const float *x, size_t n, size_t d, float *minima, float *maxima), (x, n, d, minima, maxima))

#if defined(__x86_64__)
CCPU_TARGET_AVX2 static size_t encode_fp16_avx2(const float *x, size_t count, uint8_t *halves) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm_storeu_si128((__m128i *)(halves + 2 * i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return i;
}
#endif

static void encode_fp16(int level, const float *x, size_t count, uint8_t *halves) {
  size_t i = 0;
#if defined(__x86_64__)
  if (level != CCPU_PORTABLE) i = encode_fp16_avx2(x, count, halves);
#endif
  (void)level;
  for (; i < count; i++) {
    const uint16_t half = half_of(x[i]);
    memcpy(halves + 2 * i, &half, 2);
  }
}

void ccodec_encode(
    int level, int codec, const float *x, size_t n, size_t d, const float *minima, const float *widths,
    uint8_t *codes) {
  switch (codec) {
    case CCODEC_SQ4: CCPU_CALL(level, encode_sq4, x, n, d, minima, widths, codes); break;
    case CCODEC_SQ8: CCPU_CALL(level, encode_sq8, x, n, d, minima, widths, codes); break;
    case CCODEC_FP16: encode_fp16(level, x, n * d, codes); break;
    case CCODEC_FLAT: memcpy(codes, x, 4 * n * d); break;
  }
}

void ccodec_decode(
    int level, int codec, const uint8_t *code, size_t d, const float *minima, const float *widths, float *row) {
  switch (codec) {
    case CCODEC_SQ4: CCPU_CALL(level, decode_sq4, code, d, minima, widths, row); break;
    case CCODEC_SQ8: CCPU_CALL(level, decode_sq8, code, d, minima, widths, row); break;
    case CCODEC_FP16: crows_widen(level, code, CROWS_FLOAT16, d, row); break;
    case CCODEC_FLAT: memcpy(row, code, 4 * d); break;
  }
}

void ccodec_extend_range(int level, const float *x, size_t n, size_t d, float *minima, float *maxima) {
  CCPU_CALL(level, extend_range, x, n, d, minima, maxima);
}

void ccodec_count_halves(int level, const float *x, size_t n, size_t d, uint32_t *counts) {
  uint16_t halves[CHUNK];
  for (size_t i = 0; i < n; i++, x += d)
    for (size_t start = 0; start < d; start += CHUNK) {
      const size_t count = d - start < CHUNK ? d - start : CHUNK;
      encode_fp16(level, x + start, count, (uint8_t *)halves);
      for (size_t j = 0; j < count; j++) {
        // Negative halves fall as their bits rise; both zeros are one rank apart.
        const uint32_t bits = halves[j], key = bits & 0x8000u ? 0xFFFFu - bits : bits + 0x8000u;
        counts[(start + j) * 65536u + key]++;
      }
    }
}
