// The int8 cascade for CPUs with AVX-512 VNNI.
#if defined(__x86_64__)
#include "cascade_form.h"

#define LANES_AVX512VNNI
#pragma clang attribute push(CCPU_TARGET_VNNI, apply_to = function)
#include "cascade_probe.h"
#include "cascade_rank.h"
#pragma clang attribute pop

const struct cascade_form cascade_avx512vnni = {
    .slice = {127, 128, 127},
    .tail = {127, 128, 127},
    .product_cost = 0.005,
    .turn_cost = 0.011,
    .look_cost = 30,
    CASCADE_FUNCTIONS};
#endif
