// The forms of the int8 cascade, and which one this CPU takes.
#include "cascade.h"

#include "CCpu.h"
#include "CKernels.h"

int ckernels_form_is_available(int form) {
  switch (form) {
    case CKERNELS_PORTABLE: return 1;
#if defined(__x86_64__)
    case CKERNELS_AVX2: return ccpu_level() >= CCPU_AVX2;
#if defined(CASCADE_VNNI_OF_AVX512)
    case CKERNELS_AVXVNNI: return ccpu_has_vnni();
#else
    case CKERNELS_AVXVNNI: return ccpu_has_avxvnni();
#endif
    case CKERNELS_AVX512VNNI: return ccpu_has_vnni();
#elif defined(__aarch64__)
    case CKERNELS_NEON: return ccpu_level() >= CCPU_NEON;
    case CKERNELS_DOTPROD: return ccpu_level() >= CCPU_DOTPROD;
#endif
    default: return 0;
  }
}

int ckernels_fastest_form(int level) {
#if defined(__x86_64__)
  if (level >= CCPU_AVX512 && ccpu_has_vnni()) return CKERNELS_AVX512VNNI;
  if (level >= CCPU_AVXVNNI && ccpu_has_avxvnni()) return CKERNELS_AVXVNNI;
  if (level >= CCPU_AVX2) return CKERNELS_AVX2;
#elif defined(__aarch64__)
  if (level >= CCPU_DOTPROD) return CKERNELS_DOTPROD;
  if (level >= CCPU_NEON) return CKERNELS_NEON;
#endif
  return CKERNELS_PORTABLE;
}

const struct cascade_form *cascade_form_of(int form) {
  switch (form) {
#if defined(__x86_64__)
    case CKERNELS_AVX2: return &cascade_avx2;
    case CKERNELS_AVXVNNI: return &cascade_avxvnni;
    case CKERNELS_AVX512VNNI: return &cascade_avx512vnni;
#elif defined(__aarch64__)
    case CKERNELS_NEON: return &cascade_neon;
    case CKERNELS_DOTPROD: return &cascade_dotprod;
#endif
    default: return &cascade_portable;
  }
}

size_t ckernels_cascade_scratch(const struct ckernels_cascade *k, size_t count) { return k->form->scratch(k, count); }

size_t ckernels_cascade_most_scratch(int form, size_t dimension, size_t count) {
  const struct ckernels_cascade k = {
      .form = cascade_form_of(form), .dimension = dimension, .width = dimension, .padded = (dimension + 7) / 8 * 8,
      .tail_blocks = 1, .whole_width = (dimension + 63) / 64 * 64, .groups = MAXIMUM_GROUPS};
  return k.form->scratch(&k, count);
}

void ckernels_best_cascade(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *guesses, void *scratch,
    uint32_t *winners, double *scores, struct ckernels_counts *counts) {
  k->form->best(level, k, vectors, count, guesses, scratch, winners, scores, counts);
}

size_t ckernels_lists_scratch(const struct ckernels_cascade *k, size_t count, size_t pairs) {
  return k->form->probe_scratch(k, count, pairs);
}

void ckernels_best_in_lists(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, const uint32_t *firsts,
    const uint32_t *lists, const double *floors, void *scratch, uint32_t *winners, double *scores,
    struct ckernels_counts *counts) {
  k->form->best_in_lists(level, k, vectors, count, firsts, lists, floors, scratch, winners, scores, counts);
}

size_t ckernels_rank_scratch(const struct ckernels_cascade *k, size_t count) { return k->form->rank_scratch(k, count); }

void ckernels_rank(
    int level, const struct ckernels_cascade *k, const float *vectors, size_t count, size_t n, void *scratch,
    uint32_t *ranked, struct ckernels_counts *counts) {
  k->form->rank(level, k, vectors, count, n, scratch, ranked, counts);
}

void ckernels_form_range(int form, int tail, int *row_most, int *row_offset, int *vector_most) {
  const struct cascade_form *f = cascade_form_of(form);
  const struct cascade_range range = tail ? f->tail : f->slice;
  *row_most = range.row_most;
  *row_offset = range.row_offset;
  *vector_most = range.vector_most;
}

void ckernels_form_products(
    int form, const uint8_t *rows, const int8_t *vectors, size_t quads, const int32_t *offsets, int32_t *products) {
  cascade_form_of(form)->block(rows, vectors, quads, offsets, products);
}

uint64_t ckernels_cascade_products(const struct ckernels_cascade *k, const int8_t *slices, size_t groups) {
  return k->form->products(k, slices, groups);
}
