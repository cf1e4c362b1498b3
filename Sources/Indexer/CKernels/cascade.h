// What the int8 cascade knows of the rows. Names follow the proof in
// Indexer.docc/ExactAssignment.md.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "CKernels.h"

// Rows of a block lie side by side, four elements of each after four of the
// last, as vpdpbusd wants them; vectors go through a block six at a time.
enum { BLOCK_ROWS = 64, GROUP_VECTORS = 6, CHUNK_BLOCKS = 16, MAXIMUM_GROUPS = 512, PANEL_AXES = 16, SEEDS = 2 };

// The whole row in int8, for the second look. Follows its elements in memory.
struct whole_row {
  double bias;      // score(mx, c - mc)
  float scale;      // c - mc = scale * elements + e
  float error;      // at least |e|
  float length;     // at least |scale * elements|
  uint32_t row;     // its number
};

// The terms of a bound on what the slice's integer product leaves out of a
// score: for vectors A, |e_a| and |alpha|, for rows B, |beta| and |e_b|, in the
// order in which they are multiplied.
struct terms {
  float rest, error, length;
};

// What holds for every row of a block.
struct block_bound {
  struct terms least, most;
};

// The cascade compiled for some instructions, and the integers that their
// products can take: elements of rows lie in [-row_most - 1, row_most]
// and are stored with row_offset added, those of vectors in [-vector_most,
// vector_most].
struct cascade_range {
  int row_most, row_offset, vector_most;
};
struct cascade_form {
  struct cascade_range slice, tail;
  // About what they cost, in nanoseconds of one core: a product of the slice,
  // one of the turning, a second look at a row of 768 elements.
  double product_cost, turn_cost, look_cost;
  size_t (*scratch)(const struct ckernels_cascade *, size_t count);
  void (*best)(
      int level, const struct ckernels_cascade *, const float *vectors, size_t count, const uint32_t *guesses,
      void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts);
  size_t (*probe_scratch)(const struct ckernels_cascade *, size_t count, size_t pairs);
  void (*best_in_lists)(
      int level, const struct ckernels_cascade *, const float *vectors, size_t count, const uint32_t *firsts,
      const uint32_t *lists, const double *floors, void *scratch, uint32_t *winners, double *scores,
      struct ckernels_counts *counts);
  size_t (*rank_scratch)(const struct ckernels_cascade *, size_t count);
  void (*rank)(
      int level, const struct ckernels_cascade *, const float *vectors, size_t count, size_t n, void *scratch,
      uint32_t *ranked, struct ckernels_counts *counts);
  uint64_t (*products)(const struct ckernels_cascade *, const int8_t *slices, size_t groups);
  void (*block)(
      const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, int32_t *products);
};

extern const struct cascade_form cascade_portable;
#if defined(__x86_64__)
extern const struct cascade_form cascade_avx2, cascade_avxvnni, cascade_avx512vnni;
#elif defined(__aarch64__)
extern const struct cascade_form cascade_neon, cascade_dotprod;
#endif

struct ckernels_cascade {
  const struct cascade_form *form;
  const struct ckernels_rows *rows;
  size_t dimension;  // d
  size_t width;      // D: dimensions of the slice
  size_t padded;     // D rounded up to a multiple of 8
  size_t blocks;
  float *mean_rows, *mean_vectors;  // mc, mx: [d]
  // Turning: none when D = d. Vectors onto P, [D x d] multiples of basis_step,
  // and N, [d - D x d], rows onto T' = (P over N)^-T; or both onto P alone.
  double basis_step;
  int16_t *panels;                  // P / basis_step: [D / 16 rounded up x d / 2 rounded up x 16 x 2]
  size_t tail_blocks;               // of 64 axes of N; 0 when both are turned onto P
  uint8_t *tail_axes;               // N / tail_scales, packed like rows and of their range
  float *tail_scales;               // [tail_blocks x BLOCK_ROWS]
  double tail_norm;                 // at least |N|
  size_t turned_rows;               // d with a tail, else D
  double *basis64;                  // T': [turned_rows x d]
  float *row_basis;                 // its first D
  double basis_norm;                // at least |T'|, Frobenius
  double skew;                      // at least |P P' - I|; 0 with a tail
  double vector_stretch;            // at least |P| and 1
  double row_stretch;               // at least |T'| and 1
  double row_scale, vector_scale;   // of the slice
  double unit;                      // their product
  struct terms usual;               // of vectors, about
  double longest;                   // at least every |c| and |mc|
  double spread;                    // at least every |c - mc|
  double mean_vectors_norm;         // at least |mx|

