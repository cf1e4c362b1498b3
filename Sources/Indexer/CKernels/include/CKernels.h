// The SIMD kernels of the indexer: the best and the nearest rows, and the
// arithmetic of routers. Every kernel gives the same bits at every level of the
// CPU (CCpu.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

/// The K rows that vectors are compared with.
struct ckernels_rows {
  const float *values;   // [count x dimension]
  const double *norms;   // [count], each at least the row's true norm
  size_t count;
  size_t dimension;
};

/// What a search for the best row returns and what it cost.
struct ckernels_counts {
  uint64_t rescored;   // scores computed in binary64
  uint64_t fallbacks;  // vectors that the fast path could not bound
  uint64_t looked;     // rows that the first int8 pass left to the second
};

/// The best row of each vector by binary64 scores alone.
void ckernels_best_plain(
    int level, const struct ckernels_rows *rows, const float *vectors, size_t count, uint32_t *winners, double *scores);

/// Bytes of scratch that ckernels_best_sgemm needs for up to `count` vectors.
size_t ckernels_sgemm_scratch(size_t count);

/// The same winners by way of OpenBLAS sgemm and its rounding bound.
void ckernels_best_sgemm(
    int level, const struct ckernels_rows *rows, const float *vectors, size_t count, void *scratch, uint32_t *winners,
    double *scores, struct ckernels_counts *counts);

/// Rows in bfloat16.
struct ckernels_bf16;

/// Begins to prepare rows, which must outlive the result.
struct ckernels_bf16 *ckernels_bf16_new(const struct ckernels_rows *);
/// How many tiles there are to pack for `count` rows.
size_t ckernels_bf16_tiles(size_t count);
/// Packs tiles [first, end); ranges may go to several threads.
void ckernels_bf16_pack(struct ckernels_bf16 *, size_t first, size_t end);
void ckernels_bf16_free(struct ckernels_bf16 *);
/// Bytes of scratch that ckernels_best_bf16 needs for up to `count` vectors.
size_t ckernels_bf16_scratch(const struct ckernels_bf16 *, size_t count);
/// The same winners by way of bfloat16 products with a measured bound.
void ckernels_best_bf16(
    int level, const struct ckernels_bf16 *, const float *vectors, size_t count, void *scratch, uint32_t *winners,
    double *scores, struct ckernels_counts *counts);

/// Rows prepared for the int8 cascade.
struct ckernels_cascade;

/// What the first pass multiplies, which decides speed and no result.
enum ckernels_shape {
  CKERNELS_FASTEST = 0,   // what the sample suggests
  CKERNELS_COMMON = 1,    // half of the axes that vectors and rows share
  CKERNELS_BALANCED = 2,  // half of the axes balanced between the two
};

/// The instructions that the cascade is compiled for; which decides speed and no result.
enum ckernels_form {
  CKERNELS_PORTABLE = 0,    // plain C, what the others are held against
  CKERNELS_AVX2 = 1,        // 7-bit products, with FMA
  CKERNELS_AVXVNNI = 2,     // 8-bit products in half registers
  CKERNELS_AVX512VNNI = 3,  // the same in whole ones
  CKERNELS_NEON = 4,        // 8-bit products of every aarch64 CPU
  CKERNELS_DOTPROD = 5,     // with the instruction for four at a time
};

/// Whether this CPU carries out a form.
int ckernels_form_is_available(int form);
/// The fastest form that a level of CCpu.h allows; the portable one for none.
int ckernels_fastest_form(int level);

/// What prepared rows are for. But for the lists it decides speed and no result.
struct ckernels_purpose {
  size_t nth;             // how many of the best rows are asked for, 1 and on
  double compared;        // rows that a vector is compared with, about; 0 for all
  double vectors;         // vectors in all, about; 0 for so many that preparing does not count
  const uint32_t *lists;  // the list of each row, or NULL; read until all are quantized
  size_t list_count;
};

/// The most elements of rows that the cascade prepares.
size_t ckernels_cascade_dimensions(void);
/// Begins to prepare rows, which must outlive the result. `vectors` is a sample
/// of those that will be searched for; it decides speed, not results. `purpose` may be NULL: the best of all.
/// Returns NULL when the cascade does not suit these rows.
struct ckernels_cascade *ckernels_cascade_new(
    const struct ckernels_rows *rows, const float *vectors, size_t vector_count, int shape, int form,
    const struct ckernels_purpose *purpose);
