/* test_denormals_f32.c - the tests of test_denormals.c in float. */
#undef LVLM_REAL_BITS
#define LVLM_REAL_BITS 32

#include "tests/runtime/ops/test_denormals.c"
