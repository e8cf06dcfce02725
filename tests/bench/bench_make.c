/* bench_make.c - checkpoints of any size with random weights, and inputs for them.
 *
 *   bench_make checkpoint DIR
 *   bench_make inputs DIR OUT.safetensors SIDE TOKENS [TEXTS]
 *   bench_make work DIR SIDE TOKENS [TEXTS]
 *
 * DIR has a config.json; the first writes DIR/model.safetensors with every tensor that
 * the family's table names: matrices near 0.02, norms 1 (0 where one is added), other
 * vectors 0.01, in bf16. The numbers repeat every few million, from another place for
 * each tensor. The second writes TEXTS (1) texts of an image, SIDE x SIDE patches where
 * the family leaves that open, and TOKENS words, of which the last half have labels.
 * SIDE 0: no image. The third prints the floating-point operations of the linear maps
 * in a forward pass over such inputs; attention is not counted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/outfile.h"
#include "formats/base/random.h"
#include "formats/checkpoint/manifest.h"
#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "formats/family/page.h"

enum { N_DRAWS = 1 << 22, SEED = 3 };

static int open_model(lvlm_checkpoint **cp, lvlm_manifest *m, const char *dir,
                      lvlm_error *err)
{
    TRY(lvlm_checkpoint_open(cp, dir, &(lvlm_open_options){ .headers_only = true },
                             err));
    return lvlm_manifest_build(m, *cp, err);
}

/* The tables' own shapes, which fit. */
static uint64_t numel(const lvlm_shape *shape)
{
    uint64_t n = 0;
    if (!lvlm_shape_numel(&n, shape)) abort();
    return n;
}

/* ---- weights --------------------------------------------------------------------- */

/* An empty file, so that the folder opens as a checkpoint that lacks everything. */
static int write_empty(const char *path, lvlm_error *err)
{
    static const char empty[] = "\2\0\0\0\0\0\0\0{}";
    return lvlm_outfile_save(path, empty, sizeof empty - 1, true, err);
}

static bool is_listed(const lvlm_tensor *tensors, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(tensors[i].name, name) == 0) return true;
    return false;
}

/* The tensors that a checkpoint needs. Several targets may be parts of one. */
static size_t list_tensors(lvlm_tensor *out, const lvlm_manifest *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *t = &m->targets[i];
        if (t->state != LVLM_TARGET_MISSING || is_listed(out, n, t->source_name))
            continue;
        out[n] = (lvlm_tensor){ .name = t->source_name, .dtype = LVLM_BF16 };
        out[n++].shape = t->hf.shape;
    }
    return n;
}

static float constant_of(const lvlm_manifest *m, const char *name)
{
    const bool is_norm = strstr(name, "norm") != NULL || strstr(name, "ln_") != NULL;
    const bool added = strstr(name, "language_model") != NULL &&
                       strncmp(m->family->name, "paligemma", 9) == 0;
    return !is_norm ? 0.01f : added ? 0 : 1;
}

static void write_tensor(lvlm_outfile *file, const lvlm_manifest *m,
                         const lvlm_tensor *t, const uint16_t *draws)
{
    uint64_t left = numel(&t->shape);
    uint64_t at = lvlm_random_stream(SEED, t->name) % (N_DRAWS / 2);
    const float value = constant_of(m, t->name);
    uint16_t constant;
    lvlm_convert_values(&constant, LVLM_BF16, &value, LVLM_F32, 1);
    const bool is_matrix = t->shape.n > 1;
    for (; !is_matrix && left > 0; left--)
        lvlm_outfile_write(file, &constant, sizeof constant);
    while (left > 0) {
        const uint64_t n = left < N_DRAWS - at ? left : N_DRAWS - at;
        lvlm_outfile_write(file, draws + at, n * sizeof *draws);
        left -= n;
        at = 0;
    }
}

