#include "CCpu.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
// The compiler's own question looks at what the operating system saves, too, and
// asks the CPU once: in a virtual machine the CPUID instruction takes microseconds.
int ccpu_level(void) {
  __builtin_cpu_init();
  const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512) return CCPU_AVX512;
  return !avx2 ? CCPU_PORTABLE : __builtin_cpu_supports("avxvnni") ? CCPU_AVXVNNI : CCPU_AVX2;
}

int ccpu_has_avxvnni(void) { return ccpu_level() >= CCPU_AVX2 && __builtin_cpu_supports("avxvnni"); }

int ccpu_has_vnni(void) { return ccpu_level() == CCPU_AVX512 && __builtin_cpu_supports("avx512vnni"); }

int ccpu_has_bf16(void) { return ccpu_level() == CCPU_AVX512 && __builtin_cpu_supports("avx512bf16"); }

int ccpu_has_sha(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sha") && __builtin_cpu_supports("sse4.1");
}
#else
#if defined(__aarch64__) && defined(__linux__)
int ccpu_level(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? CCPU_DOTPROD : CCPU_NEON; }
#elif defined(__aarch64__)
int ccpu_level(void) { return CCPU_NEON; }
#else
int ccpu_level(void) { return CCPU_PORTABLE; }
#endif
int ccpu_has_vnni(void) { return 0; }
int ccpu_has_avxvnni(void) { return 0; }
int ccpu_has_bf16(void) { return 0; }
int ccpu_has_sha(void) { return 0; }
#endif
