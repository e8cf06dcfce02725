/* test_fixtures.c - what every family must bring: a fixture that converts, comes
 * back byte for byte, and replays in both precisions; and proof that a wrong weight
 * is found.
 *
 *   families.def x fixtures/NAME -> hf2native -> native2hf == source
 *                                -> replay golden: all stages in their bands
 *                                -> replay golden64: stages and gradients, exact
 *                                -> one lowest bit flipped: its stage is named */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convert/export.h"
#include "formats/base/json.h"
#include "tests/replay/converted.h"
#include "verify/replay.h"

enum { PATH = 512 };

typedef struct fixture {
    char name[128];
    char model[PATH];
    char golden[PATH]; /* in double */
    char family[64];
} fixture;

static char place[128];

static int make_scratch(void **state)
{
    (void)state;
    const char *dir = getenv("TMPDIR");
    (void)snprintf(place, sizeof place, "%s/lvlm-fixtures-XXXXXX",
                   dir != NULL ? dir : P_tmpdir);
    return mkdtemp(place) == NULL ? -1 : 0;
}

static void path_in_scratch(char path[PATH], const char *name)
{
    (void)snprintf(path, PATH, "%s/%s", place, name);
}

static int remove_scratch(void **state)
{
    char **names;
    size_t n;
    (void)state;
    if (lvlm_path_list(&names, &n, place, NULL) < 0) return -1;
    for (size_t i = 0; i < n; i++) {
        char path[PATH];
        path_in_scratch(path, names[i]);
        (void)unlink(path);
    }
    lvlm_path_list_free(names, n);
    return rmdir(place);
}

/* ---- fixtures ------------------------------------------------------------------- */

/* Reads what a golden says about itself; false when the folder holds none. */
static bool describe(fixture *f, const char *name)
{
    lvlm_checkpoint *golden = NULL;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    (void)snprintf(f->model, PATH, LVLM_FIXTURES "/%s/model", f->name);
    (void)snprintf(f->golden, PATH, LVLM_FIXTURES "/%s/golden64.safetensors", f->name);
    if (lvlm_checkpoint_open(&golden, f->golden, NULL, NULL) < 0) return false;
    const char *family = lvlm_json_string(lvlm_json_get(golden->metadata, "family"));
    (void)snprintf(f->family, sizeof f->family, "%s", family != NULL ? family : "");
    lvlm_checkpoint_close(golden);
    return true;
}

static bool is_known(const char *family)
{
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++)
        if (strcmp((*f)->name, family) == 0) return true;
    return false;
}

/* Fixtures of families that are not in families.def yet wait for their line there. */
static size_t for_each_fixture(void (*visit)(const fixture *f), const char *family)
{
    DIR *dir = opendir(LVLM_FIXTURES);
    size_t n = 0;
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        fixture f;
        if (entry->d_name[0] == '.' || !describe(&f, entry->d_name)) continue;
        if (!is_known(f.family)) continue;
        if (family != NULL && strcmp(f.family, family) != 0) continue;
        n++;
        if (visit != NULL) visit(&f);
    }
    closedir(dir);
    return n;
}

static void every_family_has_a_fixture(void **state)
{
    (void)state;
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++)
        if (for_each_fixture(NULL, (*f)->name) == 0)
            fail_msg("no fixture records family %s", (*f)->name);
}

/* ---- round trip ----------------------------------------------------------------- */

static void assert_same_file(const char *a, const char *b)
{
    lvlm_infile *x = NULL, *y = NULL;
    lvlm_error err;
    if (lvlm_infile_open(&x, a, &err) < 0 || lvlm_infile_open(&y, b, &err) < 0)
        fail_msg("%s", err.text);
    if (x->n_bytes != y->n_bytes || memcmp(x->bytes, y->bytes, (size_t)x->n_bytes) != 0)
        fail_msg("%s and %s differ", a, b);
    lvlm_infile_close(x);
    lvlm_infile_close(y);
}

/* Both directories list the same names with the same bytes; `b` is then removed. */
static void assert_same_directory(const char *a, const char *b)
{
    char **x, **y;
    size_t n, m;
    assert_int_equal(lvlm_path_list(&x, &n, a, NULL), 0);
    assert_int_equal(lvlm_path_list(&y, &m, b, NULL), 0);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        char left[2 * PATH], right[2 * PATH];
        assert_string_equal(x[i], y[i]);
        (void)snprintf(left, sizeof left, "%s/%s", a, x[i]);
        (void)snprintf(right, sizeof right, "%s/%s", b, y[i]);
        assert_same_file(left, right);
        (void)unlink(right);
    }
    lvlm_path_list_free(x, n);
    lvlm_path_list_free(y, m);
    assert_int_equal(rmdir(b), 0);
}

