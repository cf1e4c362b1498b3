// What the int8 cascade takes from samples: the means, which axes, how many of
// them make the slice, the scales and the pivots. All of it decides speed alone; whatever
// is chosen, the bounds computed from it hold.
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CCpu.h"
#include "CKernels.h"
#include "CRows.h"
#include "cascade.h"

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

// A few vectors and rows of the samples, and those vectors' best scores.
struct trial {
  size_t vectors, rows;
  size_t vector_step, row_step;  // in the samples
  float *bias;                   // of the rows
  float *best;                   // of the vectors, the n-th best score of each
  double unturned_error;         // of both, quantized as they are
  double turned_error;           // of both, turned
};

// About what a product costs in the turning of rows, in nanoseconds of one core.
static const double PREPARING_COST = 0.1;

// The width with the least estimated time, in nanoseconds of one core for each
// vector, from sampled vectors and rows centred and turned onto the axes, and
// each vector's best score over all rows.
static size_t choose_width(
    const struct ckernels_cascade *k, const struct trial *t, const float *v, const float *r, int balanced,
    double *estimate) {
  const struct cascade_form *form = k->form;
  const size_t d = k->dimension, count = k->rows->count;
  const double compared = k->purpose.compared > 0 ? k->purpose.compared : (double)count;
  const size_t vectors = t->vectors, rows = t->rows;
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
  *estimate = INFINITY;
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
        const double error = width < d ? t->turned_error : t->unturned_error;
        const double bound = tail * sqrt(fmax(rt[c], 0)) + error * lengths * sqrt(ra[c]);
        survivors += partial[i * rows + c] + (double)t->bias[c] + bound >= (double)t->best[i];
      }
    }
    done = width;
    const double share = (double)survivors / (double)(vectors * rows);
    // Int8 products of the slice, second looks (more than needed at first, while
    // the best is not known), the turning.
    const double turned = width < d ? (double)(width * d) : 0, left = balanced ? (double)((d - width) * d) : 0;
    // Rows are turned in binary64, those on balanced axes onto all of them.
    const double prepared = k->purpose.vectors > 0 ? (double)count * (turned + left) / k->purpose.vectors : 0;
    const double cost = (compared * (double)width + left) * form->product_cost +
                        fmin(share * 2 * (double)count, compared) * form->look_cost + turned * form->turn_cost +
                        prepared * PREPARING_COST;
    if (cost < *estimate && !(balanced && width == d)) {
      *estimate = cost;
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

// What quantization with one scale leaves of a sample, as a part of its length.
static double quantization_error(const float *sample, size_t count, int most) {
  const double scale = root_mean_square(sample, count) * 4 / most;
  double square = 0, error = 0;
  for (size_t i = 0; i < count && scale > 0; i++) {
    const double value = (double)sample[i], q = fmin(fmax(rint(value / scale), -most), most);
    square += value * value;
    error += (value - q * scale) * (value - q * scale);
  }
  return square > 0 ? sqrt(error / square) : 0;
}

static int by_falling(const void *left, const void *right) {
  const float a = *(const float *)left, b = *(const float *)right;
  return (a < b) - (a > b);
}

static struct trial make_trial(
    const struct ckernels_cascade *k, const float *vectors, size_t vector_stride, const float *v, size_t vector_used,
    const float *r, size_t row_used) {
  const struct ckernels_rows *rows = k->rows;
  const size_t d = k->dimension;
  struct trial t = {.vectors = vector_used < 48 ? vector_used : 48, .rows = row_used < 1024 ? row_used : 1024};
  t.vector_step = vector_used / t.vectors;
  t.row_step = row_used / t.rows;
  t.bias = cascade_zeroed(t.rows, sizeof(float));
  t.best = cascade_zeroed(t.vectors, sizeof(float));
  float *products = cascade_zeroed(t.vectors * 1024, sizeof(float)), *raw = cascade_zeroed(t.vectors * d, sizeof(float));
  for (size_t c = 0; c < t.rows; c++) {
    t.bias[c] = (float)crows_score(0, k->mean_vectors, r + c * t.row_step * d, d);
  }
  for (size_t i = 0; i < t.vectors; i++) {
    memcpy(raw + i * d, vectors + i * t.vector_step * vector_stride * d, d * sizeof(float));
    t.best[i] = -INFINITY;
  }
  const size_t nth = k->purpose.nth;
  float *all = cascade_zeroed(nth > 1 ? t.vectors * rows->count : 0, sizeof(float));
  for (size_t base = 0; base < rows->count; base += 1024) {
    const size_t n = rows->count - base < 1024 ? rows->count - base : 1024;
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)t.vectors, (blasint)n, (blasint)d, 1.0f, raw, (blasint)d,
        rows->values + base * d, (blasint)d, 0.0f, products, 1024);
    for (size_t i = 0; i < t.vectors; i++) {
      for (size_t c = 0; c < n; c++) t.best[i] = fmaxf(t.best[i], products[i * 1024 + c]);
      if (nth > 1) memcpy(all + i * rows->count + base, products + i * 1024, n * sizeof(float));
    }
  }
  for (size_t i = 0; i < t.vectors && nth > 1; i++) {
    qsort(all + i * rows->count, rows->count, sizeof(float), by_falling);
    t.best[i] = all[i * rows->count + (nth < rows->count ? nth : rows->count) - 1];
  }
  free(all);
  for (size_t i = 0; i < t.vectors; i++) t.best[i] -= (float)crows_score(0, raw + i * d, k->mean_rows, d);
  free(products);
  free(raw);
  t.unturned_error =
      quantization_error(r, t.rows * d, k->form->slice.row_most) + quantization_error(v, t.vectors * d, k->form->slice.vector_most);
  // Quantization leaves about that part of each once axes are mixed.
  t.turned_error = 1.15 / k->form->slice.row_most + 1.15 / k->form->slice.vector_most;
  return t;
}

