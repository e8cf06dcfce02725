/* test_convert.c - import and export: what is written, exported and refused. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "convert/export.h"
#include "convert/import.h"
#include "convert/make.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "formats/native/native.h"
#include "tests/support/scratch.h"

#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"
#define SHARDED LVLM_FIXTURES "/paligemma2-bf16/model"

static int import(const char *source, const char *native,
                  const lvlm_import_options *options, size_t threads, lvlm_error *err)
{
    static const lvlm_import_options keep;
    const lvlm_run run = { .threads = threads };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_outfile *file = NULL;
    lvlm_import *im = NULL;
    int rc = lvlm_import_plan(&im, source, options != NULL ? options : &keep, err);
    if (rc == 0) rc = lvlm_outfile_open(&file, native, false, err);
    if (rc == 0) rc = lvlm_import_execute(im, file, &run, root, err);
    lvlm_outfile_close(file);
    lvlm_import_free(im);
    return rc;
}

static void must_import(const char *source, const char *native,
                        const lvlm_import_options *options)
{
    lvlm_error err;
    if (import(source, native, options, 2, &err) < 0) fail_msg("%s", err.text);
}

static int export(const char *native, const char *dir, const char *layout,
                  uint64_t max_shard, lvlm_error *err)
{
    const lvlm_export_options options = {
        .source = strcmp(layout, "source") == 0,
        .layout = strcmp(layout, "hub") == 0 ? LVLM_LAYOUT_HUB : LVLM_LAYOUT_CURRENT,
        .max_shard = max_shard,
    };
    const lvlm_run writing = { .threads = 2 };
    lvlm_outdir *out = NULL;
    lvlm_export *ex = NULL;
    int rc = lvlm_export_plan(&ex, native, &options, err);
    if (rc == 0) rc = lvlm_outdir_open(&out, dir, false, &lvlm_model_set, err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    return rc;
}

static void must_export(const char *native, const char *dir, const char *layout,
                        uint64_t max_shard)
{
    lvlm_error err;
    if (export(native, dir, layout, max_shard, &err) < 0) fail_msg("%s", err.text);
}

/* ---- import and export ---------------------------------------------------------- */

static void import_is_deterministic_for_any_thread_count(void **state)
{
    scratch *s = *state;
    const char *a = scratch_path(s, "a"), *b = scratch_path(s, "b");
    assert_int_equal(import(SHARDED, a, NULL, 1, NULL), 0);
    assert_int_equal(import(SHARDED, b, NULL, 4, NULL), 0);
    assert_true(files_equal(a, b));
}

static void import_refuses_to_overwrite(void **state)
{
    scratch *s = *state;
    const char *a = scratch_write(s, "taken", "mine", 4);
    lvlm_error err;
    assert_int_equal(import(HUB, a, NULL, 1, &err), LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "exists; --force overwrites"));
    assert_true(files_equal(a, scratch_write(s, "same", "mine", 4)));
}

static void export_to_the_hub_layout_equals_the_hubs_bytes(void **state)
{
    static const char *const layouts[] = { "modules", "flat", "saved",
                                           "mixed",   "peft", "tied-copy" };
    scratch *s = *state;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        char source[SCRATCH_PATH], native[64], dir[64], file[80];
        (void)snprintf(source, sizeof source, LVLM_FIXTURES "/paligemma-layouts/%s",
                       layouts[i]);
        (void)snprintf(native, sizeof native, "h-%s.lvlm", layouts[i]);
        (void)snprintf(dir, sizeof dir, "h-%s", layouts[i]);
        (void)snprintf(file, sizeof file, "h-%s/model.safetensors", layouts[i]);
        must_import(source, scratch_path(s, native), NULL);
        must_export(scratch_path(s, native), scratch_path(s, dir), "hub", 5000000000u);
        assert_true(files_equal(scratch_path(s, file), HUB "/model.safetensors"));
    }
}

static void export_to_the_current_layout_equals_the_librarys_bytes(void **state)
{
    scratch *s = *state;
    must_import(HUB, scratch_path(s, "c.lvlm"), NULL);
    must_export(scratch_path(s, "c.lvlm"), scratch_path(s, "c"), "current",
                5000000000u);
    assert_true(files_equal(scratch_path(s, "c/model.safetensors"), LVLM_FIXTURES
                            "/paligemma-layouts/saved/model.safetensors"));
}

