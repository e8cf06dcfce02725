/* test_merge.c - adapters merged into weights, compared with PEFT's merge_and_unload
 * under every generation of names, and adapters that are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/export.h"
#include "formats/adapter/adapter_saved.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "formats/native/rewrite.h"
#include "tests/convert/converted.h"
#include "tests/support/merged.h"
#include "tests/support/scratch.h"

#define LORA LVLM_FIXTURES "/lora/"
#define FILL 0x5a /* any other byte */

/* The recorded adapters and the fixtures that they belong to. */
static const struct recorded {
    const char *name, *base;
    bool variants;
    size_t n_replaced; /* native tensors of modules that are saved whole */
} recorded[] = {
    { "paligemma", LVLM_FIXTURES "/paligemma-odd/model", true, 0 },
    { "qwen2_vl", LVLM_FIXTURES "/qwen2_vl-odd/model", true, 0 },
    { "mllama", LVLM_FIXTURES "/mllama-odd/model", true, 0 },
    { "paligemma-saved", LVLM_FIXTURES "/paligemma-untied/model", false, 4 },
    { "qwen2_vl-saved", LVLM_FIXTURES "/qwen2_vl-odd/model", false, 10 },
    { "qwen_vl", LVLM_FIXTURES "/qwen_vl-odd/model", false, 0 },
    { "bf16", LVLM_FIXTURES "/paligemma2-bf16/model", false, 0 },
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The native file of a model directory. */
static const char *native_of(scratch *s, const char *model, const char *name)
{
    const char *path = scratch_path(s, name);
    native_convert(model, path);
    return path;
}

static int merge(lvlm_fold_cost *cost, const char *model, const char *adapter,
                 const char *out, size_t threads, bool overwrite, lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    TRY(lvlm_outfile_open(&file, out, overwrite, err));
    const int rc = merge_adapter(cost, model, adapter, file, threads, err);
    lvlm_outfile_close(file);
    return rc;
}

static lvlm_fold_cost must_merge(const char *model, const char *adapter,
                                 const char *out, size_t threads)
{
    lvlm_fold_cost cost;
    lvlm_error err;
    if (merge(&cost, model, adapter, out, threads, true, &err) < 0)
        fail_msg("%s", err.text);
    return cost;
}

static void must_refuse(scratch *s, const char *adapter, int code, const char *why)
{
    lvlm_fold_cost cost;
    lvlm_error err = { .text = "" };
    const size_t files = scratch_count(s, "");
    assert_int_equal(merge(&cost, scratch_path(s, "m.lvlm"), adapter,
                           scratch_path(s, "no.lvlm"), 2, false, &err),
                     code);
    if (strstr(err.text, why) == NULL) fail_msg("'%s' is not in: %s", why, err.text);
    assert_int_equal(scratch_count(s, ""), files);
}

/* ---- compared with PEFT --------------------------------------------------------- */

static double *widened(const lvlm_tensor *t)
{
    const size_t n = (size_t)lvlm_tensor_numel(t);
    double *out = malloc((n + 1) * sizeof *out);
    assert_non_null(out);
    lvlm_convert_values(out, LVLM_F64, t->data, t->dtype, n);
    return out;
}

/* Sums of squares over all adapted values. */
typedef struct sums {
    double ours, theirs, apart, all; /* of: error, PEFT's error, ours - PEFT's, exact */
} sums;

/* One part of a module: as stored, as we merged it, and PEFT's whole matrix. */
static void add_part(sums *sum, const lvlm_adapted *x, size_t part,
                     const lvlm_tensor *merged, const lvlm_tensor *peft)
{
    const lvlm_module *const m = x->module;
    const lvlm_transform of_w = lvlm_module_rows(m, part, m->in);
    const lvlm_transform of_b = lvlm_module_rows(m, part, x->r);
    const size_t rows = (size_t)merged->shape.dims[0], in = m->in, r = x->r;
    double *stored = widened(m->parts[part]->here.tensor), *ours = widened(merged);
    double *a = widened(&x->a), *b_all = widened(&x->b), *w_all = widened(peft);
    double *b = b_all, *w = w_all;
    if (of_w.n > 0) {
        b = malloc(rows * r * sizeof *b), w = malloc(rows * in * sizeof *w);
        const lvlm_elements all_b = { b_all, m->out * r, sizeof *b };
        const lvlm_elements all_w = { w_all, m->out * in, sizeof *w };
        assert_true(lvlm_transform_gather(b, 0, rows * r, &of_b, all_b));
        assert_true(lvlm_transform_gather(w, 0, rows * in, &of_w, all_w));
    }
    for (size_t i = 0; i < rows * in; i++) {
        double exact = 0;
        for (size_t k = 0; k < r; k++) exact += b[i / in * r + k] * a[k * in + i % in];
        exact = stored[i] + x->scale * exact;
        sum->ours += pow(ours[i] - exact, 2);
        sum->theirs += pow(w[i] - exact, 2);
        sum->apart += pow(ours[i] - w[i], 2);
        sum->all += exact * exact;
    }
    if (of_w.n > 0) free(b), free(w);
    free(stored), free(ours), free(a), free(b_all), free(w_all);
}

/* A tensor that is saved whole, of float32: every bit is PEFT's. */
static void check_saved(const lvlm_saved *saved, const lvlm_checkpoint *got,
                        const lvlm_tensor *peft)
{
    lvlm_saved theirs = *saved;
    theirs.value = *peft;
    for (size_t p = 0; p < saved->n_parts; p++) {
        const lvlm_tensor *ours = lvlm_checkpoint_find(got, saved->parts[p]->name);
        if (saved->parts[p]->state == LVLM_TARGET_TIED) {
            assert_null(ours);
            continue;
        }
        const size_t n = (size_t)lvlm_tensor_numel(ours);
        float *const w = malloc(n * sizeof *w);
        assert_non_null(w);
        assert_int_equal(lvlm_saved_read(w, LVLM_F32, &theirs, p, 0, n, NULL), 0);
        assert_int_equal(ours->n_bytes, n * sizeof *w);
        assert_memory_equal(ours->data, w, n * sizeof *w);
        free(w);
    }
}

static sums compare(const char *model, const char *adapter, const char *merged,
                    const char *peft)
{
    lvlm_checkpoint *cp = NULL, *got = NULL, *want = NULL;
    lvlm_manifest manifest;
    lvlm_adapter x;
    lvlm_error err;
    sums sum = { 0 };
    size_t n = 0;
    if (lvlm_manifest_open(&manifest, &cp, model, NULL, &err) < 0 ||
        lvlm_adapter_open(&x, adapter, &manifest, &err) < 0 ||
        lvlm_checkpoint_open(&got, merged, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&want, peft, NULL, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < x.n; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s.weight", x.at[i].module->name);
        const lvlm_tensor *theirs = lvlm_checkpoint_find(want, name);
        if (theirs == NULL) fail_msg("PEFT did not adapt %s", name);
        n++;
        for (size_t p = 0; p < x.at[i].module->n_parts; p++)
            add_part(&sum, &x.at[i], p,
                     lvlm_checkpoint_find(got, x.at[i].module->parts[p]->name), theirs);
    }
    for (size_t i = 0; i < x.n_saved; i++, n++) {
        const lvlm_tensor *theirs = lvlm_checkpoint_find(want, x.saved[i].name);
        if (theirs == NULL) fail_msg("PEFT did not save %s", x.saved[i].name);
        check_saved(&x.saved[i], got, theirs);
    }
    assert_int_equal(n, want->n_tensors);
    lvlm_adapter_free(&x);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    lvlm_checkpoint_close(got);
    lvlm_checkpoint_close(want);
    return sum;
}

static void merged_weights_equal_pefts(void **state)
{
    scratch *s = *state;
    for (size_t i = 0; i < COUNT(recorded); i++) {
        char adapter[SCRATCH_PATH], peft[SCRATCH_PATH];
        (void)snprintf(adapter, sizeof adapter, LORA "%s/end", recorded[i].name);
        (void)snprintf(peft, sizeof peft, LORA "%s/merged.safetensors",
                       recorded[i].name);
        const char *model = native_of(s, recorded[i].base, "m.lvlm");
        const char *out = scratch_path(s, "out.lvlm");
        const lvlm_fold_cost cost = must_merge(model, adapter, out, 2);
        const sums sum = compare(model, adapter, out, peft);
        const double apart = sqrt(sum.apart / sum.all);
        if (getenv("LVLM_TEST_SHOW") != NULL)
            print_message("%s: %.2g from PEFT, error %.3g (PEFT's %.3g), lost %.0f\n",
                          recorded[i].name, apart, sqrt(sum.ours / sum.all),
                          sqrt(sum.theirs / sum.all), (double)cost.n_lost);
        const bool f32 = i < 5;
        assert_true(apart <= 6e-8 /* observed 3.7e-8; bf16: 0 */);
        assert_true(sum.ours <= sum.theirs);
        assert_true(fabs(sqrt(cost.error2) - sqrt(sum.ours)) <= 1e-9 * sqrt(sum.ours));
        assert_int_equal(cost.n_replaced, recorded[i].n_replaced);
        assert_true(f32 ? cost.n_lost == 0 : cost.n_lost > 0);
    }
}

/* Values that are saved whole are rounded once to the type of the weight. */
static void saved_values_are_rounded_to_the_stored_type(void **state)
{
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL, *got = NULL;
    lvlm_manifest manifest;
    lvlm_adapter x;
    lvlm_error err = { .text = "" };
    static float table[1 << 16];
    static const char *const name = "embed_tokens"; /* the head is tied to it */
    cJSON *const words = cJSON_CreateStringArray(&name, 1);
    const lvlm_adapter_config config = { .r = 1, .alpha = 1, .modules_to_save = words };
    const char *model = native_of(s, LVLM_FIXTURES "/paligemma2-bf16/model", "m.lvlm");
    if (lvlm_manifest_open(&manifest, &cp, model, NULL, &err) < 0 ||
        lvlm_adapter_begin(&x, &manifest, &config, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(x.n_saved, 2);
    const size_t n = (size_t)lvlm_tensor_numel(&x.saved[0].value);
    assert_true(n <= COUNT(table));
    for (size_t i = 0; i < n; i++) table[i] = 1 + 0x1p-9F; /* 1 in bfloat16 */
    x.saved[0].value.data = x.saved[1].value.data = (const unsigned char *)table;
    lvlm_outfile *const file = open_outfile(scratch_path(s, "out.lvlm"));
    const lvlm_run run = { .threads = 2 };
    lvlm_fold_cost cost;
    if (lvlm_fold_save(&cost, &x, 0, file, &run, &err) < 0) fail_msg("%s", err.text);
    lvlm_outfile_close(file);
    assert_true(cost.n_tensors == 1 && cost.n_replaced == 1 && cost.n_values == n);
    assert_true(cost.max_error == 0x1p-9);
    const lvlm_tensor *const was = lvlm_checkpoint_find(cp, "text.embed.weight");
    uint64_t n_ones = 0; /* they stay as they were */
    for (size_t i = 0; i < n; i++)
        n_ones += was->data[2 * i] == 0x80 && was->data[2 * i + 1] == 0x3f;
    assert_true(cost.n_lost == n_ones);
    assert_true(fabs(cost.error2 - (double)n * 0x1p-18) <= 1e-12 * cost.error2);
    assert_int_equal(
        lvlm_checkpoint_open(&got, scratch_path(s, "out.lvlm"), NULL, NULL), 0);
    const lvlm_tensor *const t = lvlm_checkpoint_find(got, "text.embed.weight");
    for (size_t i = 0; i < n; i++)
        assert_true(t->data[2 * i] == 0x80 && t->data[2 * i + 1] == 0x3f);
    lvlm_checkpoint_close(got);
    lvlm_adapter_free(&x);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    lvlm_json_free(words);
}

/* Do both hold the same weights? They record the digests of their adapters' files. */
static bool weights_equal(const char *a, const char *b)
{
    lvlm_hex_digest hex[2];
    const char *const paths[] = { a, b };
    for (size_t i = 0; i < 2; i++) {
        lvlm_checkpoint *cp = NULL;
        assert_int_equal(lvlm_checkpoint_open(&cp, paths[i], NULL, NULL), 0);
        assert_int_equal(lvlm_native_weights_digest(hex[i], cp, NULL), 0);
        lvlm_checkpoint_close(cp);
    }
    return strcmp(hex[0], hex[1]) == 0;
}

static void every_generation_of_names_gives_the_same_adapter(void **state)
{
    static const char *const variants[] = { "older", "named", "bin" };
    scratch *s = *state;
    for (size_t i = 0; i < COUNT(recorded); i++) {
        char adapter[SCRATCH_PATH];
        if (!recorded[i].variants) continue;
        const char *model = native_of(s, recorded[i].base, "m.lvlm");
        const char *out = scratch_path(s, "a.lvlm"), *other = scratch_path(s, "b.lvlm");
        (void)snprintf(adapter, sizeof adapter, LORA "%s/end", recorded[i].name);
        (void)must_merge(model, adapter, out, 1);
        for (size_t v = 0; v < COUNT(variants); v++) {
            (void)snprintf(adapter, sizeof adapter, LORA "%s/end-%s", recorded[i].name,
                           variants[v]);
            (void)must_merge(model, adapter, other, 4);
            assert_true(weights_equal(out, other));
        }
    }
}

/* ---- the file ------------------------------------------------------------------- */

static void a_merged_file_records_how_many_adapters_it_has(void **state)
{
    scratch *s = *state;
    cJSON *provenance = NULL;
    lvlm_checkpoint *cp = NULL;
    uint64_t n = 0;
    const char *model = native_of(s, recorded[0].base, "m.lvlm");
    const char *once = scratch_path(s, "once.lvlm");
    const char *twice = scratch_path(s, "twice.lvlm");
    (void)must_merge(model, LORA "paligemma/start", once, 2);
    (void)must_merge(once, LORA "paligemma/end", twice, 2);
    assert_int_equal(lvlm_checkpoint_open(&cp, twice, NULL, NULL), 0);
    assert_int_equal(lvlm_native_meta_json(&provenance, cp, "provenance", NULL), 0);
    assert_true(lvlm_json_u64(&n, lvlm_json_get(provenance, LVLM_PROVENANCE_ADAPTERS)));
    assert_int_equal(n, 2);
    assert_true(lvlm_provenance_changed(provenance));
    lvlm_json_free(provenance);
    lvlm_checkpoint_close(cp);
}

static int export_source(const char *model, const char *dir, lvlm_error *err)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 2 };
    lvlm_export *ex = NULL;
    lvlm_outdir *const out = open_outdir(dir, &lvlm_model_set);
    int rc = lvlm_export_plan(&ex, model, &options, err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    return rc;
}

static void a_merged_file_exports_to_its_source_layout(void **state)
{
    scratch *s = *state;
    lvlm_error err = { .text = "" };
    const char *out = scratch_path(s, "out.lvlm"), *back = scratch_path(s, "back");
    (void)must_merge(native_of(s, recorded[0].base, "m.lvlm"), LORA "paligemma/end",
                     out, 2);
    if (export_source(out, back, &err) < 0) fail_msg("%s", err.text);
    const char *again = native_of(s, back, "again.lvlm");
    lvlm_checkpoint *a = NULL, *b = NULL;
    assert_int_equal(lvlm_checkpoint_open(&a, out, NULL, NULL), 0);
    assert_int_equal(lvlm_checkpoint_open(&b, again, NULL, NULL), 0);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++)
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data,
                            (size_t)a->tensors[i].n_bytes);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
}

/* An adapter of one module, every factor 1. */
static const char *make_adapter(scratch *s, const char *model, const char *word)
{
    static float ones[10000];
    const lvlm_adapter_config config = { .r = 2, .alpha = 4 };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest;
    lvlm_adapter x;
    lvlm_error err;
    size_t i = 0;
    for (size_t j = 0; j < COUNT(ones); j++) ones[j] = 1;
    if (lvlm_manifest_open(&manifest, &cp, model, NULL, &err) < 0 ||
        lvlm_adapter_begin(&x, &manifest, &config, &err) < 0)
        fail_msg("%s", err.text);
    while (!lvlm_module_named(x.modules.at[i].name, word)) i++;
    lvlm_adapter_add(&x, &x.modules.at[i]);
    x.at[0].a.data = x.at[0].b.data = (const unsigned char *)ones;
    lvlm_outdir *const dir = open_outdir(scratch_path(s, "made"), &lvlm_adapter_set);
    if (lvlm_adapter_save(&x, dir, &err) < 0) fail_msg("%s", err.text);
    lvlm_outdir_close(dir);
    lvlm_adapter_free(&x);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    return scratch_path(s, "made");
}

/* A pickle's checksums match only the original values: safetensors instead. */
static void a_merged_pickle_exports_as_safetensors(void **state)
{
    scratch *s = *state;
    lvlm_error err = { .text = "" };
    const char *model = native_of(s, LVLM_FIXTURES "/torch-files/zip", "m.lvlm");
    const char *out = scratch_path(s, "out.lvlm"), *back = scratch_path(s, "back");
    lvlm_checkpoint *a = NULL, *b = NULL;
    size_t n = 0;
    (void)must_merge(model, make_adapter(s, model, "q_proj"), out, 2);
    if (export_source(out, back, &err) < 0) fail_msg("%s", err.text);
    const char *again = native_of(s, back, "again.lvlm");
    assert_int_equal(lvlm_checkpoint_open(&a, out, NULL, NULL), 0);
    assert_int_equal(lvlm_checkpoint_open(&b, again, NULL, NULL), 0);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lvlm_tensor *was = &a->tensors[i];
        if (strchr(was->name, '/') != NULL) continue; /* not a tensor of the model */
        const lvlm_tensor *is = lvlm_checkpoint_find(b, was->name);
        assert_non_null(is);
        assert_memory_equal(was->data, is->data, (size_t)was->n_bytes);
        n++;
    }
    assert_true(n > 30);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
}

