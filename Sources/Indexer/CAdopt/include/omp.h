// The one type of libgomp's header that FAISS's headers name. The real header lies in GCC's directory, which Clang does
// not search; no object that tarn-adopt looks into holds one.
#pragma once

typedef struct {
  unsigned char opaque[4];
} omp_lock_t;
