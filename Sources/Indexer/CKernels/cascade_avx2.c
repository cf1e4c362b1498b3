// The int8 cascade for CPUs with AVX2: 7-bit products, which four at a time fit 16 bits.
#if defined(__x86_64__)
#include "cascade_form.h"

#define LANES_AVX2
#pragma clang attribute push(CCPU_TARGET_AVX2, apply_to = function)
#include "cascade_probe.h"
#include "cascade_rank.h"
#pragma clang attribute pop

const struct cascade_form cascade_avx2 = {
    .slice = {63, 64, 63},
    .tail = {31, 32, 127},
    .product_cost = 0.008,
    .turn_cost = 0.012,
    .look_cost = 40,
    CASCADE_FUNCTIONS};
#endif