static void a_corrupt_tensor_is_named(void **state)
{
    scratch *s = *state;
    static const char *const names[] = { "text.blocks.0.attn.q.weight", /* adapted */
                                         "text.norm.weight" };
    for (size_t i = 0; i < COUNT(names); i++) {
        lvlm_checkpoint *cp = NULL;
        const char *model = native_of(s, recorded[0].base, "m.lvlm");
        assert_int_equal(lvlm_checkpoint_open(&cp, model, NULL, NULL), 0);
        const lvlm_tensor *t = lvlm_checkpoint_find(cp, names[i]);
        FILE *f = fopen(model, "r+b");
        assert_int_equal(fseek(f, (long)t->offset, SEEK_SET), 0);
        assert_int_equal(fputc(FILL, f), FILL);
        assert_int_equal(fclose(f), 0);
        lvlm_checkpoint_close(cp);
        must_refuse(s, LORA "paligemma/end", LVLM_ECHECK, names[i]);
    }
}

/* ---- what is refused ------------------------------------------------------------ */

static void adapters_that_do_not_fit_are_refused(void **state)
{
    scratch *s = *state;
    (void)native_of(s, recorded[0].base, "m.lvlm");
    must_refuse(s, scratch_path(s, "nowhere"), LVLM_EIO, "adapter_config.json");
    must_refuse(s, LORA "qwen_vl/end", LVLM_EFORMAT,
                "names no linear map of PaliGemma");
    scratch_copy(s, LORA "paligemma/end", "other");
    file_replace(scratch_path(s, "other/adapter_config.json"), "\"r\": 4", "\"r\": 5");
    must_refuse(s, scratch_path(s, "other"), LVLM_EFORMAT,
                "lora_A.weight': shape [4, 36], expected [5, 36]");
    must_refuse(s, make_adapter(s, scratch_path(s, "m.lvlm"), "lm_head"), LVLM_EFORMAT,
                "lm_head is tied to text.embed.weight");
}

int main(void)
{
#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(merged_weights_equal_pefts),
        CASE(saved_values_are_rounded_to_the_stored_type),
        CASE(every_generation_of_names_gives_the_same_adapter),
        CASE(a_merged_file_records_how_many_adapters_it_has),
        CASE(a_merged_file_exports_to_its_source_layout),
        CASE(a_merged_pickle_exports_as_safetensors),
        CASE(a_corrupt_tensor_is_named),
        CASE(adapters_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
