// The few routines of BLAS and LAPACK that the int8 engine calls to choose axes
// and to fall back, by the book: for a CPU that this machine has no OpenBLAS for.

#include <cblas.h>
#include <math.h>
#include <stddef.h>

#define AT(matrix, as, stride, i, j) ((as) == CblasNoTrans ? (matrix)[(size_t)(i) * (stride) + (j)] : (matrix)[(size_t)(j) * (stride) + (i)])
#define GEMM(type, sum)                                                                                      \
  (void)order;                                                                                               \
  for (blasint i = 0; i < m; i++) {                                                                          \
    for (blasint j = 0; j < n; j++) {                                                                        \
      type s = 0;                                                                                            \
      for (blasint p = 0; p < k; p++) s += AT(a, as, (size_t)lda, i, p) * AT(b, bs, (size_t)ldb, p, j);      \
      c[i * ldc + j] = alpha * s + (beta != 0 ? beta * c[i * ldc + j] : 0);                                  \
    }                                                                                                        \
  }

void cblas_sgemm(
    enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE as, enum CBLAS_TRANSPOSE bs, blasint m, blasint n, blasint k,
    float alpha, const float *a, blasint lda, const float *b, blasint ldb, float beta, float *c, blasint ldc) {
  GEMM(float, s)
}

void cblas_dgemm(
    enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE as, enum CBLAS_TRANSPOSE bs, blasint m, blasint n, blasint k,
    double alpha, const double *a, blasint lda, const double *b, blasint ldb, double beta, double *c, blasint ldc) {
  GEMM(double, s)
}

// As called: the lower triangle of a' a.
void cblas_ssyrk(
    enum CBLAS_ORDER order, enum CBLAS_UPLO half, enum CBLAS_TRANSPOSE as, blasint n, blasint k, float alpha,
    const float *a, blasint lda, float beta, float *c, blasint ldc) {
  (void)order, (void)half, (void)as, (void)beta;
  for (blasint i = 0; i < n; i++) {
    for (blasint j = 0; j <= i; j++) {
      float s = 0;
      for (blasint p = 0; p < k; p++) s += a[p * lda + i] * a[p * lda + j];
      c[i * ldc + j] = alpha * s;
    }
  }
}

// Jacobi's method; eigenvectors one after another, by rising values.
void dsyevd_(
    const char *jobz, const char *uplo, const int *size, double *a, const int *lda, double *w, double *work,
    const int *lwork, int *iwork, const int *liwork, int *info) {
  (void)jobz, (void)uplo, (void)lda, (void)liwork;
  const int n = *size;
  *info = 0;
  if (*lwork < 0) {
    *work = (double)n * n;
    *iwork = 1;
    return;
  }
  double *v = work;
  for (int i = 0; i < n * n; i++) v[i] = i % (n + 1) == 0;
  for (int sweep = 0, left = 1; sweep < 12 && left; sweep++) {
    left = 0;
    for (int p = 0; p < n; p++) {
      for (int q = p + 1; q < n; q++) {
        // The covariances have a trace of 1.
        if (fabs(a[p * n + q]) < 1e-14) continue;
        left = 1;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
        const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
        for (int i = 0; i < n; i++) {
          const double x = a[i * n + p], y = a[i * n + q];
          a[i * n + p] = c * x - s * y;
          a[i * n + q] = s * x + c * y;
        }
        for (int i = 0; i < n; i++) {
          const double x = a[p * n + i], y = a[q * n + i], e = v[p * n + i], f = v[q * n + i];
          a[p * n + i] = c * x - s * y;
          a[q * n + i] = s * x + c * y;
          v[p * n + i] = c * e - s * f;
          v[q * n + i] = s * e + c * f;
        }
      }
    }
  }
  for (int i = 0; i < n; i++) w[i] = a[i * n + i];
  for (int i = 0; i < n; i++) {
    int least = i;
    for (int j = i; j < n; j++) least = w[j] < w[least] ? j : least;
    const double value = w[i];
    w[i] = w[least];
    w[least] = value;
    for (int j = 0; j < n; j++) {
      a[i * n + j] = v[least * n + j];
      v[least * n + j] = v[i * n + j];
    }
  }
}

void dpotrf_(const char *uplo, const int *size, double *a, const int *lda, int *info) {
  (void)uplo, (void)lda;
  const int n = *size;
  *info = 0;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j <= i; j++) {
      double s = a[i * n + j];
      for (int p = 0; p < j; p++) s -= a[i * n + p] * a[j * n + p];
      if (i == j && !(s > 0)) *info = i + 1;
      a[i * n + j] = i == j ? sqrt(s) : s / a[j * n + j];
    }
  }
}

// dgetri does the work of both: they are called together.
void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivots, int *info) {
  (void)m, (void)n, (void)a, (void)lda, (void)pivots;
  *info = 0;
}

void dgetri_(const int *size, double *a, const int *lda, const int *pivots, double *work, const int *lwork, int *info) {
  (void)lda, (void)pivots, (void)lwork;
  const int n = *size;
  *info = 0;
  for (int i = 0; i < n * n; i++) work[i] = i % (n + 1) == 0;
  for (int p = 0; p < n; p++) {
    int best = p;
    for (int i = p; i < n; i++) best = fabs(a[i * n + p]) > fabs(a[best * n + p]) ? i : best;
    if (a[best * n + p] == 0) *info = p + 1;
    const double scale = 1 / a[best * n + p];
    for (int j = 0; j < n; j++) {
      const double x = a[p * n + j], y = work[p * n + j];
      a[p * n + j] = a[best * n + j];
      work[p * n + j] = work[best * n + j];
      if (best != p) a[best * n + j] = x, work[best * n + j] = y;
      a[p * n + j] *= scale;
      work[p * n + j] *= scale;
    }
    for (int i = 0; i < n; i++) {
      const double by = a[i * n + p];
      if (i == p || by == 0) continue;
      for (int j = 0; j < n; j++) {
        a[i * n + j] -= by * a[p * n + j];
        work[i * n + j] -= by * work[p * n + j];
      }
    }
  }
  for (int i = 0; i < n * n; i++) a[i] = work[i];
}

void openblas_set_num_threads(int count) { (void)count; }
char *openblas_get_corename(void) { return "none"; }
char *openblas_get_config(void) { return "by the book"; }