// Some rows of a sample, turned onto axes in double.
static float *turned(const double *axes, const float *sample, size_t step, size_t count, size_t d) {
  float *axes32 = cascade_zeroed(d * d, sizeof(float)), *out = cascade_zeroed(count * d, sizeof(float));
  for (size_t i = 0; i < d * d; i++) axes32[i] = (float)axes[i];
  cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, (blasint)d, (blasint)d, 1.0f, sample,
      (blasint)(d * step), axes32, (blasint)d, 0.0f, out, (blasint)d);
  free(axes32);
  return out;
}

static size_t try_axes(
    const struct ckernels_cascade *k, const struct axes *axes, const struct trial *t, const float *v, const float *r,
    double *estimate) {
  const size_t d = k->dimension;
  float *vt = turned(axes->vectors, v, t->vector_step, t->vectors, d);
  float *rt = turned(axes->rows, r, t->row_step, t->rows, d);
  const size_t width = choose_width(k, t, vt, rt, axes->rows != axes->vectors, estimate);
  free(vt);
  free(rt);
  return width;
}

// The first D axes of a sample.
static float *sliced(const float *basis, const float *sample, size_t count, size_t width, size_t d) {
  float *out = cascade_zeroed(count * width, sizeof(float));
  cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, (blasint)width, (blasint)d, 1.0f, sample, (blasint)d,
      basis, (blasint)d, 0.0f, out, (blasint)width);
  return out;
}

// Chooses between the kinds of axes, and how many make the slice.
static int choose_axes(
    struct ckernels_cascade *k, const float *vectors, size_t vector_stride, const float *v, size_t vector_used,
    const float *r, size_t row_used, int shape, struct axes *axes) {
  const size_t d = k->dimension, count = k->rows->count;
  double *of_vectors = cascade_covariance(v, vector_used, d), *of_rows = cascade_covariance(r, row_used, d);
  int good = shape == CKERNELS_BALANCED ? cascade_balanced_axes(of_vectors, of_rows, d, axes)
                                        : cascade_common_axes(of_vectors, of_rows, d, axes);
  k->width = d - d / 2;
  if (good && shape == CKERNELS_FASTEST) {
    struct trial trial = make_trial(k, vectors, vector_stride, v, vector_used, r, row_used);
    double estimate;
    k->width = try_axes(k, axes, &trial, v, r, &estimate);
    // Turning onto d axes must be worth it.
    if (count >= 4 * d && d > 32) {
      struct axes balanced;
      double other = INFINITY;
      size_t width = d;
      if (cascade_balanced_axes(of_vectors, of_rows, d, &balanced)) {
        width = try_axes(k, &balanced, &trial, v, r, &other);
      }
      struct axes worse = balanced;
      if (other < estimate) {
        worse = *axes;
        *axes = balanced;
        k->width = width;
      }
      cascade_free_axes(&worse);
    }
    free(trial.bias);
    free(trial.best);
  }
  free(of_vectors);
  free(of_rows);
  return good;
}

