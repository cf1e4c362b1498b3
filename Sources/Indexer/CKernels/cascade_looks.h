// The second look at rows that the slice lets pass, and the binary64 scores of
// the last few. Names follow the proof in Indexer.docc/ExactAssignment.md.
#pragma once

#include "cascade_products.h"
#include "cascade_vectors.h"

// The second look at a row: its score lies within `reach` of the result.
static inline double second_look(
    const struct ckernels_cascade *k, const struct vector *v, const int16_t *vector, size_t position, double *reach,
    uint32_t *row) {
  const uint8_t *whole = k->whole + position * k->whole_stride;
  const struct whole_row *about = (const struct whole_row *)(whole + k->whole_width);
  const int32_t product = row_product((const int8_t *)whole, vector, k->whole_width);
  const double error = (double)about->error, length = (double)about->length;
  *reach = (v->error * length + v->length * error + v->error * error) * (1 + 0x1p-30) + v->slack;
  *row = about->row;
  return about->bias + v->known + v->scale * (double)about->scale * (double)product;
}

// Into the second cache: a whole row would displace too much of the first.
static inline void prefetch(const void *start, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)start + at, 0, 2);
}

// Scores what has waited longest.
static void score_oldest(
    int level, const struct ckernels_cascade *k, struct queue *queue, struct ckernels_counts *counts) {
  struct promising *p = queue->item + queue->next % QUEUE;
  queue->next += 1;
  if (p->vector != NULL && p->upper >= p->vector->search.lower) {
    search_score(level, &p->vector->search, k->rows, p->x, p->row);
    counts->rescored += 1;
  }
  p->vector = NULL;
}

static void consider(
    int level, const struct ckernels_cascade *k, struct vector *v, const int16_t *vector, const float *x,
    size_t position, struct queue *queue, struct ckernels_counts *counts) {
  double reach;
  uint32_t row;
  const double middle = second_look(k, v, vector, position, &reach, &row);
  if (middle + reach < v->search.lower) return;
  // It has its score already.
  if (row == v->search.winner) return;
  // A row that looks better than what is known is scored soon: its exact score
  // spares other rows their second look.
  if (middle > v->search.lower + reach / 4) {
    if (middle - reach > v->search.lower) v->search.lower = middle - reach;
    prefetch(k->rows->values + (size_t)row * k->dimension, k->dimension * sizeof(float));
    score_oldest(level, k, queue, counts);
    queue->item[(queue->next - 1) % QUEUE] = (struct promising){v, x, middle + reach, row};
    return;
  }
  search_add(level, &v->search, row, middle + reach, k->rows, x, counts);
}

// The second look at all rows that were hit.
static void look_at_hits(struct tile *t) {
  const struct ckernels_cascade *k = t->k;
  for (size_t h = 0; h < t->hit_count; h++) {
    const uint32_t i = t->hits[h].vector, position = t->hits[h].position;
    if (h + AHEAD < t->hit_count) {
      const struct hit next = t->hits[h + AHEAD];
      prefetch(k->whole + next.position * k->whole_stride, k->whole_stride);
      __builtin_prefetch(t->v + next.vector, 0, 2);
    }
    if (i >= t->count || position >= k->rows->count) continue;
    consider(
        t->level, k, t->v + i, t->wide + i * k->whole_width, t->vectors + i * k->dimension, position, &t->queue, t->counts);
  }
  for (size_t i = 0; i < QUEUE; i++) score_oldest(t->level, k, &t->queue, t->counts);
  t->counts->looked += t->hit_count;
  t->hit_count = 0;
}

// The second look at the seeds, so that the others have them to beat.
static void look_at_seeds(struct tile *t) {
  const struct ckernels_cascade *k = t->k;
  for (size_t i = 0; i < t->count * SEEDS; i++) {
    if (i + AHEAD < t->count * SEEDS && t->seeds[i + AHEAD] < k->rows->count) {
      prefetch(k->whole + t->seeds[i + AHEAD] * k->whole_stride, k->whole_stride);
    }
    if (t->seeds[i] >= k->rows->count) continue;
    const size_t vector = i / SEEDS;
    consider(
        t->level, k, t->v + vector, t->wide + vector * k->whole_width, t->vectors + vector * k->dimension, t->seeds[i],
        &t->queue, t->counts);
  }
  for (size_t i = 0; i < QUEUE; i++) score_oldest(t->level, k, &t->queue, t->counts);
}

// The scores of what waits, and the winners: UINT32_MAX where no row could be one.
static void end_tile(struct tile *t, uint32_t *winners, double *scores) {
  const struct ckernels_rows *rows = t->k->rows;
  const size_t d = rows->dimension;
  // Candidates of the next vectors are on their way from memory meanwhile.
  for (size_t next = 0; next < t->count + 3; next++) {
    if (next < t->count) {
      struct search *search = &t->v[next].search;
      search_drop_beaten(search);
      for (uint32_t c = 0; c < search->count; c++) {
        prefetch(rows->values + (size_t)search->candidate[c] * d, d * sizeof(float));
      }
    }
    if (next < 3) continue;
    const size_t i = next - 3;
    search_rescore(t->level, &t->v[i].search, rows, t->vectors + i * d, t->counts);
    winners[i] = t->v[i].search.winner;
    scores[i] = t->v[i].search.best;
  }
}
