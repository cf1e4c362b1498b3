// LZ4 blocks. The packer is greedy and takes the last place of a hash: what it writes
// follows from its input alone, so that a pack has the same bytes everywhere, which no
// compression library promises of its versions.
#include <string.h>

#include "CUnpack.h"

enum { HASH_BITS = 13, LEAST_MATCH = 4, LAST_LITERALS = 5, MATCH_LIMIT = 12, FARTHEST = 65535 };

static uint32_t word_at(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

size_t cunpack_bound(size_t count) { return count + count / 255 + 16; }

static uint8_t *put_length(uint8_t *next, size_t length) {
  for (; length >= 255; length -= 255) *next++ = 255;
  *next++ = (uint8_t)length;
  return next;
}

// Literals, and a match behind them where `match` is not 0.
static uint8_t *put_sequence(uint8_t *next, const uint8_t *literals, size_t count, size_t match, size_t offset) {
  size_t extra = match ? match - LEAST_MATCH : 0;
  *next++ = (uint8_t)((count < 15 ? count : 15) << 4 | (extra < 15 ? extra : 15));
  if (count >= 15) next = put_length(next, count - 15);
  if (count > 0) memcpy(next, literals, count);
  next += count;
  if (!match) return next;
  *next++ = (uint8_t)offset;
  *next++ = (uint8_t)(offset >> 8);
  return extra >= 15 ? put_length(next, extra - 15) : next;
}

size_t cunpack_pack(const uint8_t *input, size_t count, uint8_t *output) {
  // Places are counted from 1: 0 is none.
  uint32_t places[1 << HASH_BITS];
  memset(places, 0, sizeof places);
  uint8_t *next = output;
  size_t start = 0;
  for (size_t at = 0; at + MATCH_LIMIT <= count;) {
    uint32_t word = word_at(input + at);
    uint32_t *place = &places[word * 2654435761u >> (32 - HASH_BITS)];
    size_t found = *place;
    *place = (uint32_t)at + 1;
    if (found == 0 || at - (found - 1) > FARTHEST || word_at(input + found - 1) != word) {
      at++;
      continue;
    }
    size_t from = found - 1, length = LEAST_MATCH;
    while (at + length < count - LAST_LITERALS && input[from + length] == input[at + length]) length++;
    next = put_sequence(next, input + start, at - start, length, at - from);
    at += length;
    start = at;
  }
  next = put_sequence(next, input + start, count - start, 0, 0);
  return (size_t)(next - output);
}

// A length that goes on in further bytes; 0 where they end.
static int more_length(const uint8_t **next, const uint8_t *end, size_t *length) {
  uint8_t byte;
  do {
    if (*next == end) return 0;
    byte = *(*next)++;
    *length += byte;
  } while (byte == 255);
  return 1;
}

int cunpack_unpack(const uint8_t *input, size_t count, uint8_t *output, size_t output_count) {
  const uint8_t *next = input, *end = input + count;
  size_t done = 0;
  while (next < end) {
    uint8_t token = *next++;
    size_t literals = token >> 4, match = token & 15;
    if (literals == 15 && !more_length(&next, end, &literals)) return -1;
    if (literals > (size_t)(end - next) || literals > output_count - done) return -1;
    if (literals > 0) memcpy(output + done, next, literals);
    next += literals;
    done += literals;
    if (next == end) return done == output_count ? 0 : -1;
    if (end - next < 2) return -1;
    size_t offset = (size_t)next[0] | (size_t)next[1] << 8;
    next += 2;
    if (match == 15 && !more_length(&next, end, &match)) return -1;
    match += LEAST_MATCH;
    if (offset == 0 || offset > done || match > output_count - done) return -1;
    for (size_t i = 0; i < match; i++, done++) output[done] = output[done - offset];
  }
  return -1;
}