/* Normal numbers of deviation 0.02.  out (N_DRAWS) */
static void draw(uint16_t *out)
{
    const uint64_t stream = lvlm_random_stream(SEED, "weights");
    for (size_t i = 0; i < N_DRAWS; i++) {
        const double u = lvlm_random_uniform(stream, 2 * i);
        const double v = lvlm_random_uniform(stream, 2 * i + 1);
        const float x = (float)(0.02 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
        lvlm_convert_values(&out[i], LVLM_BF16, &x, LVLM_F32, 1);
    }
}

static int write_weights(const char *path, const lvlm_manifest *m, lvlm_error *err)
{
    lvlm_tensor *const tensors = lvlm_calloc(m->n_targets, sizeof *tensors);
    uint16_t *const draws = lvlm_malloc(N_DRAWS * sizeof *draws);
    lvlm_strbuf header = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    lvlm_outfile *file = NULL;
    int rc = tensors == NULL || draws == NULL ? lvlm_fail_memory(err) : 0;
    if (rc < 0) goto done;
    const size_t n = list_tensors(tensors, m);
    draw(draws);
    if ((rc = lvlm_safetensors_header(&header, tensors, n, NULL, 8, err)) < 0 ||
        (rc = lvlm_outfile_open(&file, path, true, err)) < 0)
        goto done;
    lvlm_outfile_write(file, header.text, header.length);
    for (size_t i = 0; i < n; i++) write_tensor(file, m, &tensors[i], draws);
    rc = lvlm_outfile_commit(file, err);
done:
    lvlm_outfile_close(file);
    lvlm_strbuf_free(&header);
    lvlm_free(draws), lvlm_free(tensors);
    return rc;
}

static int make_checkpoint(const char *dir, lvlm_error *err)
{
    char path[4096];
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m = { 0 };
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    TRY(write_empty(path, err));
    int rc = open_model(&cp, &m, dir, err);
    if (rc >= 0) rc = write_weights(path, &m, err);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
    return rc;
}

/* ---- inputs ---------------------------------------------------------------------- */

/* What a batch consists of. */
typedef struct sizes {
    uint64_t side, n_words, n_texts; /* asked for */
    uint64_t n_image, T;             /* tokens of an image, of a text */
    int64_t image, start, end;       /* ids; -1: none */
    uint64_t n_vocab;
    lvlm_shape pixels; /* of all texts */
} sizes;

static sizes sizes_of(const cJSON *config, uint64_t side, uint64_t n_words,
                      uint64_t n_texts)
{
    sizes s = { side, n_words, n_texts, 0, 0, -1, -1, -1, 0, { 0 } };
    const bool merged = lvlm_config_says(config, "connector.kind merger");
    const uint64_t patch = config_count(config, "vision.patch");
    s.image = (int64_t)config_count(config, "tokens.image");
    s.n_vocab = config_count(config, "text.vocab");
    if (merged) {
        s.start = s.image - 3, s.end = s.image - 2; /* as in the released models */
        s.n_image = side * side / 4;
        s.pixels = (lvlm_shape){ 2, { n_texts * side * side, 3 * 2 * patch * patch } };
    } else {
        const uint64_t grid = config_count(config, "vision.grid");
        s.n_image = side > 0 ? grid * grid : 0;
        s.pixels = (lvlm_shape){ 4, { n_texts, 3, grid * patch, grid * patch } };
    }
    s.T = s.n_image + (merged && side > 0 ? 2 : 0) + n_words;
    return s;
}

/* An id that names no image. */
static int64_t word(const sizes *s, uint64_t stream, uint64_t place)
{
    const uint64_t top =
        (uint64_t)s->image < s->n_vocab ? (uint64_t)s->image : s->n_vocab;
    const double u = lvlm_random_uniform(stream, place);
    return 2 + (int64_t)(u * (double)((s->start > 0 ? (uint64_t)s->start : top) - 3));
}

/* ids, labels, types (T each). */
static void fill_text(int64_t *ids, int64_t *labels, int64_t *types, const sizes *s,
                      uint64_t stream)
{
    uint64_t at = 0;
    if (s->n_image > 0 && s->start >= 0) ids[at++] = s->start;
    for (uint64_t i = 0; i < s->n_image; i++) ids[at++] = s->image;
    if (s->n_image > 0 && s->start >= 0) ids[at++] = s->end;
    for (; at < s->T; at++) ids[at] = word(s, stream, at);
    for (uint64_t t = 0; t < s->T; t++) {
        types[t] = t >= s->T - s->n_words / 2;
        labels[t] = types[t] ? ids[t] : -100;
    }
}

static lvlm_tensor tensor_of(const char *name, lvlm_dtype dtype, lvlm_shape shape,
                             const void *data)
{
    lvlm_tensor t = { .name = name, .dtype = dtype, .shape = shape };
    t.data = data;
    t.n_bytes = numel(&shape) * lvlm_dtype_bytes(dtype);
    return t;
}

static int write_inputs(const char *path, const sizes *s, bool typed, lvlm_error *err)
{
    const uint64_t B = s->n_texts, n = B * s->T;
    const bool with_image = s->n_image > 0;
    const uint64_t n_pixels = numel(&s->pixels);
    int64_t *const ids = lvlm_calloc(4 * n, sizeof *ids);
    int64_t *const grid = lvlm_calloc(3 * B, sizeof *grid);
    float *const pixels = lvlm_malloc(n_pixels * sizeof *pixels);
    int rc = lvlm_fail_memory(err);
    if (ids == NULL || grid == NULL || pixels == NULL) goto done;
    const uint64_t stream = lvlm_random_stream(SEED, "inputs");
    for (uint64_t b = 0; b < B; b++) {
        fill_text(ids + b * s->T, ids + n + b * s->T, ids + 2 * n + b * s->T, s,
                  stream + b);
        grid[3 * b] = 1, grid[3 * b + 1] = grid[3 * b + 2] = (int64_t)s->side;
    }
    for (uint64_t i = 0; i < n; i++) ids[3 * n + i] = 1;
    for (uint64_t i = 0; i < n_pixels; i++)
        pixels[i] = (float)(2 * lvlm_random_uniform(stream, i) - 1);
    const lvlm_shape text = { 2, { B, s->T } }, grids = { 2, { B, 3 } };
    lvlm_tensor tensors[5];
    size_t count = 0;
    tensors[count++] = tensor_of("attention_mask", LVLM_I64, text, ids + 3 * n);
    if (with_image && s->start >= 0)
        tensors[count++] = tensor_of("image_grid_thw", LVLM_I64, grids, grid);
    tensors[count++] = tensor_of("input_ids", LVLM_I64, text, ids);
    tensors[count++] = tensor_of("labels", LVLM_I64, text, ids + n);
    if (typed)
        tensors[count++] = tensor_of("token_type_ids", LVLM_I64, text, ids + 2 * n);
    if (with_image)
        tensors[count++] = tensor_of("pixel_values", LVLM_F32, s->pixels, pixels);
    rc = lvlm_safetensors_save(path, tensors, count, NULL, true, err);
done:
    lvlm_free(pixels), lvlm_free(grid), lvlm_free(ids);
    return rc;
}

/* Rows that a matrix is multiplied with. */
static uint64_t rows_of(const sizes *s, const lvlm_target *t, uint64_t n_patches)
{
    if (strncmp(t->name, "vision.", 7) == 0) return n_patches;
    if (strncmp(t->name, "connector.", 10) == 0) return s->n_texts * s->n_image;
    return s->n_texts * s->T;
}

/* Tables of positions and of words are looked up; that of words is the head, too. */
static void print_work(const lvlm_manifest *m, const sizes *s)
{
    const uint64_t grid = config_count(m->config, "vision.grid");
    const uint64_t side = s->start >= 0 ? s->side : s->side > 0 ? grid : 0;
    double flop = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        if (t->shape.n < 2 || t->state == LVLM_TARGET_TIED ||
            strstr(t->name, "positions") != NULL)
            continue;
        flop += 2.0 * (double)numel(&t->shape) *
                (double)rows_of(s, t, s->n_texts * side * side);
    }
    printf("%.6g\n", flop);
}

