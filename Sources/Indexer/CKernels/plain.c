// The best row by scores alone: what every other way is held against.
#include <math.h>

#include "CKernels.h"
#include "CRows.h"

void ckernels_best_plain(
    int level, const struct ckernels_rows *rows, const float *vectors, size_t count, uint32_t *winners,
    double *scores) {
  for (size_t i = 0; i < count; i++) {
    const float *x = vectors + i * rows->dimension;
    double best = -INFINITY;
    uint32_t winner = 0;
    for (size_t c = 0; c < rows->count; c++) {
      double score = crows_score(level, x, rows->values + c * rows->dimension, rows->dimension);
      if (score > best) {
        best = score;
        winner = (uint32_t)c;
      }
    }
    winners[i] = winner;
    scores[i] = best;
  }
}
