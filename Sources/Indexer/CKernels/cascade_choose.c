// What the int8 cascade takes from samples: the means, the basis of the slice,
// its width, the scales and the pivots. All of it decides speed alone; whatever
// is chosen, the bounds computed from it hold.
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
#include "cascade.h"
#include "levels.h"

// LAPACK: eigenvalues, ascending, and eigenvectors of a symmetric matrix.
extern void dsyevd_(
    const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
    const int *lwork, int *iwork, const int *liwork, int *info);

static void mean_of(const float *rows, size_t count, size_t stride, size_t d, float *mean) {
  double *sums = cascade_zeroed(d, sizeof(double));
  size_t used = 0;
  for (size_t i = 0; i < count; i += stride, used++) {
    for (size_t j = 0; j < d; j++) sums[j] += (double)rows[i * d + j];
  }
  for (size_t j = 0; j < d; j++) mean[j] = (float)(sums[j] / (double)used);
  free(sums);
}

static float *centred_sample(const float *rows, size_t count, size_t stride, size_t d, const float *mean, size_t *used) {
  *used = (count + stride - 1) / stride;
  float *sample = cascade_zeroed(*used * d, sizeof(float));
  for (size_t i = 0; i < *used; i++) {
    for (size_t j = 0; j < d; j++) sample[i * d + j] = rows[i * stride * d + j] - mean[j];
  }
  return sample;
}

// Adds the covariance of a sample, scaled to trace 1.
static void add_covariance(double *sum, const float *sample, size_t used, size_t d) {
  float *c = cascade_zeroed(d * d, sizeof(float));
  cblas_ssyrk(
      CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)used, 1.0f, sample, (blasint)d, 0.0f, c, (blasint)d);
  double trace = 0;
  for (size_t i = 0; i < d; i++) trace += (double)c[i * d + i];
  for (size_t i = 0; i < d && trace > 0; i++) {
    for (size_t j = 0; j <= i; j++) sum[i * d + j] += (double)c[i * d + j] / trace;
  }
  free(c);
}

// Axes of the sum of both covariances, the leading first: [d x d], a row an axis.
static double *leading_axes(const double *covariance, size_t d) {
  double *a = cascade_zeroed(d * d, sizeof(double)), *w = cascade_zeroed(d, sizeof(double));
  memcpy(a, covariance, d * d * sizeof(double));
  int n = (int)d, info = 0, lwork = -1, liwork = -1, isize = 0;
  double size = 0;
  // Row-major lower is LAPACK's upper; eigenvectors come out as rows.
  dsyevd_("V", "U", &n, a, &n, w, &size, &lwork, &isize, &liwork, &info);
  lwork = (int)size;
  liwork = isize;
  double *work = cascade_zeroed((size_t)lwork, sizeof(double));
  int *iwork = cascade_zeroed((size_t)liwork, sizeof(int));
  dsyevd_("V", "U", &n, a, &n, w, work, &lwork, iwork, &liwork, &info);
  free(work);
  free(iwork);
  free(w);
  double *axes = cascade_zeroed(d * d, sizeof(double));
  for (size_t i = 0; i < d; i++) memcpy(axes + i * d, a + (d - 1 - i) * d, d * sizeof(double));
  free(a);
  if (info != 0) {
    free(axes);
    return NULL;
  }
  return axes;
}

