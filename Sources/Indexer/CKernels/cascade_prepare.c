// Preparing rows for the int8 cascade: the quantized rows and, for each, the
// bounds of what quantization and the slice leave out.
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CKernels.h"
#include "cascade.h"

enum { HUGE_PAGE = 2 << 20 };

void *cascade_zeroed(size_t count, size_t size) {
  const size_t unit = count * size < HUGE_PAGE ? 4096 : HUGE_PAGE;
  const size_t bytes = (count * size + unit - 1) / unit * unit;
  void *memory = aligned_alloc(unit, bytes > 0 ? bytes : unit);
  // As Swift does when memory runs out: nothing could go on from here.
  if (memory == NULL) abort();
  // Rows are looked up all over: fewer pages, fewer misses. A wish, no more.
  if (unit == HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
  return memset(memory, 0, bytes);
}

// score(mx, c - mc), the difference in float32.
double cascade_mean_product(const struct ckernels_cascade *k, const float *values) {
  double sum = 0;
  for (size_t j = 0; j < k->dimension; j++) {
    sum += (double)k->mean_vectors[j] * (double)(values[j] - k->mean_rows[j]);
  }
  return sum;
}

int cascade_quantized(const struct cascade_range *range, double steps) {
  return (int)fmin(fmax(rint(steps), -range->row_most - 1), range->row_most);
}

// Puts a row's quantized slice in its lane of a block.
void cascade_put_in_lane(const struct ckernels_cascade *k, const uint8_t *slice, uint8_t *block, size_t lane) {
  for (size_t j = 0; j < k->padded; j++) block[(j / 4 * BLOCK_ROWS + lane) * 4 + j % 4] = slice[j];
}

// Axes take time in proportion to the cube of the dimension, on one thread, and a dozen square matrices: at 4,096
// that is a minute or two and 1.7 GB. Sums would overflow above 32,768, sizes of LAPACK's a little below.
size_t ckernels_cascade_dimensions(void) { return 4096; }

struct ckernels_cascade *ckernels_cascade_new(
    const struct ckernels_rows *rows, const float *vectors, size_t vector_count, int shape, int form,
    const struct ckernels_purpose *purpose) {
  const size_t d = rows->dimension;
  // One row needs no search.
  if (d > ckernels_cascade_dimensions() || rows->count < 2 || vector_count == 0) return NULL;
  struct ckernels_cascade *k = cascade_zeroed(1, sizeof *k);
  k->form = cascade_form_of(form);
  k->rows = rows;
  k->dimension = d;
  k->purpose = purpose != NULL ? *purpose : (struct ckernels_purpose){.nth = 1};
  k->mean_rows = cascade_zeroed(d, sizeof(float));
  k->mean_vectors = cascade_zeroed(d, sizeof(float));
  k->whole_width = (d + 63) / 64 * 64;
  k->whole_stride = k->whole_width + 64;
  if (!cascade_choose(k, vectors, vector_count, shape)) {
    ckernels_cascade_free(k);
    return NULL;
  }
  if (k->purpose.lists != NULL) {
    k->groups = k->purpose.list_count;
    k->group_starts = cascade_zeroed(k->groups + 1, sizeof(uint32_t));
  } else {
    cascade_choose_pivots(k);
  }
  k->blocks = (rows->count + BLOCK_ROWS - 1) / BLOCK_ROWS;
  k->slices = cascade_zeroed(rows->count * k->padded, 1);
  k->slice_bounds = cascade_zeroed(rows->count, sizeof *k->slice_bounds);
  k->order = cascade_zeroed(rows->count, sizeof(uint32_t));
  k->packed = cascade_zeroed(k->blocks * BLOCK_ROWS * k->padded, 1);
  k->offsets = cascade_zeroed(k->blocks * BLOCK_ROWS, sizeof(int32_t));
  k->bounds = cascade_zeroed(k->blocks, sizeof *k->bounds);
  return k;
}

size_t ckernels_cascade_width(const struct ckernels_cascade *k) { return k->width; }

int ckernels_cascade_is_balanced(const struct ckernels_cascade *k) { return k->tail_blocks > 0; }

void ckernels_cascade_spoil(struct ckernels_cascade *k) {
  for (size_t i = 0; i < k->blocks * BLOCK_ROWS * k->padded; i += 3) k->packed[i] ^= 0xFF;
}

void ckernels_cascade_free(struct ckernels_cascade *k) {
  if (k == NULL) return;
  free(k->mean_rows);
  free(k->mean_vectors);
  free(k->row_basis);
  free(k->basis64);
  free(k->panels);
  free(k->tail_axes);
  free(k->tail_scales);
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
  const size_t d = k->dimension, width = k->width, turned = k->turned_rows;
  double *b = cascade_zeroed(BATCH * d, sizeof(double)), *p = cascade_zeroed(BATCH * turned, sizeof(double));
  const uint32_t *lists = k->purpose.lists;
  float *p32 = cascade_zeroed(BATCH * width, sizeof(float)),
        *products = cascade_zeroed(lists != NULL ? 0 : BATCH * k->groups, sizeof(float));
  for (size_t base = first; base < end; base += BATCH) {
    const size_t n = end - base < BATCH ? end - base : BATCH;
    for (size_t i = 0; i < n * d; i++) b[i] = (double)(k->rows->values[base * d + i] - k->mean_rows[i % d]);
    if (width == d) {
      memcpy(p, b, n * d * sizeof(double));
    } else {
      cblas_dgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)turned, (blasint)d, 1.0, b, (blasint)d,
          k->basis64, (blasint)d, 0.0, p, (blasint)turned);
    }
    for (size_t i = 0; i < n * width && lists == NULL; i++) p32[i] = (float)p[i / width * turned + i % width];
    if (lists == NULL) {
      cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)k->groups, (blasint)width, 1.0f, p32,
          (blasint)width, k->pivot_slices, (blasint)width, 0.0f, products, (blasint)k->groups);
    }
    for (size_t i = 0; i < n; i++) {
      const size_t c = base + i;
      uint8_t *slice = k->slices + c * k->padded;
      double square = 0, inside = 0, error = 0, length = 0;
      for (size_t j = 0; j < d; j++) square += b[i * d + j] * b[i * d + j];
      for (size_t j = 0; j < width; j++) {
        const double value = p[i * turned + j];
        const int q = cascade_quantized(&k->form->slice, value / k->row_scale);
        slice[j] = (uint8_t)(q + k->form->slice.row_offset);
        inside += value * value;
        error += (value - q * k->row_scale) * (value - q * k->row_scale);
        length += (double)q * q;
      }
      // Elements of the padding meet zeros of the vector: any number will do.
      // rho: rounding of the dgemm, with room.
      const double rho = 0x1p-36 * k->basis_norm * sqrt(square);
      const double e = (sqrt(error) + rho) * UP, kept = fmax(sqrt(inside) - rho, 0);
      double rest = fmax(square * (1 + 2 * k->skew) * UP - kept * kept, 0);
      if (k->tail_blocks > 0) {
        double tail = 0;
        for (size_t j = width; j < d; j++) tail += p[i * turned + j] * p[i * turned + j];
        rest = (sqrt(tail) + rho) * (sqrt(tail) + rho) * UP;
      }
      const double bias = cascade_mean_product(k, k->rows->values + c * d);
      const struct terms terms = {
          .rest = float_above(sqrt(e * e + rest) * UP),
          .error = float_above(sqrt(length) * k->row_scale * UP),
          .length = float_above(e)};
      // The bound for a usual vector is the row's own; how a vector differs
      // counts with the greatest or least terms of the block.
      const double usual = (double)k->usual.rest * (double)terms.rest + (double)k->usual.error * (double)terms.error +
                           (double)k->usual.length * (double)terms.length;
      k->slice_bounds[c] = (struct slice_bound){
          .terms = terms, .offset = (int32_t)ceil((bias + usual) / k->unit) + 1, 
          .group = lists != NULL ? lists[c] : cascade_nearest_pivot(k, products + i * k->groups)};
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
  struct keyed *keys = cascade_zeroed(count, sizeof *keys);
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
      cascade_put_in_lane(k, k->slices + c * k->padded, packed, lane);
      k->offsets[position] = slice->offset;
      const struct terms t = slice->terms;
      bound->least = (struct terms){
          fminf(bound->least.rest, t.rest), fminf(bound->least.error, t.error), fminf(bound->least.length, t.length)};
      bound->most = (struct terms){
          fmaxf(bound->most.rest, t.rest), fmaxf(bound->most.error, t.error), fmaxf(bound->most.length, t.length)};
    }
  }
}

