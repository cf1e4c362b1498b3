// tarn-adopt: reads a FAISS index that somebody else wrote, and answers what tarn needs of
// it. A process of its own, since libfaiss believes the sizes that a file says: whoever
// starts it bounds its memory, its CPU time and its answer, and checks all of the answer.
//
//   tarn-adopt INDEX ANSWER
//   tarn-adopt --version      FAISS's
//
// The lists are mapped and never read: of them the answer has places alone.
//
// Answer, little-endian:
//   "tarnadp1", u64 dimension, nlist, ntotal, nprobe, i32 qtype (-1: flat), i32 range statistic, f32 its argument,
//   u32 coarse quantizer (0 flat, 1 HNSW over flat), u32 whether it has lists
//   u64 floats, f32 ranges; u64 floats, f32 centroids; where it has lists for each: u64 offset of its codes, u64 rows;
//   "tarnend1"
//
// Exit: 0 answered; 2 refused, one line on stderr: a word, and a detail; 3 libfaiss does not read it; 64 usage.

#include <cxxabi.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/index_io.h>
#include <faiss/invlists/OnDiskInvertedLists.h>

namespace {

struct Refused {
  const char *word;
  std::string detail;
};

/// The class of an object, as FAISS names it.
template <class Object>
std::string class_of(const Object &object) {
  int status = 0;
  std::unique_ptr<char, void (*)(void *)> name(
      abi::__cxa_demangle(typeid(object).name(), nullptr, nullptr, &status), std::free);
  const std::string text = status == 0 ? name.get() : typeid(object).name();
  return text.compare(0, 7, "faiss::") == 0 ? text.substr(7) : text;
}

class Answer {
public:
  explicit Answer(const char *path) : file(std::fopen(path, "wbx"), std::fclose) {
    if (!file) fail();
  }
  template <class Value>
  void put(Value value) { put(&value, 1); }
  template <class Value>
  void put(const Value *values, size_t count) {
    if (count > 0 && std::fwrite(values, sizeof(Value), count, file.get()) != count) fail();
  }
  void finish() {
    if (std::fflush(file.get()) != 0) fail();
  }

private:
  [[noreturn]] static void fail() {
    std::fprintf(stderr, "answer %s\n", std::strerror(errno));
    std::exit(1);
  }
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> file;
};

void require(bool condition, const char *word, const std::string &detail = "") {
  if (!condition) throw Refused{word, detail};
}

/// The rows of the coarse quantizer, wherever it has them.
const faiss::IndexFlat &coarse(const faiss::Index *quantizer, uint32_t &kind) {
  kind = 0;
  require(quantizer, "coarse", "none");
  if (const auto *hnsw = dynamic_cast<const faiss::IndexHNSW *>(quantizer)) {
    kind = 1;
    require(hnsw->storage, "coarse", "IndexHNSW without rows");
    require(hnsw->metric_type == faiss::METRIC_INNER_PRODUCT, "coarse-metric");
    quantizer = hnsw->storage;
  }
  const auto *flat = dynamic_cast<const faiss::IndexFlat *>(quantizer);
  require(flat, "coarse", class_of(*quantizer));
  require(flat->metric_type == faiss::METRIC_INNER_PRODUCT, "coarse-metric");
  return *flat;
}

bool are_finite(const float *values, size_t count) {
  return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

/// That the lists are where the file has bytes: what is mapped is not read, and FAISS takes a file that was cut.
void require_whole(const faiss::OnDiskInvertedLists &lists, const char *path, size_t row_count) {
  struct stat info;
  const size_t file = stat(path, &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
  require(lists.code_size <= file, "cut");
  const size_t entry = lists.code_size + sizeof(int64_t);
  size_t total = 0;
  for (const auto &list : lists.lists) {
    require(list.size <= file / entry && list.offset <= file && list.size * entry <= file - list.offset, "cut");
    total += list.size;
  }
  require(total <= row_count, "shape", "its lists hold more rows than it counts");
}

void describe(const char *path, const char *answer_path) {
  std::unique_ptr<faiss::Index> any(faiss::read_index(path, faiss::IO_FLAG_MMAP | faiss::IO_FLAG_READ_ONLY));
  const auto *ivf = dynamic_cast<const faiss::IndexIVF *>(any.get());
  require(ivf, "class", class_of(*any));
  require(ivf->is_trained, "untrained");
  require(ivf->metric_type == faiss::METRIC_INNER_PRODUCT, "metric");
  int32_t qtype = -1, statistic = 0;
  float argument = 0;
  std::vector<float> ranges;
  if (const auto *scalar = dynamic_cast<const faiss::IndexIVFScalarQuantizer *>(ivf)) {
    qtype = scalar->sq.qtype;
    require(qtype == faiss::ScalarQuantizer::QT_4bit || qtype == faiss::ScalarQuantizer::QT_8bit ||
                qtype == faiss::ScalarQuantizer::QT_fp16,
            "codec", std::to_string(qtype));
    require(!scalar->by_residual, "residual");
    statistic = scalar->sq.rangestat;
    argument = scalar->sq.rangestat_arg;
    if (qtype != faiss::ScalarQuantizer::QT_fp16) ranges = scalar->sq.trained;
  } else {
    require(typeid(*ivf) == typeid(faiss::IndexIVFFlat), "class", class_of(*ivf));
  }
  uint32_t kind = 0;
  const faiss::IndexFlat &rows = coarse(ivf->quantizer, kind);
  const size_t d = static_cast<size_t>(ivf->d);
  require(rows.d == ivf->d && static_cast<size_t>(rows.ntotal) == ivf->nlist && rows.codes.size() == 4 * d * ivf->nlist,
          "shape", "centroids and lists differ in number");
  require(are_finite(reinterpret_cast<const float *>(rows.codes.data()), d * ivf->nlist), "values",
          "a centroid that is not finite");
  if (!ranges.empty()) {
    require(ranges.size() == 2 * d, "shape", "codec ranges and dimensions differ in number");
    require(are_finite(ranges.data(), ranges.size()), "values", "a codec range that is not finite");
    require(std::all_of(ranges.begin() + d, ranges.end(), [](float width) { return width >= 0; }), "values",
            "a codec range of negative width");
  }

  const auto *lists = dynamic_cast<const faiss::OnDiskInvertedLists *>(ivf->invlists);
  if (ivf->invlists) {
    require(lists, "lists", class_of(*ivf->invlists));
    // Those that are mapped out of this file have no name; what has one is another file, which nobody named.
    require(lists->filename.empty(), "lists-elsewhere");
    require(lists->lists.size() == ivf->nlist, "shape", "centroids and lists differ in number");
    require_whole(*lists, path, static_cast<size_t>(ivf->ntotal));
  }
  require(lists || ivf->ntotal == 0, "lists", "none");

  Answer answer(answer_path);
  answer.put("tarnadp1", 8);
  for (uint64_t number : {static_cast<uint64_t>(ivf->d), static_cast<uint64_t>(ivf->nlist),
                          static_cast<uint64_t>(ivf->ntotal), static_cast<uint64_t>(ivf->nprobe)})
    answer.put(number);
  answer.put(qtype);
  answer.put(statistic);
  answer.put(argument);
  answer.put(kind);
  answer.put(static_cast<uint32_t>(lists ? 1 : 0));
  answer.put(static_cast<uint64_t>(ranges.size()));
  answer.put(ranges.data(), ranges.size());
  answer.put(static_cast<uint64_t>(d * ivf->nlist));
  answer.put(rows.codes.data(), rows.codes.size());
  if (lists) {
    for (const auto &list : lists->lists) {
      answer.put(static_cast<uint64_t>(list.offset));
      answer.put(static_cast<uint64_t>(list.size));
    }
  }
  answer.put("tarnend1", 8);
  answer.finish();
}

} // namespace

int main(int count, char **arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--version") == 0) {
    std::printf("%d.%d.%d\n", FAISS_VERSION_MAJOR, FAISS_VERSION_MINOR, FAISS_VERSION_PATCH);
    return 0;
  }
  if (count != 3) {
    std::fprintf(stderr, "tarn-adopt reads a FAISS index for `tarn adopt`, which starts it: tarn-adopt INDEX ANSWER\n");
    return 64;
  }
  try {
    describe(arguments[1], arguments[2]);
    // What FAISS would take apart goes with the process.
    std::_Exit(0);
  } catch (const Refused &refused) {
    std::fprintf(stderr, "%s %s\n", refused.word, refused.detail.c_str());
    return 2;
  } catch (const std::exception &error) {
    std::string text = error.what();
    for (char &c : text)
      if (c == '\n') c = ' ';
    std::fprintf(stderr, "%s\n", text.c_str());
    return 3;
  } catch (...) {
    return 3;
  }
}
