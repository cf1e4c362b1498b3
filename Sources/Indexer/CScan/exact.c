// What codes stand for, and the score that decides. Decoding is FAISS's:
// minimum + (level + 0.5) / steps * width, each operation rounded to binary32.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "internal.h"

static ALWAYS_INLINE void decode(const struct cscan_coder *c, const uint8_t *code, float *row) {
  const size_t d = c->dimension;
  if (c->codec == CSCAN_SQ8) {
    for (size_t j = 0; j < d; j++) row[j] = c->minima[j] + ((float)code[j] + 0.5f) / 255.0f * c->widths[j];
    return;
  }
  for (size_t j = 0; j + 1 < d; j += 2) {
    row[j] = (float)(code[j / 2] & 15);
    row[j + 1] = (float)(code[j / 2] >> 4);
  }
  if (d & 1) row[d - 1] = (float)(code[d / 2] & 15);
  for (size_t j = 0; j < d; j++) row[j] = c->minima[j] + (row[j] + 0.5f) / 15.0f * c->widths[j];
}

#define DECODE_ARGUMENTS const struct cscan_coder *c, const uint8_t *code, float *row
static void decode_portable(DECODE_ARGUMENTS) { decode(c, code, row); }
TARGET_AVX2 static void decode_avx2(DECODE_ARGUMENTS) { decode(c, code, row); }
TARGET_AVX512 static void decode_avx512(DECODE_ARGUMENTS) { decode(c, code, row); }

static void decode_row(int level, const struct cscan_coder *c, const uint8_t *code, float *row) {
  if (c->codec == CSCAN_FLAT) {
    memcpy(row, code, 4 * c->dimension);
  } else if (c->codec == CSCAN_FP16) {
    ckernels_widen(level, code, CKERNELS_FLOAT16, c->dimension, row);
  } else if (level >= CKERNELS_AVX512) {
    decode_avx512(c, code, row);
  } else if (level >= CKERNELS_AVX2) {
    decode_avx2(c, code, row);
  } else {
    decode_portable(c, code, row);
  }
}

/// ckernels_score of a query and a 4-bit code, decoded on the way. The 16
/// values of (level + 0.5) / 15 are looked up: the same roundings.
TARGET_AVX512 static double score_sq4_avx512(const struct cscan_coder *c, const uint8_t *code, const float *vector) {
  const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512 places = _mm512_div_ps(
      _mm512_add_ps(_mm512_cvtepi32_ps(numbers), _mm512_set1_ps(0.5f)), _mm512_set1_ps(15.0f));
  const __m128i nibble = _mm_set1_epi8(15);
  __m512d a = _mm512_setzero_pd(), b = a;
  for (size_t j = 0; j < c->dimension; j += 16) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(code + j / 2));
    const __m128i levels =
        _mm_unpacklo_epi8(_mm_and_si128(bytes, nibble), _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    const __m512 x = _mm512_add_ps(
        _mm512_loadu_ps(c->minima + j),
        _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_cvtepu8_epi32(levels), places), _mm512_loadu_ps(c->widths + j)));
    const __m512 q = _mm512_loadu_ps(vector + j);
    a = _mm512_fmadd_pd(
        _mm512_cvtps_pd(_mm512_castps512_ps256(q)), _mm512_cvtps_pd(_mm512_castps512_ps256(x)), a);
    b = _mm512_fmadd_pd(
        _mm512_cvtps_pd(_mm512_extractf32x8_ps(q, 1)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)), b);
  }
  double s[16];
  _mm512_storeu_pd(s, a);
  _mm512_storeu_pd(s + 8, b);
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++) s[l] += s[l + width];
  return s[0];
}

double cscan_score(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, size_t row, const float *vector,
    float *scratch) {
  double score;
  if (rows->exact) {
    memcpy(scratch, rows->exact + row * 4 * c->dimension, 4 * c->dimension);
    score = ckernels_score(level, vector, scratch, c->dimension);
  } else if (c->codec == CSCAN_SQ4 && level >= CKERNELS_AVX512 && c->dimension % 16 == 0) {
    score = score_sq4_avx512(c, rows->codes + row * c->code_size, vector);
  } else {
    decode_row(level, c, rows->codes + row * c->code_size, scratch);
    score = ckernels_score(level, vector, scratch, c->dimension);
  }
  return score == score ? score : -INFINITY;
}

void cscan_decode(int level, const struct cscan_coder *c, const uint8_t *codes, size_t count, float *rows) {
  for (size_t i = 0; i < count; i++) decode_row(level, c, codes + i * c->code_size, rows + i * c->dimension);
}

void cscan_measure(
    int level, const struct cscan_coder *c, const uint8_t *codes, const float *rows, size_t count, float *differences,
    double *distance) {
  float decoded[c->dimension];
  for (size_t i = 0; i < count; i++) {
    const float *row = rows + i * c->dimension;
    decode_row(level, c, codes + i * c->code_size, decoded);
    double squares = 0;
    for (size_t j = 0; j < c->dimension; j++) {
      const double difference = fabs((double)row[j] - (double)decoded[j]);
      squares += difference * difference;
      // Rounded up: a difference is never more than what is kept.
      const float kept = nextafterf((float)difference, INFINITY);
      if (kept > differences[j]) differences[j] = kept;
    }
    const double length = sqrt(squares) * (1 + 0x1p-30);
    if (length > *distance) *distance = length;
  }
}
