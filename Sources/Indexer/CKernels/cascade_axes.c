// The axes that vectors and rows are turned onto: the same for both, or
// balanced ones, on which a vector's tail meets a row's where both are short.
// What is chosen decides speed alone; the bounds are computed from what was
// chosen. Names follow Indexer.docc/ExactAssignment.md.
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cascade.h"

// LAPACK: eigenvalues, ascending, and eigenvectors of a symmetric matrix; the
// factor of a positive one; the inverse of any.
extern void dsyevd_(
    const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
    const int *lwork, int *iwork, const int *liwork, int *info);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivots, int *info);
extern void dgetri_(const int *n, double *a, const int *lda, const int *pivots, double *work, const int *lwork, int *info);

static double *square_matrix(size_t n) { return cascade_zeroed(n * n, sizeof(double)); }

static void multiply(
    CBLAS_TRANSPOSE left_as, CBLAS_TRANSPOSE right_as, size_t m, size_t n, size_t k, const double *left,
    const double *right, double *product) {
  cblas_dgemm(
      CblasRowMajor, left_as, right_as, (blasint)m, (blasint)n, (blasint)k, 1.0, left,
      (blasint)(left_as == CblasNoTrans ? k : m), right, (blasint)(right_as == CblasNoTrans ? n : k), 0.0, product,
      (blasint)n);
}

double *cascade_covariance(const float *sample, size_t used, size_t d) {
  float *c = cascade_zeroed(d * d, sizeof(float));
  double *covariance = square_matrix(d), trace = 0;
  cblas_ssyrk(
      CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)used, 1.0f, sample, (blasint)d, 0.0f, c, (blasint)d);
  for (size_t i = 0; i < d; i++) trace += (double)c[i * d + i];
  for (size_t i = 0; i < d && trace > 0; i++) {
    for (size_t j = 0; j <= i; j++) covariance[i * d + j] = covariance[j * d + i] = (double)c[i * d + j] / trace;
  }
  free(c);
  return covariance;
}

// Eigenvectors of a symmetric matrix, as rows, that of the greatest eigenvalue first.
static int eigenvectors(const double *matrix, size_t d, double *vectors, double *values) {
  double *a = square_matrix(d), *w = cascade_zeroed(d, sizeof(double));
  memcpy(a, matrix, d * d * sizeof(double));
  int n = (int)d, info = 0, lwork = -1, liwork = -1, isize = 0;
  double size = 0;
  dsyevd_("V", "U", &n, a, &n, w, &size, &lwork, &isize, &liwork, &info);
  lwork = (int)size;
  liwork = isize;
  double *work = cascade_zeroed((size_t)lwork, sizeof(double));
  int *iwork = cascade_zeroed((size_t)liwork, sizeof(int));
  dsyevd_("V", "U", &n, a, &n, w, work, &lwork, iwork, &liwork, &info);
  for (size_t i = 0; i < d; i++) {
    memcpy(vectors + i * d, a + (d - 1 - i) * d, d * sizeof(double));
    values[i] = w[d - 1 - i];
  }
  free(work);
  free(iwork);
  free(w);
  free(a);
  return info == 0;
}

int cascade_common_axes(const double *vectors, const double *rows, size_t d, struct axes *out) {
  double *sum = square_matrix(d);
  for (size_t i = 0; i < d * d; i++) sum[i] = vectors[i] + rows[i];
  *out = (struct axes){.vectors = square_matrix(d), .energies = cascade_zeroed(d, sizeof(double))};
  out->rows = out->vectors;
  const int good = eigenvectors(sum, d, out->vectors, out->energies);
  free(sum);
  return good;
}

// L with L L' = the covariance and a thousandth of its mean variance more.
static double *factor(const double *covariance, size_t d) {
  double *l = square_matrix(d);
  for (size_t i = 0; i < d; i++) {
    memcpy(l + i * d, covariance + i * d, (i + 1) * sizeof(double));
    l[i * d + i] += 1e-3 / (double)d;
  }
  int n = (int)d, info = 0;
  // Row-major lower is LAPACK's upper.
  dpotrf_("U", &n, l, &n, &info);
  if (info == 0) return l;
  free(l);
  return NULL;
}

