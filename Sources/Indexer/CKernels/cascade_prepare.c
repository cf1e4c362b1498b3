// Preparing rows for the int8 cascade: the basis of the slice, its width, the
// quantized rows and the bounds of what quantization and the slice leave out.
// What is chosen here from samples (means, basis, width, scales) decides speed
// alone; what is computed for every row is a bound and always holds.
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

// No bound is spoilt by rounding in binary64: this factor pays for it.
static const double UP = 1 + 0x1p-20;

static void *zeroed(size_t count, size_t size) {
  size_t bytes = (count * size + 4095) / 4096 * 4096;
  void *memory = aligned_alloc(4096, bytes > 0 ? bytes : 4096);
  if (memory != NULL) memset(memory, 0, bytes);
  return memory;
}

static void mean_of(const float *rows, size_t count, size_t stride, size_t d, float *mean) {
  double *sums = zeroed(d, sizeof(double));
  size_t used = 0;
  for (size_t i = 0; i < count; i += stride, used++) {
    for (size_t j = 0; j < d; j++) sums[j] += (double)rows[i * d + j];
  }
  for (size_t j = 0; j < d; j++) mean[j] = (float)(sums[j] / (double)used);
  free(sums);
}

static float *centred_sample(const float *rows, size_t count, size_t stride, size_t d, const float *mean, size_t *used) {
  *used = (count + stride - 1) / stride;
  float *sample = zeroed(*used * d, sizeof(float));
  for (size_t i = 0; i < *used; i++) {
    for (size_t j = 0; j < d; j++) sample[i * d + j] = rows[i * stride * d + j] - mean[j];
  }
  return sample;
}

// Adds the covariance of a sample, scaled to trace 1.
static void add_covariance(double *sum, const float *sample, size_t used, size_t d) {
  float *c = zeroed(d * d, sizeof(float));
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
  double *a = zeroed(d * d, sizeof(double)), *w = zeroed(d, sizeof(double));
  memcpy(a, covariance, d * d * sizeof(double));
  int n = (int)d, info = 0, lwork = -1, liwork = -1, isize = 0;
  double size = 0;
  // Row-major lower is LAPACK's upper; eigenvectors come out as rows.
  dsyevd_("V", "U", &n, a, &n, w, &size, &lwork, &isize, &liwork, &info);
  lwork = (int)size;
  liwork = isize;
  double *work = zeroed((size_t)lwork, sizeof(double));
  int *iwork = zeroed((size_t)liwork, sizeof(int));
  dsyevd_("V", "U", &n, a, &n, w, work, &lwork, iwork, &liwork, &info);
  free(work);
  free(iwork);
  free(w);
  double *axes = zeroed(d * d, sizeof(double));
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
  double *partial = zeroed(vectors * rows, sizeof(double)), *va = zeroed(vectors, sizeof(double)),
         *ra = zeroed(rows, sizeof(double));
  for (size_t i = 0; i < vectors; i++) {
    for (size_t j = 0; j < d; j++) va[i] += (double)v[i * d + j] * (double)v[i * d + j];
  }
  for (size_t c = 0; c < rows; c++) {
    for (size_t j = 0; j < d; j++) ra[c] += (double)r[c * d + j] * (double)r[c * d + j];
  }
  double *vt = zeroed(vectors, sizeof(double)), *rt = zeroed(rows, sizeof(double));
  memcpy(vt, va, vectors * sizeof(double));
  memcpy(rt, ra, rows * sizeof(double));
  size_t chosen = d;
  double least = INFINITY;
  size_t done = 0;
  for (size_t width = d < 64 ? d : 64;; width = width + 32 < d ? width + 32 : d) {
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
    const double cost = (double)count * (double)width * 0.005 + share * 1.5 * (double)count * 30 +
                        (double)width * (double)d * 0.02;
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

// P: the leading axes, mixed by an orthogonal matrix (Hartley's, with signs) so
// that no element is much larger than another and one scale suits all.
static void mix_axes(struct ckernels_cascade *k, const double *axes) {
  const size_t d = k->dimension, width = k->width;
  double *mixer = zeroed(width * width, sizeof(double));
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
  double square = 0;
  for (size_t i = 0; i < width * d; i++) {
    k->basis[i] = (float)k->basis64[i];
    k->basis64[i] = (double)k->basis[i];
    square += k->basis64[i] * k->basis64[i];
  }
  k->basis_norm = sqrt(square) * UP;
  // P P' - I, in binary64 from the floats as they are.
  cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)width, (blasint)width, (blasint)d, 1.0, k->basis64, (blasint)d,
      k->basis64, (blasint)d, 0.0, mixer, (blasint)width);
  double skew = 0;
  for (size_t i = 0; i < width; i++) {
    for (size_t j = 0; j < width; j++) {
      const double e = mixer[i * width + j] - (i == j);
      skew += e * e;
    }
  }
  // The product's own rounding: each entry errs by less than 2^-30.
  k->skew = (sqrt(skew) + (double)width * 0x1p-30) * UP;
  free(mixer);
}