static void export_splits_into_shards_that_open_again(void **state)
{
    scratch *s = *state;
    must_import(SHARDED, scratch_path(s, "r.lvlm"), NULL);
    must_export(scratch_path(s, "r.lvlm"), scratch_path(s, "r"), "hub", 60000);
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&cp, scratch_path(s, "r"), NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(cp->n_files > 3);
    assert_int_equal(cp->n_tensors, 74);
    assert_string_equal(cp->files[0].name + strlen("model-00001-of-"),
                        strrchr(cp->files[0].name, '-') + 1);
    for (size_t i = 0; i < cp->n_files; i++)
        assert_true(cp->files[i].map->n_bytes < 60000 + 10000);
    lvlm_checkpoint_close(cp);
    must_import(scratch_path(s, "r"), scratch_path(s, "r2.lvlm"), NULL);
}

static void export_restores_unused_tensors_and_an_untied_head(void **state)
{
    static const char source[] = LVLM_FIXTURES "/paligemma-untied/model";
    scratch *s = *state;
    must_import(source, scratch_path(s, "u.lvlm"), NULL);
    must_export(scratch_path(s, "u.lvlm"), scratch_path(s, "u"), "hub", 5000000000u);
    /* config.json says that the head is tied, which is wrong: only that file differs */
    assert_false(directories_equal(source, scratch_path(s, "u")));
    scratch_copy(s, LVLM_FIXTURES "/paligemma-untied/model/config.json",
                 "u/config.json");
    assert_true(directories_equal(source, scratch_path(s, "u")));
}

/* Every unused tensor in its own shard: more files than targets. */
static void export_has_room_for_as_many_shards_as_tensors(void **state)
{
    lvlm_checkpoint *cp = NULL;
    scratch *s = *state;
    must_import(LVLM_FIXTURES "/paligemma-untied/model", scratch_path(s, "n.lvlm"),
                NULL);
    must_export(scratch_path(s, "n.lvlm"), scratch_path(s, "n"), "hub", 1);
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(s, "n"), NULL, NULL), 0);
    assert_int_equal(cp->n_files, 47);
    assert_int_equal(cp->n_tensors, 47);
    lvlm_checkpoint_close(cp);
}

/* ---- files of torch ------------------------------------------------------------- */

/* Every tensor of the model has the same bytes as in `reference`. */
static void expect_same_model(const char *native, const char *reference)
{
    lvlm_checkpoint *a = NULL, *b = NULL;
    size_t n = 0;
    assert_int_equal(lvlm_checkpoint_open(&a, native, NULL, NULL), 0);
    assert_int_equal(lvlm_checkpoint_open(&b, reference, NULL, NULL), 0);
    for (size_t i = 0; i < b->n_tensors; i++) {
        const lvlm_tensor *t = &b->tensors[i];
        if (strchr(t->name, '/') != NULL) continue; /* frames, files, padding */
        const lvlm_tensor *u = lvlm_checkpoint_find(a, t->name);
        if (u == NULL || u->dtype != t->dtype ||
            !lvlm_shape_equal(&u->shape, &t->shape) ||
            memcmp(u->data, t->data, (size_t)t->n_bytes) != 0)
            fail_msg("%s: '%s' differs", native, t->name);
        n++;
    }
    assert_int_equal(n, 34);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
}

static void torch_files_give_the_same_model_and_are_restored(void **state)
{
    static const char *const forms[] = { "zip", "legacy", "sharded", "views" };
    scratch *s = *state;
    must_import(HUB, scratch_path(s, "t.lvlm"), NULL);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char source[SCRATCH_PATH], native[64], dir[64], file[80];
        (void)snprintf(source, sizeof source, LVLM_FIXTURES "/torch-files/%s",
                       forms[i]);
        (void)snprintf(native, sizeof native, "t-%s.lvlm", forms[i]);
        (void)snprintf(dir, sizeof dir, "t-%s", forms[i]);
        must_import(source, scratch_path(s, native), NULL);
        expect_same_model(scratch_path(s, native), scratch_path(s, "t.lvlm"));
        must_export(scratch_path(s, native), scratch_path(s, dir), "source", 0);
        assert_true(directories_equal(source, scratch_path(s, dir)));
        (void)snprintf(dir, sizeof dir, "t-%s-hub", forms[i]);
        (void)snprintf(file, sizeof file, "t-%s-hub/model.safetensors", forms[i]);
        must_export(scratch_path(s, native), scratch_path(s, dir), "hub", 5000000000u);
        assert_true(files_equal(scratch_path(s, file), HUB "/model.safetensors"));
        assert_int_equal(scratch_count(s, dir), 2); /* config.json; no foreign index */
    }
}