static void round_trip(const fixture *f)
{
    const lvlm_export_options options = { .source = true, .threads = 2 };
    char native[PATH], back[PATH];
    lvlm_export export;
    lvlm_error err;
    path_in_scratch(native, "model.lvlm");
    path_in_scratch(back, "back");
    native_convert(f->model, native);
    lvlm_outdir *const dir = open_outdir(back, &lvlm_model_set);
    if (lvlm_export_plan(&export, native, &options, &err) < 0 ||
        lvlm_export_execute(&export, dir, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    lvlm_outdir_close(dir);
    lvlm_export_free(&export);
    assert_same_directory(f->model, back);
}

static void every_fixture_comes_back_byte_for_byte(void **state)
{
    (void)state;
    assert_true(for_each_fixture(round_trip, NULL) > 0);
}

/* ---- replay --------------------------------------------------------------------- */

static void run(lvlm_replay *replay, const char *native, const char *golden,
                const lvlm_replay_options *options)
{
    lvlm_error err;
    if (lvlm_replay_run(replay, native, golden, options, &err) < 0)
        fail_msg("%s: %s", golden, err.text);
}

/* Every stage has that verdict, and there are at least so many. */
static void expect(const lvlm_replay *replay, lvlm_verdict verdict, size_t least)
{
    for (size_t i = 0; i < replay->n_stages; i++)
        if (replay->stages[i].verdict != verdict)
            fail_msg("%s: %s: %s, %.2e", replay->golden, replay->stages[i].name,
                     lvlm_verdict_name(replay->stages[i].verdict),
                     replay->stages[i].error);
    assert_true(replay->n_stages >= least);
}

/* A recording in float32: every stage is within its band. */
static void replay_float32(const char *native, const char *golden)
{
    const lvlm_replay_options options = { .threads = 2 };
    lvlm_replay replay;
    run(&replay, native, golden, &options);
    assert_int_equal(replay.compute, LVLM_COMPUTE_F32);
    expect(&replay, LVLM_VERDICT_OK, 3); /* text.norm, logits and loss */
    lvlm_replay_free(&replay);
}

/* One in double: every stage and gradient is exact. Observed at most 4.3e-15 and
 * 3.4e-13 with gcc 12 and OpenBLAS 0.3.21; recordings made with AVX2 and with AVX-512
 * differ by up to 2.0e-15 and 2.7e-13. */
static void replay_double(const char *native, const char *golden)
{
    const lvlm_replay_options options = { .threads = 2, .grads = true };
    lvlm_replay replay;
    run(&replay, native, golden, &options);
    assert_int_equal(replay.compute, LVLM_COMPUTE_F64);
    expect(&replay, LVLM_VERDICT_EXACT, 10 + 30); /* stages and gradients */
    assert_string_equal(replay.source, replay.recording.source); /* of every tensor */
    lvlm_replay_free(&replay);
}

/* golden.safetensors, golden64.safetensors, and those of other references. */
static void replay_all(const fixture *f)
{
    char native[PATH], folder[PATH / 2], **names;
    size_t n, n_goldens = 0;
    path_in_scratch(native, "model.lvlm");
    native_convert(f->model, native);
    (void)snprintf(folder, sizeof folder, LVLM_FIXTURES "/%s", f->name);
    assert_int_equal(lvlm_path_list(&names, &n, folder, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char golden[PATH];
        if (strncmp(names[i], "golden", 6) != 0) continue;
        (void)snprintf(golden, PATH, "%s/%.100s", folder, names[i]);
        if (strncmp(names[i], "golden64", 8) == 0)
            replay_double(native, golden);
        else
            replay_float32(native, golden);
        n_goldens++;
    }
    assert_true(n_goldens >= 2);
    lvlm_path_list_free(names, n);
}

static void every_fixture_replays_in_both_precisions(void **state)
{
    (void)state;
    assert_true(for_each_fixture(replay_all, NULL) > 0);
}

/* ---- planted errors ------------------------------------------------------------- */

/* Flips the lowest bit of one value, the least that can be wrong. */
static void flip(unsigned char *bytes, const lvlm_tensor *t)
{
    bytes[7 % lvlm_tensor_numel(t) * lvlm_dtype_bytes(t->dtype)] ^= 1;
}

/* Weights of every part, and the stage that shows a wrong one first. */
static const struct {
    const char *fixture;
    const char *tensor;
    const char *stage;
} planted[] = {
    { "paligemma2-bf16", "vision.patch.bias", "vision.patches" },
    { "paligemma2-bf16", "vision.positions.weight", "vision.embed" },
    { "paligemma2-bf16", "vision.blocks.1.attn.k.weight", "vision.blocks.1" },
    { "paligemma2-bf16", "vision.blocks.0.mlp.fc2.bias", "vision.blocks.0" },
    { "paligemma2-bf16", "vision.norm.weight", "vision.out" },
    { "paligemma2-bf16", "connector.proj.weight", "connector.out" },
    { "paligemma2-bf16", "connector.proj.bias", "connector.out" },
    { "paligemma2-bf16", "text.blocks.0.norm1.weight", "text.blocks.0" },
    { "paligemma2-bf16", "text.blocks.1.post_attn_norm.weight", "text.blocks.1" },
    { "paligemma2-bf16", "text.blocks.2.mlp.up.weight", "text.blocks.2" },
    { "paligemma2-bf16", "text.norm.weight", "text.norm" },
    { "qwen2_vl-odd", "vision.patch.weight", "vision.patches" },
    { "qwen2_vl-odd", "vision.blocks.0.norm1.bias", "vision.blocks.0" },
    { "qwen2_vl-odd", "vision.blocks.1.attn.q.bias", "vision.blocks.1" },
    { "qwen2_vl-odd", "connector.norm.bias", "connector.norm" },
    { "qwen2_vl-odd", "connector.fc1.bias", "connector.out" },
    { "qwen2_vl-odd", "connector.fc2.weight", "connector.out" },
    { "qwen2_vl-odd", "text.blocks.0.attn.q.bias", "text.blocks.0" },
    { "qwen2_5_vl-odd", "vision.blocks.0.mlp.up.bias", "vision.blocks.0" },
    { "qwen2_5_vl-odd", "vision.blocks.1.norm2.weight", "vision.blocks.1" },
    { "qwen2_5_vl-odd", "connector.norm.weight", "connector.norm" },
    { "qwen2_5_vl-odd", "text.blocks.0.attn.v.bias", "text.blocks.0" },
    { "qwen2_5_vl-odd", "text.norm.weight", "text.norm" },
    { "qwen_vl-odd", "vision.patch.weight", "vision.patches" },
    { "qwen_vl-odd", "vision.positions.weight", "vision.embed" },
    { "qwen_vl-odd", "vision.norm_pre.weight", "vision.embed" },
    { "qwen_vl-odd", "vision.blocks.1.attn.v.bias", "vision.blocks.1" },
    { "qwen_vl-odd", "connector.kv.weight", "connector.attn" },
    { "qwen_vl-odd", "connector.queries", "connector.attn" },
    { "qwen_vl-odd", "connector.positions.weight", "connector.attn" },
    { "qwen_vl-odd", "connector.attn.v.bias", "connector.attn" },
    { "qwen_vl-odd", "connector.norm_out.bias", "connector.ln_post" },
    { "qwen_vl-odd", "connector.proj.weight", "connector.out" },
    { "qwen_vl-odd", "text.blocks.0.attn.k.bias", "text.blocks.0" },
    { "qwen_vl-odd", "text.blocks.0.mlp.gate.weight", "text.blocks.0" },
    { "mllama-odd", "vision.patch.weight", "vision.patches" },
    { "mllama-odd", "vision.class", "vision.embed" },
    { "mllama-odd", "vision.positions.gate", "vision.embed" },
    { "mllama-odd", "vision.positions.tiles", "vision.embed" },
    { "mllama-odd", "vision.pre_tile.gate", "vision.embed" },
    { "mllama-odd", "vision.blocks.1.mlp.fc1.bias", "vision.blocks.1" },
    { "mllama-odd", "vision.norm_post.bias", "vision.global_blocks.0" },
    { "mllama-odd", "vision.post_tile.gate", "vision.global_blocks.0" },
    { "mllama-odd", "vision.global_blocks.1.attn_gate", "vision.global_blocks.1" },
    { "mllama-odd", "connector.proj.weight", "connector.out" },
    { "mllama-odd", "text.blocks.0.attn.k.weight", "text.blocks.0" },
    { "mllama-odd", "text.norm.weight", "text.norm" },
};

static void a_changed_weight_is_found_at_its_stage(void **state)
{
    const lvlm_replay_options options = { .threads = 2 };
    char native[PATH], wrong[PATH];
    (void)state;
    path_in_scratch(native, "model.lvlm");
    path_in_scratch(wrong, "wrong.lvlm");
    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        fixture f;
        lvlm_replay replay;
        assert_true(describe(&f, planted[i].fixture));
        if (i == 0 || strcmp(planted[i].fixture, planted[i - 1].fixture) != 0)
            native_convert(f.model, native);
        native_change(native, planted[i].tensor, flip, wrong);
        run(&replay, wrong, f.golden, &options);
        if (replay.first_bad == NULL) fail_msg("%s: not noticed", planted[i].tensor);
        assert_string_equal(replay.first_bad->name, planted[i].stage);
        assert_string_not_equal(replay.source, replay.recording.source);
        lvlm_replay_free(&replay);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_has_a_fixture),
        cmocka_unit_test(every_fixture_comes_back_byte_for_byte),
        cmocka_unit_test(every_fixture_replays_in_both_precisions),
        cmocka_unit_test(a_changed_weight_is_found_at_its_stage),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
