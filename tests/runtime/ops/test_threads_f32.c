/* test_threads_f32.c - test_threads.c for the float build. */
#undef LVLM_REAL_BITS
#define LVLM_REAL_BITS 32

#include "tests/runtime/ops/test_threads.c"
