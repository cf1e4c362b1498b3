// The int8 cascade in plain C: what the other forms are held against.
#include "cascade_form.h"

#define LANES_PORTABLE
#include "cascade_probe.h"
#include "cascade_rank.h"

const struct cascade_form cascade_portable = {
    .slice = {127, 128, 127},
    .tail = {127, 128, 127},
    .product_cost = 0.005,
    .turn_cost = 0.011,
    .look_cost = 30,
    CASCADE_FUNCTIONS};