// Balanced truncation: with factors Lx and Lc of the covariances and U S^2 U'
// the eigenvectors and values of (Lc' Lx)(Lc' Lx)', T = S^-1/2 U' Lc' and its
// inverse transpose turn both covariances into S.
int cascade_balanced_axes(const double *vectors, const double *rows, size_t d, struct axes *out) {
  double *lx = factor(vectors, d), *lc = factor(rows, d);
  *out = (struct axes){
      .vectors = square_matrix(d), .rows = square_matrix(d), .energies = cascade_zeroed(d, sizeof(double))};
  int good = lx != NULL && lc != NULL;
  if (good) {
    double *cross = square_matrix(d), *square = square_matrix(d), *u = square_matrix(d);
    multiply(CblasTrans, CblasNoTrans, d, d, d, lc, lx, cross);
    multiply(CblasNoTrans, CblasTrans, d, d, d, cross, cross, square);
    good = eigenvectors(square, d, u, out->energies);
    for (size_t i = 0; i < d && good; i++) {
      good = out->energies[i] > 0;
      out->energies[i] = sqrt(out->energies[i]);
    }
    if (good) {
      multiply(CblasNoTrans, CblasTrans, d, d, d, u, lc, out->vectors);
      multiply(CblasNoTrans, CblasNoTrans, d, d, d, u, cross, square);
      multiply(CblasNoTrans, CblasTrans, d, d, d, square, lx, out->rows);
      for (size_t i = 0; i < d; i++) {
        const double root = sqrt(out->energies[i]);
        for (size_t j = 0; j < d; j++) {
          out->vectors[i * d + j] /= root;
          out->rows[i * d + j] /= root * root * root;
        }
      }
    }
    free(cross);
    free(square);
    free(u);
  }
  free(lx);
  free(lc);
  return good;
}

void cascade_free_axes(struct axes *axes) {
  if (axes->rows != axes->vectors) free(axes->rows);
  free(axes->vectors);
  free(axes->energies);
}

static double frobenius(const double *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += values[i] * values[i];
  return sqrt(sum);
}

// At least the norm of a symmetric matrix [n x n], by |S|^8 = |S^8|; `scratch`
// is as large, and both are overwritten. Rounding of a product by dgemm is
// below 2^-36 of its factors' norms.
static double symmetric_norm_above(double *s, double *scratch, size_t n) {
  double sizes[4];
  for (int power = 0; power < 4; power++) {
    sizes[power] = frobenius(s, n * n);
    if (power == 3) break;
    multiply(CblasTrans, CblasNoTrans, n, n, n, s, s, scratch);
    double *swap = s;
    s = scratch;
    scratch = swap;
  }
  double norm = sizes[3];
  for (int power = 2; power >= 0; power--) norm = sqrt(norm + 0x1p-36 * sizes[power] * sizes[power]);
  return norm * UP;
}

// At least the norm of a matrix [m x n].
static double norm_above(const double *matrix, size_t m, size_t n) {
  double *s = square_matrix(m), *scratch = square_matrix(m);
  multiply(CblasNoTrans, CblasTrans, m, m, n, matrix, matrix, s);
  const double size = frobenius(matrix, m * n), square = symmetric_norm_above(s, scratch, m);
  free(s);
  free(scratch);
  return sqrt(square + 0x1p-36 * size * size) * UP;
}

// P: the leading axes, mixed by an orthogonal matrix (Hartley's, with signs) so
// that no element is much larger than another and one scale suits all.
static void mix(struct ckernels_cascade *k, const double *axes, double *p) {
  const size_t d = k->dimension, width = k->width;
  double *mixer = square_matrix(width);
  uint64_t state = 1;
  for (size_t j = 0; j < width; j++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double sign = state >> 63 ? 1 : -1;
    for (size_t i = 0; i < width; i++) {
      const double angle = 6.283185307179586 * (double)(i * j % width) / (double)width;
      mixer[i * width + j] = sign * (cos(angle) + sin(angle)) / sqrt((double)width);
    }
  }
  multiply(CblasNoTrans, CblasNoTrans, width, d, width, mixer, axes, p);
  free(mixer);
  // P is what 16 bits hold, exactly; a row is at most about 2^16 steps long.
  double greatest = 0, longest = 0;
  for (size_t i = 0; i < width * d; i++) greatest = fmax(greatest, fabs(p[i]));
  for (size_t i = 0; i < width; i++) longest = fmax(longest, frobenius(p + i * d, d));
  k->basis_step = 0x1p-16;
  while (longest > 0x1p16 * (1 + 0x1p-10) * k->basis_step || greatest > 32766 * k->basis_step) k->basis_step *= 2;
  const size_t pairs = cascade_pairs(k);
  k->panels = cascade_zeroed(cascade_turned_width(k) * pairs * 2, sizeof(int16_t));
  for (size_t i = 0; i < width * d; i++) {
    const double steps = fmin(fmax(rint(p[i] / k->basis_step), -32767), 32767);
    const size_t axis = i / d, j = i % d;
    k->panels[((axis / PANEL_AXES * pairs + j / 2) * PANEL_AXES + axis % PANEL_AXES) * 2 + j % 2] = (int16_t)steps;
    p[i] = steps * k->basis_step;
  }
}

