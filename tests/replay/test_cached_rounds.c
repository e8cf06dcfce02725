/* test_cached_rounds.c - the keys and values of the cache after recorded tokens: those
 * of our own sessions agree, and an error in one of them is found, with its row. */
#include "runtime/generate/session.h"
#include "tests/replay/recordings.h"

#define MODEL LVLM_FIXTURES "/qwen2_vl-odd/model"
#define ROUNDS LVLM_FIXTURES "/recorded/rounds.safetensors"

enum { NAME = 64 };

static const lvlm_replay_options plain = { .threads = 2 };

/* ---- a recording with the cache -------------------------------------------------- */

/* A copy of what the cache holds, under `name`. */
static void add(recorded *r, const char *name, const lvlm_tensor *cached)
{
    lvlm_tensor *const t = &r->tensors[r->n++];
    void *const data = lvlm_arena_alloc(&r->arena, (size_t)cached->n_bytes, 1);
    assert_true(r->n <= RECORDED_TENSORS);
    assert_non_null(data);
    memcpy(data, cached->data, (size_t)cached->n_bytes);
    *t = *cached;
    t->data = data;
    t->name = lvlm_arena_strndup(&r->arena, name, strlen(name));
    assert_non_null(t->name);
}

/* Read all recorded tokens but the last. */
static void read_tokens(lvlm_session *session, const recorded *r)
{
    const lvlm_tensor *const tokens = lvlm_checkpoint_find(r->source, "out.tokens");
    lvlm_error err;
    for (uint64_t i = 0; i + 1 < tokens->shape.dims[0]; i++) {
        int64_t id;
        memcpy(&id, tokens->data + i * sizeof id, sizeof id);
        if (lvlm_session_step(session, id, &err) < 0) fail_msg("%s", err.text);
    }
}

static void add_cache(recorded *r, const char *path, size_t *n_blocks)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 1 };
    lvlm_model *model = NULL;
    lvlm_session *session = NULL;
    lvlm_tensor keys, values;
    char name[NAME];
    lvlm_error err;
    if (lvlm_model_open(&model, path, &options, &err) < 0 ||
        lvlm_session_begin(&session, model, r->source, "in.", NULL, &err) < 0)
        fail_msg("%s", err.text);
    read_tokens(session, r);
    for (*n_blocks = 0; lvlm_session_cached(session, &keys, &values, *n_blocks);
         ++*n_blocks) {
        (void)snprintf(name, sizeof name, "cache.%zu.keys", *n_blocks);
        add(r, name, &keys);
        (void)snprintf(name, sizeof name, "cache.%zu.values", *n_blocks);
        add(r, name, &values);
    }
    lvlm_session_end(session);
    lvlm_model_free(model);
}

/* Replay the recording with the cache, in which `change` makes a mistake. */
static void replay(lvlm_replay *out, scratch *s, void (*change)(recorded *r))
{
    recorded r;
    size_t n_blocks;
    native_convert(MODEL, scratch_path(s, "model.lvlm"));
    recorded_open(&r, ROUNDS);
    add_cache(&r, scratch_path(s, "model.lvlm"), &n_blocks);
    assert_int_equal(n_blocks, 2);
    change(&r);
    recorded_save(&r, scratch_path(s, "cache.safetensors"));
    recorded_close(&r);
    must_replay(out, scratch_path(s, "model.lvlm"),
                scratch_path(s, "cache.safetensors"), &plain);
}

/* ---- what is found --------------------------------------------------------------- */

static void change_nothing(recorded *r)
{
    (void)r;
}

static void our_own_cache_agrees(void **state)
{
    static const char *const names[] = { "cache.0.keys", "cache.0.values",
                                         "cache.1.keys", "cache.1.values" };
    lvlm_replay r;
    replay(&r, *state, change_nothing);
    assert_int_equal(r.n_failed, 0);
    for (size_t i = 0; i < 4; i++) {
        const lvlm_replay_stage *const s = stage_of(&r, names[i]);
        assert_int_equal(s->verdict, LVLM_VERDICT_EXACT);
        assert_true(s->error == 0);
        if (i > 0) assert_ptr_equal(s, stage_of(&r, names[i - 1]) + 1);
    }
    lvlm_replay_free(&r);
}

/* One number of the row before the last, which is that of a token. */
static void change_a_row(recorded *r)
{
    double *const x = recorded_values(r, "cache.1.keys");
    const lvlm_tensor *const t = &r->tensors[r->n - 2];
    assert_string_equal(t->name, "cache.1.keys");
    x[(t->shape.dims[0] - 2) * t->shape.dims[1] + 3] *= 1 + 1e-6;
}

static void an_error_is_found_in_its_row(void **state)
{
    lvlm_replay r;
    replay(&r, *state, change_a_row);
    const lvlm_replay_stage *const s = stage_of(&r, "cache.1.keys");
    assert_int_equal(r.n_failed, 1);
    assert_ptr_equal(r.first_bad, s);
    assert_int_equal(s->verdict, LVLM_VERDICT_OUT);
    assert_int_equal(s->found.worst[0].place, s->shape.dims[0] - 2);
    assert_int_equal(r.tokens.n_others, 0);
    lvlm_replay_free(&r);
}

/* Rows and columns exchanged, the keys of a block that is not there, a name of none. */
static void change_shapes(recorded *r)
{
    for (size_t i = 0; i < r->n; i++) {
        lvlm_tensor *const t = &r->tensors[i];
        if (strcmp(t->name, "cache.0.values") == 0) {
            const uint64_t rows = t->shape.dims[0];
            t->shape.dims[0] = t->shape.dims[1];
            t->shape.dims[1] = rows;
        } else if (strcmp(t->name, "cache.1.keys") == 0) {
            t->name = "cache.7.keys";
        } else if (strcmp(t->name, "cache.1.values") == 0) {
            t->name = "cache.01.values";
        }
    }
}

static void what_is_not_there_fails(void **state)
{
    lvlm_replay r;
    replay(&r, *state, change_shapes);
    assert_int_equal(r.n_failed, 3);
    assert_int_equal(stage_of(&r, "cache.0.values")->verdict, LVLM_VERDICT_SHAPE);
    assert_int_equal(stage_of(&r, "cache.7.keys")->verdict, LVLM_VERDICT_MISSING);
    assert_int_equal(stage_of(&r, "cache.01.values")->verdict, LVLM_VERDICT_MISSING);
    lvlm_replay_free(&r);
}

/* A cache without the tokens that were read into it. */
static void forget_tokens(recorded *r)
{
    recorded_drop(r, "out.tokens");
}

static void nothing_is_compared_without_tokens(void **state)
{
    lvlm_replay r;
    replay(&r, *state, forget_tokens);
    assert_int_equal(r.n_failed, 4);
    assert_int_equal(stage_of(&r, "cache.0.keys")->verdict, LVLM_VERDICT_MISSING);
    lvlm_replay_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_cache_agrees),
        cmocka_unit_test(an_error_is_found_in_its_row),
        cmocka_unit_test(what_is_not_there_fails),
        cmocka_unit_test(nothing_is_compared_without_tokens),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
