// Scores of rows by codes that are kept beside the lists.
#include "internal.h"

void cscan_refine(
    int level, int codec, const float *minima, const float *widths, size_t d, const float *query,
    const uint8_t *const *codes, size_t count, size_t code_size, float *row, double *scores) {
  for (size_t i = 0; i < count && i < AHEAD; i++) cscan_expect(codes[i], code_size);
  for (size_t i = 0; i < count; i++) {
    if (i + AHEAD < count) cscan_expect(codes[i + AHEAD], code_size);
    ccodec_decode(level, codec, codes[i], d, minima, widths, row);
    scores[i] = crows_score(level, query, row, d);
  }
}
