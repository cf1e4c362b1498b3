// The shim over libfaiss. Owns every FAISS object; see CFaiss.h.

#include "CFaiss.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_io.h>
#include <faiss/invlists/OnDiskInvertedLists.h>


#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

static_assert(FAISS_VERSION_MAJOR == 1 && FAISS_VERSION_MINOR == 7 && FAISS_VERSION_PATCH == 3,
              "the file layouts and the shim were checked against FAISS 1.7.3");
static_assert(sizeof(faiss::Index::idx_t) == sizeof(int64_t), "FAISS ids are 64 bits");
static_assert(sizeof(size_t) == 8, "FAISS files hold 64-bit sizes");

// libgomp's own; its header lies in GCC's directory, which Clang does not search.
extern "C" void omp_set_num_threads(int);

struct cfaiss_index {
  std::unique_ptr<faiss::IndexIVF> ivf;
};

namespace {

/// Runs a body and turns whatever it throws into a status and one line of text.
template <class Body>
int guarded(char *error, size_t error_size, Body body) noexcept {
  const char *text = "unknown C++ exception";
  try {
    body();
    return 0;
  } catch (const std::exception &exception) {
    text = exception.what();
    if (error && error_size) {
      std::snprintf(error, error_size, "%s", text);
      for (char *c = error; *c; c++)
        if (*c == '\n') *c = ' ';
    }
    return -1;
  } catch (...) {
    if (error && error_size) std::snprintf(error, error_size, "%s", text);
    return -1;
  }
}

/// The one place that says how many threads FAISS uses: the setting is the
/// calling thread's own, so each call makes it anew.
void use_threads(int threads) { omp_set_num_threads(std::max(1, threads)); }

const faiss::IndexFlat *flat_quantizer(const faiss::IndexIVF *ivf) {
  return dynamic_cast<const faiss::IndexFlat *>(ivf->quantizer);
}

void require(bool condition, const char *text) {
  if (!condition) throw std::runtime_error(text);
}

faiss::ScalarQuantizer::QuantizerType quantizer_type(const cfaiss_recipe &recipe) {
  require(recipe.quantizer >= 0, "no scalar quantizer");
  return static_cast<faiss::ScalarQuantizer::QuantizerType>(recipe.quantizer);
}

void set_ranges(faiss::ScalarQuantizer &quantizer, const cfaiss_recipe &recipe) {
  quantizer.rangestat = static_cast<faiss::ScalarQuantizer::RangeStat>(recipe.range_statistic);
  quantizer.rangestat_arg = recipe.range_argument;
  if (!recipe.minima) return;
  quantizer.trained.assign(recipe.minima, recipe.minima + recipe.dimension);
  quantizer.trained.insert(quantizer.trained.end(), recipe.widths, recipe.widths + recipe.dimension);
}

} // namespace

extern "C" {

const char *cfaiss_version(void) {
  static const std::string version = std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) +
                                     "." + std::to_string(FAISS_VERSION_PATCH);
  return version.c_str();
}

int cfaiss_open(const char *path, int map, cfaiss_index **index, char *error, size_t error_size) {
  return guarded(error, error_size, [&] {
    std::unique_ptr<faiss::Index> any(faiss::read_index(path, map ? faiss::IO_FLAG_MMAP : 0));
    auto *ivf = dynamic_cast<faiss::IndexIVF *>(any.get());
    require(ivf, "not an IVF index");
    auto owner = std::make_unique<cfaiss_index>();
    any.release();
    owner->ivf.reset(ivf);
    require(flat_quantizer(ivf), "its coarse quantizer is not flat");
    // Queries are spread over the threads, and a mapped list is read by the
    // thread that scans it: the default would start 32 prefetch threads a call.
    ivf->parallel_mode = 3;
    if (auto *mapped = dynamic_cast<faiss::OnDiskInvertedLists *>(ivf->invlists)) mapped->prefetch_nthread = 0;
    *index = owner.release();
  });
}

void cfaiss_close(cfaiss_index *index) { delete index; }

