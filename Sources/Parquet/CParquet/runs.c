// Runs of repeated and bit-packed numbers, as levels, dictionary indices and
// booleans are written.
#include <string.h>

#include "CParquet.h"

// Little-endian bytes as a number, as far as they go.
static inline uint64_t load(const unsigned char *bytes, const unsigned char *end) {
  uint64_t word = 0;
  size_t count = (size_t)(end - bytes);
  if (count >= 8) {
    memcpy(&word, bytes, 8);
  } else {
    for (size_t i = 0; i < count; i++) word |= (uint64_t)bytes[i] << (8 * i);
  }
  return word;
}

void cparquet_runs_begin(cparquet_runs *runs, const void *bytes, size_t count, uint32_t width) {
  memset(runs, 0, sizeof *runs);
  runs->next = bytes;
  runs->end = runs->next ? runs->next + count : NULL;
  runs->width = width;
}

void cparquet_runs_begin_packed(cparquet_runs *runs, const void *bytes, size_t count, uint32_t width) {
  cparquet_runs_begin(runs, bytes, count, width);
  runs->packed = width ? (uint64_t)count * 8 / width : 0;
  runs->packed_end = runs->end;
}

// Reads the head of the next run; 0 where the bytes end or are none.
static int begin_run(cparquet_runs *runs) {
  if (runs->width == 0) {
    // One value needs no bits, and some writers leave the runs out.
    runs->repeated = UINT64_MAX;
    runs->value = 0;
    return 1;
  }
  uint32_t head = 0;
  for (uint32_t shift = 0;; shift += 7) {
    if (runs->next == runs->end || shift > 28) return 0;
    unsigned char byte = *runs->next++;
    if (shift == 28 && byte > 0x0F) return 0;
    head |= (uint32_t)(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  size_t left = (size_t)(runs->end - runs->next);
  if (head & 1) {
    // The last run may be cut short: what its bytes do not hold nobody asks for.
    uint64_t bytes = (uint64_t)(head >> 1) * runs->width;
    if (bytes > left) bytes = left;
    runs->packed = bytes * 8 / runs->width;
    runs->packed_end = runs->next + bytes;
    runs->bit = 0;
    if (runs->packed == 0) runs->next = runs->packed_end;
  } else {
    uint32_t bytes = (runs->width + 7) / 8;
    if (left < bytes) return 0;
    runs->value = 0;
    for (uint32_t i = 0; i < bytes; i++) runs->value |= (uint32_t)runs->next[i] << (8 * i);
    runs->next += bytes;
    runs->repeated = head >> 1;
  }
  return 1;
}

// Moves over numbers of a bit-packed run.
static void pass(cparquet_runs *runs, size_t count) {
  uint64_t bits = (uint64_t)count * runs->width + runs->bit;
  runs->packed -= count;
  runs->next = runs->packed ? runs->next + bits / 8 : runs->packed_end;
  runs->bit = runs->packed ? (uint32_t)(bits % 8) : 0;
}

// The bits of a byte, each in a byte of its own.
static inline void spread(unsigned char byte, uint8_t *output) {
  uint64_t word = ((uint64_t)byte * 0x0101010101010101u) & 0x8040201008040201u;
  word = ((word + 0x7F7F7F7F7F7F7F7Fu) | word) >> 7 & 0x0101010101010101u;
  memcpy(output, &word, 8);
}

size_t cparquet_runs_small(cparquet_runs *runs, size_t count, uint8_t *output) {
  size_t done = 0;
  while (done < count) {
    if (runs->repeated) {
      size_t some = count - done < runs->repeated ? count - done : (size_t)runs->repeated;
      memset(output + done, runs->value > 0xFF ? 0xFF : (int)runs->value, some);
      runs->repeated -= some;
      done += some;
    } else if (runs->packed) {
      size_t some = count - done < runs->packed ? count - done : (size_t)runs->packed;
      size_t i = 0;
      if (runs->width == 1 && runs->bit == 0) {
        for (; i + 8 <= some; i += 8) spread(runs->next[i / 8], output + done + i);
      }
      uint64_t mask = runs->width >= 8 ? 0xFF : (1u << runs->width) - 1;
      for (; i < some; i++) {
        uint64_t bit = runs->bit + (uint64_t)i * runs->width;
        output[done + i] = (uint8_t)(load(runs->next + bit / 8, runs->packed_end) >> (bit % 8) & mask);
      }
      pass(runs, some);
      done += some;
    } else if (!begin_run(runs)) {
      break;
    }
  }
  return done;
}

size_t cparquet_runs_numbers(cparquet_runs *runs, size_t count, uint32_t *output) {
  size_t done = 0;
  while (done < count) {
    if (runs->repeated) {
      size_t some = count - done < runs->repeated ? count - done : (size_t)runs->repeated;
      for (size_t i = 0; i < some; i++) output[done + i] = runs->value;
      runs->repeated -= some;
      done += some;
    } else if (runs->packed) {
      size_t some = count - done < runs->packed ? count - done : (size_t)runs->packed;
      uint64_t mask = runs->width >= 32 ? 0xFFFFFFFFu : (1u << runs->width) - 1;
      size_t left = (size_t)(runs->packed_end - runs->next);
      uint64_t bit = runs->bit;
      size_t i = 0;
      for (; i < some && bit / 8 + 8 <= left; i++, bit += runs->width) {
        uint64_t word;
        memcpy(&word, runs->next + bit / 8, 8);
        output[done + i] = (uint32_t)(word >> (bit % 8) & mask);
      }
      for (; i < some; i++, bit += runs->width) {
        output[done + i] = (uint32_t)(load(runs->next + bit / 8, runs->packed_end) >> (bit % 8) & mask);
      }
      pass(runs, some);
      done += some;
    } else if (!begin_run(runs)) {
      break;
    }
  }
  return done;
}

void cparquet_unpack(const void *bytes, size_t byte_count, size_t bit, uint32_t width, size_t count,
                     uint64_t *output) {
  const unsigned char *start = bytes;
  const unsigned char *end = start ? start + byte_count : NULL;
  uint64_t mask = width >= 64 ? UINT64_MAX : (1ull << width) - 1;
  for (size_t i = 0; i < count; i++, bit += width) {
    uint64_t value = 0;
    if (width > 0 && bit / 8 < byte_count) {
      value = load(start + bit / 8, end) >> (bit % 8);
      // A number of more than 57 bits may reach into a ninth byte.
      if (bit % 8 + width > 64 && byte_count - bit / 8 > 8) {
        value |= (uint64_t)start[bit / 8 + 8] << (64 - bit % 8);
      }
    }
    output[i] = value & mask;
  }
}