// Lengths of the rows and of the means, for the range of everything.
static void measure(struct ckernels_cascade *k) {
  const struct ckernels_rows *rows = k->rows;
  const size_t d = k->dimension;
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
  const double mc = sqrt(crows_score(0, k->mean_rows, k->mean_rows, d)) * UP;
  k->mean_vectors_norm = sqrt(crows_score(0, k->mean_vectors, k->mean_vectors, d)) * UP;
  k->longest = fmax(longest, mc);
}

int cascade_choose(struct ckernels_cascade *k, const float *vectors, size_t vector_count, int shape) {
  const struct ckernels_rows *rows = k->rows;
  const size_t d = k->dimension;
  mean_of(rows->values, rows->count, 1, d, k->mean_rows);
  mean_of(vectors, vector_count, 1, d, k->mean_vectors);
  size_t row_used, vector_used;
  const size_t vector_stride = (vector_count + 8191) / 8192;
  float *r = centred_sample(rows->values, rows->count, (rows->count + 8191) / 8192, d, k->mean_rows, &row_used);
  float *v = centred_sample(vectors, vector_count, vector_stride, d, k->mean_vectors, &vector_used);
  struct axes axes;
  int good = choose_axes(k, vectors, vector_stride, v, vector_used, r, row_used, shape, &axes);
  k->padded = (k->width + 7) / 8 * 8;
  k->turned_rows = k->width;
  k->vector_stretch = k->row_stretch = 1;
  // All dimensions need no turning: P is I.
  float *row_slice = r, *vector_slice = v;
  if (good && k->width < d) {
    float *vector_basis = cascade_zeroed(k->width * d, sizeof(float));
    good = cascade_set_axes(k, &axes, vector_basis);
    row_slice = sliced(k->row_basis, r, row_used, k->width, d);
    vector_slice = sliced(vector_basis, v, vector_used, k->width, d);
    free(vector_basis);
  }
  // One scale for every element: 4 deviations fit, the rest is clipped and
  // counts as quantization error.
  k->row_scale = root_mean_square(row_slice, row_used * k->width) * 4 / k->form->slice.row_most;
  k->vector_scale = root_mean_square(vector_slice, vector_used * k->width) * 4 / k->form->slice.vector_most;
  // What vectors will have, about: the closer, the less the maxima of blocks count.
  const double whole = root_mean_square(v, vector_used * d) * sqrt((double)d);
  const double inside = root_mean_square(vector_slice, vector_used * k->width) * sqrt((double)k->width);
  double tail = fmax(whole * whole - inside * inside, 0);
  if (k->tail_blocks > 0) {
    tail = 0;
    for (size_t i = k->width; i < d; i++) tail += axes.energies[i] * whole * whole;
  }
  k->usual = (struct terms){
      .rest = (float)sqrt(tail),
      .error = (float)(k->vector_scale * sqrt((double)k->width / 12)),
      .length = (float)(1.15 * inside)};
  // Vectors or rows that are all the same have no deviation.
  if (!(k->row_scale > 0)) k->row_scale = k->vector_scale;
  if (!(k->vector_scale > 0)) k->vector_scale = k->row_scale;
  // Scales are used in float: take the floats.
  k->row_scale = (double)(float)k->row_scale;
  k->vector_scale = (double)(float)k->vector_scale;
  k->unit = k->row_scale * k->vector_scale;
  if (row_slice != r) free(row_slice);
  if (vector_slice != v) free(vector_slice);
  cascade_free_axes(&axes);
  free(r);
  free(v);
  measure(k);
  const double usual = (double)(k->usual.rest + k->usual.error + k->usual.length);
  return good && k->row_scale > 0x1p-60 && k->vector_scale > 0x1p-60 && k->longest < 0x1p40 &&
         k->mean_vectors_norm < 0x1p40 &&
         k->spread * (k->mean_vectors_norm + 4 * usual * k->row_stretch) / k->unit < 0x1p28;
}