int cfaiss_describe(const cfaiss_index *index, cfaiss_description *description, char *error, size_t error_size) {
  return guarded(error, error_size, [&] {
    const faiss::IndexIVF *ivf = index->ivf.get();
    cfaiss_description d = {};
    d.dimension = ivf->d;
    d.count = ivf->ntotal;
    d.nlist = static_cast<int64_t>(ivf->nlist);
    d.nprobe = static_cast<int64_t>(ivf->nprobe);
    d.code_size = static_cast<int64_t>(ivf->code_size);
    d.is_trained = ivf->is_trained;
    d.inner_product = ivf->metric_type == faiss::METRIC_INNER_PRODUCT &&
                      ivf->quantizer->metric_type == faiss::METRIC_INNER_PRODUCT;
    d.quantizer = cfaiss_other;
    if (const auto *scalar = dynamic_cast<const faiss::IndexIVFScalarQuantizer *>(ivf)) {
      d.by_residual = scalar->by_residual;
      d.quantizer = scalar->sq.qtype;
    } else if (dynamic_cast<const faiss::IndexIVFFlat *>(ivf)) {
      d.quantizer = cfaiss_flat;
    }
    *description = d;
  });
}

int cfaiss_search(const cfaiss_index *index, int threads, int64_t n, const float *queries, int64_t nprobe, int64_t k,
                  int64_t *ids, float *scores, char *error, size_t error_size) {
  return guarded(error, error_size, [&] {
    use_threads(threads);
    faiss::SearchParametersIVF parameters;
    parameters.nprobe = static_cast<size_t>(nprobe);
    index->ivf->search(n, queries, k, scores, ids, &parameters);
  });
}

int cfaiss_decode(const cfaiss_recipe *recipe, int64_t n, const uint8_t *codes, float *x, char *error,
                  size_t error_size) {
  return guarded(error, error_size, [&] {
    use_threads(1);
    faiss::ScalarQuantizer quantizer(static_cast<size_t>(recipe->dimension), quantizer_type(*recipe));
    set_ranges(quantizer, *recipe);
    quantizer.decode(codes, x, static_cast<size_t>(n));
  });
}

int cfaiss_encode(const cfaiss_recipe *recipe, int64_t n, const float *x, uint8_t *codes, char *error,
                  size_t error_size) {
  return guarded(error, error_size, [&] {
    use_threads(1);
    faiss::ScalarQuantizer quantizer(static_cast<size_t>(recipe->dimension), quantizer_type(*recipe));
    set_ranges(quantizer, *recipe);
    quantizer.compute_codes(x, codes, static_cast<size_t>(n));
  });
}

int cfaiss_write(const cfaiss_recipe *recipe, int64_t n, const float *x, const int64_t *ids, const int64_t *lists,
                 const char *path, char *error, size_t error_size) {
  return guarded(error, error_size, [&] {
    use_threads(1);
    const auto d = static_cast<size_t>(recipe->dimension), nlist = static_cast<size_t>(recipe->nlist);
    faiss::IndexFlatIP quantizer(recipe->dimension);
    quantizer.add(recipe->nlist, recipe->centroids);
    std::unique_ptr<faiss::IndexIVF> ivf;
    if (recipe->quantizer == cfaiss_flat) {
      ivf = std::make_unique<faiss::IndexIVFFlat>(&quantizer, d, nlist, faiss::METRIC_INNER_PRODUCT);
    } else {
      auto scalar = std::make_unique<faiss::IndexIVFScalarQuantizer>(
          &quantizer, d, nlist, quantizer_type(*recipe), faiss::METRIC_INNER_PRODUCT, false);
      set_ranges(scalar->sq, *recipe);
      ivf = std::move(scalar);
    }
    ivf->is_trained = true;
    ivf->nprobe = static_cast<size_t>(recipe->nprobe);
    if (n > 0) ivf->add_core(n, x, ids, lists);
    faiss::write_index(ivf.get(), path);
  });
}

} // extern "C"
