// What the sum of a slice must reach, evaluated in binary32 and never above what it
// is in numbers: r of the proof in Indexer.docc/ExactAssignment.md.
#pragma once

#include <math.h>
#include <stdint.h>

#include "cascade.h"

// The part of a vector alone.
//
// Each rounding, here and in threshold_of(), is at 2^-24 of what it rounds, which may
// be as large as the slice's own sum: four units and 2^-20 of both terms pay for all.
static inline float lower_in_units(double value, int32_t slice_sum) {
  return (float)(value - (fabs(value) + fabs((double)slice_sum)) * 0x1p-20 + (double)slice_sum - 4);
}

static int32_t clamped(float value) { return (int32_t)fminf(fmaxf(value, -2.0e9f), 2.0e9f); }

// The same with the terms of a block.
static inline int32_t threshold_of(
    float lower, float rest, float error, float length, const struct block_bound *bound) {
  const float by_rest = fmaxf(rest * bound->least.rest, rest * bound->most.rest);
  const float by_error = fmaxf(error * bound->least.error, error * bound->most.error);
  const float by_length = fmaxf(length * bound->least.length, length * bound->most.length);
  const float rounding = (fabsf(by_rest) + fabsf(by_error) + fabsf(by_length)) * 0x1p-18f;
  return clamped(lower - (by_rest + by_error + by_length) - rounding - 2);
}