// The width with the least estimated time, from sampled vectors and rows
// centred and turned onto the axes, and each vector's best score over all rows.
static size_t choose_width(
    const float *v, size_t vectors, const float *r, size_t rows, const float *bias, const float *best, size_t d,
    size_t count) {
  double *partial = cascade_zeroed(vectors * rows, sizeof(double)), *va = cascade_zeroed(vectors, sizeof(double)),
         *ra = cascade_zeroed(rows, sizeof(double));
  for (size_t i = 0; i < vectors; i++) {
    for (size_t j = 0; j < d; j++) va[i] += (double)v[i * d + j] * (double)v[i * d + j];
  }
  for (size_t c = 0; c < rows; c++) {
    for (size_t j = 0; j < d; j++) ra[c] += (double)r[c * d + j] * (double)r[c * d + j];
  }
  double *vt = cascade_zeroed(vectors, sizeof(double)), *rt = cascade_zeroed(rows, sizeof(double));
  memcpy(vt, va, vectors * sizeof(double));
  memcpy(rt, ra, rows * sizeof(double));
  size_t chosen = d;
  double least = INFINITY;
  size_t done = 0;
  const size_t step = 16;
  for (size_t width = 2 * step < d ? 2 * step : d;; width = width + step < d ? width + step : d) {
    size_t survivors = 0;
    for (size_t i = 0; i < vectors; i++) {
      for (size_t j = done; j < width; j++) vt[i] -= (double)v[i * d + j] * (double)v[i * d + j];
    }
    for (size_t c = 0; c < rows; c++) {
      for (size_t j = done; j < width; j++) rt[c] -= (double)r[c * d + j] * (double)r[c * d + j];
    }
    for (size_t i = 0; i < vectors; i++) {
      const double lengths = sqrt(va[i]), tail = sqrt(fmax(vt[i], 0));
      for (size_t c = 0; c < rows; c++) {
        double sum = 0;
        for (size_t j = done; j < width; j++) sum += (double)v[i * d + j] * (double)r[c * d + j];
        partial[i * rows + c] += sum;
        // Quantization leaves about 1 part in 110 of each.
        const double bound = tail * sqrt(fmax(rt[c], 0)) + 0.018 * lengths * sqrt(ra[c]);
        survivors += partial[i * rows + c] + (double)bias[c] + bound >= (double)best[i];
      }
    }
    done = width;
    const double share = (double)survivors / (double)(vectors * rows);
    // In nanoseconds of one core: int8 products of the slice, second looks
    // (more than needed at first, while the best is not known), the turning.
    const double cost = (double)count * (double)width * 0.005 + share * 2 * (double)count * 30 +
                        (width < d ? (double)width * (double)d * 0.01 : 0);
    if (cost < least) {
      least = cost;
      chosen = width;
    }
    if (width == d) break;
  }
  free(partial);
  free(va);
  free(ra);
  free(vt);
  free(rt);
  return chosen;
}

static double root_mean_square(const float *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
  return sqrt(sum / (double)count);
}

static double frobenius(const double *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += values[i] * values[i];
  return sqrt(sum);
}

// The product of a matrix [n x n], transposed, and itself.
static void square_of(const double *matrix, size_t n, double *square) {
  cblas_dgemm(
      CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n, (blasint)n, (blasint)n, 1.0, matrix, (blasint)n, matrix,
      (blasint)n, 0.0, square, (blasint)n);
}

// P: the leading axes, mixed by an orthogonal matrix (Hartley's, with signs) so
// that no element is much larger than another and one scale suits all.
static void mix_axes(struct ckernels_cascade *k, const double *axes) {
  const size_t d = k->dimension, width = k->width;
  double *mixer = cascade_zeroed(width * width, sizeof(double));
  uint64_t state = 1;
  for (size_t j = 0; j < width; j++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double sign = state >> 63 ? 1 : -1;
    for (size_t i = 0; i < width; i++) {
      const double angle = 6.283185307179586 * (double)(i * j % width) / (double)width;
      mixer[i * width + j] = sign * (cos(angle) + sin(angle)) / sqrt((double)width);
    }
  }
  cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)width, (blasint)d, (blasint)width, 1.0, mixer, (blasint)width,
      axes, (blasint)d, 0.0, k->basis64, (blasint)d);
  // P is what 16 bits hold, exactly; its rows are of length 1, about.
  double square = 0, greatest = 0;
  for (size_t i = 0; i < width * d; i++) greatest = fmax(greatest, fabs(k->basis64[i]));
  k->basis_step = greatest < 0x1p-1 - 0x1p-15 ? 0x1p-16 : 0x1p-15;
  const size_t pairs = (d + 1) / 2;
  for (size_t i = 0; i < width * d; i++) {
    const double steps = fmin(fmax(rint(k->basis64[i] / k->basis_step), -32767), 32767);
    const size_t axis = i / d, j = i % d;
    k->panels[((axis / PANEL_AXES * pairs + j / 2) * PANEL_AXES + axis % PANEL_AXES) * 2 + j % 2] = (int16_t)steps;
    k->basis64[i] = steps * k->basis_step;
    k->basis[i] = (float)k->basis64[i];
    square += k->basis64[i] * k->basis64[i];
  }
  k->basis_norm = sqrt(square) * UP;
  // P P' - I, in binary64 from the floats as they are.
  cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)width, (blasint)width, (blasint)d, 1.0, k->basis64, (blasint)d,
      k->basis64, (blasint)d, 0.0, mixer, (blasint)width);
  for (size_t i = 0; i < width; i++) mixer[i * width + i] -= 1;
  // |E|^2 = |E'E|, twice, in the norm that can be computed; rounding of a
  // product by dgemm is below 2^-36 of its factors' norms.
  double *power = cascade_zeroed(width * width, sizeof(double));
  const double first = frobenius(mixer, width * width);
  square_of(mixer, width, power);
  const double second = frobenius(power, width * width);
  square_of(power, width, mixer);
  const double fourth = frobenius(mixer, width * width) + 0x1p-36 * second * second;
  // The entries of P P' err by less than 2^-30.
  k->skew = (sqrt(sqrt(fourth) + 0x1p-36 * first * first) + (double)width * 0x1p-30) * UP;
  free(power);
  free(mixer);
}

