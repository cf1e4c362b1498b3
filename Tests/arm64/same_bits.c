// What the kernels give for fixed inputs, a line each, by one level of the CPU:
// scripts/check-arm64.sh compares the lines of this machine with those of an
// aarch64 one. Inputs come from SplitMix64, so no file is needed.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CCodec.h"
#include "CCpu.h"
#include "CKernels.h"
#include "CRows.h"
#include "CScan.h"
#include "CSha256.h"

static uint64_t state = 7;

static uint64_t draw(void) {
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static void fill(float *x, size_t count, float middle, float width) {
  for (size_t i = 0; i < count; i++) x[i] = middle + width * (float)((int64_t)(draw() >> 40) - (1 << 23)) * 0x1p-23f;
}

static void *room(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
  if (!memory) exit(2);
  return memset(memory, 0, (bytes + 64) / 64 * 64);
}

static void show(const char *what, size_t dimension, const void *bytes, size_t count) {
  csha256_stream stream;
  uint8_t digest[32];
  csha256_start(&stream);
  const csha256_job job = {.stream = &stream, .pieces = {bytes, NULL}, .counts = {count, 0}, .digest = digest};
  csha256_run(csha256_best_path(), &job, 1);
  printf("%s %zu ", what, dimension);
  for (int i = 0; i < 8; i++) printf("%02x", digest[i]);
  printf("\n");
}

// As many queries as are shown rows by fours, by twos and alone.
enum { ROWS = 70, K = 7, QUERIES = 7 };

static void start(int level, const struct cscan_coder *coder, const float *x, struct cscan_query *queries) {
  const size_t plane = cscan_plane_size(coder);
  for (size_t q = 0; q < QUERIES; q++) {
    queries[q] = (struct cscan_query){
        .vector = x + q * coder->dimension, .plane = plane ? room(2 * plane) : NULL, .k = K,
        .found = room(cscan_capacity(K) * sizeof(struct cscan_found)), .at_once = q == 0};
    cscan_prepare(level, coder, queries + q);
  }
}

static int ascending(const void *one, const void *other) {
  const int64_t a = ((const struct cscan_found *)one)->id, b = ((const struct cscan_found *)other)->id;
  return (a > b) - (a < b);
}

// What is not scored has no order: which rows they are is the same everywhere, what is known of them is not.
static void print(struct cscan_query *query, int scored) {
  if (!scored) qsort(query->found, query->count, sizeof *query->found, ascending);
  for (size_t i = 0; i < query->count; i++)
    printf("%" PRId64 " %a\n", query->found[i].id, scored ? query->found[i].lower : 0);
}

static void finish(int level, const struct cscan_coder *coder, struct cscan_query *queries, int scored) {
  struct cscan_counts counts = {0};
  for (size_t q = 0; q < QUERIES; q++) {
    cscan_finish(level, coder, queries + q, scored, &counts);
    print(queries + q, scored);
  }
}

static void check_codec(int level, int codec, size_t bits, size_t d, const float *x) {
  float *minima = room(4 * d), *widths = room(4 * d), *rows = room(4 * ROWS * d);
  fill(minima, d, -0.8f, 0.1f);
  fill(widths, d, 1.6f, 0.1f);
  const size_t size = (bits * d + 7) / 8;
  uint8_t *codes = room(ROWS * size);
  ccodec_encode(level, codec, x, ROWS, d, minima, widths, codes);
  show("codes", d, codes, ROWS * size);
  for (size_t i = 0; i < ROWS; i++) ccodec_decode(level, codec, codes + i * size, d, minima, widths, rows + i * d);
  show("decoded", d, rows, 4 * ROWS * d);
  const struct cscan_coder coder = {
      .codec = codec, .dimension = d, .code_size = size, .minima = minima, .widths = widths};
  static const uint32_t odd[] = {1, 2, 5, 8, 13, 21, 34, 40, 41, 42, 43, 55, 69};
  const uint8_t *apart[ROWS];
  for (size_t i = 0; i < ROWS; i++) apart[i] = codes + (ROWS - 1 - i) * size;
  for (int choice = 0; choice < 4; choice++) {
    struct cscan_rows shown = {.codes = codes, .count = ROWS};
    if (choice == 1) shown.places = odd, shown.count = sizeof odd / sizeof *odd;
    if (choice == 3) shown.apart = apart;
    uint32_t known = 0;
    if (choice == 2) printf("radius %a\n", shown.radius = cscan_radius(level, &coder, &shown, &known, 100));
    struct cscan_query queries[QUERIES];
    struct cscan_counts counts = {0};
    uint32_t which[QUERIES];
    for (uint32_t q = 0; q < QUERIES; q++) which[q] = q;
    start(level, &coder, x, queries);
    cscan_show(level, &coder, &shown, queries, which, QUERIES, &counts);
    finish(level, &coder, queries, choice < 2);
  }
}

// Coarse centroids: coded in 7 bits, scored by their floats, ranked by sums of all of them.
static void check_centroids(int level, size_t d, const float *x) {
  float *minima = room(4 * d), *widths = room(4 * d);
  fill(minima, d, -1.2f, 0.1f);
  fill(widths, d, 4.8f, 0.1f);
  uint8_t *levels = room(ROWS * d), *parts = room(ROWS * d);
  ccodec_encode(level, CCODEC_SQ8, x, ROWS, d, minima, widths, levels);
  struct cscan_coder coder = {
      .codec = CCODEC_SQ8, .dimension = d, .code_size = d, .minima = minima, .widths = widths};
  const size_t plane = cscan_plane_size(&coder);
  struct cscan_spread spread = {.differences = room(4 * plane), .middles = room(4 * plane)};
  cscan_measure(level, &coder, levels, x, ROWS, parts, &spread);
  coder.spread = &spread;
  printf("spread %d", spread.greatest);
  for (int p = 0; p < 2; p++) printf(" %a %a", spread.distance[p], spread.radius[p]);
  printf("\n");
  show("differences", d, spread.differences, 4 * plane);
  show("middles", d, spread.middles, 4 * plane);
  show("parts", d, parts, ROWS * d);
  const struct cscan_centroids all = {.levels = levels, .parts = parts, .exact = (const uint8_t *)x, .count = ROWS};
  struct cscan_query queries[QUERIES];
  struct cscan_counts counts = {0};
  int32_t *sums = room(4 * ROWS * QUERIES);
  start(level, &coder, x, queries);
  cscan_sum(level, &coder, &all, 0, ROWS, queries, QUERIES, sums);
  show("centroids", d, sums, 4 * ROWS * QUERIES);
  for (size_t q = 0; q < QUERIES; q++) {
    cscan_pick(level, &coder, &all, queries + q, sums + q * ROWS, &counts);
    print(queries + q, 0);
  }
}

int main(void) {
  const int level = ccpu_level();
  fprintf(stderr, "arm64: level %d, SHA instructions %d\n", level, ccpu_has_sha());
  static const size_t bits[] = {[CCODEC_SQ4] = 4, [CCODEC_SQ8] = 8, [CCODEC_FP16] = 16, [CCODEC_FLAT] = 32};
  for (size_t d = 1; d < 400; d += 37) {
    float *x = room(4 * ROWS * d), *wide = room(4 * ROWS * d);
    fill(x, ROWS * d, 0, 1);
    for (size_t codec = 0; codec < sizeof bits / sizeof *bits; codec++)
      check_codec(level, (int)codec, bits[codec], d, x);
    check_centroids(level, d, x);
    uint8_t *halves = room(2 * ROWS * d);
    ccodec_encode(level, CCODEC_FP16, x, ROWS, d, NULL, NULL, halves);
    crows_widen(level, halves, CROWS_FLOAT16, ROWS * d, wide);
    show("widened", d, wide, 4 * ROWS * d);
    double *sums = room(8 * d);
    for (size_t i = 0; i < ROWS; i++) crows_add_row(level, halves + 2 * i * d, CROWS_FLOAT16, d, sums);
    show("sums", d, sums, 8 * d);
    printf("score %a\n", crows_score(level, x, x + d, d));
    float *product = room(4 * ROWS * ROWS), *offsets = room(4 * 64), *second = room(4 * ROWS * d);
    ckernels_product(level, ROWS, ROWS, d, x, d, 1, x, 1, d, product, ROWS);
    show("product", d, product, 4 * ROWS * ROWS);
    ckernels_softmax(level, product, offsets, 64);
    show("softmax", d, product, 4 * 64);
    ckernels_pull(level, wide, x, x + d, d, 160, 0.125f);
    show("pull", d, wide, 4 * d);
    memset(second, 0, 4 * ROWS * d);
    ckernels_adam(level, wide, second, second + d, x, d, 0.5f, 0.01f, 1000);
    show("adam", d, wide, 4 * d);
  }
  return 0;
}