/* `path` NULL: only the amount of work, on stdout. */
static int make_inputs(const char *dir, const char *path, const sizes *asked,
                       lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m = { 0 };
    int rc = open_model(&cp, &m, dir, err);
    if (rc >= 0) {
        const sizes s = sizes_of(m.config, asked->side, asked->n_words, asked->n_texts);
        if (path == NULL)
            print_work(&m, &s);
        else
            rc = write_inputs(path, &s, strncmp(m.family->name, "paligemma", 9) == 0,
                              err);
    }
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
    return rc;
}

static sizes asked_for(int argc, char **argv)
{
    sizes s = { .n_texts = 1 };
    s.side = strtoull(argv[0], NULL, 10);
    s.n_words = strtoull(argv[1], NULL, 10);
    if (argc > 2) s.n_texts = strtoull(argv[2], NULL, 10);
    return s;
}

int main(int argc, char **argv)
{
    lvlm_error err = { 0 };
    const char *const verb = argc > 2 ? argv[1] : "";
    sizes asked;
    int rc = 2;
    if (strcmp(verb, "checkpoint") == 0) {
        rc = make_checkpoint(argv[2], &err);
    } else if (strcmp(verb, "inputs") == 0 && argc > 5) {
        asked = asked_for(argc - 4, argv + 4);
        rc = make_inputs(argv[2], argv[3], &asked, &err);
    } else if (strcmp(verb, "work") == 0 && argc > 4) {
        asked = asked_for(argc - 3, argv + 3);
        rc = make_inputs(argv[2], NULL, &asked, &err);
    }
    if (rc == 2)
        fputs("usage: bench_make checkpoint DIR\n"
              "       bench_make inputs DIR OUT.safetensors SIDE TOKENS [TEXTS]\n"
              "       bench_make work DIR SIDE TOKENS [TEXTS]\n",
              stderr);
    if (rc < 0) fprintf(stderr, "bench_make: %s\n", err.text);
    return rc < 0 ? 3 : rc;
}
