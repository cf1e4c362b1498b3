// The exact assignment in every form of the int8 engine that this CPU carries
// out, and by way of float32 products, against scores alone, and the products of
// the forms at the limits of their ranges. A line for each problem, of the
// definition's winners: scripts/check-arm64.sh compares those of two machines.

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../Sources/Indexer/CKernels/cascade_threshold.h"
#include "CCpu.h"
#include "CKernels.h"
#include "CRows.h"

static uint64_t state = 11;

static uint64_t draw(void) {
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static void *room(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
  if (!memory) exit(2);
  return memset(memory, 0, (bytes + 64) / 64 * 64);
}

// What makes a problem hard.
enum kind { ORDINARY, EQUAL_ROWS, TIES, SMALL, SUBNORMAL, LARGE, SPIKES, MEANS, ZEROS, KINDS };

static float element(int kind, int of_rows, size_t j) {
  const float x = (float)((int64_t)(draw() >> 40) - (1 << 23)) * 0x1p-23f / (1 + 0.2f * (float)j);
  switch (kind) {
    case TIES: return (float)(draw() % 5) - 2;
    case SMALL: return x * (of_rows ? 0x1p-120f : 0x1p-20f);
    case SUBNORMAL: return of_rows ? x * 0x1p-140f : x;
    case LARGE: return x * (of_rows ? 0x1p100f : 0x1p40f);
    case SPIKES: return j == 0 ? (of_rows ? 1000 : -999) : x;
    case MEANS: return 1 + x * (of_rows ? 0x1p-18f : 0x1p-2f);
    case ZEROS: return of_rows ? -fabsf(x) : draw() % 3 == 0 ? 0 : x;
    default: return x;
  }
}

static int wrong = 0, served = 0;

// Rows as the int8 engine takes them; NULL when it does not.
static struct ckernels_cascade *prepared(
    const struct ckernels_rows *rows, const float *x, size_t vectors, int shape, int form,
    const struct ckernels_purpose *purpose) {
  struct ckernels_cascade *k = ckernels_cascade_new(rows, x, vectors, shape, form, purpose);
  if (k == NULL) return NULL;
  const size_t blocks = ckernels_cascade_blocks(k);
  ckernels_cascade_quantize(k, 0, rows->count);
  ckernels_cascade_sort(k);
  ckernels_cascade_pack(k, 0, blocks);
  ckernels_cascade_packed(k);
  ckernels_cascade_fill(k, 0, blocks);
  ckernels_cascade_filled(k);
  return k;
}

static int beats(double a, uint32_t row, double b, uint32_t other) { return a > b || (a == b && row < other); }

// The same rows in lists, of which each vector looks through some, and the ranking of all rows.
static void check_lists(
    const struct ckernels_rows *all, const float *x, size_t vectors, int form, int shape, int kind) {
  const size_t d = all->dimension, count = all->count, list_count = count / 9 + 2;
  uint32_t *lists = room(4 * count), *firsts = room(4 * (vectors + 1)), *probed = room(4 * vectors * list_count),
           *winners = room(4 * vectors);
  double *floors = room(8 * vectors), *scores = room(8 * vectors), *exact = room(8 * vectors * count);
  // Some lists are long, some empty.
  for (size_t c = 0; c < count; c++) lists[c] = (uint32_t)(draw() % 3 == 0 ? 1 : draw() % list_count);
  for (size_t i = 0; i < vectors; i++) {
    firsts[i + 1] = firsts[i];
    for (size_t l = 0; l < list_count; l++) {
      if (draw() % 3 == 0 || (l + 1 == list_count && firsts[i + 1] == firsts[i])) probed[firsts[i + 1]++] = (uint32_t)l;
    }
    for (size_t c = 0; c < count; c++) exact[i * count + c] = crows_score(0, x + i * d, all->values + c * d, d);
  }
  for (size_t nth = 1; nth < count; nth = 3 * nth + 1) {
    const struct ckernels_purpose purpose = {
        .nth = nth, .compared = (double)count / 3, .vectors = nth == 1 ? 0 : 1000, .lists = nth == 1 ? lists : NULL,
        .list_count = list_count};
    struct ckernels_cascade *k = prepared(all, x, vectors, shape, form, &purpose);
    if (k == NULL) break;
    struct ckernels_counts counts = {0};
    if (nth == 1) {
      void *scratch = room(ckernels_lists_scratch(k, vectors, firsts[vectors]));
      // Nothing known, something below the best, the best itself, more than that.
      for (int known = 0; known < 4; known++) {
        double best[vectors];
        uint32_t expected[vectors];
        for (size_t i = 0; i < vectors; i++) {
          best[i] = -INFINITY;
          expected[i] = UINT32_MAX;
          for (size_t c = 0; c < count; c++) {
            int looks = 0;
            for (uint32_t p = firsts[i]; p < firsts[i + 1]; p++) looks |= probed[p] == lists[c];
            if (looks && beats(exact[i * count + c], (uint32_t)c, best[i], expected[i])) {
              best[i] = exact[i * count + c];
              expected[i] = (uint32_t)c;
            }
          }
          floors[i] = known == 0 ? -INFINITY : known == 1 ? best[i] - 1 : known == 2 ? best[i] : nextafter(best[i], INFINITY);
        }
        ckernels_best_in_lists(ccpu_level(), k, x, vectors, firsts, probed, floors, scratch, winners, scores, &counts);
        for (size_t i = 0; i < vectors; i++) {
          // What is below the floor may be found or not, and with its score.
          const int may_miss = known == 3 && winners[i] == UINT32_MAX;
          const int is_lower = known == 3 && winners[i] < count && scores[i] == exact[i * count + winners[i]];
          if (may_miss || is_lower || (winners[i] == expected[i] && (winners[i] == UINT32_MAX || scores[i] == best[i]))) continue;
          fprintf(stderr, "lists of form %d, shape %d: wrong at kind %d, %zu rows of %zu\n", form, shape, kind, count, d);
          wrong = 1;
        }
        served += 1;
      }
      free(scratch);
    }
    void *scratch = room(ckernels_rank_scratch(k, vectors));
    uint32_t *ranked = room(4 * vectors * nth);
    ckernels_rank(ccpu_level(), k, x, vectors, nth, scratch, ranked, &counts);
    for (size_t i = 0; i < vectors; i++) {
      for (size_t c = 0; c < count; c++) {
        size_t above = 0, is_in = 0;
        for (size_t o = 0; o < count; o++) above += (size_t)beats(exact[i * count + o], (uint32_t)o, exact[i * count + c], (uint32_t)c);
        for (size_t n = 0; n < nth; n++) is_in += ranked[i * nth + n] == c;
        if (is_in == (above < nth)) continue;
        fprintf(stderr, "ranks of form %d, shape %d: wrong at kind %d, %zu rows of %zu\n", form, shape, kind, count, d);
        wrong = 1;
      }
    }
    served += 1;
    free(ranked), free(scratch);
    ckernels_cascade_free(k);
  }
  free(lists), free(firsts), free(probed), free(winners), free(floors), free(scores), free(exact);
}

static void check_problem(int kind, size_t count, size_t vectors, size_t d) {
  float *rows = room(4 * count * d), *x = room(4 * vectors * d);
  double *norms = room(8 * count), *expected_scores = room(8 * vectors), *scores = room(8 * vectors);
  uint32_t *expected = room(4 * vectors), *winners = room(4 * vectors), *guesses = room(4 * vectors);
  for (size_t i = 0; i < count * d; i++) rows[i] = element(kind, 1, i % d);
  for (size_t i = 0; i < vectors * d; i++) x[i] = element(kind, 0, i % d);
  for (size_t c = 0; c < count && kind == EQUAL_ROWS; c++) memmove(rows + c * d, rows + c / 3 * d, 4 * d);
  if (kind == ZEROS) memset(rows + count / 2 * d, 0, 4 * d), memset(x, 0, 4 * d);
  for (size_t c = 0; c < count; c++) norms[c] = sqrt(crows_score(0, rows + c * d, rows + c * d, d)) * (1 + 0x1p-30);
  const struct ckernels_rows all = {.values = rows, .norms = norms, .count = count, .dimension = d};
  ckernels_best_plain(0, &all, x, vectors, expected, expected_scores);
  struct ckernels_counts counts = {0};
  void *scratch = room(ckernels_sgemm_scratch(vectors));
  ckernels_best_sgemm(ccpu_level(), &all, x, vectors, scratch, winners, scores, &counts);
#define COMPARE(way, form, shape)                                                                             \
  if (memcmp(winners, expected, 4 * vectors) != 0 || memcmp(scores, expected_scores, 8 * vectors) != 0) {     \
    fprintf(stderr, "%s %d, shape %d: wrong at kind %d, %zu rows of %zu\n", way, form, shape, kind, count, d); \
    wrong = 1;                                                                                                \
  }
  COMPARE("sgemm", 0, 0);
  free(scratch);
  for (int form = CKERNELS_PORTABLE; form <= CKERNELS_DOTPROD; form++) {
    for (int shape = CKERNELS_FASTEST; shape <= CKERNELS_BALANCED && ckernels_form_is_available(form); shape++) {
      struct ckernels_cascade *k = prepared(&all, x, vectors, shape, form, NULL);
      if (k == NULL) continue;
      scratch = room(ckernels_cascade_scratch(k, vectors));
      // Without guesses, with the right ones, with some row or none, and with the last.
      for (int guessed = 0; guessed < 4; guessed++) {
        for (size_t i = 0; i < vectors; i++) {
          guesses[i] = guessed == 1 ? expected[i] : guessed == 2 ? (uint32_t)((i * 7 + 3) % (count + 2)) : (uint32_t)count - 1;
        }
        memset(winners, 0, 4 * vectors);
        ckernels_best_cascade(
            ccpu_level(), k, x, vectors, guessed == 0 ? NULL : guesses, scratch, winners, scores, &counts);
        COMPARE("form", form, shape);
        served += 1;
      }
      free(scratch);
      ckernels_cascade_free(k);
      // However many forms there are, the next problem is the same.
      const uint64_t before = state;
      if (count <= 200) check_lists(&all, x, vectors, form, shape, kind);
      state = before;
    }
  }
  uint64_t hash = 1;
  for (size_t i = 0; i < vectors; i++) {
    uint64_t bits;
    memcpy(&bits, expected_scores + i, 8);
    hash = (hash ^ expected[i] ^ bits) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  printf("kind %d, %zu rows of %zu: %016" PRIx64 "\n", kind, count, d, hash);
  free(rows), free(x), free(norms), free(expected), free(expected_scores), free(winners), free(guesses), free(scores);
}

// Products of a form with all integers of its ranges, and with their limits alone.
static void check_products(int form, int tail, size_t quads, int limits) {
  int most, offset, vector_most;
  ckernels_form_range(form, tail, &most, &offset, &vector_most);
  uint8_t *rows = room(256 * quads);
  int8_t *vectors = room(24 * quads);
  int32_t offsets[64], products[6 * 64];
  for (size_t i = 0; i < 256 * quads; i++) {
    const int value = limits ? (draw() % 4 == 0 ? -most - 1 : most) : (int)(draw() % (uint64_t)(2 * most + 2)) - most - 1;
    rows[i] = (uint8_t)(value + offset);
  }
  for (size_t i = 0; i < 24 * quads; i++) {
    vectors[i] = (int8_t)(limits ? (draw() % 4 == 0 ? -vector_most : vector_most)
                                 : (int)(draw() % (uint64_t)(2 * vector_most + 1)) - vector_most);
  }
  for (int r = 0; r < 64; r++) offsets[r] = (int32_t)(draw() % 1000) - 500;
  ckernels_form_products(form, rows, vectors, quads, offsets, products);
  for (size_t v = 0; v < 6; v++) {
    for (size_t r = 0; r < 64; r++) {
      int32_t sum = offsets[r];
      for (size_t i = 0; i < 4 * quads; i++) {
        const uint8_t stored = rows[i / 4 * 256 + r * 4 + i % 4];
        sum += (offset == 0 ? (int8_t)stored : stored) * vectors[i / 4 * 24 + v * 4 + i % 4];
      }
      if (products[v * 64 + r] == sum) continue;
      fprintf(stderr, "form %d: the product of %zu fours is wrong\n", form, quads);
      wrong = 1;
      return;
    }
  }
  free(rows), free(vectors);
}

static double uniform(void) { return (double)(draw() >> 11) * 0x1p-53; }

// Thresholds are nowhere above what they are in numbers, however large their terms.
static void check_thresholds(void) {
  for (int i = 0; i < 4000000; i++) {
    const double value = ldexp(uniform() - 0.5, (int)(draw() % 34));
    const int32_t sum = (int32_t)ldexp(uniform() - 0.5, (int)(draw() % 31));
    const int size = (int)(draw() % 26);
    float terms[9];
    for (int j = 0; j < 9; j++) terms[j] = (float)ldexp(uniform() - 0.5, j < 3 ? size : (int)(draw() % 3));
    const struct block_bound bound = {{terms[3], terms[4], terms[5]}, {terms[6], terms[7], terms[8]}};
    double most = 0;
    for (int j = 0; j < 3; j++) {
      most += fmax((double)terms[j] * (double)terms[3 + j], (double)terms[j] * (double)terms[6 + j]);
    }
    const int32_t threshold = threshold_of(lower_in_units(value, sum), terms[0], terms[1], terms[2], &bound);
    // A whole number below this one is below what it stands for.
    const double exact = value + sum - most;
    if (threshold > exact + 1 && exact > -2.0e9 && exact < 2.0e9) {
      fprintf(stderr, "threshold %d of %.17g and %d, less %.17g\n", threshold, value, sum, most);
      wrong = 1;
      return;
    }
  }
}

int main(void) {
  for (int form = CKERNELS_PORTABLE; form <= CKERNELS_DOTPROD; form++) {
    if (!ckernels_form_is_available(form)) continue;
    fprintf(stderr, "form %d\n", form);
    for (size_t quads = 2; quads < 200; quads += 22) {
      for (int i = 0; i < 4; i++) check_products(form, i % 2, quads, i / 2);
    }
  }
  static const struct {
    size_t count, vectors, d;
  } sizes[] = {{2, 1, 1}, {70, 5, 3}, {130, 13, 41}, {200, 31, 37}, {300, 20, 80}};
  check_thresholds();
  // However many forms there were.
  state = 13;
  for (int kind = 0; kind < KINDS; kind++) {
    // The largest where it is ordinary: axes by the book take their time.
    const size_t end = sizeof sizes / sizeof *sizes - (kind > EQUAL_ROWS);
    for (size_t i = 0; i < end; i++) check_problem(kind, sizes[i].count, sizes[i].vectors, sizes[i].d);
  }
  fprintf(stderr, "the int8 engine served %d times\n", served);
  if (served < 400) wrong = 1;
  return wrong;
}
