// The search's inner loop: the rows with the greatest scores among coded rows,
// found by integer products with proved bounds. Every level of the CPU, cut of
// the rows and number of threads gives the same answer.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// How the components of a row are stored.
enum cscan_codec {
  CSCAN_SQ4 = 0,   // two to a byte, the even one in the low half, in a range per dimension
  CSCAN_SQ8 = 1,   // a byte each, in a range per dimension
  CSCAN_FP16 = 2,  // IEEE half precision
  CSCAN_FLAT = 3,  // float32
};

/// A codec with its ranges.
struct cscan_coder {
  int32_t codec;
  size_t dimension;   // 1...65536
  size_t code_size;   // bytes of a row
  const float *minima;  // [dimension]; NULL without ranges
  const float *widths;  // [dimension], 0...; NULL without ranges
  // When rows are scored by other values than their codes stand for: the most
  // that these differ in each dimension (NULL: not at all) and in length.
  const float *differences;
  double distance;
};

/// Rows in memory; nothing need be aligned.
struct cscan_rows {
  const uint8_t *codes;  // [count x code_size]
  const uint8_t *ids;    // [count] int64, little-endian; NULL: the row's number
  const uint8_t *exact;  // [count x dimension] float32 that rows are scored by; NULL: what the codes stand for
  int64_t first;         // number of the first row, for those without ids
  size_t count;
};

/// A query, and the best rows it has met. Set up by cscan_prepare; the rows
/// belong to whoever holds `lock`.
struct cscan_query {
  const float *vector;  // [dimension]
  int8_t *plane;        // [2 x cscan_plane_size], 64-aligned: 16 bits of each weight, upper and lower
  double scale[2];      // what a unit of the upper and the lower plane is worth
  double base[2];       // score ~ base[0] + scale[0] * s0, or base[1] + scale[0] * s0 + scale[1] * s1,
  double error[2];      // and that is how far it can be off
  double *scores;       // [k], a heap with the worst row on top
  int64_t *ids;         // [k]
  size_t k;
  size_t count;
  double floor;       // a lower score is beaten: that of the worst row once there are k
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

/// Starts a query with an empty answer: `vector`, `plane`, `scores`, `ids` and
/// `k` are set, the rest is not. All components are finite.
void cscan_prepare(int level, const struct cscan_coder *, struct cscan_query *);

/// Shows rows to queries `which[0..<count]` of `queries`. The score is
/// ckernels_score of the query and the decoded row, a NaN counting as -infinity;
/// of equal scores the lower id is better. Several threads may show different
/// rows to the same queries.
void cscan_show(
    int level, const struct cscan_coder *, const struct cscan_rows *, struct cscan_query *queries,
    const uint32_t *which, size_t count, struct cscan_counts *);

/// Sums the levels of coded rows with the upper planes of queries [0, count):
/// `sums[q * stride + i]` for row i. For cscan_pick.
void cscan_sum(
    int level, const struct cscan_coder *, const struct cscan_rows *, const struct cscan_query *queries, size_t count,
    int32_t *sums, size_t stride);

/// Shows all rows to a query that has met none, given their sums: only those
/// whose sums leave open whether they are among the best are scored. Changes
/// the sums.
void cscan_pick(
    int level, const struct cscan_coder *, const struct cscan_rows *, struct cscan_query *, int32_t *sums,
    struct cscan_counts *);

/// Tells the CPU that a thread waits in a loop.
static inline void cscan_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Sorts a query's rows, best first. Afterwards it can be shown no more.
void cscan_finish(struct cscan_query *);

/// Decodes `count` rows to float32 as FAISS does.
void cscan_decode(int level, const struct cscan_coder *, const uint8_t *codes, size_t count, float *rows);

/// Raises `differences` [dimension] and `*distance` to cover how far rows are
/// from what their codes stand for.
void cscan_measure(
    int level, const struct cscan_coder *, const uint8_t *codes, const float *rows, size_t count, float *differences,
    double *distance);