  uint8_t *packed;             // [blocks x padded/4 x BLOCK_ROWS x 4], of the form's kind
  int32_t *offsets;            // [blocks x BLOCK_ROWS]
  struct block_bound *bounds;  // [blocks]
  uint8_t *whole;              // [blocks x BLOCK_ROWS] of whole_stride bytes
  size_t whole_width;          // d rounded up to a multiple of 64
  size_t whole_stride;

  // Rows lie in groups of neighbours, each around a pivot; the best rows of the
  // nearest pivots' groups are the first guess. Or in the lists of `purpose`, without pivots.
  struct ckernels_purpose purpose;
  size_t groups;
  uint8_t *pivots;          // packed like rows
  int32_t *pivot_offsets;   // [groups rounded up to whole blocks]
  uint32_t *group_starts;   // [groups + 1] positions

  // Between quantize and pack, in the rows' own order.
  float *pivot_slices;      // [groups x D]
  float *pivot_halves;      // [groups] half their squared lengths
  uint8_t *slices;          // [count x padded]
  struct slice_bound {
    struct terms terms;
    int32_t offset;
    uint32_t group;
  } *slice_bounds;
  uint32_t *order;          // rows by group, then by rising rest
  int unsuitable;   // set when some row is out of range
};

// No bound is spoilt by rounding in binary64: this factor pays for it.
static const double UP = 1 + 0x1p-20;

// The form of a number of ckernels_form; one that this CPU carries out.
const struct cascade_form *cascade_form_of(int form);
// Zeroed memory in whole pages; free() frees it.
void *cascade_zeroed(size_t count, size_t size);
// score(mx, c - mc), the difference in float32.
double cascade_mean_product(const struct ckernels_cascade *, const float *values);
// So many steps, as an integer of a range for rows.
int cascade_quantized(const struct cascade_range *, double steps);
// Puts a row's quantized slice in its lane of a block.
void cascade_put_in_lane(const struct ckernels_cascade *, const uint8_t *slice, uint8_t *block, size_t lane);
// Axes to turn onto, an axis a row, the most telling first: [d x d] for vectors
// and for rows, the same matrix or each the other's inverse transpose.
struct axes {
  double *vectors, *rows;
  double *energies;  // [d] of the covariances, scaled to trace 1
};

// The covariance of a sample, scaled to trace 1: [d x d].
double *cascade_covariance(const float *sample, size_t used, size_t d);
// Axes from the covariances of vectors and rows; false when there are none.
int cascade_common_axes(const double *vectors, const double *rows, size_t d, struct axes *);
int cascade_balanced_axes(const double *vectors, const double *rows, size_t d, struct axes *);
void cascade_free_axes(struct axes *);
// Takes the first D axes for the slice and, of balanced ones, the others for the
// tail; also P in float32, [D x d]. False when they are too skew.
int cascade_set_axes(struct ckernels_cascade *, const struct axes *, float *vector_basis);

// Chooses means, axes, width and scales; false when the rows are out of range.
int cascade_choose(struct ckernels_cascade *, const float *vectors, size_t vector_count, int shape);
// Chooses pivots, about which rows are grouped.
void cascade_choose_pivots(struct ckernels_cascade *);
// The pivot nearest to a row, given the row's products with all of them.
uint32_t cascade_nearest_pivot(const struct ckernels_cascade *, const float *products);
// Elements of a vector two by two, for the turning.
static inline size_t cascade_pairs(const struct ckernels_cascade *k) { return (k->dimension + 1) / 2; }

// D in whole panels.
static inline size_t cascade_turned_width(const struct ckernels_cascade *k) {
  return (k->width + PANEL_AXES - 1) / PANEL_AXES * PANEL_AXES;
}
