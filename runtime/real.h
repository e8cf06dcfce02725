/* real.h - the floating-point type that a source is compiled for.
 *
 * The sources in ops, block, vision, connector, text and model are compiled twice, with
 * -DLVLM_REAL_BITS=32 and with -DLVLM_REAL_BITS=64. `real` is float or double; the libm
 * and CBLAS names below follow it. The objects of each precision are joined to one in
 * which every name but that of the engine (model/engine.h) is local, so that both link
 * into one program. */
#ifndef LVLM_RUNTIME_REAL_H
#define LVLM_RUNTIME_REAL_H

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#undef I /* complex.h's, brought in by cblas.h: here I is a number of features */

#if !defined LVLM_REAL_BITS
#error "compile with -DLVLM_REAL_BITS=32 or -DLVLM_REAL_BITS=64"
#elif LVLM_REAL_BITS == 32
typedef float real;
#define LVLM_REAL_DTYPE LVLM_F32 /* the stored dtype that needs no widening */
#define LVLM_REAL_ENGINE lvlm_engine_f32
#define REAL_EPSILON FLT_EPSILON
#define real_exp expf
#define real_tanh tanhf
#define real_sqrt sqrtf
#define real_gemm cblas_sgemm
#define real_gemv cblas_sgemv
#elif LVLM_REAL_BITS == 64
typedef double real;
#define LVLM_REAL_DTYPE LVLM_F64
#define LVLM_REAL_ENGINE lvlm_engine_f64
#define REAL_EPSILON DBL_EPSILON
#define real_exp exp
#define real_tanh tanh
#define real_sqrt sqrt
#define real_gemm cblas_dgemm
#define real_gemv cblas_dgemv
#else
#error "LVLM_REAL_BITS is 32 or 64"
#endif

#endif