void ckernels_cascade_packed(struct ckernels_cascade *k) {
  free(k->pivot_slices);
  free(k->pivot_halves);
  free(k->slices);
  free(k->slice_bounds);
  free(k->basis64);
  k->pivot_slices = NULL;
  k->pivot_halves = NULL;
  k->slices = NULL;
  k->slice_bounds = NULL;
  k->basis64 = NULL;
  // Not before: both together are a quarter of the memory.
  k->whole = cascade_zeroed(k->blocks * BLOCK_ROWS * k->whole_stride, 1);
}

void ckernels_cascade_fill(struct ckernels_cascade *k, size_t first, size_t end) {
  const size_t d = k->dimension;
  for (size_t position = first * BLOCK_ROWS; position < end * BLOCK_ROWS && position < k->rows->count; position++) {
    const uint32_t c = k->order[position];
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
      whole[j] = (uint8_t)(int8_t)q;
      error += (value - q * (double)scale) * (value - q * (double)scale);
      length += q * q;
    }
    *about = (struct whole_row){
        .bias = cascade_mean_product(k, values),
        .scale = scale,
        .error = float_above(sqrt(error) * UP),
        .length = float_above(sqrt(length) * (double)scale * UP),
        .row = c};
  }
}

void ckernels_cascade_filled(struct ckernels_cascade *k) {
  free(k->order);
  k->order = NULL;
}
