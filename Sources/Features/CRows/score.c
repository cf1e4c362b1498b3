// The exact score.
#include "CCpu.h"
#include "CRows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The product of two binary32 numbers is exact in binary64: 24 + 24 bits fit
// in 53, and exponents from -298 to 255 are normal there. So a*b + s is rounded
// once whether or not it is fused, and only the order of the sums matters; all
// levels keep it. Lanes start at +0 and never become -0, so a lane without an
// element is left as it is.

/// A float that lies anywhere.
typedef float loose __attribute__((aligned(1)));

static double fold(double s[16]) {
  for (int width = 8; width > 0; width /= 2) {
    for (int l = 0; l < width; l++) s[l] += s[l + width];
  }
  return s[0];
}

static CCPU_INLINE void tail(const float *x, const loose *y, size_t first, size_t dimension, double s[16]) {
  for (size_t j = first; j < dimension; j++) s[j - first] += (double)x[j] * (double)y[j];
}

static double score_portable(const float *x, const loose *y, size_t dimension) {
  double s[16] = {0};
  size_t j = 0;
  for (; j + 16 <= dimension; j += 16) {
    for (int l = 0; l < 16; l++) s[l] += (double)x[j + l] * (double)y[j + l];
  }
  tail(x, y, j, dimension, s);
  return fold(s);
}

#if defined(__x86_64__)
CCPU_TARGET_AVX2 static double score_avx2(const float *x, const loose *y, size_t dimension) {
  __m256d a = _mm256_setzero_pd(), b = a, c = a, d = a;
  size_t j = 0;
  for (; j + 16 <= dimension; j += 16) {
#define LANES(sum, at)                                                       \
  sum = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + j + at)), _mm256_cvtps_pd(_mm_loadu_ps((const float *)(y + j + at))), sum)
    LANES(a, 0);
    LANES(b, 4);
    LANES(c, 8);
    LANES(d, 12);
#undef LANES
  }
  double s[16];
  _mm256_storeu_pd(s, a);
  _mm256_storeu_pd(s + 4, b);
  _mm256_storeu_pd(s + 8, c);
  _mm256_storeu_pd(s + 12, d);
  tail(x, y, j, dimension, s);
  return fold(s);
}

CCPU_TARGET_AVX512 static double score_avx512(const float *x, const loose *y, size_t dimension) {
  __m512d a = _mm512_setzero_pd(), b = a;
  size_t j = 0;
  for (; j + 16 <= dimension; j += 16) {
    a = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x + j)), _mm512_cvtps_pd(_mm256_loadu_ps((const float *)(y + j))), a);
    b = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x + j + 8)), _mm512_cvtps_pd(_mm256_loadu_ps((const float *)(y + j + 8))), b);
  }
  double s[16];
  _mm512_storeu_pd(s, a);
  _mm512_storeu_pd(s + 8, b);
  tail(x, y, j, dimension, s);
  return fold(s);
}
#endif

double crows_score(int level, const float *left, const float *right, size_t dimension) {
  return CCPU_CALL(level, score, left, right, dimension);
}

double crows_score_stored(int level, const float *left, const void *right, size_t dimension) {
  return CCPU_CALL(level, score, left, right, dimension);
}

double crows_score64(const double *left, const double *right, size_t dimension) {
  double s[16] = {0};
  for (size_t j = 0; j < dimension; j++) s[j % 16] += left[j] * right[j];
  return fold(s);
}
