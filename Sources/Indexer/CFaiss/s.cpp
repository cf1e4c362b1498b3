#include "CFaiss.h"
#include <faiss/index_io.h>
#include <faiss/IndexFlat.h>
extern "C" int cfaiss_x(const char* p) { try { faiss::IndexFlatIP i(4); faiss::write_index(&i, p); return 0; } catch (...) { return 1; } }
