// The search's inner loop: the rows with the greatest scores among coded rows,
// found by integer products with proved bounds. Every level of the CPU, cut of
// the rows and number of threads gives the same answer.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// How centroids differ from what their levels stand for, without parts and
/// with them, and these from each other.
struct cscan_spread {
  float *differences;  // [cscan_plane_size] the most that a component differs from its level
  float *middles;      // [cscan_plane_size] the mean level of a component
  int32_t greatest;    // the greatest level
  double distance[2];  // the most that a row differs, in length: from its levels, and from these with their parts
  double radius[2];    // the same of levels and their means, and of parts, in levels, and none
};

/// A codec with its ranges.
struct cscan_coder {
  int32_t codec;        // enum ccodec_codec
  size_t dimension;   // 1...65536
  size_t code_size;   // bytes of a row
  const float *minima;  // [dimension]; NULL without ranges
  const float *widths;  // [dimension], 0...; NULL without ranges
  const struct cscan_spread *spread;  // of centroids; NULL for rows that are scored by what their codes stand for
};

/// Rows in memory; nothing need be aligned.
struct cscan_rows {
  const uint8_t *codes;  // [rows x code_size]
  const uint8_t *ids;    // [rows] int64, little-endian; NULL: the row's number
  const uint8_t *next;   // codes that are read after these; NULL: not known
  const uint32_t *places;  // [count] which rows there are shown, ascending; NULL: the first ones
  const uint8_t *const *apart;  // [count] where each code lies, instead of `codes`, `next` and `places`; or NULL
  size_t count;          // rows that are shown
  size_t apart_next;     // codes in `apart` after theirs, which are read after these
  double radius;         // as cscan_radius says; 0: not known
};

/// Rows that are scored by their floats and ranked by what is left of these: levels
/// of CCODEC_SQ8, and what those lose.
struct cscan_centroids {
  const uint8_t *levels;  // [count x dimension]
  const uint8_t *parts;   // [count x dimension] 256ths of a level to be added, and 128
  const uint8_t *exact;   // [count x dimension] float32
  size_t count;
};

/// A row that may be among the best.
struct cscan_found {
  double lower, upper;  // between these is its score
  int64_t id;
  const uint8_t *at;    // its code, of a centroid its floats; NULL: both bounds are its score
};

/// A query, and the rows it has met that may be the best. Set up by
/// cscan_prepare; the rows belong to whoever holds `lock`.
struct cscan_query {
  const float *vector;  // [dimension]
  int8_t *plane;        // [2 x cscan_plane_size], 64-aligned: 16 bits of each weight, upper and lower
  double scale[2];      // what a unit of the upper and the lower plane is worth
  double base[3];       // score ~ base[0] + scale[0] * s0, or base[1] + scale[0] * s0 + scale[1] * s1, or, with p
  double error[3];      // the upper sum of parts, base[2] + scale[0] * (s0 + p / 256) + scale[1] * s1; and how far off
  double slack;         // what of error[0] is there as levels may be any
  double length;        // what takes its place for each unit of their radius
  struct cscan_found *found;  // [cscan_capacity(k)]
  size_t k;             // 1...
  size_t count;         // rows found
  size_t limit;         // when there are as many, they are told apart
  int32_t at_once;      // rows are scored when they are met, not in the end
  double floor;         // a lower score is beaten by k rows
  int32_t threshold;  // a sum of the upper plane that is not greater is beaten
  int32_t lock;
};

/// What a scan has cost.
struct cscan_counts {
  uint64_t refined;  // rows whose bound by 8 bits of the query was not enough
  uint64_t scored;   // rows scored in binary64
};

/// Bytes of one plane of a query.
size_t cscan_plane_size(const struct cscan_coder *);

/// Room for rows of a query, and for what tells them apart, for k of 1 or more.
size_t cscan_capacity(size_t k);

/// Starts a query with an empty answer: `vector`, `plane`, `found`, `k` and
/// `at_once` are set, the rest is not. All components are finite.
void cscan_prepare(int level, const struct cscan_coder *, struct cscan_query *);

/// No levels of these rows are farther than this, in length, from the middle
/// ones; 0 while that is not known. `known` is these rows' own, 0 at first, and
/// may be shared by threads: it counts the queries that they are shown to,
/// `visitors` more now, and has the rows measured once those are worth it. Rows
/// lie one after the other.
double cscan_radius(
    int level, const struct cscan_coder *, const struct cscan_rows *, uint32_t *known, size_t visitors);

/// Shows rows to queries `which[0..<count]` of `queries`. The score is
/// crows_score of the query and the decoded row, a NaN counting as -infinity;
/// of equal scores the lower id is better. Several threads may show different
/// rows to the same queries. Codes stay where they are until cscan_finish.
void cscan_show(
    int level, const struct cscan_coder *, const struct cscan_rows *, struct cscan_query *queries,
    const uint32_t *which, size_t count, struct cscan_counts *);

/// Sums the levels of centroids [first, end) with the upper planes of queries
/// [0, count): `sums[q * centroids->count + i]` for centroid i. For cscan_pick.
void cscan_sum(
    int level, const struct cscan_coder *, const struct cscan_centroids *, size_t first, size_t end,
    const struct cscan_query *queries, size_t count, int32_t *sums);

/// Ends a query that has met nothing with its k best centroids, given their
/// sums, best first by their lower bounds: only those are scored of which it
/// takes that to say whether they are among them. Changes the sums.
void cscan_pick(
    int level, const struct cscan_coder *, const struct cscan_centroids *, struct cscan_query *, int32_t *sums,
    struct cscan_counts *);

/// Tells the CPU that a thread waits in a loop.
static inline void cscan_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Leaves the k best rows of a query, or all it has met: `count` in `found`.
/// With `scored` they are sorted, best first, and `lower` is their score; else
/// they are in no order and most have no score. Afterwards the query can be
/// shown no more.
void cscan_finish(int level, const struct cscan_coder *, struct cscan_query *, int scored, struct cscan_counts *);

/// Finds the `parts` of rows, [count x dimension], that their levels lack, and
/// the spread of them.
void cscan_measure(
    int level, const struct cscan_coder *, const uint8_t *levels, const float *rows, size_t count, uint8_t *parts,
    struct cscan_spread *);
