/* test_adapter_saved.c - adapters that are written: what is read again, and the digests
 * inside, for which every bit counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/adapter/adapter.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "tests/support/fixture_model.h"
#include "tests/support/scratch.h"

#define LORA LVLM_FIXTURES "/lora/"
#define COUNT(array) (sizeof(array) / sizeof *(array))

static int save(const lvlm_adapter *adapter, const char *path, lvlm_error *err)
{
    lvlm_outdir *const dir = open_outdir(path, &lvlm_adapter_set);
    const int rc = lvlm_adapter_save(adapter, dir, err);
    lvlm_outdir_close(dir);
    return rc;
}

/* ---- writing -------------------------------------------------------------------- */

/* Are the tensors the same, in the same order, whatever the metadata? */
static bool tensors_equal(const char *a, const char *b)
{
    lvlm_checkpoint *x = NULL, *y = NULL;
    assert_int_equal(lvlm_checkpoint_open(&x, a, NULL, NULL), 0);
    assert_int_equal(lvlm_checkpoint_open(&y, b, NULL, NULL), 0);
    bool same = x->n_tensors == y->n_tensors;
    for (size_t i = 0; same && i < x->n_tensors; i++) {
        const lvlm_tensor *const t = &x->tensors[i], *const u = &y->tensors[i];
        same = strcmp(t->name, u->name) == 0 && t->dtype == u->dtype &&
               lvlm_shape_equal(&t->shape, &u->shape) &&
               memcmp(t->data, u->data, (size_t)t->n_bytes) == 0;
    }
    lvlm_checkpoint_close(x);
    lvlm_checkpoint_close(y);
    return same;
}

static void a_written_adapter_equals_the_one_that_was_read(void **state)
{
    static const struct {
        const char *name, *fixture;
    } cases[] = { { "paligemma", "paligemma-odd" },
                  { "qwen2_vl", "qwen2_vl-odd" },
                  { "mllama", "mllama-odd" },
                  { "qwen_vl", "qwen_vl-odd" },
                  { "paligemma-saved", "paligemma-untied" },
                  { "qwen2_vl-saved", "qwen2_vl-odd" } };
    scratch *s = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char dir[256], theirs[300];
        fixture_model m;
        fixture_model_open(&m, LVLM_FIXTURES, cases[i].fixture);
        lvlm_adapter x, again;
        lvlm_error err;
        (void)snprintf(dir, sizeof dir, LORA "%s/end", cases[i].name);
        (void)snprintf(theirs, sizeof theirs, "%s/adapter_model.safetensors", dir);
        if (lvlm_adapter_open(&x, dir, &m.manifest, &err) < 0 ||
            save(&x, scratch_path(s, "one"), &err) < 0 ||
            lvlm_adapter_open(&again, scratch_path(s, "one"), &m.manifest, &err) < 0 ||
            save(&again, scratch_path(s, "two"), &err) < 0)
            fail_msg("%s", err.text);
        assert_true(directories_equal(scratch_path(s, "one"), scratch_path(s, "two")));
        assert_true(
            tensors_equal(scratch_path(s, "one/adapter_model.safetensors"), theirs));
        assert_int_equal(again.n, x.n);
        for (size_t j = 0; j < x.n; j++)
            assert_true(again.at[j].scale == x.at[j].scale &&
                        again.at[j].r == x.at[j].r);
        assert_int_equal(again.n_saved, x.n_saved);
        lvlm_adapter_free(&x);
        lvlm_adapter_free(&again);
        fixture_model_close(&m);
    }
}

/* ---- sealed --------------------------------------------------------------------- */

/* PaliGemma's adapter, written here. */
static void write_sealed(scratch *s, const fixture_model *m)
{
    lvlm_adapter x;
    lvlm_error err;
    if (lvlm_adapter_open(&x, LORA "paligemma/end", &m->manifest, &err) < 0 ||
        save(&x, scratch_path(s, "sealed"), &err) < 0)
        fail_msg("%s", err.text);
    lvlm_adapter_free(&x);
}

/* What determines its result, as text. */
static char *settings_text(const lvlm_adapter *x)
{
    cJSON *json = NULL;
    char *text = NULL;
    assert_int_equal(lvlm_adapter_settings(&json, x, NULL), 0);
    assert_int_equal(lvlm_json_print(&text, json, NULL), 0);
    lvlm_json_free(json);
    return text;
}

/* Flip one bit of one of the adapter's files and open it: returns the code, or 1 if it
 * opens and its result is unchanged. */
static int open_flipped(scratch *s, const fixture_model *m, const char *name,
                        const unsigned char *bytes, size_t n, size_t at,
                        const char *sound)
{
    unsigned char *const copy = malloc(n);
    char path[64];
    lvlm_adapter x;
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    copy[at] = (unsigned char)(copy[at] ^ 1u << at % 8);
    (void)snprintf(path, sizeof path, "sealed/%s", name);
    scratch_write(s, path, copy, n);
    int rc = lvlm_adapter_open(&x, scratch_path(s, "sealed"), &m->manifest, NULL);
    if (rc == 0) {
        char *const text = settings_text(&x);
        rc = strcmp(text, sound) == 0;
        lvlm_free(text);
    }
    lvlm_adapter_free(&x);
    free(copy);
    return rc;
}