static int choose(struct ckernels_cascade *k, const float *vectors, size_t vector_count) {
  const struct ckernels_rows *rows = k->rows;
  const size_t d = k->dimension;
  mean_of(rows->values, rows->count, 1, d, k->mean_rows);
  mean_of(vectors, vector_count, 1, d, k->mean_vectors);
  size_t row_used, vector_used;
  float *r = centred_sample(rows->values, rows->count, (rows->count + 8191) / 8192, d, k->mean_rows, &row_used);
  float *v = centred_sample(vectors, vector_count, (vector_count + 8191) / 8192, d, k->mean_vectors, &vector_used);
  double *covariance = zeroed(d * d, sizeof(double));
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
    float *axes32 = zeroed(d * d, sizeof(float)), *rt = zeroed(some * d, sizeof(float)),
          *vt = zeroed(few * d, sizeof(float)), *bias = zeroed(some, sizeof(float)),
          *best = zeroed(few, sizeof(float)), *products = zeroed(few * 1024, sizeof(float)),
          *raw = zeroed(few * d, sizeof(float));
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
    k->basis = zeroed(k->width * d, sizeof(float));
    k->basis64 = zeroed(k->width * d, sizeof(double));
    mix_axes(k, axes);
    // One scale for every element: 4 deviations fit, the rest is clipped and
    // counts as quantization error.
    float *slice = zeroed((row_used > vector_used ? row_used : vector_used) * k->width, sizeof(float));
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)row_used, (blasint)k->width, (blasint)d, 1.0f, r, (blasint)d,
        k->basis, (blasint)d, 0.0f, slice, (blasint)k->width);
    k->row_scale = root_mean_square(slice, row_used * k->width) * 4 / 127;
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)vector_used, (blasint)k->width, (blasint)d, 1.0f, v,
        (blasint)d, k->basis, (blasint)d, 0.0f, slice, (blasint)k->width);
    k->vector_scale = root_mean_square(slice, vector_used * k->width) * 4 / 127;
    // What vectors will have, about: the closer, the less the maxima of blocks count.
    const double whole = root_mean_square(v, vector_used * d) * sqrt((double)d);
    const double inside = root_mean_square(slice, vector_used * k->width) * sqrt((double)k->width);
    k->usual = (struct terms){
        .rest = (float)sqrt(fmax(whole * whole - inside * inside, 0)),
        .error = (float)(k->vector_scale * sqrt((double)k->width / 12)),
        .length = (float)(1.15 * inside)};
    free(slice);
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

// score(mx, c - mc), the difference in float32.
static double mean_product(const struct ckernels_cascade *k, const float *values) {
  double sum = 0;
  for (size_t j = 0; j < k->dimension; j++) {
    sum += (double)k->mean_vectors[j] * (double)(values[j] - k->mean_rows[j]);
  }
  return sum;
}

