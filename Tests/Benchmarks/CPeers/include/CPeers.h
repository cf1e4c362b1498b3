// Yardsticks that are libraries of others, for `tarn-bench`.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Seconds that oneDNN takes for one product of u8 [m x k] and s8 [k x n] into
/// s32 on all its threads, the weights packed as it likes best; the least of
/// `rounds`. Negative when it cannot.
double cpeers_onednn_seconds(size_t m, size_t n, size_t k, int rounds);

/// An IndexFlatIP of the installed FAISS.
typedef struct cpeers_flat cpeers_flat;

/// Copies `rows`, [count x dimension]; null when it cannot. It is never freed.
cpeers_flat *cpeers_flat_new(size_t dimension, size_t count, const float *rows);

/// The best row of each query, on all threads. Returns 0, or -1 when it cannot.
int cpeers_flat_search(const cpeers_flat *flat, size_t count, const float *queries, int64_t *ids, float *scores);

#ifdef __cplusplus
}
#endif