int cascade_choose(struct ckernels_cascade *k, const float *vectors, size_t vector_count) {
  const struct ckernels_rows *rows = k->rows;
  const size_t d = k->dimension;
  mean_of(rows->values, rows->count, 1, d, k->mean_rows);
  mean_of(vectors, vector_count, 1, d, k->mean_vectors);
  size_t row_used, vector_used;
  float *r = centred_sample(rows->values, rows->count, (rows->count + 8191) / 8192, d, k->mean_rows, &row_used);
  float *v = centred_sample(vectors, vector_count, (vector_count + 8191) / 8192, d, k->mean_vectors, &vector_used);
  double *covariance = cascade_zeroed(d * d, sizeof(double));
  add_covariance(covariance, r, row_used, d);
  add_covariance(covariance, v, vector_used, d);
  double *axes = leading_axes(covariance, d);
  free(covariance);
  int good = axes != NULL;
  if (good) {
    // A few vectors and rows on the axes, and those vectors' best scores.
    const size_t few = vector_used < 48 ? vector_used : 48, some = row_used < 1024 ? row_used : 1024;
    const size_t vector_step = vector_used / few, row_step = row_used / some;
    const size_t vector_stride = (vector_count + 8191) / 8192;
    float *axes32 = cascade_zeroed(d * d, sizeof(float)), *rt = cascade_zeroed(some * d, sizeof(float)),
          *vt = cascade_zeroed(few * d, sizeof(float)), *bias = cascade_zeroed(some, sizeof(float)),
          *best = cascade_zeroed(few, sizeof(float)), *products = cascade_zeroed(few * 1024, sizeof(float)),
          *raw = cascade_zeroed(few * d, sizeof(float));
    for (size_t i = 0; i < d * d; i++) axes32[i] = (float)axes[i];
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)some, (blasint)d, (blasint)d, 1.0f, r,
        (blasint)(d * row_step), axes32, (blasint)d, 0.0f, rt, (blasint)d);
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)few, (blasint)d, (blasint)d, 1.0f, v,
        (blasint)(d * vector_step), axes32, (blasint)d, 0.0f, vt, (blasint)d);
    for (size_t c = 0; c < some; c++) {
      bias[c] = (float)ckernels_score(0, k->mean_vectors, r + c * row_step * d, d);
    }
    for (size_t i = 0; i < few; i++) {
      memcpy(raw + i * d, vectors + i * vector_step * vector_stride * d, d * sizeof(float));
      best[i] = -INFINITY;
    }
    for (size_t base = 0; base < rows->count; base += 1024) {
      const size_t n = rows->count - base < 1024 ? rows->count - base : 1024;
      cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)few, (blasint)n, (blasint)d, 1.0f, raw, (blasint)d,
          rows->values + base * d, (blasint)d, 0.0f, products, 1024);
      for (size_t i = 0; i < few; i++) {
        for (size_t c = 0; c < n; c++) best[i] = fmaxf(best[i], products[i * 1024 + c]);
      }
    }
    for (size_t i = 0; i < few; i++) {
      best[i] -= (float)ckernels_score(0, raw + i * d, k->mean_rows, d);
    }
    k->width = choose_width(vt, few, rt, some, bias, best, d, rows->count);
    free(axes32);
    free(vt);
    free(bias);
    free(best);
    free(products);
    free(raw);
    free(rt);

    k->padded = (k->width + 3) / 4 * 4;
    // All dimensions need no turning: P is I.
    float *row_slice = r, *vector_slice = v;
    if (k->width < d) {
      k->basis = cascade_zeroed(k->width * d, sizeof(float));
      k->basis64 = cascade_zeroed(k->width * d, sizeof(double));
      k->panels = cascade_zeroed(
          (k->width + PANEL_AXES - 1) / PANEL_AXES * PANEL_AXES * ((d + 1) / 2) * 2, sizeof(int16_t));
      mix_axes(k, axes);
      row_slice = cascade_zeroed(row_used * k->width, sizeof(float));
      vector_slice = cascade_zeroed(vector_used * k->width, sizeof(float));
      cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)row_used, (blasint)k->width, (blasint)d, 1.0f, r,
          (blasint)d, k->basis, (blasint)d, 0.0f, row_slice, (blasint)k->width);
      cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)vector_used, (blasint)k->width, (blasint)d, 1.0f, v,
          (blasint)d, k->basis, (blasint)d, 0.0f, vector_slice, (blasint)k->width);
    }
    // One scale for every element: 4 deviations fit, the rest is clipped and
    // counts as quantization error.
    k->row_scale = root_mean_square(row_slice, row_used * k->width) * 4 / 127;
    k->vector_scale = root_mean_square(vector_slice, vector_used * k->width) * 4 / 127;
    // What vectors will have, about: the closer, the less the maxima of blocks count.
    const double whole = root_mean_square(v, vector_used * d) * sqrt((double)d);
    const double inside = root_mean_square(vector_slice, vector_used * k->width) * sqrt((double)k->width);
    k->usual = (struct terms){
        .rest = (float)sqrt(fmax(whole * whole - inside * inside, 0)),
        .error = (float)(k->vector_scale * sqrt((double)k->width / 12)),
        .length = (float)(1.15 * inside)};
    if (k->width < d) {
      free(row_slice);
      free(vector_slice);
    }
    // Vectors or rows that are all the same have no deviation.
    if (!(k->row_scale > 0)) k->row_scale = k->vector_scale;
    if (!(k->vector_scale > 0)) k->vector_scale = k->row_scale;
    // Scales are used in float: take the floats.
    k->row_scale = (double)(float)k->row_scale;
    k->vector_scale = (double)(float)k->vector_scale;
    k->unit = k->row_scale * k->vector_scale;
    free(axes);
  }
  free(r);
  free(v);
  double longest = 0, spread = 0;
  for (size_t c = 0; c < rows->count; c++) {
    const float *values = rows->values + c * d;
    double square = 0;
    for (size_t j = 0; j < d; j++) {
      const double b = (double)(values[j] - k->mean_rows[j]);
      square += b * b;
    }
    longest = fmax(longest, rows->norms[c]);
    spread = fmax(spread, square);
  }
  k->spread = sqrt(spread) * UP;
  const double mc = sqrt(ckernels_score(0, k->mean_rows, k->mean_rows, d)) * UP;
  k->mean_vectors_norm = sqrt(ckernels_score(0, k->mean_vectors, k->mean_vectors, d)) * UP;
  k->longest = fmax(longest, mc);
  return good && k->skew < 0x1p-6 && k->row_scale > 0x1p-60 && k->vector_scale > 0x1p-60 && k->longest < 0x1p40 &&
         k->mean_vectors_norm < 0x1p40 && k->spread * (k->mean_vectors_norm + 4 * (double)(k->usual.rest + k->usual.error + k->usual.length)) / k->unit < 0x1p28;
}

