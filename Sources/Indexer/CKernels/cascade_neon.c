// The int8 cascade for every aarch64 CPU: 8-bit products, which two at a time fit
// 16 bits.
#if defined(__aarch64__)
#include "cascade_form.h"

#define LANES_NEON
#include "cascade_probe.h"
#include "cascade_rank.h"

const struct cascade_form cascade_neon = {
    .slice = {127, 0, 127},
    .tail = {127, 0, 127},
    .product_cost = 0.015,
    .turn_cost = 0.03,
    .look_cost = 80,
    CASCADE_FUNCTIONS};
#endif
