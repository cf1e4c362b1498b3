// The best row by way of OpenBLAS: float32 products of cache-sized tiles, and
// the bound of their rounding.
#include <cblas.h>

#include "CKernels.h"
#include "products.h"

void ckernels_single_threaded_blas(void) { openblas_set_num_threads(1); }

// OpenBLAS asks this when it is loaded, before main, and starts as many threads:
// one for each CPU in every command, and where they cannot be made it raises
// SIGINT. The program's symbols come before the library's own.
int openblas_num_threads_env(void);
__attribute__((visibility("default"))) int openblas_num_threads_env(void) { return 1; }

const char *ckernels_blas_core(void) { return openblas_get_corename(); }

const char *ckernels_blas_name(void) { return openblas_get_config(); }

struct sgemm {
  const struct ckernels_rows *rows;
  const float *vectors;
  size_t count;
};

static void multiply(const void *context, size_t base, size_t width, float *products) {
  const struct sgemm *s = context;
  const size_t d = s->rows->dimension;
  cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)s->count, (blasint)width, (blasint)d, 1.0f, s->vectors,
      (blasint)d, s->rows->values + base * d, (blasint)d, 0.0f, products, TILE_ROWS);
}

size_t ckernels_sgemm_scratch(size_t count) { return products_scratch(count); }

void ckernels_best_sgemm(
    int level, const struct ckernels_rows *rows, const float *vectors, size_t count, void *scratch, uint32_t *winners,
    double *scores, struct ckernels_counts *counts) {
  const struct sgemm context = {rows, vectors, count};
  const struct product_source source = {
      .multiply = multiply,
      .context = &context,
      .gamma = products_float32_gamma(rows->dimension),
      .tiny = products_float32_tiny(rows->dimension)};
  products_best(level, rows, &source, vectors, count, scratch, winners, scores, counts);
}