// Takes rows from all over as pivots.
void cascade_choose_pivots(struct ckernels_cascade *k) {
  const size_t d = k->dimension, width = k->width, count = k->rows->count;
  size_t groups = 1;
  while (groups * groups * 2 <= count && groups < MAXIMUM_GROUPS) groups *= 2;
  k->groups = groups;
  const size_t blocks = (groups + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->pivots = cascade_zeroed(blocks * BLOCK_ROWS * k->padded, 1);
  k->pivot_offsets = cascade_zeroed(blocks * BLOCK_ROWS, sizeof(int32_t));
  k->group_starts = cascade_zeroed(groups + 1, sizeof(uint32_t));
  k->pivot_slices = cascade_zeroed(groups * width, sizeof(float));
  k->pivot_halves = cascade_zeroed(groups, sizeof(float));
  float *b = cascade_zeroed(d, sizeof(float));
  uint8_t *slice = cascade_zeroed(k->padded, 1);
  for (size_t g = 0; g < blocks * BLOCK_ROWS; g++) {
    if (g >= groups) {
      k->pivot_offsets[g] = INT32_MIN / 2;
      continue;
    }
    const float *values = k->rows->values + g * count / groups * d;
    for (size_t j = 0; j < d; j++) b[j] = values[j] - k->mean_rows[j];
    float *p = k->pivot_slices + g * width;
    if (width == d) {
      memcpy(p, b, d * sizeof(float));
    } else {
      cblas_sgemv(
          CblasRowMajor, CblasNoTrans, (blasint)width, (blasint)d, 1.0f, k->basis, (blasint)d, b, 1, 0.0f, p, 1);
    }
    for (size_t j = 0; j < width; j++) {
      k->pivot_halves[g] += p[j] * p[j] / 2;
      slice[j] = (uint8_t)((int)fmin(fmax(rint((double)p[j] / k->row_scale), -128), 127) + 128);
    }
    cascade_put_in_lane(k, slice, k->pivots + g / BLOCK_ROWS * BLOCK_ROWS * k->padded, g % BLOCK_ROWS);
    k->pivot_offsets[g] = (int32_t)rint(cascade_mean_product(k, values) / k->unit);
  }
  free(b);
  free(slice);
}

