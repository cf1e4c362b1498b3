// The rows of a query that may be among its k best.
//
// Each is known by two bounds of its score, and by where its code or its floats lie. The floor is a score that the
// lower bounds of k rows reach, nearly the k-th greatest of them at some time: a row whose upper bound is below it is
// out. Rows are appended as they are met. Once there are `limit` of them the k with the greatest
// lower bounds are told from the others, which raises the floor, and rows below that go; when
// bounds leave too many, they are scored by the definition.
#include <math.h>
#include <sched.h>

#include "internal.h"

/// Rows that are appended before rows are told apart again.
static size_t slack_of(size_t k) { return k / 2 > 8 ? k / 2 : 8; }

/// Rows that are held at most.
static size_t most_of(size_t k) { return k + slack_of(k) + slack_of(k) / 2; }

// The lower bounds of as many rows lie behind these while they are told apart.
size_t cscan_capacity(size_t k) {
  return most_of(k) + (most_of(k) * sizeof(double) + sizeof(struct cscan_found) - 1) / sizeof(struct cscan_found);
}

double cscan_floor(struct cscan_query *s) {
  double floor;
  __atomic_load(&s->floor, &floor, __ATOMIC_RELAXED);
  return floor;
}

int32_t cscan_threshold(const struct cscan_query *s, double floor, int planes) {
  const double rest = floor - s->base[planes - 1] - s->error[planes - 1];
  if (s->scale[0] == 0) return rest > 0 ? INT32_MAX : INT32_MIN;
  // One less than the quotient allows: its own rounding is under 2^-20, that of a sum half a unit.
  const double sum = ceil(rest / s->scale[0]) - 2;
  if (sum >= 0x1p31 - 1) return INT32_MAX;
  return sum > -0x1p31 ? (int32_t)sum : INT32_MIN;
}

static void raise_floor(struct cscan_query *s, double floor) {
  if (!(floor > s->floor)) return;
  __atomic_store(&s->floor, &floor, __ATOMIC_RELAXED);
  __atomic_store_n(&s->threshold, cscan_threshold(s, floor, 1), __ATOMIC_RELAXED);
}

static CCPU_INLINE int is_better(const struct cscan_found *one, const struct cscan_found *other) {
  return one->lower > other->lower || (one->lower == other->lower && one->id < other->id);
}

static CCPU_INLINE void swap(struct cscan_found *rows, size_t i, size_t j) {
  const struct cscan_found row = rows[i];
  rows[i] = rows[j];
  rows[j] = row;
}

/// Brings the `k` best of `count` rows, by lower bound and id, to the front, the worst of them last; 1 <= k <= count.
static void bring_forward(struct cscan_found *rows, size_t count, size_t k) {
  // Pivots from anywhere: the orders in which rows come, ascending or as lists lie, are no bad ones for them.
  uint64_t random = 0x9E3779B97F4A7C15u;
  size_t first = 0, end = count;
  while (end - first > 1) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const struct cscan_found pivot = rows[first + (size_t)((random >> 32) * (end - first) >> 32)];
    size_t i = first, j = end - 1;
    for (;; i++, j--) {
      while (is_better(rows + i, &pivot)) i++;
      while (is_better(&pivot, rows + j)) j--;
      if (i >= j) break;
      swap(rows, i, j);
    }
    // Rows before i are not worse than the pivot, those from i on not better; neither part is all of them.
    if (i == first) i += 1;
    if (k <= i) end = i;
    else first = i;
  }
}

/// Scores rows by the definition.
static void score(const struct show *w, struct cscan_query *s, struct cscan_found *rows, size_t count) {
  const size_t size = w->coder->spread ? 4 * w->coder->dimension : w->coder->code_size;
  for (size_t next = 0; next < count + AHEAD; next++) {
    if (next < count && rows[next].at) cscan_expect(rows[next].at, size);
    if (next < AHEAD || !rows[next - AHEAD].at) continue;
    const size_t i = next - AHEAD;
    w->counts->scored += 1;
    rows[i].lower = rows[i].upper = cscan_score(w->level, w->coder, rows[i].at, s->vector, w->scratch);
    rows[i].at = NULL;
  }
}