/// Quantizes rows [first, end); ranges may go to several threads.
void ckernels_cascade_quantize(struct ckernels_cascade *, size_t first, size_t end);
/// Orders the rows, once all are quantized.
void ckernels_cascade_sort(struct ckernels_cascade *);
/// How many blocks there are to pack.
size_t ckernels_cascade_blocks(const struct ckernels_cascade *);
/// Packs blocks [first, end), once the rows are ordered; ranges may go to
/// several threads.
void ckernels_cascade_pack(struct ckernels_cascade *, size_t first, size_t end);
/// Frees what the slices were made from, once all blocks are packed, and makes
/// room for the whole rows.
void ckernels_cascade_packed(struct ckernels_cascade *);
/// Quantizes the whole rows of blocks [first, end); ranges may go to several
/// threads.
void ckernels_cascade_fill(struct ckernels_cascade *, size_t first, size_t end);
/// Frees what else only the preparation needed, once all blocks are filled.
void ckernels_cascade_filled(struct ckernels_cascade *);
/// Dimensions of the slice that the first pass multiplies.
size_t ckernels_cascade_width(const struct ckernels_cascade *);
/// Whether vectors and rows are turned onto balanced axes.
int ckernels_cascade_is_balanced(const struct ckernels_cascade *);
/// Changes the packed rows, as if a kernel multiplied wrong.
void ckernels_cascade_spoil(struct ckernels_cascade *);
void ckernels_cascade_free(struct ckernels_cascade *);
/// Bytes of scratch that ckernels_best_cascade needs for up to `count` vectors.
size_t ckernels_cascade_scratch(const struct ckernels_cascade *, size_t count);
/// The same at most, whatever is chosen for rows of so many elements.
size_t ckernels_cascade_most_scratch(int form, size_t dimension, size_t count);
/// The same winners by way of int8 products with proved bounds. `guesses` has a
/// row for each vector that may win, scored before any other, or is NULL; a
/// number that is no row's is no guess. It decides speed, not results.
void ckernels_best_cascade(
    int level, const struct ckernels_cascade *, const float *vectors, size_t count, const uint32_t *guesses,
    void *scratch, uint32_t *winners, double *scores, struct ckernels_counts *counts);

/// Bytes of scratch that ckernels_best_in_lists needs for up to `count` vectors that look through `pairs` lists in all.
size_t ckernels_lists_scratch(const struct ckernels_cascade *, size_t count, size_t pairs);
/// The best row of each vector among those of the lists that it looks through, lists[firsts[i]] up to
/// lists[firsts[i + 1]], at least one and each once, the likeliest first. Of a vector whose best score there is less than
/// floors[i] the winner may be UINT32_MAX, or any row with its score; that of one without rows is. The rows were
/// prepared in lists.
void ckernels_best_in_lists(
    int level, const struct ckernels_cascade *, const float *vectors, size_t count, const uint32_t *firsts,
    const uint32_t *lists, const double *floors, void *scratch, uint32_t *winners, double *scores,
    struct ckernels_counts *counts);

/// Bytes of scratch that ckernels_rank needs for up to `count` vectors.
size_t ckernels_rank_scratch(const struct ckernels_cascade *, size_t count);
/// The n rows with the greatest scores of each vector, the lowest of equal ones, fewer than there are: [count x n].
/// The one that looks best comes first, the others in no order.
void ckernels_rank(
    int level, const struct ckernels_cascade *, const float *vectors, size_t count, size_t n, void *scratch,
    uint32_t *ranked, struct ckernels_counts *counts);

/// Bytes of scratch that ckernels_nearest needs for `count` vectors.
size_t ckernels_nearest_scratch(size_t count);

/// Merges rows, whose ids are first_id and on, into the k best rows of each
/// vector: `ids` and `scores` are [count x k], best first, equal scores by id;
/// `found` [count] says how many there are. Ids of one call are greater than
/// those of the calls before. Scores are those of crows_score. Rows of scores
/// below a vector's floor, [count], need not be found.
void ckernels_nearest(
    int level, const struct ckernels_rows *rows, int64_t first_id, const float *vectors, const double *floors,
    size_t count, size_t k, void *scratch, int64_t *ids, double *scores, uint32_t *found);

/// out[i][j] = the sum over k, ascending, of a[i * row_step + k * depth_step] *
/// b[k * b_depth_step + j * b_column_step] in float32, each term fused.
void ckernels_product(
    int level, size_t rows, size_t columns, size_t depth, const float *a, size_t row_step, size_t depth_step,
    const float *b, size_t b_depth_step, size_t b_column_step, float *out, size_t out_step);

/// values = softmax(values + offsets); `count` is a multiple of 16, and what
/// pads a row has an offset of -infinity.
void ckernels_softmax(int level, float *values, const float *offsets, size_t count);

/// gradient += decay * (weights - scale * anchor): the pull of a penalty on the
/// distance from `scale` times the anchor.
void ckernels_pull(
    int level, float *gradient, const float *weights, const float *anchor, size_t count, float scale, float decay);

/// One step of Adam (b1 0.9, b2 0.999, e 2^-27) with gradient * gradient_scale;
/// `rate` holds the correction of the first moment, `second_correction` is
/// 1 / (1 - b2^t).
void ckernels_adam(
    int level, float *weights, float *first, float *second, const float *gradient, size_t count,
    float gradient_scale, float rate, float second_correction);

/// The products of the first pass alone, for measuring: all rows with groups of
/// six slices, [groups x width rounded up to 8 x 6]. Returns how many are great.
uint64_t ckernels_cascade_products(const struct ckernels_cascade *, const int8_t *slices, size_t groups);

/// The integers that a form multiplies, those of the slice or of the tail: rows
/// in [-row_most - 1, row_most], stored with row_offset added, vectors in
/// [-vector_most, vector_most].
void ckernels_form_range(int form, int tail, int *row_most, int *row_offset, int *vector_most);
/// Products of 64 rows, [quads x 64 x 4], with six vectors, [quads x 6 x 4], each
/// sum from its row's offset: [6 x 64]. `quads` is even.
void ckernels_form_products(
    int form, const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, int32_t *products);

/// OpenBLAS to one thread for good; the caller's threads are the only ones.
void ckernels_single_threaded_blas(void);
/// The CPU whose kernels OpenBLAS has chosen.
const char *ckernels_blas_core(void);
/// What OpenBLAS says it is: version, kernel family, threading.
const char *ckernels_blas_name(void);
