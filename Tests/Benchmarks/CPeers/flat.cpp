// FAISS's flat index, the yardstick of the assignment benchmark.
#include <faiss/IndexFlat.h>

#include "CPeers.h"

struct cpeers_flat {
  faiss::IndexFlatIP index;
};

cpeers_flat *cpeers_flat_new(size_t dimension, size_t count, const float *rows) {
  try {
    auto *made = new cpeers_flat{faiss::IndexFlatIP(static_cast<faiss::Index::idx_t>(dimension))};
    made->index.add(static_cast<faiss::Index::idx_t>(count), rows);
    return made;
  } catch (const std::exception &) {
    return nullptr;
  }
}

int cpeers_flat_search(const cpeers_flat *flat, size_t count, const float *queries, int64_t *ids, float *scores) {
  try {
    flat->index.search(static_cast<faiss::Index::idx_t>(count), queries, 1, scores, ids);
    return 0;
  } catch (const std::exception &) {
    return -1;
  }
}
