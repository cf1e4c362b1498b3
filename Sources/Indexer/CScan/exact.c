// The score that decides: that of what a code stands for.
#include <math.h>

#include "internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void decode_row(int level, const struct cscan_coder *c, const uint8_t *code, float *row) {
  ccodec_decode(level, c->codec, code, c->dimension, c->minima, c->widths, row);
}

#if defined(__x86_64__)
/// Adds the products of 16 components to the 16 lanes of the score.
CCPU_TARGET_AVX512 static CCPU_INLINE void add_lanes_avx512(__m512d lanes[2], __m512 q, __m512 x) {
  lanes[0] = _mm512_fmadd_pd(
      _mm512_cvtps_pd(_mm512_castps512_ps256(q)), _mm512_cvtps_pd(_mm512_castps512_ps256(x)), lanes[0]);
  lanes[1] = _mm512_fmadd_pd(
      _mm512_cvtps_pd(_mm512_extractf32x8_ps(q, 1)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)), lanes[1]);
}

CCPU_TARGET_AVX512 static CCPU_INLINE double sum_lanes_avx512(const __m512d lanes[2]) {
  double s[16];
  _mm512_storeu_pd(s, lanes[0]);
  _mm512_storeu_pd(s + 8, lanes[1]);
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++) s[l] += s[l + width];
  return s[0];
}

/// crows_score of a query and a 4-bit code, decoded on the way. The 16
/// values of (level + 0.5) / 15 are looked up: the same roundings.
CCPU_TARGET_AVX512 static double score_sq4_avx512(const struct cscan_coder *c, const uint8_t *code, const float *vector) {
  const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512 places = _mm512_div_ps(
      _mm512_add_ps(_mm512_cvtepi32_ps(numbers), _mm512_set1_ps(0.5f)), _mm512_set1_ps(15.0f));
  const __m128i nibble = _mm_set1_epi8(15);
  __m512d lanes[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  for (size_t j = 0; j < c->dimension; j += 16) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(code + j / 2));
    const __m128i levels =
        _mm_unpacklo_epi8(_mm_and_si128(bytes, nibble), _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    const __m512 x = _mm512_add_ps(
        _mm512_loadu_ps(c->minima + j),
        _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_cvtepu8_epi32(levels), places), _mm512_loadu_ps(c->widths + j)));
    add_lanes_avx512(lanes, _mm512_loadu_ps(vector + j), x);
  }
  return sum_lanes_avx512(lanes);
}
#endif

static double score_row(
    int level, const struct cscan_coder *c, const uint8_t *at, const float *vector, float *scratch) {
  if (c->spread) return crows_score_stored(level, vector, at, c->dimension);
#if defined(__x86_64__)
  if (level >= CCPU_AVX512 && c->codec == CCODEC_SQ4 && c->dimension % 16 == 0)
    return score_sq4_avx512(c, at, vector);
#endif
  decode_row(level, c, at, scratch);
  return crows_score(level, vector, scratch, c->dimension);
}

double cscan_score(int level, const struct cscan_coder *c, const uint8_t *at, const float *vector, float *scratch) {
  const double score = score_row(level, c, at, vector, scratch);
  return score == score ? score : -INFINITY;
}

/// The length that some squares make, rounded up.
static double length_of(double squares) { return sqrt(squares) * (1 + 0x1p-30); }

static double greater_of(double one, double other) { return one > other ? one : other; }

void cscan_measure(
    int level, const struct cscan_coder *c, const uint8_t *levels, const float *rows, size_t count, uint8_t *parts,
    struct cscan_spread *spread) {
  const size_t d = c->dimension, padded = cscan_plane_size(c);
  float decoded[d];
  double sums[d], steps[d];
  for (size_t j = 0; j < d; j++) {
    sums[j] = 0;
    // A 256th of a level.
    steps[j] = (double)c->widths[j] / 255 / 256;
  }
  *spread = (struct cscan_spread){.differences = spread->differences, .middles = spread->middles};
  for (size_t j = 0; j < padded; j++) spread->differences[j] = spread->middles[j] = 0;
  for (size_t i = 0; i < count; i++) {
    const float *row = rows + i * d;
    decode_row(level, c, levels + i * d, decoded);
    double squares = 0, finer = 0, lengths = 0;
    for (size_t j = 0; j < d; j++) {
      const uint8_t own = levels[i * d + j];
      const double left = (double)row[j] - (double)decoded[j], difference = fabs(left);
      squares += difference * difference;
      sums[j] += own;
      if (own > spread->greatest) spread->greatest = own;
      // Rounded up: a difference is never more than what is kept.
      const float kept = nextafterf((float)difference, INFINITY);
      if (kept > spread->differences[j]) spread->differences[j] = kept;
      const double wanted = steps[j] > 0 ? left / steps[j] : 0;
      const double part = wanted <= -128 ? -128 : wanted >= 127 ? 127 : rint(wanted);
      parts[i * d + j] = (uint8_t)(int)(part + 128);
      finer += (left - part * steps[j]) * (left - part * steps[j]);
      lengths += part * part;
    }
    spread->distance[0] = greater_of(spread->distance[0], length_of(squares));
    spread->distance[1] = greater_of(spread->distance[1], length_of(finer));
    spread->radius[1] = greater_of(spread->radius[1], length_of(lengths) / 256);
  }
  for (size_t j = 0; j < d; j++) spread->middles[j] = (float)(sums[j] / (double)count);
  for (size_t i = 0; i < count; i++) {
    double squares = 0;
    for (size_t j = 0; j < d; j++) {
      const double difference = (double)levels[i * d + j] - (double)spread->middles[j];
      squares += difference * difference;
    }
    spread->radius[0] = greater_of(spread->radius[0], length_of(squares));
  }
}
