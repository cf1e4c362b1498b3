// What the files of this target share.
#pragma once

#include "CCodec.h"
#include "CCpu.h"
#include "CRows.h"
#include "CScan.h"

/// Sums in a tile: 16 / Q rows with each of Q queries, sum r * Q + q.
enum { TILE = 16 };

/// Sums products of rows' levels and planes of queries, exactly. Returns a bit
/// for each sum that is greater than its query's threshold. What lies `ahead`
/// bytes after the rows, counted round, is brought into the second cache.
typedef uint32_t (*cscan_tile)(
    const uint8_t *const *rows, const int8_t *const *planes, size_t bytes, size_t ahead, const int32_t *thresholds,
    int32_t *sums);

/// The products of one codec at one level.
struct cscan_tiles {
  cscan_tile of[3];  // for 1, 2 and 4 queries
  int32_t (*dot)(const uint8_t *row, const int8_t *plane, size_t bytes);
};

/// How the products read a codec's rows: step by step, each with its weights.
/// All 0 for a codec without levels, whose rows are scored as they are met.
struct cscan_levels {
  int32_t steps;         // the greatest level
  size_t step_bytes;     // of a row
  size_t step_weights;   // of a plane; a byte of a row has as many components as there are weights for it
  int odd_apart;         // the weights of a step's odd components come after those of its even ones
};

/// What a row has for each weight: a byte, one of two nibbles in it, or a byte under 128. Names of functions end in the
/// numbers.
#define BYTES 0
#define NIBBLES 1
#define SEVENS 2

/// The forms, each for rows of every kind.
extern const struct cscan_tiles cscan_portable[3];
#if defined(__x86_64__)
extern const struct cscan_tiles cscan_avx2[3], cscan_vnni[3];
#elif defined(__aarch64__)
extern const struct cscan_tiles cscan_neon[3], cscan_dotprod[3];
#endif

struct cscan_levels cscan_levels_of(int codec);
int cscan_kind_of(const struct cscan_coder *);
const struct cscan_tiles *cscan_tiles_of(int level, int kind);

/// The score by definition of a row whose code, or of a centroid whose floats, lie `at` that place. A NaN counts as
/// -infinity.
double cscan_score(int level, const struct cscan_coder *, const uint8_t *at, const float *vector, float *scratch);

/// What rows are shown by, and what that costs.
struct show {
  int level;
  const struct cscan_coder *coder;
  const struct cscan_rows *rows;  // NULL for centroids
  const struct cscan_tiles *tiles;
  size_t plane_size;
  struct cscan_counts *counts;
  float *scratch;  // [dimension]
};

/// Rows that all queries are shown before the next: few enough for the near
/// caches to hold them, and those that come after them.
static inline size_t cscan_block_of(const struct cscan_coder *c, size_t queries) {
  const size_t bytes = queries == 1 ? 4096 : 16384;
  return bytes / c->code_size / TILE * TILE + TILE;
}

/// What a score has to reach: k rows do.
double cscan_floor(struct cscan_query *);

/// The greatest sum that proves a score below the floor: one of the upper plane, or of both `planes`, in units of the
/// upper one and rounded.
int32_t cscan_threshold(const struct cscan_query *, double floor, int planes);

/// Keeps a row that may be among the best.
void cscan_keep(const struct show *, struct cscan_query *, struct cscan_found);

/// Scores a row by definition and keeps it if it may be among the best; `at` as for cscan_score.
void cscan_score_row(const struct show *, struct cscan_query *, const uint8_t *at, int64_t id);

/// Sorts rows, best first.
void cscan_sort(struct cscan_found *, size_t count);

/// Rows that are on their way from memory while one is scored, where they lie far apart.
enum { AHEAD = 4 };

/// Has memory bring bytes into the second cache: the first one has fewer places for what is on its way.
static inline void cscan_expect(const uint8_t *bytes, size_t count) {
  for (size_t at = 0; at < count; at += 64) __builtin_prefetch(bytes + at, 0, 2);
}