/* Four tensors have no span in the source file. */
static void the_ledger_marks_detached_tensors(void **state)
{
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    size_t n_detached = 0, n_tied = 0;
    must_import(LVLM_FIXTURES "/torch-files/views", scratch_path(s, "detached.lvlm"),
                NULL);
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "detached.lvlm"), NULL, NULL), 0);
    assert_int_equal(lvlm_manifest_build(&m, cp, NULL), 0);
    assert_int_equal(m.ledger.n_entries, 35);
    for (size_t i = 0; i < m.ledger.n_entries; i++) {
        n_detached += m.ledger.entries[i].source.detached;
        n_tied += m.ledger.entries[i].use == LVLM_USE_TIED;
    }
    assert_int_equal(n_detached, 4); /* head or embedding, two queries, the patches */
    assert_int_equal(n_tied, 1);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
}

static void export_names_a_corrupt_tensor_and_writes_nothing(void **state)
{
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    must_import(HUB, scratch_path(s, "x.lvlm"), NULL);
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(s, "x.lvlm"), NULL, NULL),
                     0);
    const lvlm_tensor *t = lvlm_checkpoint_find(cp, "text.blocks.0.attn.v.weight");
    const uint64_t at = t->offset;
    lvlm_checkpoint_close(cp);
    FILE *file = fopen(scratch_path(s, "x.lvlm"), "r+b");
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc('!', file), '!');
    assert_int_equal(fclose(file), 0);
    const size_t before = scratch_count(s, "");
    assert_int_equal(
        export(scratch_path(s, "x.lvlm"), scratch_path(s, "x"), "source", 0, &err),
        LVLM_ECHECK);
    assert_non_null(
        strstr(err.text, "tensor 'text.blocks.0.attn.v.weight' is corrupt"));
    assert_int_equal(scratch_count(s, ""), before);
}

/* ---- dtype ---------------------------------------------------------------------- */

static void import_rounds_to_the_requested_dtype(void **state)
{
    const lvlm_import_options options = { .change_dtype = true, .dtype = LVLM_BF16 };
    scratch *s = *state;
    lvlm_checkpoint *hf = NULL, *native = NULL;
    must_import(HUB, scratch_path(s, "d.lvlm"), &options);
    assert_int_equal(lvlm_checkpoint_open(&hf, HUB, NULL, NULL), 0);
    assert_int_equal(
        lvlm_checkpoint_open(&native, scratch_path(s, "d.lvlm"), NULL, NULL), 0);
    const lvlm_tensor *a =
        lvlm_checkpoint_find(hf, "multi_modal_projector.linear.weight");
    const lvlm_tensor *b = lvlm_checkpoint_find(native, "connector.proj.weight");
    assert_int_equal(b->dtype, LVLM_BF16);
    for (size_t i = 0; i < lvlm_tensor_numel(a); i++) {
        float value;
        uint16_t half;
        memcpy(&value, a->data + 4 * i, 4);
        memcpy(&half, b->data + 2 * i, 2);
        assert_int_equal(half, lvlm_bf16_of_f32(value));
    }
    lvlm_checkpoint_close(hf);
    lvlm_checkpoint_close(native);
    lvlm_error err;
    assert_int_equal(
        export(scratch_path(s, "d.lvlm"), scratch_path(s, "d"), "source", 0, &err),
        LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "the source's bytes are lost"));
}

static const lvlm_checkpoint *open_native(lvlm_checkpoint **cp, const char *path)
{
    lvlm_error err;
    if (lvlm_checkpoint_open(cp, path, NULL, &err) < 0) fail_msg("%s", err.text);
    return *cp;
}