uint32_t cascade_nearest_pivot(const struct ckernels_cascade *k, const float *products) {
  uint32_t nearest = 0;
  for (uint32_t g = 1; g < k->groups; g++) {
    if (products[g] - k->pivot_halves[g] > products[nearest] - k->pivot_halves[nearest]) nearest = g;
  }
  return nearest;
}

// Moves pivots to the means of the sampled slices that are nearest to them, and
// their offsets with them. One that is nearest to none stays where it is.
static void move_pivots(struct ckernels_cascade *k, const float *slices, const float *bias, size_t used, float *offsets) {
  const size_t width = k->width, groups = k->groups;
  float *products = cascade_zeroed(used * groups, sizeof(float)), *sums = cascade_zeroed(groups * (width + 2), sizeof(float));
  cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)used, (blasint)groups, (blasint)width, 1.0f, slices,
      (blasint)width, k->pivot_slices, (blasint)width, 0.0f, products, (blasint)groups);
  for (size_t i = 0; i < used; i++) {
    float *sum = sums + cascade_nearest_pivot(k, products + i * groups) * (width + 2);
    for (size_t j = 0; j < width; j++) sum[j] += slices[i * width + j];
    sum[width] += bias[i];
    sum[width + 1] += 1;
  }
  for (size_t g = 0; g < groups; g++) {
    const float *sum = sums + g * (width + 2), share = 1 / sum[width + 1];
    if (sum[width + 1] == 0) continue;
    for (size_t j = 0; j < width; j++) k->pivot_slices[g * width + j] = sum[j] * share;
    offsets[g] = sum[width] * share;
  }
  free(products);
  free(sums);
}

static void measure_pivots(struct ckernels_cascade *k) {
  for (size_t g = 0; g < k->groups; g++) {
    const float *p = k->pivot_slices + g * k->width;
    float square = 0;
    for (size_t j = 0; j < k->width; j++) square += p[j] * p[j];
    k->pivot_halves[g] = square / 2;
  }
}

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
  // Rows from all over, and three rounds of k-means on a sample.
  size_t used;
  float *sample = centred_sample(k->rows->values, count, (count + 8191) / 8192, d, k->mean_rows, &used);
  float *slices = width < d ? sliced(k->row_basis, sample, used, width, d) : sample;
  float *bias = cascade_zeroed(used, sizeof(float)), *offsets = cascade_zeroed(groups, sizeof(float));
  for (size_t i = 0; i < used; i++) bias[i] = (float)crows_score(0, k->mean_vectors, sample + i * d, d);
  for (size_t g = 0; g < groups; g++) {
    const size_t i = g * used / groups;
    memcpy(k->pivot_slices + g * width, slices + i * width, width * sizeof(float));
    offsets[g] = bias[i];
  }
  measure_pivots(k);
  for (int round = 0; round < 3; round++) {
    move_pivots(k, slices, bias, used, offsets);
    measure_pivots(k);
  }
  uint8_t *slice = cascade_zeroed(k->padded, 1);
  for (size_t g = 0; g < blocks * BLOCK_ROWS; g++) {
    if (g >= groups) {
      k->pivot_offsets[g] = INT32_MIN / 2;
      continue;
    }
    const float *p = k->pivot_slices + g * width;
    for (size_t j = 0; j < width; j++) {
      slice[j] = (uint8_t)(cascade_quantized(&k->form->slice, (double)p[j] / k->row_scale) + k->form->slice.row_offset);
    }
    cascade_put_in_lane(k, slice, k->pivots + g / BLOCK_ROWS * BLOCK_ROWS * k->padded, g % BLOCK_ROWS);
    k->pivot_offsets[g] = (int32_t)rint((double)offsets[g] / k->unit);
  }
  if (slices != sample) free(slices);
  free(sample);
  free(bias);
  free(offsets);
  free(slice);
}
