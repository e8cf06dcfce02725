/* generated.h - recorded texts that continue a prompt, visited one by one:
 * fixtures/NAME/generate*.safetensors, with the model. */
#ifndef LVLM_TESTS_REPLAY_GENERATED_H
#define LVLM_TESTS_REPLAY_GENERATED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/bytes.h"
#include "runtime/generate/generate.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

enum { RECORDINGS = 13 /* at least */, MOST = 64 /* tokens in one */ };

static scratch place;
static bool cache_bf16; /* of the models of recordings, as lvlm_model_options has it */

static inline int make_place(void **state)
{
    (void)state;
    scratch_make(&place);
    return 0;
}

static inline int remove_place(void **state)
{
    (void)state;
    scratch_remove(&place);
    return 0;
}

/* ---- recordings ----------------------------------------------------------------- */

typedef struct recording {
    char name[300]; /* FIXTURE/FILE */
    lvlm_checkpoint *file;
    lvlm_model *model;
    int64_t tokens[MOST];
    size_t n;
} recording;

static inline const char *meta(const recording *r, const char *key)
{
    const char *const text = lvlm_json_string(lvlm_json_get(r->file->metadata, key));
    assert_non_null(text);
    return text;
}

static inline void open_recording(recording *r, const fixture *f, const char *file,
                                  lvlm_compute compute)
{
    char path[2 * SCRATCH_PATH];
    lvlm_error err;
    (void)snprintf(r->name, sizeof r->name, "%s/%s", f->name, file);
    native_convert(f->model, scratch_path(&place, "model.lvlm"));
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s", r->name);
    if (lvlm_checkpoint_open(&r->file, path, NULL, &err) < 0) fail_msg("%s", err.text);
    const lvlm_model_options options = { .compute = compute,
                                         .threads = 2,
                                         .reference = meta(r, "reference"),
                                         .cache_bf16 = cache_bf16 };
    if (lvlm_model_open(&r->model, scratch_path(&place, "model.lvlm"), &options, &err) <
        0)
        fail_msg("%s: %s", r->name, err.text);
    const lvlm_tensor *const tokens = lvlm_checkpoint_find(r->file, "out.tokens");
    assert_non_null(tokens);
    r->n = (size_t)lvlm_tensor_numel(tokens);
    assert_in_range(r->n, 1, MOST);
    for (size_t i = 0; i < r->n; i++)
        r->tokens[i] = (int64_t)lvlm_load_le(tokens->data + 8 * i, 8);
}

static inline void close_recording(recording *r)
{
    lvlm_model_free(r->model);
    lvlm_checkpoint_close(r->file);
}

/* Visit every recording of one fixture; their number. */
static inline size_t visit_fixture(const fixture *f, lvlm_compute compute,
                                   void (*visit)(const recording *r))
{
    char **names;
    size_t n_names, n = 0;
    assert_int_equal(lvlm_path_list(&names, &n_names, f->folder, NULL), 0);
    for (size_t i = 0; i < n_names; i++) {
        recording r = { .n = 0 };
        if (strncmp(names[i], "generate", strlen("generate")) != 0) continue;
        open_recording(&r, f, names[i], compute);
        visit(&r);
        close_recording(&r);
        n++;
    }
    lvlm_path_list_free(names, n_names);
    return n;
}

static inline void visit_all(lvlm_compute compute, void (*visit)(const recording *r))
{
    fixtures all;
    size_t n = 0;
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) n += visit_fixture(&all.at[i], compute, visit);
    fixtures_close(&all);
    assert_true(n >= RECORDINGS);
}

typedef struct generated_text {
    int64_t tokens[MOST];
    size_t n;
} generated_text;

static inline int take_token(void *user, int64_t id, lvlm_error *err)
{
    generated_text *const h = user;
    FAIL_IF(h->n == MOST, err, LVLM_ECHECK, "too many tokens");
    h->tokens[h->n++] = id;
    return 0;
}

/* Settings of the checkpoint and the recording; no limit if the recording has an
 * end. */
static inline lvlm_generation settings_of(const recording *r)
{
    lvlm_generation g;
    const char *const penalty = meta(r, "repetition_penalty");
    assert_int_equal(lvlm_generation_read(&g, lvlm_model_manifest(r->model), NULL), 0);
    if (penalty[0] != '\0') g.sampling.penalty = strtod(penalty, NULL);
    g.max_new_tokens = r->n;
    for (size_t i = 0; i < g.n_ends; i++)
        if (g.ends[i] == r->tokens[r->n - 1]) g.max_new_tokens = MOST;
    return g;
}

#endif
