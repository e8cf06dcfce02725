/* test_trained_adapters.c - trained adapters compared with those that PEFT trained on
 * the same batches from the same values; runs that are resumed; adapters that are
 * merged. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/base/json.h"
#include "runtime/collect.h"
#include "runtime/tune/trainer.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/merged.h"
#include "tests/support/scratch.h"

#define LORA LVLM_FIXTURES "/lora/"

/* ---- recordings ----------------------------------------------------------------- */

/* Calls `check` for each run that was recorded. */
static void for_each_run(scratch *s, void (*check)(scratch *s, const char *name))
{
    char **names;
    size_t n, n_runs = 0;
    assert_int_equal(lvlm_path_list_others(&names, &n, LORA, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char start[FIXTURE_PATH];
        (void)snprintf(start, sizeof start, LORA "%s/start", names[i]);
        if (!lvlm_path_exists(start)) continue; /* merged only */
        check(s, names[i]);
        n_runs++;
    }
    lvlm_path_list_free(names, n);
    assert_true(n_runs >= 6);
}

/* The model that a run began with, converted. */
static void convert_base(const char *name, const char *native)
{
    char folder[FIXTURE_PATH], model[FIXTURE_PATH];
    (void)snprintf(folder, sizeof folder, "lora/%s/start", name);
    cJSON *const config = fixture_json(folder, "adapter_config.json");
    (void)snprintf(model, sizeof model, LVLM_FIXTURES "/%s/model",
                   lvlm_json_string(lvlm_json_get(config, "base_model_name_or_path")));
    native_convert(model, native);
    lvlm_json_free(config);
}

static cJSON *expected_of(const char *name)
{
    char folder[FIXTURE_PATH];
    (void)snprintf(folder, sizeof folder, "lora/%s", name);
    return fixture_json(folder, "expected.json");
}

static double number(const cJSON *json, const char *key)
{
    double value = NAN;
    assert_true(lvlm_json_double(&value, lvlm_json_get(json, key)));
    return value;
}

static double entry(const cJSON *json, const char *key, size_t i)
{
    double value = NAN;
    assert_true(lvlm_json_double(&value, lvlm_json_item(lvlm_json_get(json, key), i)));
    return value;
}

static lvlm_trainer_options options_of(const cJSON *e)
{
    lvlm_trainer_options o = { .model.threads = 2, .accumulate = 1 };
    o.adamw = (lvlm_adamw){ .lr = number(e, "lr"),
                            .beta1 = entry(e, "betas", 0),
                            .beta2 = entry(e, "betas", 1),
                            .eps = number(e, "eps"),
                            .decay = number(e, "weight_decay") };
    o.decay_all = true;
    o.clip = number(e, "clip");
    o.schedule.kind = LVLM_SCHEDULE_CONSTANT;
    o.model.reference = lvlm_json_string(lvlm_json_get(e, "reference"));
    return o;
}

/* ---- runs ----------------------------------------------------------------------- */

static lvlm_trainer_report step_of(lvlm_trainer *t, const char *name)
{
    char path[256];
    lvlm_checkpoint *batch = NULL;
    lvlm_trainer_report report = { .step = 0 };
    lvlm_error err;
    (void)snprintf(path, sizeof path, LORA "%s/batch-%03zu.safetensors", name,
                   t->step % 2);
    if (lvlm_checkpoint_open(&batch, path, NULL, &err) < 0 ||
        lvlm_trainer_add(t, batch, "", &err) < 0 ||
        lvlm_trainer_step(t, &report, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    lvlm_checkpoint_close(batch);
    return report;
}

/* Sum of squares of a - b, of float32. */
static double tensor_distance2(const lvlm_tensor *x, const lvlm_tensor *y)
{
    double sum = 0;
    assert_string_equal(x->name, y->name);
    for (uint64_t j = 0; j < lvlm_tensor_numel(x); j++) {
        float u, v;
        memcpy(&u, x->data + 4 * j, 4);
        memcpy(&v, y->data + 4 * j, 4);
        sum += ((double)u - v) * ((double)u - v);
    }
    return sum;
}

/* The same over all factors and saved tensors of two adapters. */
static double distance2(const lvlm_adapter *a, const lvlm_adapter *b)
{
    double sum = 0;
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_saved, b->n_saved);
    for (size_t i = 0; i < a->n; i++)
        sum += tensor_distance2(&a->at[i].a, &b->at[i].a) +
               tensor_distance2(&a->at[i].b, &b->at[i].b);
    for (size_t i = 0; i < a->n_saved; i++)
        sum += tensor_distance2(&a->saved[i].value, &b->saved[i].value);
    return sum;
}

static lvlm_adapter open_adapter(const char *dir, const lvlm_manifest *m)
{
    lvlm_adapter x;
    lvlm_error err;
    if (lvlm_adapter_open(&x, dir, m, &err) < 0) fail_msg("%s", err.text);
    return x;
}

/* The distance from PEFT's adapter, relative to how far PEFT's moved. */
static double error_of_change(const lvlm_trainer *t, const char *ours, const char *name)
{
    char dir[256];
    (void)snprintf(dir, sizeof dir, LORA "%s/start", name);
    lvlm_adapter start = open_adapter(dir, &t->manifest);
    (void)snprintf(dir, sizeof dir, LORA "%s/end", name);
    lvlm_adapter end = open_adapter(dir, &t->manifest);
    lvlm_adapter got = open_adapter(ours, &t->manifest);
    const double error = sqrt(distance2(&got, &end) / distance2(&end, &start));
    lvlm_adapter_free(&start);
    lvlm_adapter_free(&end);
    lvlm_adapter_free(&got);
    return error;
}

static void save_adapter(const lvlm_trainer *t, const char *dir)
{
    lvlm_error err;
    lvlm_outdir *const out = open_outdir(dir, &lvlm_adapter_set);
    if (lvlm_trainer_save_adapter(t, out, &err) < 0) fail_msg("%s", err.text);
    lvlm_outdir_close(out);
}

static void check_run(scratch *s, const char *name)
{
    static const lvlm_lora as_it_says;
    const char *const native = scratch_path(s, "m"), *const dir = scratch_path(s, name);
    char start[FIXTURE_PATH];
    cJSON *const e = expected_of(name);
    lvlm_trainer_options o = options_of(e);
    lvlm_trainer t;
    lvlm_error err;
    double loss = 0, norm = 0;
    (void)snprintf(start, sizeof start, LORA "%s/start", name);
    convert_base(name, native);
    o.lora = &as_it_says;
    o.adapter = start;
    if (lvlm_trainer_open(&t, native, &o, &err) < 0) fail_msg("%s", err.text);
    for (size_t k = 0; k < 6; k++) {
        const lvlm_trainer_report r = step_of(&t, name);
        const double l = entry(e, "losses", k), n = entry(e, "grad_norms", k);
        loss = fmax(loss, fabs(r.loss - l) / l);
        norm = fmax(norm, fabs(r.grad_norm - n) / n);
    }
    save_adapter(&t, dir);
    const double change = error_of_change(&t, dir, name);
    if (getenv("LVLM_TEST_SHOW") != NULL)
        print_message("%s: loss %.2g, norm %.2g, change %.2g\n", name, loss, norm,
                      change);
    assert_true(loss <= 5e-6 /* observed 4.5e-7 */);
    assert_true(norm <= 1e-4 /* observed 9.4e-6 */);
    assert_true(change <= 1e-4 /* observed 7.7e-6 */);
    lvlm_trainer_close(&t);
    lvlm_json_free(e);
}

static void a_run_equals_pefts_run(void **state)
{
    for_each_run(*state, check_run);
}

/* ---- a new adapter -------------------------------------------------------------- */

enum { STEPS = 4 };

/* A trainer of a new adapter on a fixture. */
static void begin(lvlm_trainer *t, lvlm_lora *lora, const char *text,
                  const char *native, size_t threads, bool checkpointing)
{
    const lvlm_trainer_options options = {
        .model.checkpointing = checkpointing,
        .adamw = { .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8 },
        .schedule = { LVLM_SCHEDULE_CONSTANT, 0, STEPS },
        .accumulate = 1,
        .model.threads = threads,
        .lora = lora,
        .seed = 5,
    };
    lvlm_error err;
    if (lvlm_lora_parse(lora, text, &err) < 0) fail_msg("%s", err.text);
    if (lvlm_trainer_open(t, native, &options, &err) < 0) fail_msg("%s", err.text);
}

static lvlm_stage_list run(lvlm_model *model, const lvlm_checkpoint *batch)
{
    lvlm_stage_list list = { .everything = false };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_error err;
    if (lvlm_model_forward(model, batch, "", &sink, &err) < 0) fail_msg("%s", err.text);
    return list;
}

/* The mean loss of one batch, in training or not. */
static double loss_of(lvlm_model *model, const char *batch, bool trains)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_model_step found;
    lvlm_error err;
    float value;
    assert_int_equal(lvlm_checkpoint_open(&cp, batch, NULL, NULL), 0);
    lvlm_stage_list list = run(model, cp);
    memcpy(&value, lvlm_stage_list_find(&list, "loss")->data, sizeof value);
    lvlm_stage_list_free(&list);
    if (trains && lvlm_model_backward(model, &found, cp, "", 0, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint_close(cp);
    return trains ? found.loss / (double)found.n_targets : (double)value;
}

static void a_new_adapter_changes_nothing_yet(void **state)
{
    static const char batch[] = LORA "paligemma/batch-000.safetensors";
    scratch *s = *state;
    const char *const native = scratch_path(s, "m");
    lvlm_lora lora;
    lvlm_trainer t;
    lvlm_model *plain = NULL;
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", native);
    assert_int_equal(lvlm_model_open(&plain, native, NULL, NULL), 0);
    begin(&t, &lora, "targets=all-linear,dropout=0.5", native, 1, false);
    const double base = loss_of(plain, batch, false);
    assert_true(loss_of(t.model, batch, false) == base);
    assert_true(loss_of(t.model, batch, true) == loss_of(plain, batch, true));
    for (size_t i = 0; i < STEPS; i++) (void)step_of(&t, "paligemma");
    const double tuned = loss_of(t.model, batch, false);
    assert_true(fabs(tuned - base) > 1e-3);
    /* dropout acts only in training, the same for the same key */
    const double dropped = loss_of(t.model, batch, true);
    assert_true(fabs(dropped - tuned) > 1e-3);
    assert_true(loss_of(t.model, batch, true) == dropped);
    lvlm_model_set_noise(t.model, &(lvlm_noise){ .adapter = 1 });
    assert_true(loss_of(t.model, batch, true) != dropped);
    lvlm_trainer_close(&t);
    lvlm_model_free(plain);
}

static void the_model_does_not_change(void **state)
{
    scratch *s = *state;
    const char *const native = scratch_path(s, "m");
    lvlm_lora lora;
    lvlm_trainer t;
    native_convert(LVLM_FIXTURES "/qwen2_vl-odd/model", native);
    begin(&t, &lora, "targets=qkv,q", native, 1, false);
    assert_int_equal(t.n_tensors, 2 * t.adapter.n);
    for (size_t i = 0; i < t.manifest.n_targets; i++) {
        const lvlm_target *const target = &t.manifest.targets[i];
        const bool moves = strstr(target->name, ".attn.q.weight") != NULL ||
                           (strncmp(target->name, "vision.", 7) == 0 &&
                            (strstr(target->name, ".attn.k.weight") != NULL ||
                             strstr(target->name, ".attn.v.weight") != NULL));
        lvlm_tensor g;
        assert_null(lvlm_model_weight(t.model, target->name));
        assert_false(lvlm_model_gradient(t.model, &g, target->name));
        assert_true(lvlm_model_is_trained(t.model, target->name) == moves);
    }
    lvlm_trainer_close(&t);
}

/* Bit for bit, with dropout, any number of threads, and recomputed activations. */
static void a_resumed_run_ends_in_the_same_bytes(void **state)
{
    static const char text[] = "r=3,dropout=0.3,targets=q_proj,v_proj,rslora=true,"
                               "save=lm_head,multi_modal_projector";
    scratch *s = *state;
    const char *const native = scratch_path(s, "m"), *const kept = scratch_path(s, "k");
    const char *const one = scratch_path(s, "one"), *const two = scratch_path(s, "two");
    lvlm_lora lora;
    lvlm_trainer t;
    lvlm_error err;
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", native);
    begin(&t, &lora, text, native, 1, false);
    for (size_t i = 0; i < STEPS; i++) {
        if (i == 2 && lvlm_trainer_save_state(&t, kept, &err) < 0)
            fail_msg("%s", err.text);
        (void)step_of(&t, "paligemma");
    }
    save_adapter(&t, one);
    lvlm_trainer_close(&t);
    begin(&t, &lora, text, native, 3, true);
    if (lvlm_trainer_load_state(&t, kept, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(t.step, 2);
    while (t.step < STEPS) (void)step_of(&t, "paligemma");
    save_adapter(&t, two);
    assert_true(directories_equal(one, two));
    lvlm_trainer_close(&t);
    /* a run continues only as it began */
    static const char *const others[][2] = {
        { "r=3,dropout=0.2,targets=q_proj,v_proj,rslora=true,"
          "save=lm_head,multi_modal_projector",
          "--lora dropout" },
        { "r=3,dropout=0.3,targets=q_proj,v_proj,rslora=true,save=lm_head",
          "--lora save" },
    };
    for (size_t i = 0; i < 2; i++) {
        begin(&t, &lora, others[i][0], native, 1, false);
        assert_int_equal(lvlm_trainer_load_state(&t, kept, &err), LVLM_EUSAGE);
        assert_non_null(strstr(err.text, others[i][1]));
        lvlm_trainer_close(&t);
    }
}

/* ---- folded in ------------------------------------------------------------------ */

/* Relative L2 of the logits of two models. */
static double distance(lvlm_model *a, lvlm_model *b, const char *batch)
{
    lvlm_checkpoint *cp = NULL;
    double sum = 0, all = 0;
    assert_int_equal(lvlm_checkpoint_open(&cp, batch, NULL, NULL), 0);
    lvlm_stage_list x = run(a, cp), y = run(b, cp);
    const lvlm_tensor *u = lvlm_stage_list_find(&x, "logits");
    const float *p = (const float *)(const void *)u->data;
    const float *q =
        (const float *)(const void *)lvlm_stage_list_find(&y, "logits")->data;
    for (uint64_t i = 0; i < lvlm_tensor_numel(u); i++) {
        sum += ((double)p[i] - q[i]) * ((double)p[i] - q[i]);
        all += (double)q[i] * q[i];
    }
    lvlm_stage_list_free(&x);
    lvlm_stage_list_free(&y);
    lvlm_checkpoint_close(cp);
    return sqrt(sum / all);
}

/* The same adapter as the trainer folds it in, and as merge-lora does. */
static void merge_both(lvlm_trainer *t, const char *native, const char *adapter,
                       const char *ours, const char *theirs)
{
    lvlm_outfile *const a = open_outfile(ours), *const b = open_outfile(theirs);
    lvlm_fold_cost cost;
    lvlm_error err;
    if (lvlm_trainer_save_merged(t, a, &cost, &err) < 0 ||
        merge_adapter(&cost, native, adapter, b, 1, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_outfile_close(a);
    lvlm_outfile_close(b);
}

/* Returns whether the tables of embeddings are stored in float32. */
static bool check_same_tensors(const char *a, const char *b)
{
    lvlm_checkpoint *x = NULL, *y = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&x, a, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&y, b, NULL, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t j = 0; j < x->n_tensors; j++)
        assert_memory_equal(x->tensors[j].data, y->tensors[j].data,
                            (size_t)x->tensors[j].n_bytes);
    const bool wide = lvlm_checkpoint_find(x, LVLM_EMBED_TABLE)->dtype == LVLM_F32;
    lvlm_checkpoint_close(x);
    lvlm_checkpoint_close(y);
    return wide;
}

static void check_merged(scratch *s, const char *name)
{
    const char *const native = scratch_path(s, "m"), *const ours = scratch_path(s, "o");
    const char *const theirs = scratch_path(s, "t");
    char batch[FIXTURE_PATH], adapter[FIXTURE_PATH];
    lvlm_model *merged = NULL;
    lvlm_lora lora;
    lvlm_trainer t;
    lvlm_error err;
    (void)snprintf(batch, sizeof batch, LORA "%s/batch-000.safetensors", name);
    (void)snprintf(adapter, sizeof adapter, "%s-merged", scratch_path(s, name));
    convert_base(name, native);
    begin(&t, &lora,
          strstr(name, "-saved") != NULL ? "r=4,targets=all-linear,save=embed_tokens"
                                         : "r=4,targets=all-linear",
          native, 2, false);
    for (size_t k = 0; k < 2; k++) (void)step_of(&t, name);
    save_adapter(&t, adapter);
    merge_both(&t, native, adapter, ours, theirs);
    const bool wide = check_same_tensors(ours, theirs);
    if (lvlm_model_open(&merged, ours, NULL, &err) < 0) fail_msg("%s", err.text);
    const double error = distance(merged, t.model, batch);
    if (getenv("LVLM_TEST_SHOW") != NULL) print_message("%s: %.2g\n", name, error);
    assert_true(error <= (wide ? 3e-6 /* observed 9.9e-7 */
                               : 3e-2 /* bf16, observed 8.5e-3 */));
    lvlm_model_free(merged);
    lvlm_trainer_close(&t);
}

/* What the trainer folds in is what merge-lora makes of its adapter, and computes what
 * model and adapter compute. */
static void a_merged_model_equals_model_and_adapter(void **state)
{
    for_each_run(*state, check_merged);
}

/* The model's file changes while it is trained. */
static void a_changed_base_is_not_committed(void **state)
{
    scratch *s = *state;
    const char *const native = scratch_path(s, "m"), *const dir = scratch_path(s, "x");
    const struct timespec other_time[2] = { { 1, 0 }, { 1, 0 } };
    lvlm_lora lora;
    lvlm_trainer t;
    lvlm_error err;
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", native);
    begin(&t, &lora, "targets=q_proj", native, 1, false);
    (void)step_of(&t, "paligemma");
    assert_int_equal(utimensat(AT_FDCWD, native, other_time, 0), 0);
    lvlm_outdir *const out = open_outdir(dir, &lvlm_adapter_set);
    assert_int_equal(lvlm_trainer_save_adapter(&t, out, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "m: was written to while it was in use"));
    lvlm_outdir_close(out);
    assert_false(lvlm_path_exists(dir));
    lvlm_trainer_close(&t);
}

int main(void)
{
#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_run_equals_pefts_run),
        CASE(a_new_adapter_changes_nothing_yet),
        CASE(the_model_does_not_change),
        CASE(a_resumed_run_ends_in_the_same_bytes),
        CASE(a_merged_model_equals_model_and_adapter),
        CASE(a_changed_base_is_not_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