// Puts a row's quantized slice in its lane of a block.
static void put_in_lane(const struct ckernels_cascade *k, const uint8_t *slice, uint8_t *block, size_t lane) {
  for (size_t j = 0; j < k->padded; j++) block[(j / 4 * BLOCK_ROWS + lane) * 4 + j % 4] = slice[j];
}

// Takes rows from all over as pivots.
static void choose_pivots(struct ckernels_cascade *k) {
  const size_t d = k->dimension, width = k->width, count = k->rows->count;
  size_t groups = 1;
  while (groups * groups * 2 <= count && groups < MAXIMUM_GROUPS) groups *= 2;
  k->groups = groups;
  const size_t blocks = (groups + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->pivots = zeroed(blocks * BLOCK_ROWS * k->padded, 1);
  k->pivot_offsets = zeroed(blocks * BLOCK_ROWS, sizeof(int32_t));
  k->group_starts = zeroed(groups + 1, sizeof(uint32_t));
  k->pivot_slices = zeroed(groups * width, sizeof(float));
  k->pivot_halves = zeroed(groups, sizeof(float));
  float *b = zeroed(d, sizeof(float));
  uint8_t *slice = zeroed(k->padded, 1);
  for (size_t g = 0; g < blocks * BLOCK_ROWS; g++) {
    if (g >= groups) {
      k->pivot_offsets[g] = INT32_MIN / 2;
      continue;
    }
    const float *values = k->rows->values + g * count / groups * d;
    for (size_t j = 0; j < d; j++) b[j] = values[j] - k->mean_rows[j];
    float *p = k->pivot_slices + g * width;
    cblas_sgemv(
        CblasRowMajor, CblasNoTrans, (blasint)width, (blasint)d, 1.0f, k->basis, (blasint)d, b, 1, 0.0f, p, 1);
    for (size_t j = 0; j < width; j++) {
      k->pivot_halves[g] += p[j] * p[j] / 2;
      slice[j] = (uint8_t)((int)fmin(fmax(rint((double)p[j] / k->row_scale), -128), 127) + 128);
    }
    put_in_lane(k, slice, k->pivots + g / BLOCK_ROWS * BLOCK_ROWS * k->padded, g % BLOCK_ROWS);
    k->pivot_offsets[g] = (int32_t)rint(mean_product(k, values) / k->unit);
  }
  free(b);
  free(slice);
}

struct ckernels_cascade *ckernels_cascade_new(
    const struct ckernels_rows *rows, const float *vectors, size_t vector_count) {
  const size_t d = rows->dimension;
  // Wider rows could overflow the sums, and one row needs no search.
  if (d > 32768 || rows->count < 2 || vector_count == 0) return NULL;
  struct ckernels_cascade *k = zeroed(1, sizeof *k);
  k->rows = rows;
  k->dimension = d;
  k->mean_rows = zeroed(d, sizeof(float));
  k->mean_vectors = zeroed(d, sizeof(float));
  if (!choose(k, vectors, vector_count)) {
    ckernels_cascade_free(k);
    return NULL;
  }
  choose_pivots(k);
  k->blocks = (rows->count + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->whole_width = (d + 63) / 64 * 64;
  k->whole_stride = k->whole_width + 64;
  k->slices = zeroed(rows->count * k->padded, 1);
  k->slice_bounds = zeroed(rows->count, sizeof *k->slice_bounds);
  k->order = zeroed(rows->count, sizeof(uint32_t));
  k->packed = zeroed(k->blocks * BLOCK_ROWS * k->padded, 1);
  k->offsets = zeroed(k->blocks * BLOCK_ROWS, sizeof(int32_t));
  k->bounds = zeroed(k->blocks, sizeof *k->bounds);
  k->whole = zeroed(k->blocks * BLOCK_ROWS * k->whole_stride, 1);
  return k;
}

size_t ckernels_cascade_width(const struct ckernels_cascade *k) { return k->width; }

void ckernels_cascade_free(struct ckernels_cascade *k) {
  if (k == NULL) return;
  free(k->mean_rows);
  free(k->mean_vectors);
  free(k->basis);
  free(k->basis64);
  free(k->packed);
  free(k->offsets);
  free(k->bounds);
  free(k->whole);
  free(k->pivots);
  free(k->pivot_offsets);
  free(k->group_starts);
  free(k->pivot_slices);
  free(k->pivot_halves);
  free(k->slices);
  free(k->slice_bounds);
  free(k->order);
  free(k);
}

static float float_above(double value) { return nextafterf((float)value, INFINITY); }

void ckernels_cascade_quantize(struct ckernels_cascade *k, size_t first, size_t end) {
  enum { BATCH = 64 };
  const size_t d = k->dimension, width = k->width;
  double *b = zeroed(BATCH * d, sizeof(double)), *p = zeroed(BATCH * width, sizeof(double));
  float *p32 = zeroed(BATCH * width, sizeof(float)), *products = zeroed(BATCH * k->groups, sizeof(float));
  for (size_t base = first; base < end; base += BATCH) {
    const size_t n = end - base < BATCH ? end - base : BATCH;
    for (size_t i = 0; i < n * d; i++) b[i] = (double)(k->rows->values[base * d + i] - k->mean_rows[i % d]);
    cblas_dgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)width, (blasint)d, 1.0, b, (blasint)d,
        k->basis64, (blasint)d, 0.0, p, (blasint)width);
    for (size_t i = 0; i < n * width; i++) p32[i] = (float)p[i];
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)k->groups, (blasint)width, 1.0f, p32,
        (blasint)width, k->pivot_slices, (blasint)width, 0.0f, products, (blasint)k->groups);
    for (size_t i = 0; i < n; i++) {
      const float *near = products + i * k->groups;
      uint32_t group = 0;
      for (uint32_t g = 1; g < k->groups; g++) {
        if (near[g] - k->pivot_halves[g] > near[group] - k->pivot_halves[group]) group = g;
      }
      const size_t c = base + i;
      uint8_t *slice = k->slices + c * k->padded;
      double square = 0, inside = 0, error = 0, length = 0;
      for (size_t j = 0; j < d; j++) square += b[i * d + j] * b[i * d + j];
      for (size_t j = 0; j < width; j++) {
        const double value = p[i * width + j];
        const double q = fmin(fmax(rint(value / k->row_scale), -128), 127);
        slice[j] = (uint8_t)((int)q + 128);
        inside += value * value;
        error += (value - q * k->row_scale) * (value - q * k->row_scale);
        length += q * q;
      }
      // Elements of the padding meet zeros of the vector: any number will do.
      // rho: rounding of the dgemm, with room.
      const double rho = 0x1p-36 * k->basis_norm * sqrt(square);
      const double e = (sqrt(error) + rho) * UP, kept = fmax(sqrt(inside) - rho, 0);
      const double rest = fmax(square * (1 + 2 * k->skew) * UP - kept * kept, 0);
      const double bias = mean_product(k, k->rows->values + c * d);
      const struct terms terms = {
          .rest = float_above(sqrt(e * e + rest) * UP),
          .error = float_above(sqrt(length) * k->row_scale * UP),
          .length = float_above(e)};
      // The bound for a usual vector is the row's own; how a vector differs
      // counts with the greatest or least terms of the block.
      const double usual = (double)k->usual.rest * (double)terms.rest + (double)k->usual.error * (double)terms.error +
                           (double)k->usual.length * (double)terms.length;
      k->slice_bounds[c] = (struct slice_bound){
          .terms = terms, .offset = (int32_t)ceil((bias + usual) / k->unit) + 1, .group = group};
    }
  }
  free(b);
  free(p);
  free(p32);
  free(products);
}

