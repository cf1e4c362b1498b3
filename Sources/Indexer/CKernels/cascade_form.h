// What each form of the int8 cascade begins with: headers that must not be compiled for
// its instructions, as cascade_search.h and what that takes in are.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include <math.h>
#include <string.h>

#include "CCpu.h"
#include "CRows.h"
#include "cascade.h"
#include "search.h"

// The functions of a form, as cascade_search.h has them.
#define CASCADE_FUNCTIONS                                                                                              \
  .scratch = scratch_bytes, .best = best, .probe_scratch = probe_scratch_bytes, .best_in_lists = best_in_lists,       \
  .rank_scratch = rank_scratch_bytes, .rank = rank, .products = products, .block = multiply_block
