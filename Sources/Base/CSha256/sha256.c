// SHA-256 (FIPS 180-4) over one or two strings at once, and the bookkeeping
// that keeps both places filled.

#include "CSha256.h"

#include <string.h>

#include "CCpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// ---- Blocks ----------------------------------------------------------------

static CCPU_INLINE uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static CCPU_INLINE uint32_t big_endian_word(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

// One round. Eight of them, each with the names one further, leave every word
// where it was: nothing is moved.
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                        \
  do {                                                                                                          \
    h += (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + round_constants[i] + w[(i) % 16]; \
    d += h;                                                                                                     \
    h += (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));                            \
  } while (0)

static void compress_portable(uint32_t state[8], const uint8_t *bytes, size_t blocks) {
  for (; blocks > 0; blocks--, bytes += 64) {
    uint32_t w[16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6],
             h = state[7];
    for (int i = 0; i < 16; i++) w[i] = big_endian_word(bytes + 4 * i);
#pragma clang loop unroll(full)
    for (int t = 0; t < 64; t += 16) {
#pragma clang loop unroll(full)
      for (int i = 0; t > 0 && i < 16; i++) {
        const uint32_t first = w[(i + 1) % 16], last = w[(i + 14) % 16];
        w[i] += w[(i + 9) % 16] + (rotate(first, 7) ^ rotate(first, 18) ^ first >> 3) +
                (rotate(last, 17) ^ rotate(last, 19) ^ last >> 10);
      }
#pragma clang loop unroll(full)
      for (int i = t; i < t + 16; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
      }
    }
    const uint32_t added[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += added[i];
  }
}

#if defined(__x86_64__)

/// `blocks` blocks of each of `n` strings; n is a constant wherever this is
/// inlined, so the loops over it vanish and each string has its registers.
CCPU_TARGET_SHA static CCPU_INLINE void compress_sha(int n, uint32_t *const *states, const uint8_t *const *strings, size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i *constants = (const __m128i *)round_constants;
  // The instructions hold the eight words as (A, B, E, F) and (C, D, G, H).
  __m128i abef[2], cdgh[2];
  for (int k = 0; k < n; k++) {
    const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)states[k]), 0xB1);
    const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)states[k] + 1), 0x1B);
    abef[k] = _mm_alignr_epi8(badc, hgfe, 8);
    cdgh[k] = _mm_blend_epi16(hgfe, badc, 0xF0);
  }
  for (size_t block = 0; block < blocks; block++) {
    __m128i words[2][4], abef_before[2], cdgh_before[2];
    for (int k = 0; k < n; k++) {
      abef_before[k] = abef[k];
      cdgh_before[k] = cdgh[k];
    }
#pragma unroll
    for (int i = 0; i < 16; i++) {
#pragma unroll
      for (int k = 0; k < n; k++) {
        __m128i *w = words[k];
        if (i < 4)
          w[i] = _mm_shuffle_epi8(
              _mm_loadu_si128((const __m128i *)(strings[k] + 64 * block) + i), big_endian);
        const __m128i sum = _mm_add_epi32(w[i % 4], constants[i]);
        cdgh[k] = _mm_sha256rnds2_epu32(cdgh[k], abef[k], sum);
        if (i >= 3 && i < 15) {
          const __m128i seventh = _mm_alignr_epi8(w[i % 4], w[(i + 3) % 4], 4);
          w[(i + 1) % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(w[(i + 1) % 4], seventh), w[i % 4]);
        }
        abef[k] = _mm_sha256rnds2_epu32(abef[k], cdgh[k], _mm_shuffle_epi32(sum, 0x0E));
        if (i >= 1 && i < 13) w[(i + 3) % 4] = _mm_sha256msg1_epu32(w[(i + 3) % 4], w[i % 4]);
      }
    }
    for (int k = 0; k < n; k++) {
      abef[k] = _mm_add_epi32(abef[k], abef_before[k]);
      cdgh[k] = _mm_add_epi32(cdgh[k], cdgh_before[k]);
    }
  }
  for (int k = 0; k < n; k++) {
    const __m128i feba = _mm_shuffle_epi32(abef[k], 0x1B), dchg = _mm_shuffle_epi32(cdgh[k], 0xB1);
    _mm_storeu_si128((__m128i *)states[k], _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)states[k] + 1, _mm_alignr_epi8(dchg, feba, 8));
  }
}

CCPU_TARGET_SHA static void compress_one(uint32_t *state, const uint8_t *string, size_t blocks) {
  compress_sha(1, &state, &string, blocks);
}

