// The int8 cascade for CPUs with AVX-VNNI. The same source compiled for the form
// of these instructions that belongs to AVX-512 is what CPUs with that can check
// (scripts/check-arm64.sh).
#if defined(__x86_64__)
#include "cascade_form.h"

#define LANES_AVXVNNI
#if defined(CASCADE_VNNI_OF_AVX512)
#define CASCADE_TARGET CCPU_TARGET_VNNI
#else
#define CASCADE_TARGET CCPU_TARGET_AVXVNNI
#endif
#pragma clang attribute push(CASCADE_TARGET, apply_to = function)
#include "cascade_probe.h"
#include "cascade_rank.h"
#pragma clang attribute pop

const struct cascade_form cascade_avxvnni = {
    .slice = {127, 128, 127},
    .tail = {127, 128, 127},
    .product_cost = 0.006,
    .turn_cost = 0.012,
    .look_cost = 40,
    CASCADE_FUNCTIONS};
#endif