static void import_counts_what_f16_cannot_hold(void **state)
{
    const lvlm_import_options options = { .change_dtype = true, .dtype = LVLM_F16 };
    const lvlm_run run = { .threads = 2 };
    const float large = 70000;
    char root[LVLM_DIGEST_HEX + 1];
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL;
    lvlm_import *im = NULL;
    scratch_copy(s, HUB, "big");
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(s, "big"), NULL, NULL), 0);
    const lvlm_tensor *t =
        lvlm_checkpoint_find(cp, "multi_modal_projector.linear.weight");
    const long at = (long)t->offset + 8;
    lvlm_checkpoint_close(cp);
    FILE *file = fopen(scratch_path(s, "big/model.safetensors"), "r+b");
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(&large, sizeof large, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(lvlm_import_plan(&im, scratch_path(s, "big"), &options, NULL), 0);
    lvlm_outfile *const native = open_outfile(scratch_path(s, "big.lvlm"));
    assert_int_equal(lvlm_import_execute(im, native, &run, root, NULL), 0);
    lvlm_outfile_close(native);
    for (size_t i = 0; i < lvlm_import_planned(im).plan->n_steps; i++)
        assert_int_equal(lvlm_import_planned(im).plan->steps[i].narrowing.n_overflowed,
                         strcmp(lvlm_import_planned(im).plan->steps[i].out.name,
                                "connector.proj.weight") == 0);
    assert_int_equal(lvlm_plan_narrowing(lvlm_import_planned(im).plan).n_overflowed, 1);
    assert_int_equal(lvlm_plan_narrowing(lvlm_import_planned(im).plan).n_flushed, 0);
    const char *provenance = lvlm_json_string(lvlm_json_get(
        open_native(&cp, scratch_path(s, "big.lvlm"))->metadata, "provenance"));
    assert_non_null(strstr(provenance, "\"overflowed\":1,\"flushed\":0}"));
    lvlm_checkpoint_close(cp);
    lvlm_import_free(im);
}

static void widened_weights_are_restored_byte_for_byte(void **state)
{
    const lvlm_import_options options = { .change_dtype = true, .dtype = LVLM_F32 };
    scratch *s = *state;
    must_import(SHARDED, scratch_path(s, "w.lvlm"), &options);
    must_export(scratch_path(s, "w.lvlm"), scratch_path(s, "w"), "source", 0);
    assert_true(directories_equal(SHARDED, scratch_path(s, "w")));
}

static void a_fresh_layout_records_the_new_dtype_and_changes_nothing_else(void **state)
{
    const lvlm_import_options options = { .change_dtype = true, .dtype = LVLM_F16 };
    scratch *s = *state;
    must_import(LVLM_FIXTURES "/paligemma-odd/model", scratch_path(s, "f.lvlm"),
                &options);
    must_export(scratch_path(s, "f.lvlm"), scratch_path(s, "f"), "hub", 5000000000u);
    file_replace(scratch_path(s, "f/config.json"), "\"dtype\": \"float16\"",
                 "\"dtype\": \"float32\"");
    assert_true(files_equal(scratch_path(s, "f/config.json"),
                            LVLM_FIXTURES "/paligemma-odd/model/config.json"));
}

/* ---- missing projections -------------------------------------------------------- */

/* A copy of the hub's checkpoint whose projector has other names. */
static const char *without_projector(scratch *s)
{
    if (!lvlm_path_exists(scratch_path(s, "np"))) {
        scratch_copy(s, HUB, "np");
        const char *file = scratch_path(s, "np/model.safetensors");
        /* names that a rule keeps, so that the missing tensors are the only problem */
        file_replace(file, "\"multi_modal_projector.linear.bias\"",
                     "\"vision_tower.head.aaaaaaaaaaaaaaa\"");
        file_replace(file, "\"multi_modal_projector.linear.weight\"",
                     "\"vision_tower.head.bbbbbbbbbbbbbbbbb\"");
    }
    return scratch_path(s, "np");
}

static void import_refuses_a_missing_projector_and_leaves_nothing(void **state)
{
    scratch *s = *state;
    lvlm_error err;
    const char *source = without_projector(s);
    const size_t before = scratch_count(s, "");
    assert_int_equal(import(source, scratch_path(s, "np.lvlm"), NULL, 2, &err),
                     LVLM_ECHECK);
    assert_non_null(strstr(err.text, "2 tensors do not match PaliGemma"));
    assert_int_equal(scratch_count(s, ""), before);
}