CCPU_TARGET_SHA static void compress_two(
    uint32_t *const states[2], const uint8_t *const strings[2], size_t blocks) {
  uint32_t *const s[2] = {states[0], states[1]};
  const uint8_t *const b[2] = {strings[0], strings[1]};
  compress_sha(2, s, b, blocks);
}
#endif

int csha256_best_path(void) { return ccpu_has_sha() ? csha256_instructions : csha256_portable; }

// ---- Streams and jobs ------------------------------------------------------

void csha256_start(csha256_stream *stream) {
  static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(stream->state, initial, sizeof initial);
  stream->length = 0;
}

/// One of the two jobs under way, cut into runs of whole blocks.
typedef struct {
  csha256_job job;
  enum { PIECES, LENGTH_LEFT, ALL_RUN, IDLE } phase;
  const uint8_t *run;
  size_t blocks;
} place;

static void store_big_endian(uint8_t *to, uint64_t value, int count) {
  for (int i = 0; i < count; i++) to[i] = (uint8_t)(value >> 8 * (count - 1 - i));
}

/// Fills the rest of the block: with the next bytes or with the padding.
/// Sets `run` to the next whole blocks; returns 0 when there are none left.
static int next_run(place *p) {
  csha256_stream *s = p->job.stream;
  if (p->phase == PIECES) {
    for (int i = 0; i < 2; i++) {
      while (p->job.counts[i] > 0) {
        const size_t used = s->length % 64, left = p->job.counts[i];
        const size_t taken = used == 0 && left >= 64 ? left & ~(size_t)63 : left < 64 - used ? left : 64 - used;
        const uint8_t *bytes = p->job.pieces[i];
        p->job.pieces[i] += taken;
        p->job.counts[i] -= taken;
        s->length += taken;
        if (taken >= 64) {
          p->run = bytes;
          p->blocks = taken / 64;
          return 1;
        }
        memcpy(s->block + used, bytes, taken);
        if (used + taken == 64) {
          p->run = s->block;
          p->blocks = 1;
          return 1;
        }
      }
    }
    if (!p->job.digest) return 0;
    const size_t used = s->length % 64;
    s->block[used] = 0x80;
    memset(s->block + used + 1, 0, 63 - used);
    p->phase = used < 56 ? ALL_RUN : LENGTH_LEFT;
  } else if (p->phase == LENGTH_LEFT) {
    memset(s->block, 0, 56);
    p->phase = ALL_RUN;
  } else {
    for (int i = 0; i < 8; i++) store_big_endian(p->job.digest + 4 * i, s->state[i], 4);
    csha256_start(s);
    return 0;
  }
  if (p->phase == ALL_RUN) store_big_endian(s->block + 56, 8 * s->length, 8);
  p->run = s->block;
  p->blocks = 1;
  return 1;
}

void csha256_run(int path, const csha256_job *jobs, size_t count) {
  place places[2] = {{.phase = IDLE}, {.phase = IDLE}};
  size_t next = 0;
  for (;;) {
    for (int k = 0; k < 2; k++) {
      place *p = &places[k];
      while (p->blocks == 0 && (p->phase == IDLE || !next_run(p))) {
        p->phase = IDLE;
        if (next == count) break;
        p->job = jobs[next++];
        p->phase = PIECES;
      }
    }
    place *a = &places[0], *b = &places[1];
    if (a->blocks == 0 && b->blocks == 0) return;
    size_t blocks = a->blocks == 0 || (b->blocks > 0 && b->blocks < a->blocks) ? b->blocks : a->blocks;
    place *const busy[2] = {a->blocks > 0 ? a : b, a->blocks > 0 && b->blocks > 0 ? b : NULL};
#if !defined(__x86_64__)
    (void)path;
#else
    if (path == csha256_instructions) {
      if (busy[1]) {
        uint32_t *const states[2] = {a->job.stream->state, b->job.stream->state};
        const uint8_t *const strings[2] = {a->run, b->run};
        compress_two(states, strings, blocks);
      } else {
        compress_one(busy[0]->job.stream->state, busy[0]->run, blocks);
      }
    } else
#endif
      for (int k = 0; k < 2 && busy[k]; k++) compress_portable(busy[k]->job.stream->state, busy[k]->run, blocks);
    for (int k = 0; k < 2 && busy[k]; k++) {
      busy[k]->run += 64 * blocks;
      busy[k]->blocks -= blocks;
    }
  }
}
