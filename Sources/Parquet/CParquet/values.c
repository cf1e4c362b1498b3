// Levels looked at and values put together.
#include <string.h>

#include "CParquet.h"

int cparquet_levels_within(const uint8_t *levels, size_t count, uint8_t most) {
  uint8_t above = 0;
  for (size_t i = 0; i < count; i++) above |= levels[i] > most;
  return !above;
}

size_t cparquet_count_levels(const uint8_t *levels, size_t count, uint8_t level) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) found += levels[i] == level;
  return found;
}

// The place of the first level that is not `level`, or `count`.
static size_t first_other(const uint8_t *levels, size_t count, uint8_t level) {
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    uint8_t other = 0;
    for (size_t j = 0; j < 64; j++) other |= levels[i + j] ^ level;
    if (other) break;
  }
  while (i < count && levels[i] == level) i++;
  return i;
}

size_t cparquet_whole_rows(const uint8_t *repetition, const uint8_t *definition, size_t count, uint8_t present,
                           size_t dimension, size_t *filled) {
  size_t limit = first_other(definition, count, present);
  size_t i = 0;
  while (i < limit) {
    if (*filled == dimension) {
      if (repetition[i] != 0) break;
      *filled = 1;
      i++;
      continue;
    }
    size_t some = dimension - *filled < limit - i ? dimension - *filled : limit - i;
    const uint8_t *start = memchr(repetition + i, 0, some);
    if (start) some = (size_t)(start - (repetition + i));
    *filled += some;
    i += some;
    if (start) break;
  }
  return i;
}

static inline size_t gather(const unsigned char *dictionary, size_t width, const uint32_t *indices, size_t count,
                            unsigned char *output) {
  for (size_t i = 0; i < count; i++) memcpy(output + i * width, dictionary + indices[i] * width, width);
  return count;
}

size_t cparquet_gather(const void *dictionary, size_t dictionary_count, size_t width, const uint32_t *indices,
                       size_t count, void *output) {
  uint32_t wrong = 0;
  for (size_t i = 0; i < count; i++) wrong |= indices[i] >= dictionary_count;
  if (wrong) {
    size_t place = 0;
    while (indices[place] < dictionary_count) place++;
    return place;
  }
  switch (width) {
    case 2: return gather(dictionary, 2, indices, count, output);
    case 4: return gather(dictionary, 4, indices, count, output);
    case 8: return gather(dictionary, 8, indices, count, output);
    default: return gather(dictionary, width, indices, count, output);
  }
}

static inline void join(const unsigned char *bytes, size_t value_count, size_t width, size_t first, size_t count,
                        unsigned char *output) {
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < width; j++) output[i * width + j] = bytes[j * value_count + first + i];
  }
}

void cparquet_join_streams(const void *bytes, size_t value_count, size_t width, size_t first, size_t count,
                           void *output) {
  switch (width) {
    case 2: join(bytes, value_count, 2, first, count, output); break;
    case 4: join(bytes, value_count, 4, first, count, output); break;
    case 8: join(bytes, value_count, 8, first, count, output); break;
    default: join(bytes, value_count, width, first, count, output); break;
  }
}