// At least |P P' - I|.
static double skew_of(const double *p, size_t width, size_t d) {
  double *s = square_matrix(width), *scratch = square_matrix(width);
  multiply(CblasNoTrans, CblasTrans, width, width, d, p, p, s);
  for (size_t i = 0; i < width; i++) s[i * width + i] -= 1;
  // The entries of P P' err by less than 2^-30.
  const double skew = (symmetric_norm_above(s, scratch, width) + (double)width * 0x1p-30) * UP;
  free(s);
  free(scratch);
  return skew;
}

// N: the axes of the tail as integers of the form, a scale for each.
static void quantize_tail(struct ckernels_cascade *k, double *n, size_t count) {
  const size_t d = k->dimension;
  k->tail_blocks = (count + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->tail_axes = cascade_zeroed(k->tail_blocks * BLOCK_ROWS * k->whole_width, 1);
  k->tail_scales = cascade_zeroed(k->tail_blocks * BLOCK_ROWS, sizeof(float));
  for (size_t i = 0; i < count; i++) {
    uint8_t *block = k->tail_axes + i / BLOCK_ROWS * BLOCK_ROWS * k->whole_width;
    double greatest = 0;
    for (size_t j = 0; j < d; j++) greatest = fmax(greatest, fabs(n[i * d + j]));
    const float scale = (float)fmax(greatest / k->form->tail.row_most, 0x1p-60);
    k->tail_scales[i] = scale;
    for (size_t j = 0; j < d; j++) {
      const int q = cascade_quantized(&k->form->tail, n[i * d + j] / (double)scale);
      block[(j / 4 * BLOCK_ROWS + i % BLOCK_ROWS) * 4 + j % 4] = (uint8_t)(q + k->form->tail.row_offset);
      n[i * d + j] = q * (double)scale;
    }
  }
}

// T', the inverse of T's transpose, and whether it is one closely enough.
static int invert(const double *t, size_t d, double *inverse) {
  double *a = square_matrix(d), *work = square_matrix(d);
  int *pivots = cascade_zeroed(d, sizeof(int)), n = (int)d, size = n * n, info = 0;
  memcpy(a, t, d * d * sizeof(double));
  dgetrf_(&n, &n, a, &n, pivots, &info);
  if (info == 0) dgetri_(&n, a, &n, pivots, work, &size, &info);
  int good = info == 0;
  if (good) {
    for (size_t i = 0; i < d; i++) {
      for (size_t j = 0; j < d; j++) inverse[i * d + j] = a[j * d + i];
    }
    // I - T'T, in binary64; its rounding is below d 2^-52 of the factors' norms.
    multiply(CblasTrans, CblasNoTrans, d, d, d, t, inverse, a);
    for (size_t i = 0; i < d; i++) a[i * d + i] -= 1;
    good = frobenius(a, d * d) + (double)d * 0x1p-52 * frobenius(t, d * d) * frobenius(inverse, d * d) < 0x1p-24;
  }
  free(a);
  free(work);
  free(pivots);
  return good;
}

int cascade_set_axes(struct ckernels_cascade *k, const struct axes *axes, float *vector_basis) {
  const size_t d = k->dimension, width = k->width;
  const int balanced = axes->rows != axes->vectors;
  const size_t turned = balanced ? d : width;
  double *t = cascade_zeroed(turned * d, sizeof(double));
  int good = 1;
  mix(k, axes->vectors, t);
  k->turned_rows = turned;
  k->basis64 = cascade_zeroed(turned * d, sizeof(double));
  if (balanced) {
    double *n = t + width * d;
    memcpy(n, axes->vectors + width * d, (d - width) * d * sizeof(double));
    quantize_tail(k, n, d - width);
    k->tail_norm = norm_above(n, d - width, d);
    k->vector_stretch = fmax(norm_above(t, width, d), 1);
    good = invert(t, d, k->basis64);
    k->row_stretch = good ? fmax(norm_above(k->basis64, d, d), 1) : 1;
  } else {
    memcpy(k->basis64, t, width * d * sizeof(double));
    k->skew = skew_of(t, width, d);
    k->vector_stretch = k->row_stretch = 1 + k->skew;
    good = k->skew < 0x1p-6;
  }
  k->basis_norm = frobenius(k->basis64, turned * d) * UP;
  k->row_basis = cascade_zeroed(width * d, sizeof(float));
  for (size_t i = 0; i < width * d; i++) {
    k->row_basis[i] = (float)k->basis64[i];
    vector_basis[i] = (float)t[i];
  }
  free(t);
  return good;
}