static void import_creates_only_what_was_allowed_and_records_it(void **state)
{
    scratch *s = *state;
    lvlm_import_options options = { 0 };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    assert_int_equal(lvlm_init_parse(&options.init, "it", "xavier", 7, NULL), 0);
    must_import(without_projector(s), scratch_path(s, "made.lvlm"), &options);
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "made.lvlm"), NULL, NULL), 0);
    assert_int_equal(lvlm_manifest_build(&m, cp, NULL), 0);
    const lvlm_target *t = lvlm_manifest_find(&m, "connector.proj.weight");
    assert_int_equal(t->state, LVLM_TARGET_MADE);
    assert_int_equal(m.ledger.n_made, 2);
    assert_string_equal(m.ledger.made[0].how, "xavier, seed 7");
    float expected[144];
    lvlm_init_values(expected, 0, 144, &options.init, t->here.tensor);
    assert_memory_equal(t->here.tensor->data, expected, sizeof expected);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
}

static void created_values_depend_only_on_seed_name_and_index(void **state)
{
    enum { N = 40000 };
    static float a[N], b[N];
    lvlm_init init;
    const lvlm_tensor t = { .name = "connector.proj.weight",
                            .shape = { 2, { 200, 200 } } };
    double sum = 0, sum2 = 0;
    (void)state;
    assert_int_equal(lvlm_init_parse(&init, "it", "normal:0.02", 3, NULL), 0);
    lvlm_init_values(a, 0, N, &init, &t);
    lvlm_init_values(b + 100, 100, 900, &init, &t);
    assert_memory_equal(a + 100, b + 100, 900 * sizeof *a);
    for (size_t i = 0; i < N; i++) {
        sum += a[i];
        sum2 += (double)a[i] * a[i];
    }
    assert_true(fabs(sum / N) < 4 * 0.02 / sqrt(N));      /* observed 0.9e-4 */
    assert_true(fabs(sqrt(sum2 / N) - 0.02) < 0.02 / 50); /* observed 1e-5 */
    init.seed = 4;
    lvlm_init_values(b, 0, N, &init, &t);
    assert_true(memcmp(a, b, sizeof a) != 0);
    assert_int_equal(lvlm_init_parse(&init, "it", "xavier", 3, NULL), 0);
    lvlm_init_values(a, 0, N, &init, &t);
    for (size_t i = 0; i < N; i++) assert_true(fabs(a[i]) <= sqrt(6.0 / 400));
    assert_int_equal(lvlm_init_parse(&init, "it", "normal:-1", 0, NULL), LVLM_EUSAGE);
    assert_int_equal(lvlm_init_parse(&init, "it", "normal:", 0, NULL), LVLM_EUSAGE);
    assert_int_equal(lvlm_init_parse(&init, "it", "ones", 0, NULL), LVLM_EUSAGE);
}

/* ---- a full disk ---------------------------------------------------------------- */

static void a_full_disk_is_named_and_leaves_the_old_state(void **state)
{
    scratch *s = *state;
    const struct rlimit limit = { 20000, RLIM_INFINITY };
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    lvlm_error err = { .text = "" };
    const char *native = scratch_path(s, "full.lvlm");
    const size_t before = scratch_count(s, "");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int rc = import(HUB, native, NULL, 2, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(rc, LVLM_EIO);
    assert_non_null(strstr(err.text, "full.lvlm: cannot write"));
    assert_int_equal(scratch_count(s, ""), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(import_is_deterministic_for_any_thread_count),
        cmocka_unit_test(import_refuses_to_overwrite),
        cmocka_unit_test(export_to_the_hub_layout_equals_the_hubs_bytes),
        cmocka_unit_test(export_to_the_current_layout_equals_the_librarys_bytes),
        cmocka_unit_test(export_splits_into_shards_that_open_again),
        cmocka_unit_test(export_has_room_for_as_many_shards_as_tensors),
        cmocka_unit_test(export_restores_unused_tensors_and_an_untied_head),
        cmocka_unit_test(torch_files_give_the_same_model_and_are_restored),
        cmocka_unit_test(the_ledger_marks_detached_tensors),
        cmocka_unit_test(export_names_a_corrupt_tensor_and_writes_nothing),
        cmocka_unit_test(import_rounds_to_the_requested_dtype),
        cmocka_unit_test(import_counts_what_f16_cannot_hold),
        cmocka_unit_test(widened_weights_are_restored_byte_for_byte),
        cmocka_unit_test(a_fresh_layout_records_the_new_dtype_and_changes_nothing_else),
        cmocka_unit_test(import_refuses_a_missing_projector_and_leaves_nothing),
        cmocka_unit_test(import_creates_only_what_was_allowed_and_records_it),
        cmocka_unit_test(created_values_depend_only_on_seed_name_and_index),
        cmocka_unit_test(a_full_disk_is_named_and_leaves_the_old_state),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
