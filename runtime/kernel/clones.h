/* clones.h - loops that are compiled for several instruction sets, and prefetching. */
#ifndef LVLM_RUNTIME_KERNEL_CLONES_H
#define LVLM_RUNTIME_KERNEL_CLONES_H

/* Static functions with this macro are compiled for several instruction sets; the best
 * is chosen when the program starts, before sanitizers are initialised. Products and
 * sums are never fused in any of them, but in gemv.c (CMakeLists.txt). */
#define LVLM_SIMD_CLONES
#if defined __has_attribute && defined __x86_64__ && !defined LVLM_SANITIZED
#if __has_attribute(target_clones)
#undef LVLM_SIMD_CLONES
#define LVLM_SIMD_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#endif

/* Prefetch memory, and the number of bytes that one call fetches. */
#define LVLM_CACHE_LINE 64
#if defined __GNUC__
#define LVLM_PREFETCH(address) __builtin_prefetch(address)
#else
#define LVLM_PREFETCH(address) ((void)(address))
#endif

#endif
