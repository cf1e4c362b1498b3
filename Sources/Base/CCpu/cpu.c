#include "CCpu.h"

#if defined(__x86_64__)
// The compiler's own question looks at what the operating system saves, too, and
// asks the CPU once: in a virtual machine the CPUID instruction takes microseconds.
int ccpu_level(void) {
  __builtin_cpu_init();
  const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? CCPU_AVX512 : avx2 ? CCPU_AVX2 : CCPU_PORTABLE;
}

int ccpu_has_vnni(void) { return ccpu_level() == CCPU_AVX512 && __builtin_cpu_supports("avx512vnni"); }

int ccpu_has_bf16(void) { return ccpu_level() == CCPU_AVX512 && __builtin_cpu_supports("avx512bf16"); }

int ccpu_has_sha(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sha") && __builtin_cpu_supports("sse4.1");
}
#else
int ccpu_level(void) { return CCPU_PORTABLE; }
int ccpu_has_vnni(void) { return 0; }
int ccpu_has_bf16(void) { return 0; }
int ccpu_has_sha(void) { return 0; }
#endif