/// The greatest of some numbers, one or more, or the least.
static CCPU_INLINE double extreme(const double *numbers, size_t count, int is_least) {
  enum { LANES = 4 };
  double found[LANES] = {numbers[0], numbers[0], numbers[0], numbers[0]};
  size_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (size_t l = 0; l < LANES; l++)
      found[l] = (is_least ? numbers[i + l] < found[l] : numbers[i + l] > found[l]) ? numbers[i + l] : found[l];
  for (; i < count; i++)
    if (is_least ? numbers[i] < found[0] : numbers[i] > found[0]) found[0] = numbers[i];
  for (size_t l = 1; l < LANES; l++)
    if (is_least ? found[l] < found[0] : found[l] > found[0]) found[0] = found[l];
  return found[0];
}

/// A number that at least k reach, and no more than `most` unless many are equal; 1 <= k <= most, k <= count. What lies
/// between the least and the greatest is halved, which needs no order and no branch that is a matter of chance.
static double reached_by(const double *numbers, size_t count, size_t k, size_t most) {
  double least = extreme(numbers, count, 1), beyond = extreme(numbers, count, 0);
  size_t reach = count;
  // A NaN counts as -infinity, between which and a number nothing lies.
  for (int halvings = 0; least > -0x1p1000 && halvings < 32 && reach > most; halvings++) {
    const double middle = least + (beyond - least) / 2;
    int64_t of_middle = 0;
    for (size_t i = 0; i < count; i++) of_middle += numbers[i] >= middle;
    if ((size_t)of_middle >= k) {
      least = middle;
      reach = (size_t)of_middle;
    } else {
      beyond = middle;
    }
  }
  return least;
}

/// Drops rows that k others beat by their bounds, but for some that only `most` beat.
static void drop_beaten(struct cscan_query *s, size_t most) {
  if (s->count < s->k) return;
  double *bounds = (double *)(s->found + most_of(s->k));
  for (size_t i = 0; i < s->count; i++) bounds[i] = s->found[i].lower;
  const double floor = reached_by(bounds, s->count, s->k, most);
  size_t kept = 0;
  for (size_t i = 0; i < s->count; i++) {
    s->found[kept] = s->found[i];
    kept += s->found[i].upper >= floor;
  }
  s->count = kept;
  raise_floor(s, floor);
}

/// Makes room for more rows.
static void prune(const struct show *w, struct cscan_query *s) {
  drop_beaten(s, s->k + s->k / 16);
  if (s->count > s->k + slack_of(s->k) / 2) {
    score(w, s, s->found, s->count);
    bring_forward(s->found, s->count, s->k);
    s->count = s->k;
    raise_floor(s, s->found[s->k - 1].lower);
  }
  s->limit = s->count + slack_of(s->k);
}

void cscan_keep(const struct show *w, struct cscan_query *s, struct cscan_found row) {
  for (int tries = 0; __atomic_exchange_n(&s->lock, 1, __ATOMIC_ACQUIRE); tries++)
    if (tries > 100) sched_yield();
  if (row.upper >= s->floor) {
    s->found[s->count++] = row;
    if (s->count == s->limit) prune(w, s);
  }
  __atomic_store_n(&s->lock, 0, __ATOMIC_RELEASE);
}

void cscan_sort(struct cscan_found *rows, size_t count) {
  for (size_t end = count, root = count / 2; end > 1;) {
    if (root > 0) root -= 1;
    else swap(rows, 0, --end);
    // The worst on top of a heap of those before `end`: rows that leave it are in order.
    const struct cscan_found row = rows[root];
    size_t hole = root;
    for (size_t child; (child = 2 * hole + 1) < end; hole = child) {
      if (child + 1 < end && is_better(rows + child, rows + child + 1)) child += 1;
      if (!is_better(&row, rows + child)) break;
      rows[hole] = rows[child];
    }
    rows[hole] = row;
  }
}

void cscan_finish(
    int level, const struct cscan_coder *c, struct cscan_query *s, int scored, struct cscan_counts *counts) {
  float scratch[c->dimension] __attribute__((aligned(64)));
  const struct show w = {.level = level, .coder = c, .counts = counts, .scratch = scratch};
  drop_beaten(s, s->k);
  if (scored) {
    score(&w, s, s->found, s->count);
    cscan_sort(s->found, s->count);
  } else if (s->count > s->k) {
    bring_forward(s->found, s->count, s->k);
    // Rows whose lower bounds are above all that are not among the first k are among the best whatever they score.
    double most = -INFINITY;
    for (size_t i = s->k; i < s->count; i++) most = s->found[i].upper > most ? s->found[i].upper : most;
    for (size_t i = 0; i < s->count; i++)
      if (i >= s->k || s->found[i].lower <= most) score(&w, s, s->found + i, 1);
    bring_forward(s->found, s->count, s->k);
  }
  if (s->count > s->k) s->count = s->k;
}
