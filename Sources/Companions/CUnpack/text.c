// The C library's search for bytes within bytes, which takes time in proportion to both.
#define _GNU_SOURCE
#include <string.h>

#include "CUnpack.h"

int cunpack_contains(const void *bytes, size_t count, const void *part, size_t part_count) {
  return memmem(bytes, count, part, part_count) != NULL;
}
