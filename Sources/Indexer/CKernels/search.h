// One vector's search for its best row, shared by the engines that bound
// scores before they compute them.
#pragma once

#include <math.h>
#include <stdint.h>

#include "CKernels.h"
#include "CRows.h"

enum { CANDIDATES = 48 };

struct search {
  double lower;     // some row's score is at least this
  double best;      // greatest binary64 score so far
  uint32_t winner;  // its row
  uint32_t count;   // candidates waiting
  uint32_t candidate[CANDIDATES];
  double upper[CANDIDATES];  // their scores are at most this
};

static inline struct search search_start(void) {
  return (struct search){.lower = -INFINITY, .best = -INFINITY, .winner = UINT32_MAX};
}

static inline void search_drop_beaten(struct search *s) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < s->count; i++) {
    if (s->upper[i] < s->lower) continue;
    s->candidate[kept] = s->candidate[i];
    s->upper[kept++] = s->upper[i];
  }
  s->count = kept;
}

static inline void search_score(
    int level, struct search *s, const struct ckernels_rows *rows, const float *x, uint32_t row) {
  double score = crows_score(level, x, rows->values + (size_t)row * rows->dimension, rows->dimension);
  if (score > s->best || (score == s->best && row < s->winner)) {
    s->best = score;
    s->winner = row;
  }
  if (score > s->lower) s->lower = score;
}

// Scores what waits, the most promising first so that it may beat the others.
static inline void search_rescore(
    int level, struct search *s, const struct ckernels_rows *rows, const float *x, struct ckernels_counts *counts) {
  uint32_t first = 0;
  for (uint32_t i = 1; i < s->count; i++) {
    if (s->upper[i] > s->upper[first]) first = i;
  }
  if (s->count > 0) {
    search_score(level, s, rows, x, s->candidate[first]);
    s->upper[first] = -INFINITY;
    counts->rescored += 1;
  }
  for (uint32_t i = 0; i < s->count; i++) {
    if (s->upper[i] < s->lower) continue;
    search_score(level, s, rows, x, s->candidate[i]);
    counts->rescored += 1;
  }
  s->count = 0;
}

static inline void search_add(
    int level, struct search *s, uint32_t row, double upper, const struct ckernels_rows *rows, const float *x,
    struct ckernels_counts *counts) {
  if (s->count == CANDIDATES) {
    search_drop_beaten(s);
    if (s->count > CANDIDATES / 2) search_rescore(level, s, rows, x, counts);
  }
  s->candidate[s->count] = row;
  s->upper[s->count++] = upper;
}
