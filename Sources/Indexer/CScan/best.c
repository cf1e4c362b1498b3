// The rows of a query that may be among its k best.
//
// Each is known by two bounds of its score, and by where its code or its floats lie. The floor is the k-th
// greatest lower bound at some time: k rows reach it, so one whose upper bound is below it is
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

/// Brings numbers that are greater than the pivot, or with `equal` as great, to the front, and says how many they are.
static CCPU_INLINE size_t partition(double *numbers, size_t count, double pivot, int equal) {
  size_t front = 0;
  for (size_t i = 0; i < count; i++) {
    // No branch: which way one would go is a matter of chance.
    const double number = numbers[i];
    numbers[i] = numbers[front];
    numbers[front] = number;
    front += equal ? number >= pivot : number > pivot;
  }
  return front;
}

/// The k-th greatest of some numbers, which change places; 1 <= k <= count.
static double kth_greatest(double *numbers, size_t count, size_t k) {
  uint64_t random = 0x9E3779B97F4A7C15u;
  for (;;) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const double pivot = numbers[(size_t)((random >> 32) * count >> 32)];
    size_t front = partition(numbers, count, pivot, 0);
    if (k > front) {
      numbers += front;
      count -= front;
      k -= front;
      front = partition(numbers, count, pivot, 1);
      if (k <= front) return pivot;
      numbers += front;
      count -= front;
      k -= front;
    } else {
      count = front;
    }
  }
}

/// Drops rows that k others beat by their bounds.
static void drop_beaten(struct cscan_query *s) {
  if (s->count < s->k) return;
  double *bounds = (double *)(s->found + most_of(s->k));
  for (size_t i = 0; i < s->count; i++) bounds[i] = s->found[i].lower;
  const double floor = kth_greatest(bounds, s->count, s->k);
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
  drop_beaten(s);
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
  drop_beaten(s);
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
