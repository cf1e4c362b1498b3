// How far levels of rows are from the middle ones: what a bound by the length of these takes.
#include <math.h>
#include <string.h>

#include "internal.h"

/// Queries that rows have to be shown to before it is worth a measure.
enum { WORTHWHILE = 6 };

/// Four times the square of a row's distance from the middle levels.
static CCPU_INLINE uint64_t squares_of(const uint8_t *code, size_t bytes, int32_t steps, int nibbles) {
  uint64_t total = 0;
  for (size_t first = 0; first < bytes; first += 2048) {
    const size_t end = bytes - first < 2048 ? bytes : first + 2048;
    int32_t sum = 0;
    if (nibbles)
      for (size_t j = first; j < end; j++) {
        const int32_t even = 2 * (code[j] & 15) - steps, odd = 2 * (code[j] >> 4) - steps;
        sum += even * even + odd * odd;
      }
    else
      for (size_t j = first; j < end; j++) {
        const int32_t level = 2 * code[j] - steps;
        sum += level * level;
      }
    total += (uint64_t)sum;
  }
  return total;
}

static CCPU_INLINE uint64_t most_squares(const struct cscan_coder *c, const struct cscan_rows *rows, int32_t steps) {
  const int nibbles = cscan_kind_of(c) == NIBBLES;
  uint64_t most = 0;
  for (size_t i = 0; i < rows->count; i++) {
    const uint64_t squares = squares_of(rows->codes + i * c->code_size, c->code_size, steps, nibbles);
    most = squares > most ? squares : most;
  }
  return most;
}

CCPU_COMPILE(
    uint64_t, most_squares, (const struct cscan_coder *c, const struct cscan_rows *rows, int32_t steps), (c, rows, steps))

double cscan_radius(
    int level, const struct cscan_coder *c, const struct cscan_rows *rows, uint32_t *known, size_t visitors) {
  const int32_t steps = cscan_levels_of(c->codec).steps;
  if (steps == 0 || rows->count == 0) return 0;
  // A radius is 1/2 at least: its bits are a greater number than any count.
  uint32_t bits = __atomic_load_n(known, __ATOMIC_RELAXED);
  float radius;
  if (bits < WORTHWHILE) {
    if (visitors < WORTHWHILE - bits) {
      // A count that another thread's overwrites makes it later, no more.
      __atomic_store_n(known, bits + (uint32_t)visitors, __ATOMIC_RELAXED);
      return 0;
    }
    radius = nextafterf((float)(sqrt((double)CCPU_CALL(level, most_squares, c, rows, steps)) / 2), INFINITY);
    memcpy(&bits, &radius, sizeof bits);
    __atomic_store_n(known, bits, __ATOMIC_RELAXED);
  }
  memcpy(&radius, &bits, sizeof radius);
  return (double)radius;
}
