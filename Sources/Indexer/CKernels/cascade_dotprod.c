// The int8 cascade for aarch64 CPUs with the products of ARMv8.2.
#if defined(__aarch64__)
#include "cascade_form.h"

#define LANES_DOTPROD
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#include "cascade_probe.h"
#include "cascade_rank.h"
#pragma clang attribute pop

const struct cascade_form cascade_dotprod = {
    .slice = {127, 0, 127},
    .tail = {127, 0, 127},
    .product_cost = 0.008,
    .turn_cost = 0.03,
    .look_cost = 80,
    CASCADE_FUNCTIONS};
#endif
