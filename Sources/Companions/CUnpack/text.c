// The C library's search for bytes within bytes, which takes time in proportion to both.
#define _GNU_SOURCE
#include <string.h>

#include "CUnpack.h"

ptrdiff_t cunpack_find(const void *bytes, size_t count, const void *part, size_t part_count) {
  const char *found = memmem(bytes, count, part, part_count);
  return found == NULL ? -1 : found - (const char *)bytes;
}
