/* bench_ops.c - speed of the ops at PaliGemma's sizes, compared with OpenBLAS.
 *
 *   bench_ops [threads]
 *
 * "kernel" is a kernel whose operands are in the caches: the ceiling. "sgemm" is one
 * cblas_sgemm with OpenBLAS' own threads on f32 weights.
 * Each time is the best of several runs. Compiled with -DLVLM_REAL_BITS=32. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/kernel/multiply.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/norm.h"

#define REPEATS 9

static void *array(size_t n, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n * bytes) != 0) abort();
    return p;
}

static real *random_reals(size_t n)
{
    real *x = array(n, sizeof *x);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (real)(state >> 8) / (real)(1 << 24) - (real)0.5;
    }
    return x;
}

static ops_scratch scratch_of(size_t numel, size_t n_threads)
{
    return (ops_scratch){ array(numel + 1, sizeof(real)), numel, n_threads };
}

static double best_of(double best, double start)
{
    const double seconds = omp_get_wtime() - start;
    return best == 0 || seconds < best ? seconds : best;
}

static double time_sgemm(size_t N, size_t I, size_t O, size_t n_threads, real *y,
                         const real *x, const real *w)
{
    double best = 0;
    openblas_set_num_threads((int)n_threads);
    for (int r = 0; r < REPEATS; r++) {
        const double start = omp_get_wtime();
        real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)N, (int)O, (int)I, 1, x,
                  (int)I, w, (int)I, 0, y, (int)O);
        best = best_of(best, start);
    }
    openblas_set_num_threads(1);
    return best;
}

static double time_linear(size_t N, size_t I, size_t O, real *y, const real *x,
                          lvlm_stored w, const ops_scratch *scratch)
{
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        const double start = omp_get_wtime();
        linear_forward(y, x, w, NULL, N, I, O, scratch);
        best = best_of(best, start);
    }
    return best;
}

static double time_backward(size_t N, size_t I, size_t O, real *dx, real *dw,
                            const real *dy, const real *x, lvlm_stored w,
                            const ops_scratch *scratch)
{
    double best = 0;
    for (int r = 0; r < REPEATS / 2; r++) {
        const double start = omp_get_wtime();
        linear_backward(dx, dw, NULL, dy, x, w, N, I, O, scratch);
        best = best_of(best, start);
    }
    return best;
}

static void bench_linear(size_t N, size_t I, size_t O, size_t n_threads)
{
    const double flop = 2e-9 * (double)N * (double)I * (double)O;
    real *x = random_reals(N * I), *w = random_reals(O * I), *y = random_reals(N * O);
    real *dw = random_reals(O * I);
    uint16_t *w_bf16 = array(O * I, sizeof *w_bf16);
    uint16_t *w_f16 = array(O * I, sizeof *w_f16);
    ops_scratch scratch = scratch_of(linear_scratch(I, O, n_threads), n_threads);
    lvlm_convert_values(w_bf16, LVLM_BF16, w, LVLM_REAL_DTYPE, O * I);
    lvlm_convert_values(w_f16, LVLM_F16, w, LVLM_REAL_DTYPE, O * I);
    const lvlm_stored bf16 = { w_bf16, LVLM_BF16 }, f16 = { w_f16, LVLM_F16 };
    const lvlm_stored plain = { w, LVLM_REAL_DTYPE };
    double blas = time_sgemm(N, I, O, n_threads, y, x, w);
    const double t_bf16 = time_linear(N, I, O, y, x, bf16, &scratch);
    const double t_f16 = time_linear(N, I, O, y, x, f16, &scratch);
    const double t_plain = time_linear(N, I, O, y, x, plain, &scratch);
    const double t_again = time_sgemm(N, I, O, n_threads, y, x, w);
    blas = blas < t_again ? blas : t_again;
    printf("linear (%zu,%zu) x (%zu,%zu): sgemm %.1f GFLOP/s, bf16 %.1f (%.0f %%), "
           "f16 %.1f (%.0f %%), f32 %.1f (%.0f %%)\n",
           N, I, O, I, flop / blas, flop / t_bf16, 100 * blas / t_bf16, flop / t_f16,
           100 * blas / t_f16, flop / t_plain, 100 * blas / t_plain);
    const double t_dx = time_backward(N, I, O, x, NULL, y, NULL, bf16, &scratch);
    const double t_dw = time_backward(N, I, O, NULL, dw, y, x, bf16, &scratch);
    printf("  backward: dx bf16 %.1f GFLOP/s (%.0f %%), dw %.1f (%.0f %%)\n",
           flop / t_dx, 100 * blas / t_dx, flop / t_dw, 100 * blas / t_dw);
    free(x), free(w), free(y), free(dw), free(w_bf16), free(w_f16), free(scratch.data);
}

/* One row: limited by memory, so in bytes of stored weight per second. */
static void bench_row(size_t N, size_t I, size_t O, size_t n_threads)
{
    real *x = random_reals(N * I), *w = random_reals(O * I), *y = random_reals(N * O);
    uint16_t *w_bf16 = array(O * I, sizeof *w_bf16);
    ops_scratch scratch = scratch_of(linear_scratch(I, O, n_threads), n_threads);
    lvlm_convert_values(w_bf16, LVLM_BF16, w, LVLM_REAL_DTYPE, O * I);
    const double t_bf16 =
        time_linear(N, I, O, y, x, (lvlm_stored){ w_bf16, LVLM_BF16 }, &scratch);
    const double t_f32 =
        time_linear(N, I, O, y, x, (lvlm_stored){ w, LVLM_REAL_DTYPE }, &scratch);
    const double gb = 1e-9 * (double)I * (double)O;
    printf("linear (%zu,%zu) x (%zu,%zu): bf16 %.2f ms, %.1f GB/s, f32 %.2f ms, "
           "%.1f GB/s\n",
           N, I, O, I, 1e3 * t_bf16, 2 * gb / t_bf16, 1e3 * t_f32, 4 * gb / t_f32);
    free(x), free(w), free(y), free(w_bf16), free(scratch.data);
}

