/* test_generated.c - generated texts compared with recordings, and with one forward.
 *
 *   fixtures/NAME/generate*.safetensors, model
 *       -> greedy in f32: the recorded tokens, one by one, and the end where it is
 *       -> in f64: logits after every step == those of one forward over text and
 *          tokens, where the mathematics is that of one forward */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/collect.h"
#include "runtime/generate/generate.h"
#include "tests/replay/generated.h"
#include "tests/runtime/synthetic.h"

/* Largest difference of two logits; they are of the order of 10. */
#define BAND_STEPS 1e-10 /* observed 4.2e-14, gcc 12, OpenBLAS 0.3.21 */

/* ---- greedy tokens -------------------------------------------------------------- */

static void expect_tokens(const recording *r)
{
    const lvlm_generation settings = settings_of(r);
    lvlm_session *session = NULL;
    lvlm_generated made;
    lvlm_error err;
    generated_text h = { .n = 0 };
    const lvlm_token_sink sink = { take_token, &h };
    if (lvlm_session_begin(&session, r->model, r->file, "in.", NULL, &err) < 0 ||
        lvlm_generate(&made, session, &settings, &sink, &err) < 0)
        fail_msg("%s: %s", r->name, err.text);
    for (size_t i = 0; i < r->n; i++)
        if (i >= h.n || h.tokens[i] != r->tokens[i])
            fail_msg("%s: token %zu of %zu differs", r->name, i, r->n);
    assert_int_equal(h.n, r->n);
    assert_int_equal(made.n, r->n);
    assert_int_equal(made.ended, settings.max_new_tokens == MOST);
    lvlm_session_end(session);
}

static void greedy_tokens_are_those_of_the_reference(void **state)
{
    (void)state;
    visit_all(LVLM_COMPUTE_F32, expect_tokens);
}

/* ---- steps and one forward ------------------------------------------------------ */

/* An input [1, T, ...] of integers, with n rows more: `tokens`, or the last one
 * again, or `fill`. */
static void put_longer(synthetic *to, const char *name, const lvlm_tensor *t,
                       const int64_t *tokens, const int64_t *fill, size_t n)
{
    const size_t T = (size_t)t->shape.dims[1];
    const size_t row = (size_t)(lvlm_tensor_numel(t) / T);
    const size_t bytes = lvlm_dtype_bytes(t->dtype);
    int64_t *const values = calloc((T + n) * row, sizeof *values);
    lvlm_shape shape = t->shape;
    assert_non_null(values);
    for (size_t i = 0; i < (T + n) * row; i++) {
        const size_t at = i / row < T ? i : (T - 1) * row + i % row;
        values[i] = (int64_t)lvlm_load_le(t->data + bytes * at, bytes);
        if (i / row >= T && tokens != NULL) values[i] = tokens[i / row - T];
        if (i / row >= T && fill != NULL) values[i] = *fill;
    }
    shape.dims[1] += n;
    synthetic_put(to, name, LVLM_I64, &shape, values);
    free(values);
}

/* The recording's inputs, followed by its tokens. */
static void put_all(synthetic *to, const recording *r)
{
    static const int64_t one = 1; /* real, and a suffix */
    for (size_t i = 0; i < r->file->n_tensors; i++) {
        const lvlm_tensor *const t = &r->file->tensors[i];
        if (strncmp(t->name, "in.", 3) != 0) continue;
        const char *const name = t->name + 3;
        if (strcmp(name, "input_ids") == 0)
            put_longer(to, name, t, r->tokens, NULL, r->n);
        else if (strcmp(name, "attention_mask") == 0 ||
                 strcmp(name, "token_type_ids") == 0)
            put_longer(to, name, t, NULL, &one, r->n);
        else if (strcmp(name, "cross_attention_mask") == 0)
            put_longer(to, name, t, NULL, NULL, r->n);
        else
            synthetic_put(to, name, t->dtype, &t->shape, t->data);
    }
}

static double distance(const lvlm_tensor *row, const lvlm_tensor *all, size_t at)
{
    const size_t V = (size_t)row->shape.dims[0];
    const double *const a = (const void *)row->data, *const b = (const void *)all->data;
    double most = 0;
    for (size_t v = 0; v < V; v++) most = fmax(most, fabs(a[v] - b[at * V + v]));
    return most;
}

static void expect_one_forward(const recording *r)
{
    synthetic whole = { .arena = LVLM_ARENA_INIT };
    lvlm_stage_list list = { .everything = false };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_session *session = NULL;
    lvlm_error err;
    if (strcmp(meta(r, "one_forward"), "true") != 0) return;
    put_all(&whole, r);
    if (lvlm_model_forward(r->model, &whole.checkpoint, "", &sink, &err) < 0 ||
        lvlm_session_begin(&session, r->model, r->file, "in.", NULL, &err) < 0)
        fail_msg("%s: %s", r->name, err.text);
    const lvlm_tensor *const logits = lvlm_stage_list_find(&list, "logits");
    const size_t last = (size_t)logits->shape.dims[1] - r->n - 1;
    for (size_t i = 0; i <= r->n; i++) {
        const lvlm_tensor row = lvlm_session_logits(session);
        const double far = distance(&row, logits, last + i);
        if (!(far <= BAND_STEPS)) fail_msg("%s: step %zu: %g", r->name, i, far);
        if (i < r->n)
            assert_int_equal(lvlm_session_step(session, r->tokens[i], &err), 0);
    }
    lvlm_session_end(session);
    lvlm_stage_list_free(&list);
    synthetic_free(&whole);
}

static void steps_equal_one_forward_over_the_whole_text(void **state)
{
    (void)state;
    visit_all(LVLM_COMPUTE_F64, expect_one_forward);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_are_those_of_the_reference),
        cmocka_unit_test(steps_equal_one_forward_over_the_whole_text),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