struct keyed {
  uint32_t group;
  float rest;
  uint32_t row;
};

static int by_group_and_rest(const void *left, const void *right) {
  const struct keyed *a = left, *b = right;
  if (a->group != b->group) return a->group < b->group ? -1 : 1;
  if (a->rest != b->rest) return a->rest < b->rest ? -1 : 1;
  return a->row < b->row ? -1 : a->row > b->row;
}

void ckernels_cascade_sort(struct ckernels_cascade *k) {
  const size_t count = k->rows->count;
  struct keyed *keys = zeroed(count, sizeof *keys);
  for (size_t c = 0; c < count; c++) {
    keys[c] = (struct keyed){k->slice_bounds[c].group, k->slice_bounds[c].terms.rest, (uint32_t)c};
    k->group_starts[keys[c].group + 1] += 1;
  }
  qsort(keys, count, sizeof *keys, by_group_and_rest);
  for (size_t c = 0; c < count; c++) k->order[c] = keys[c].row;
  for (size_t g = 0; g < k->groups; g++) k->group_starts[g + 1] += k->group_starts[g];
  free(keys);
}

size_t ckernels_cascade_blocks(const struct ckernels_cascade *k) { return k->blocks; }

void ckernels_cascade_pack(struct ckernels_cascade *k, size_t first, size_t end) {
  const size_t d = k->dimension;
  for (size_t block = first; block < end; block++) {
    uint8_t *packed = k->packed + block * BLOCK_ROWS * k->padded;
    struct block_bound *bound = k->bounds + block;
    bound->least = (struct terms){INFINITY, INFINITY, INFINITY};
    for (size_t lane = 0; lane < BLOCK_ROWS; lane++) {
      const size_t position = block * BLOCK_ROWS + lane;
      if (position >= k->rows->count) {
        k->offsets[position] = INT32_MIN / 2;
        continue;
      }
      const uint32_t c = k->order[position];
      const struct slice_bound *slice = k->slice_bounds + c;
      put_in_lane(k, k->slices + c * k->padded, packed, lane);
      k->offsets[position] = slice->offset;
      const struct terms t = slice->terms;
      bound->least = (struct terms){
          fminf(bound->least.rest, t.rest), fminf(bound->least.error, t.error), fminf(bound->least.length, t.length)};
      bound->most = (struct terms){
          fmaxf(bound->most.rest, t.rest), fmaxf(bound->most.error, t.error), fmaxf(bound->most.length, t.length)};

      const float *values = k->rows->values + (size_t)c * d;
      uint8_t *whole = k->whole + position * k->whole_stride;
      struct whole_row *about = (struct whole_row *)(whole + k->whole_width);
      float greatest = 0;
      for (size_t j = 0; j < d; j++) greatest = fmaxf(greatest, fabsf(values[j] - k->mean_rows[j]));
      const float scale = greatest > 0x1p-80f ? greatest / 127 : 1;
      double error = 0, length = 0;
      for (size_t j = 0; j < d; j++) {
        const double value = (double)(values[j] - k->mean_rows[j]);
        const double q = fmin(fmax(rint(value / (double)scale), -128), 127);
        whole[j] = (uint8_t)((int)q + 128);
        error += (value - q * (double)scale) * (value - q * (double)scale);
        length += q * q;
      }
      *about = (struct whole_row){
          .bias = mean_product(k, values),
          .scale = scale,
          .error = float_above(sqrt(error) * UP),
          .length = float_above(sqrt(length) * (double)scale * UP),
          .row = c};
    }
  }
}

void ckernels_cascade_packed(struct ckernels_cascade *k) {
  free(k->pivot_slices);
  free(k->pivot_halves);
  free(k->slices);
  free(k->slice_bounds);
  free(k->order);
  free(k->basis64);
  k->pivot_slices = NULL;
  k->pivot_halves = NULL;
  k->slices = NULL;
  k->slice_bounds = NULL;
  k->order = NULL;
  k->basis64 = NULL;
}