/* `deviation` is that of the scores from their mean. It is small for random weights; in
 * a trained model some scores are far below the largest, and their exp is nearly 0. */
static void bench_attention(size_t T, size_t heads, size_t kv_heads, size_t D,
                            double deviation, real softcap, size_t n_threads)
{
    const real scale = (real)(deviation * 12 / sqrt((double)D)); /* of +-0.5 each */
    real *q = random_reals(T * heads * D), *k = random_reals(T * kv_heads * D);
    real *v = random_reals(T * kv_heads * D), *out = random_reals(T * heads * D);
    real *dq = random_reals(T * heads * D), *dk = random_reals(T * kv_heads * D);
    real *dv = random_reals(T * kv_heads * D);
    size_t *lo = array(T, sizeof *lo), *hi = array(T, sizeof *hi);
    for (size_t t = 0; t < T; t++) lo[t] = 0, hi[t] = T;
    const attention_dims dims = { T, T, heads, kv_heads, D, scale, softcap, lo, hi };
    ops_scratch scratch = scratch_of(attention_scratch(&dims, n_threads), n_threads);
    double forward = 0, backward = 0;
    for (int r = 0; r < REPEATS; r++) {
        double start = omp_get_wtime();
        attention_forward(out, q, k, v, &dims, &scratch);
        forward = best_of(forward, start);
        start = omp_get_wtime();
        attention_backward(dq, dk, dv, out, q, k, v, &dims, &scratch);
        backward = best_of(backward, start);
    }
    const double flop = 4e-9 * (double)T * (double)T * (double)heads * (double)D;
    printf("attention T %zu, %zu/%zu heads of %zu, deviation %g, cap %g: "
           "forward %.2f ms (%.1f GFLOP/s), backward %.2f ms (%.1f GFLOP/s)\n",
           T, heads, kv_heads, D, deviation, (double)softcap, 1e3 * forward,
           flop / forward, 1e3 * backward, 3.5 * flop / backward);
    free(q), free(k), free(v), free(out), free(dq), free(dk), free(dv), free(lo);
    free(hi), free(scratch.data);
}

static void bench_elementwise(size_t N, size_t C, size_t n_threads)
{
    real *x = random_reals(N * C), *y = random_reals(N * C), *w = random_reals(C);
    double loss = 0, gelu = 0, gated = 0, norm = 0, entropy = 0;
    ops_scratch scratch = scratch_of(norm_scratch(N), n_threads);
    const lvlm_activation act = LVLM_ACTIVATION_GELU_TANH;
    for (int r = 0; r < REPEATS; r++) {
        const int64_t target = 0;
        double start = omp_get_wtime();
        activation_forward(y, x, NULL, act, N * C);
        gelu = best_of(gelu, start), start = omp_get_wtime();
        activation_forward(y, x, y, act, N * C);
        gated = best_of(gated, start), start = omp_get_wtime();
        rmsnorm_forward(y, x, w, 1, (real)1e-6, N, C);
        norm = best_of(norm, start), start = omp_get_wtime();
        cross_entropy_forward(&loss, x, &target, 1, N * C);
        entropy = best_of(entropy, start);
    }
    const double n = 1e-9 * (double)(N * C);
    printf("elementwise (%zu,%zu), G elements/s: gelu %.2f, gated %.2f, rmsnorm %.2f, "
           "cross entropy (one row, one thread) %.2f\n",
           N, C, n / gelu, n / gated, n / norm, n / entropy);
    free(x), free(y), free(w), free(scratch.data);
}

