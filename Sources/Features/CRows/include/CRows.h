// Rows as they are stored: widening, checks, sums, and the binary64 score that
// everything else is measured by. Every kernel gives the same bits at every
// level of the CPU (CCpu.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

/// How the elements of a matrix are stored: little-endian, C order, no padding.
enum crows_element {
  CROWS_FLOAT16 = 0,
  CROWS_FLOAT32 = 1,
  CROWS_FLOAT64 = 2,
  CROWS_BFLOAT16 = 3,
  CROWS_UINT8 = 4,
  CROWS_INT8 = 5
};

/// What is wrong with a row; the first that applies.
enum crows_row { CROWS_ROW_GOOD = 0, CROWS_ROW_NAN = 1, CROWS_ROW_INFINITE = 2, CROWS_ROW_ZERO = 3 };

/// Converts `count` elements to float32: exactly, but for float64, which is rounded once, to the nearest, ties to even. A
/// signalling NaN becomes quiet, but for those of float32, which are copied.
/// `input` needs no alignment.
void crows_widen(int level, const void *input, int element, size_t count, float *output);

/// Finds the first row in [first, end) that is not fit for an index, by what its elements convert to.
/// Returns its number and sets `*cause`, or returns `end`.
size_t crows_find_bad_row(
    int level, const void *matrix, int element, size_t dimension, size_t first, size_t end, int *cause);

/// Finds the first of `count` float32 rows with a NaN or an infinity; returns
/// its number or `count`. Zero rows are fine here.
size_t crows_find_nonfinite_row(int level, const float *rows, size_t dimension, size_t count);

/// The inner product as the project defines it (DESIGN of assignment):
/// products and sums in binary64, lane l of 16 sums j = l, l+16, l+32, ... in
/// that order, then s[l] += s[l+8], s[l+4], s[l+2], s[l+1] leaves it in s[0].
double crows_score(int level, const float *left, const float *right, size_t dimension);

/// The same of a row of float32 that needs no alignment.
double crows_score_stored(int level, const float *left, const void *right, size_t dimension);

/// Adds a row to `dimension` binary64 sums, element by element.
void crows_add_row(int level, const void *row, int element, size_t dimension, double *sums);

/// The inner product of two binary64 vectors in the lane order of the score.
double crows_score64(const double *left, const double *right, size_t dimension);