static void flip_file(scratch *s, const fixture_model *m, const char *name, size_t step,
                      bool may_open, const char *sound)
{
    lvlm_infile *file = NULL;
    char path[64];
    (void)snprintf(path, sizeof path, "sealed/%s", name);
    assert_int_equal(lvlm_infile_open(&file, scratch_path(s, path), NULL), 0);
    const size_t n = (size_t)file->n_bytes;
    unsigned char *const bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, file->bytes, n);
    lvlm_infile_close(file);
    for (size_t at = 0; at < n; at += step) {
        const int rc = open_flipped(s, m, name, bytes, n, at, sound);
        if (rc >= 0 && !(may_open && rc == 1))
            fail_msg("%s: bit %zu of byte %zu is not noticed", name, at % 8, at);
    }
    scratch_write(s, path, bytes, n);
    free(bytes);
}

static void flipped_bits_of_a_sealed_adapter_are_detected(void **state)
{
    scratch *s = *state;
    fixture_model m;
    lvlm_adapter x;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-odd");
    write_sealed(s, &m);
    assert_int_equal(
        lvlm_adapter_open(&x, scratch_path(s, "sealed"), &m.manifest, NULL), 0);
    char *const sound = settings_text(&x);
    lvlm_adapter_free(&x);
    flip_file(s, &m, "adapter_model.safetensors", 7, false, sound);
    /* the name of the base, white space and null keys have no effect */
    flip_file(s, &m, "adapter_config.json", 1, true, sound);
    lvlm_free(sound);
    fixture_model_close(&m);
}

static void edited_settings_are_named(void **state)
{
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        { "\"lora_alpha\": 8", "\"lora_alpha\": 9",
          "records lora_alpha 8, and adapter_config.json says 9" },
        { "\"use_rslora\": false", "\"use_rslora\": true ",
          "records use_rslora false, and adapter_config.json says true" },
        { "\"lora_dropout\": 0", "\"lora_dropouT\": 0", "lora_dropouT is set" },
    };
    scratch *s = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture_model m;
        lvlm_adapter x;
        lvlm_error err = { .text = "" };
        fixture_model_open(&m, LVLM_FIXTURES, "paligemma-odd");
        write_sealed(s, &m);
        file_replace(scratch_path(s, "sealed/adapter_config.json"), cases[i].from,
                     cases[i].to);
        assert_true(
            lvlm_adapter_open(&x, scratch_path(s, "sealed"), &m.manifest, &err) < 0);
        if (strstr(err.text, cases[i].why) == NULL)
            fail_msg("'%s' is not in: %s", cases[i].why, err.text);
        lvlm_adapter_free(&x);
        fixture_model_close(&m);
    }
}

/* target_modules of an adapter of all linear modules for which `wanted` ends a name. */
static char *targets_of(scratch *s, const fixture_model *m, const char *const *wanted,
                        size_t n)
{
    static const float zeros[20000];
    const lvlm_adapter_config config = { .r = 2, .alpha = 4, .base = "some/model" };
    lvlm_adapter x;
    lvlm_checkpoint *cp = NULL;
    cJSON *json = NULL;
    char *text = NULL, bytes[20000];
    assert_int_equal(lvlm_adapter_begin(&x, &m->manifest, &config, NULL), 0);
    for (size_t i = 0; i < x.modules.n; i++)
        for (size_t j = 0; j < n; j++) {
            if (!lvlm_module_named(x.modules.at[i].name, wanted[j])) continue;
            lvlm_adapter_add(&x, &x.modules.at[i]);
            x.at[x.n - 1].a.data = (const unsigned char *)zeros;
            x.at[x.n - 1].b.data = (const unsigned char *)zeros;
        }
    assert_int_equal(save(&x, scratch_path(s, "x"), NULL), 0);
    FILE *f = fopen(scratch_path(s, "x/adapter_config.json"), "rb");
    const size_t length = fread(bytes, 1, sizeof bytes, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(lvlm_json_parse(&json, bytes, length, NULL), 0);
    assert_int_equal(
        lvlm_json_print(&text, lvlm_json_get(json, "target_modules"), NULL), 0);
    assert_string_equal(
        lvlm_json_string(lvlm_json_get(json, "base_model_name_or_path")), "some/model");
    lvlm_json_free(json);
    lvlm_checkpoint_close(cp);
    lvlm_adapter_free(&x);
    return text;
}

static void targets_match_these_modules_and_no_others(void **state)
{
    static const char *const both[] = { "q_proj", "v_proj" };
    static const char *const text[] = {
        "model.language_model.layers.0.self_attn.q_proj"
    };
    static const char *const number[] = { "merger.mlp.0" }, *const proj[] = {
        "attn.proj"
    };
    scratch *s = *state;
    fixture_model p, q;
    fixture_model_open(&p, LVLM_FIXTURES, "paligemma-odd");
    fixture_model_open(&q, LVLM_FIXTURES, "qwen2_vl-text");
    char *got[] = { targets_of(s, &p, both, 2), targets_of(s, &p, text, 1),
                    targets_of(s, &q, number, 1), targets_of(s, &q, proj, 1) };
    assert_string_equal(got[0], "[\"q_proj\",\"v_proj\"]");
    /* q_proj would match the tower's too, 0 every block's, proj the patch embedding */
    assert_string_equal(got[1], "[\"model.language_model.layers.0.self_attn.q_proj\"]");
    assert_string_equal(got[2], "[\"model.visual.merger.mlp.0\"]");
    assert_non_null(strstr(got[3], "\"model.visual.blocks.0.attn.proj\""));
    for (size_t i = 0; i < COUNT(got); i++) lvlm_free(got[i]);
    fixture_model_close(&p);
    fixture_model_close(&q);
}

int main(void)
{
#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_written_adapter_equals_the_one_that_was_read),
        CASE(flipped_bits_of_a_sealed_adapter_are_detected),
        CASE(edited_settings_are_named),
        CASE(targets_match_these_modules_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