/* Values of about 0.01 in each dtype. */
static char *operand(size_t n_bytes)
{
    char *const x = array(n_bytes, 1);
    memset(x, 0x3c, n_bytes);
    return x;
}

/* A block of a kernel whose operands stay in the first two caches, on each thread: the
 * most that products can reach. */
static void bench_kernel(const char *kind, const lvlm_kernel *kernel, bool is_float,
                         size_t n_threads)
{
    enum { TIMES = 4096, VALUES = 256 };
    if (kernel == NULL) return;
    const size_t bytes = is_float ? sizeof(float) : sizeof(uint16_t);
    const size_t rows = kernel->rows, columns = kernel->panels * LVLM_PANEL;
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        const double start = omp_get_wtime();
#pragma omp parallel num_threads((int)n_threads)
        {
            char *const left = operand(rows * VALUES * bytes);
            char *const right = operand(columns * VALUES * bytes);
            float *const sums = array(rows * columns, sizeof *sums);
            const size_t panel = LVLM_PANEL * VALUES * bytes;
            const lvlm_block b = {
                .left = { left, VALUES * bytes, LVLM_STEP * bytes, 0, bytes, 1,
                          is_float },
                .right = { right, panel, panel * LVLM_STEP / VALUES, 1 },
                .n_values = VALUES,
                .n_panels = kernel->panels,
                .levels = 1,
            };
            if (kernel->begin != NULL) kernel->begin();
            for (size_t i = 0; i < TIMES; i++) kernel->multiply(sums, &b);
            if (kernel->end != NULL) kernel->end();
            free(left), free(right), free(sums);
        }
        best = best_of(best, start);
    }
    printf("kernel %s: %.1f GFLOP/s\n", kind,
           2e-9 * (double)(rows * columns * VALUES * TIMES * n_threads) / best);
}

/* How much of the time of 4, 16 and 64 threads is work, if each task takes as long. */
static void predict(size_t rows, size_t I, size_t O)
{
    const lvlm_product p = { .left = { NULL, LVLM_BF16, I, false },
                             .right = { NULL, LVLM_F32, I, false },
                             .M = O,
                             .N = rows,
                             .K = I,
                             .levels = LVLM_MOST_TERMS,
                             .stretch = 4096 };
    if (lvlm_unit_chosen()->floats == NULL) return;
    printf("tasks %4zu x %5zu -> %6zu:", rows, I, O);
    for (size_t threads = 4; threads <= 64; threads *= 4) {
        const size_t n = lvlm_product_tasks(&p, lvlm_unit_chosen(), threads);
        const size_t rounds = (n + threads - 1) / threads;
        printf("  %zu threads %zu (%.2f)", threads, n,
               (double)n / (double)(rounds * threads));
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    const long asked = argc > 1 ? strtol(argv[1], NULL, 10) : 2;
    const size_t n_threads = asked >= 1 && asked <= 64 ? (size_t)asked : 2;
    ops_threads(n_threads);
    printf("OpenBLAS kernels: %s, %zu threads\n", openblas_get_corename(), n_threads);
    bench_kernel("bf16", lvlm_unit_chosen()->terms, false, n_threads);
    bench_kernel("f32", lvlm_unit_chosen()->floats, true, n_threads);
    bench_linear(288, 2048, 16384, n_threads);
    bench_linear(256, 1152, 4304, n_threads);
    bench_linear(288, 16384, 2048, n_threads);
    bench_linear(1024, 1152, 1152, n_threads);
    bench_row(1, 2048, 16384, n_threads);
    bench_row(4, 2048, 16384, n_threads);
    bench_row(8, 2048, 16384, n_threads);
    bench_attention(256, 16, 16, 72, 0.1, 0, n_threads);
    bench_attention(1024, 16, 16, 72, 0.1, 0, n_threads);
    bench_attention(288, 8, 1, 256, 0.1, 0, n_threads);
    bench_attention(288, 8, 4, 256, 0.1, 50, n_threads);
    for (double deviation = 3; deviation < 300; deviation *= 4)
        bench_attention(512, 4, 4, 64, deviation, 0, n_threads);
    bench_elementwise(288, 16384, n_threads);
    predict(288, 2048, 2048), predict(288, 2048, 256), predict(288, 2048, 16384);
    predict(288, 16384, 2048), predict(288, 2048, 257216);
    predict(256, 1152, 1152), predict(256, 1152, 4304), predict(256, 4304, 1152);
    return 0;
}
