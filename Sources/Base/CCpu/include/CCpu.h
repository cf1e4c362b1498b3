// What this CPU and operating system carry out: the one place that asks, and
// how a function is compiled for each answer.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/// The sets of vector instructions that kernels are written for, in rising order
/// for each kind of CPU.
enum ccpu_level {
  CCPU_PORTABLE = 0,
  CCPU_AVX2 = 1,     // with FMA and F16C
  CCPU_AVXVNNI = 2,  // the int8 products of AVX-VNNI besides, where there are some
  CCPU_AVX512 = 3,   // F, BW, DQ, VL
  CCPU_NEON = 1,     // of every aarch64
  CCPU_DOTPROD = 2,  // with the int8 products of ARMv8.2
};

/// The highest level that can be used.
int ccpu_level(void);

/// Whether there are the int8 products of AVX-512 VNNI, besides that level.
int ccpu_has_vnni(void);

/// Whether there are the int8 products of AVX-VNNI.
int ccpu_has_avxvnni(void);

/// Whether there are the bfloat16 products of AVX-512 BF16, besides that level.
int ccpu_has_bf16(void);

/// Whether there are instructions for SHA-256, with SSE4.1.
int ccpu_has_sha(void);

#ifdef __cplusplus
}
#endif

/// A body that is compiled into each of its callers, for their instructions.
#define CCPU_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define CCPU_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define CCPU_TARGET_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define CCPU_TARGET_VNNI __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define CCPU_TARGET_AVXVNNI __attribute__((target("avx2,fma,f16c,avxvnni")))
#define CCPU_TARGET_BF16 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define CCPU_TARGET_SHA __attribute__((target("sha,sse4.1")))

/// Compiles an inlined body, `name`, for every level.
#define CCPU_COMPILE(result, name, parameters, arguments)                       \
  static result name##_portable parameters { return name arguments; }           \
  CCPU_TARGET_AVX2 static result name##_avx2 parameters { return name arguments; } \
  CCPU_TARGET_AVX512 static result name##_avx512 parameters { return name arguments; }

/// Calls the function of a level: name_portable, name_avx2 or name_avx512.
#define CCPU_CALL(level, name, ...)                          \
  ((level) >= CCPU_AVX512 ? name##_avx512(__VA_ARGS__)       \
   : (level) >= CCPU_AVX2 ? name##_avx2(__VA_ARGS__)         \
                          : name##_portable(__VA_ARGS__))
#else
#define CCPU_TARGET_BF16
#define CCPU_COMPILE(result, name, parameters, arguments) \
  static result name##_portable parameters { return name arguments; }
#define CCPU_CALL(level, name, ...) ((void)(level), name##_portable(__VA_ARGS__))
#endif
