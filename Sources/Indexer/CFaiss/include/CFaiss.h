// libfaiss for the tests, which compare with what it writes and finds: typed
// functions, no exception leaves, the error of a call comes back from that
// call. Integers are FAISS's own, row-major floats.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An IVF index read from a file. Not to be used by two threads at once.
typedef struct cfaiss_index cfaiss_index;

/// Beside FAISS's QuantizerType: flat lists, and neither those nor a scalar
/// quantizer.
enum { cfaiss_flat = -1, cfaiss_other = -2 };

/// What an index file says of itself.
typedef struct {
  int64_t dimension;
  int64_t count; ///< ntotal
  int64_t nlist;
  int64_t nprobe;
  int64_t code_size;
  int32_t quantizer;    ///< QuantizerType, or one of the above
  int32_t is_trained;   ///< 0 or 1
  int32_t inner_product; ///< 1 for METRIC_INNER_PRODUCT of index and quantizer
  int32_t by_residual;  ///< 0 or 1
} cfaiss_description;

/// "1.7.3": the version of the headers, which must be the library's.
const char *cfaiss_version(void);

// Every function below returns 0, or -1 with a line of text in `error`
// (`error_size` bytes, always terminated) and nothing else changed.

/// Reads an IVF index; with `map` != 0 its lists stay in the file and are
/// memory-mapped. `*index` is to be given to cfaiss_close.
int cfaiss_open(const char *path, int map, cfaiss_index **index, char *error, size_t error_size);

/// Frees an index; null is fine.
void cfaiss_close(cfaiss_index *index);

int cfaiss_describe(const cfaiss_index *index, cfaiss_description *description, char *error, size_t error_size);

/// FAISS's own search, coarse ranking and scan in one call.
int cfaiss_search(const cfaiss_index *index, int threads, int64_t n, const float *queries, int64_t nprobe, int64_t k,
                  int64_t *ids, float *scores, char *error, size_t error_size);

// For tests: what FAISS itself writes, to compare with byte for byte.

/// A trained IVF index as tarn defines it: inner product, by_residual = false.
typedef struct {
  int32_t quantizer;       ///< QuantizerType or cfaiss_flat
  int32_t range_statistic; ///< FAISS's RangeStat
  float range_argument;
  int64_t dimension;
  int64_t nlist;
  int64_t nprobe;
  const float *centroids; ///< [nlist x dimension]
  const float *minima;    ///< [dimension]; null without ranges
  const float *widths;    ///< [dimension]; null without ranges
} cfaiss_recipe;

/// Decodes with FAISS's ScalarQuantizer::decode.
int cfaiss_decode(const cfaiss_recipe *recipe, int64_t n, const uint8_t *codes, float *x, char *error,
                  size_t error_size);

/// Encodes with FAISS's ScalarQuantizer::compute_codes.
int cfaiss_encode(const cfaiss_recipe *recipe, int64_t n, const float *x, uint8_t *codes, char *error,
                  size_t error_size);

/// Builds the index with add_core(n, x, ids, lists), writes it with write_index.
int cfaiss_write(const cfaiss_recipe *recipe, int64_t n, const float *x, const int64_t *ids, const int64_t *lists,
                 const char *path, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif
