/* bench_decode.c - speed of generation compared with memory bandwidth.
 *
 *   bench_decode THREADS [MODEL.lvlm IN.safetensors [TOKENS]]
 *
 * "read" adds up numbers in memory, each thread at eight places at once: the ceiling.
 * "rows" are products with a matrix that no cache holds: the speed of one row, and how
 * much longer a few take. Best of several runs. For a model: bytes of weights that a
 * token reads, times tokens per second; by wall-clock time and, for machines that do
 * other work too, by processor time with one thread; and how long a few proposed tokens
 * take. Compiled with -DLVLM_REAL_BITS=32. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/container/numeric.h"
#include "runtime/generate/generate.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/vmath.h"

enum {
    REPEATS = 60,
    ROW_BYTES = 96 << 20, /* of a matrix; above what most caches hold */
    READ_REPEATS = 12,
    READ_BYTES = 1 << 30, /* far above what any cache holds */
};

static void *array(size_t n, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n * bytes) != 0) abort();
    memset(p, 0x3c, n * bytes); /* about 0.01 in every dtype */
    return p;
}

static double best_of(double best, double start)
{
    const double seconds = omp_get_wtime() - start;
    return best == 0 || seconds < best ? seconds : best;
}

/* At PLACES places, two cache lines of each in turn. */
LVLM_SIMD_CLONES static uint64_t sum(const uint64_t *x, size_t n)
{
    enum { PLACES = 8, LINE = 8 };
    const size_t q = n / PLACES;
    uint64_t sums[LINE] = { 0 }, total = 0;
    for (size_t i = 0; i + 2 * LINE <= q; i += 2 * LINE)
        for (size_t k = 0; k < PLACES; k++)
            for (size_t j = 0; j < LINE; j++)
                sums[j] += x[k * q + i + j] + x[k * q + i + LINE + j];
    for (size_t j = 0; j < LINE; j++) total += sums[j];
    return total;
}

/* Bytes per second. */
static double read_speed(size_t n_threads)
{
    const size_t n = READ_BYTES / sizeof(uint64_t), piece = n / n_threads;
    uint64_t *const x = array(n, sizeof *x);
    uint64_t total = 0;
    double best = 0;
    for (int r = 0; r < READ_REPEATS; r++) {
        const double start = omp_get_wtime();
#pragma omp parallel for num_threads((int)n_threads) reduction(+ : total)
        for (size_t t = 0; t < n_threads; t++) total += sum(x + t * piece, piece);
        best = best_of(best, start);
    }
    if (total == 1) printf("\n"); /* used */
    free(x);
    return (double)(piece * n_threads * sizeof *x) / best;
}

static void bench_rows(size_t I, lvlm_dtype dtype, size_t n_threads, double ceiling)
{
    static const size_t few[] = { 1, 2, 4, 8 };
    const size_t O = ROW_BYTES / lvlm_dtype_bytes(dtype) / I, most = LINEAR_ALIKE;
    const size_t numel = linear_scratch(I, O, n_threads);
    real *const x = array(most * I, sizeof *x), *const y = array(most * O, sizeof *y);
    void *const w = array(O * I, lvlm_dtype_bytes(dtype));
    const ops_scratch scratch = { array(numel, sizeof *x), numel, n_threads };
    double best[sizeof few / sizeof *few] = { 0 };
    for (int r = 0; r < REPEATS; r++)
        for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
            const double start = omp_get_wtime();
            linear_forward(y, x, (lvlm_stored){ w, dtype }, NULL, few[i], I, O,
                           &scratch);
            best[i] = best_of(best[i], start);
        }
    const double speed = (double)(O * I * lvlm_dtype_bytes(dtype)) / best[0];
    printf("rows (%zu,%zu) %-4s  %5.1f GB/s, %3.0f %% of read;", O, I,
           lvlm_dtype_name(dtype), 1e-9 * speed, 100 * speed / ceiling);
    for (size_t i = 1; i < sizeof few / sizeof *few; i++)
        printf(" %zu rows in %.2f", few[i], best[i] / best[0]);
    printf(" of the time\n");
    free(x), free(y), free(w), free(scratch.data);
}

/* Bytes of weights that one more token reads: those of the language model without keys
 * and values of cross-attention, and one row of the embedding, unless that is also the
 * head. */
static double bytes_a_token(const lvlm_manifest *m)
{
    const lvlm_target *const head = lvlm_manifest_find(m, "text.head.weight");
    const bool tied = head != NULL && head->state == LVLM_TARGET_TIED;
    double bytes = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        if (strncmp(t->name, "text.", 5) != 0 || t->state == LVLM_TARGET_TIED ||
            t->here.tensor == NULL || strstr(t->name, ".cross.k.") != NULL ||
            strstr(t->name, ".cross.v.") != NULL ||
            (!tied && strcmp(t->name, "text.embed.weight") == 0))
            continue;
        bytes += (double)t->here.tensor->n_bytes;
    }
    return bytes;
}

typedef struct timing {
    double last, best, first;
    clock_t used; /* at the first token */
    size_t n;
} timing;

static int take(void *user, int64_t id, lvlm_error *err)
{
    timing *const t = user;
    (void)id, (void)err;
    if (t->n++ == 0)
        t->first = omp_get_wtime(), t->used = clock();
    else
        t->best = best_of(t->best, t->last);
    t->last = omp_get_wtime();
    return 0;
}

static void print_speed(const char *what, double seconds, double gb, double ceiling)
{
    printf("%-9s %7.1f ms a token, %5.2f tokens/s, %5.1f GB/s, %3.0f %% of read\n",
           what, 1e3 * seconds, 1 / seconds, gb / seconds,
           1e11 * gb / seconds / ceiling);
}

/* Passes over several tokens of one text, which are taken back. */
static int bench_proposals(lvlm_session *session, double one, lvlm_error *err)
{
    static const int64_t ids[LVLM_STEP_TOKENS];
    for (size_t n = 1; n <= 8; n *= 2) {
        const lvlm_continuation step = { session, ids, n };
        double best = 0;
        for (int r = 0; r < 5; r++) {
            const double start = omp_get_wtime();
            TRY(lvlm_sessions_step(&step, 1, err));
            best = best_of(best, start);
            lvlm_session_keep(session, 1);
        }
        printf("%zu proposed %7.1f ms, %.2f of one token\n", n, 1e3 * best, best / one);
    }
    return 0;
}

static int bench_model(const char *path, const char *inputs_path, size_t n_tokens,
                       size_t n_threads, double ceiling, lvlm_error *err)
{
    const lvlm_model_options options = { .threads = n_threads };
    const lvlm_generation settings = { .sampling = { .top_p = 1, .penalty = 1 },
                                       .max_new_tokens = n_tokens };
    lvlm_checkpoint *inputs = NULL;
    lvlm_model *model = NULL;
    lvlm_session *session = NULL;
    lvlm_generated made;
    timing t = { 0 };
    const lvlm_token_sink sink = { take, &t };
    size_t n_prompt = 0;
    int rc;
    if ((rc = lvlm_model_open(&model, path, &options, err)) < 0 ||
        (rc = lvlm_checkpoint_open(&inputs, inputs_path, NULL, err)) < 0)
        goto done;
    const double start = omp_get_wtime();
    if ((rc = lvlm_session_begin(&session, model, inputs, "", NULL, err)) < 0)
        goto done;
    (void)lvlm_session_tokens(session, &n_prompt);
    const double read = omp_get_wtime() - start;
    if ((rc = lvlm_generate(&made, session, &settings, &sink, err)) < 0) goto done;
    const double steps = (double)(t.n - 1);
    const double used = (double)(clock() - t.used) / CLOCKS_PER_SEC;
    const double gb = 1e-9 * bytes_a_token(lvlm_model_manifest(model));
    printf("%zu tokens read in %.2f s; %.3f GB of weights for each new one\n", n_prompt,
           read, gb);
    print_speed("best", t.best, gb, ceiling);
    print_speed("mean", (t.last - t.first) / steps, gb, ceiling);
    print_speed("processor", used / steps / (double)n_threads, gb, ceiling);
    rc = bench_proposals(session, t.best, err);
done:
    lvlm_session_end(session);
    lvlm_model_free(model);
    lvlm_checkpoint_close(inputs);
    return rc;
}

int main(int argc, char **argv)
{
    const long asked = argc > 1 ? strtol(argv[1], NULL, 10) : 2;
    const long tokens = argc > 4 ? strtol(argv[4], NULL, 10) : 32;
    const size_t n_threads = asked >= 1 && asked <= 64 ? (size_t)asked : 2;
    lvlm_error err;
    ops_threads(n_threads);
    const double ceiling = read_speed(n_threads);
    printf("%zu threads: read %.1f GB/s\n", n_threads, 1e-9 * ceiling);
    bench_rows(1536, LVLM_BF16, n_threads, ceiling);
    bench_rows(4096, LVLM_BF16, n_threads, ceiling);
    bench_rows(8960, LVLM_BF16, n_threads, ceiling);
    bench_rows(4096, LVLM_F16, n_threads, ceiling);
    bench_rows(4096, LVLM_F32, n_threads, ceiling);
    if (argc < 4) return 0;
    if (bench_model(argv[2], argv[3], tokens >= 2 ? (size_t)tokens : 2, n_threads,
                    ceiling, &err) == 0)
        return 0;
    fprintf(stderr, "bench_decode: %s\n", err.text);
    return 1;
}
