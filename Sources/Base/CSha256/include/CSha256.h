// SHA-256 of many byte strings, two at a time. The CPU's SHA instructions wait
// for each other within one string; two independent strings fill those waits,
// which nearly doubles the bytes per second of a core. A library that hashes
// one string per call cannot do that.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A running SHA-256. All of it belongs to the functions below.
typedef struct {
  uint32_t state[8];
  /// Bytes so far; the last `length % 64` of them are in `block`.
  uint64_t length;
  uint8_t block[64];
} csha256_stream;

/// More bytes for one running SHA-256: both pieces, in order. A piece of no
/// bytes may be null.
typedef struct {
  csha256_stream *stream;
  const uint8_t *pieces[2];
  size_t counts[2];
  /// Where the 32 bytes of the digest go, and then the stream starts anew;
  /// null when more is to come.
  uint8_t *digest;
} csha256_job;

/// How blocks are computed; every path gives the same digests.
enum { csha256_portable = 0, csha256_instructions = 1 };

/// The fastest path this machine runs.
int csha256_best_path(void);

/// Starts a SHA-256 of nothing.
void csha256_start(csha256_stream *stream);

/// Carries out jobs, whose streams must all be different. The order of the
/// jobs does not change a digest; two are under way at any time, so one long
/// job put first runs beside all the others.
void csha256_run(int path, const csha256_job *jobs, size_t count);

#ifdef __cplusplus
}
#endif
