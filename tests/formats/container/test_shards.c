/* test_shards.c - models in several files: strict parsing of the index, its check
 * against the files, and precedence of files; and the ledger, which is as strict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/checkpoint/checkpoint.h"
#include "formats/container/shards.h"
#include "tests/support/scratch.h"

#define SHARDED LVLM_FIXTURES "/paligemma2-bf16/model"
#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"

static void shards_refuse_a_bad_index(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "{}", "weight_map is missing or empty" },
        { "{\"weight_map\":{}}", "weight_map is missing or empty" },
        { "{\"weight_map\":[]}", "weight_map: not an object" },
        { "{\"weight_map\":{\"a\":\"x.safetensors\"}} 1", "1 byte after the value" },
        { "{\"weight_map\":{\"a\":{\"b\":1}}}", "weight_map: 'a': not text" },
        { "{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
          "'a' is not in a plain .safetensors file of this directory but in "
          "'../x.safetensors'" },
        { "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", "'/etc/x.safetensors'" },
        { "{\"weight_map\":{\"a\":\".x.safetensors\"}}", "'.x.safetensors'" },
        { "{\"weight_map\":{\"a\":\"x.bin\"}}", "'x.bin'" },
        { "{\"weight_map\":{\"a\":\".safetensors\"}}", "'.safetensors'" },
        { "{\"weight_map\":{\"a\":1}}", "weight_map: 'a': not text" },
        { "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}",
          "duplicate key 'a'" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_shards shards;
        lvlm_error err = { .text = "" };
        assert_int_equal(lvlm_shards_parse(&shards, bad[i].text, strlen(bad[i].text),
                                           ".safetensors", &arena, &err),
                         LVLM_EFORMAT);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
        lvlm_arena_free(&arena);
    }
}

/* Opening `dir` must fail with this message. */
static void refuse(const char *dir, const char *message)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err = { .text = "" };
    assert_true(lvlm_checkpoint_open(&cp, dir, NULL, &err) < 0);
    assert_null(cp);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void expect_index(const char *from, const char *to, const char *message)
{
    scratch s;
    scratch_make(&s);
    scratch_copy(&s, SHARDED, "m");
    file_replace(scratch_path(&s, "m/model.safetensors.index.json"), from, to);
    refuse(scratch_path(&s, "m"), message);
    scratch_remove(&s);
}

static void the_index_must_agree_with_the_files(void **state)
{
    (void)state;
    expect_index("\"language_model.model.norm.weight\"",
                 "\"language_model.model.nxrm.weight\"",
                 "tensor 'language_model.model.norm.weight' of model-00002-of-00002."
                 "safetensors is not in the index");
    expect_index("embed_tokens.weight\": \"model-00001-of-",
                 "embed_tokens.weight\": \"model-00002-of-",
                 "tensor 'language_model.model.embed_tokens.weight' should be in "
                 "model-00002-of-00002.safetensors and is in model-00001-of-00002");
    expect_index("embed_tokens.weight\": \"model-00001-of-00002",
                 "embed_tokens.weight\": \"model-00001-of-00009",
                 "model-00001-of-00009.safetensors: cannot open");
}

static void a_shard_that_is_missing_is_named(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, SHARDED, "m");
    assert_int_equal(unlink(scratch_path(&s, "m/model-00002-of-00002.safetensors")), 0);
    refuse(scratch_path(&s, "m"), "model-00002-of-00002.safetensors: cannot open");
    scratch_remove(&s);
}

static void one_file_takes_precedence_over_an_index(void **state)
{
    scratch s;
    lvlm_checkpoint *cp = NULL;
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options options = { .notes = &notes };
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, SHARDED, "m");
    scratch_copy(&s, HUB "/model.safetensors", "m/model.safetensors");
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(&s, "m"), &options, NULL),
                     0);
    assert_int_equal(cp->n_files, 1);
    assert_int_equal(cp->n_tensors, 34);
    assert_int_equal(notes.n, 2); /* the shards */
    lvlm_notes_free(&notes);
    assert_non_null(lvlm_checkpoint_side_file(cp, "model.safetensors.index.json"));
    assert_null(lvlm_checkpoint_side_file(cp, "model.safetensors"));
    lvlm_checkpoint_close(cp);
    scratch_remove(&s);
}

/* As in the reference's loader: safetensors before .bin, one file before an index. */
static void safetensors_take_precedence_over_torch_files(void **state)
{
    static const struct {
        const char *add, *name, *first;
    } steps[] = {
        { LVLM_FIXTURES "/torch-files/zip/pytorch_model.bin", "m/pytorch_model.bin",
          "pytorch_model.bin" },
        { SHARDED "/model-00001-of-00002.safetensors",
          "m/model-00001-of-00002.safetensors", "pytorch_model.bin" },
        { SHARDED "/model-00002-of-00002.safetensors",
          "m/model-00002-of-00002.safetensors", "pytorch_model.bin" },
        { SHARDED "/model.safetensors.index.json", "m/model.safetensors.index.json",
          "model-00001-of-00002.safetensors" },
        { HUB "/model.safetensors", "m/model.safetensors", "model.safetensors" },
    };
    scratch s;
    lvlm_checkpoint *cp = NULL;
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options options = { .notes = &notes };
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LVLM_FIXTURES "/torch-files/sharded", "m");
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(&s, "m"), NULL, NULL),
                         0);
        assert_string_equal(cp->files[0].name, i == 0
                                                   ? "pytorch_model-00001-of-00003.bin"
                                                   : steps[i - 1].first);
        assert_non_null(lvlm_checkpoint_side_file(cp, "pytorch_model.bin.index.json"));
        assert_null(lvlm_checkpoint_side_file(cp, "pytorch_model.bin"));
        lvlm_checkpoint_close(cp);
        scratch_copy(&s, steps[i].add, steps[i].name);
    }
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(&s, "m"), &options, NULL),
                     0);
    assert_string_equal(cp->files[0].name, "model.safetensors");
    assert_int_equal(notes.n, 6);
    lvlm_notes_free(&notes);
    lvlm_checkpoint_close(cp);
    scratch_remove(&s);
}

static void an_index_of_torch_files_names_torch_files(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LVLM_FIXTURES "/torch-files/sharded", "m");
    assert_int_equal(unlink(scratch_path(&s, "m/pytorch_model-00002-of-00003.bin")), 0);
    refuse(scratch_path(&s, "m"), "pytorch_model-00002-of-00003.bin: cannot open");
    scratch_copy(&s, LVLM_FIXTURES "/torch-files/hostile/system.bin",
                 "m/pytorch_model-00002-of-00003.bin");
    refuse(scratch_path(&s, "m"), "pytorch_model-00002-of-00003.bin: system/data.pkl: "
                                  "pickle: byte 169: calls posix.system, which");
    file_replace(scratch_path(&s, "m/pytorch_model.bin.index.json"), "001-of-00003.bin",
                 "001-of-00003.txt");
    refuse(scratch_path(&s, "m"), "is not in a plain .bin file of this directory");
    scratch_remove(&s);
}

static void a_directory_without_a_model_says_what_it_lacks(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    refuse(s.dir,
           "holds neither model.safetensors nor pytorch_model.bin, nor an index");
    scratch_copy(&s, HUB "/model.safetensors", "model.safetensors");
    refuse(s.dir, "holds no config.json");
    (void)scratch_write(&s, "config.json", "{\"a\":1,\"a\":2}", 13);
    refuse(s.dir, "config.json: duplicate key 'a'");
    scratch_remove(&s);
}

static void adapters_pointers_and_packed_weights_are_named(void **state)
{
    static const char pointer[] = "version https://git-lfs.example/spec/v1\noid x\n";
    static const char quantised[] =
        "{\"model_type\":\"paligemma\","
        "\"quantization_config\":{\"quant_method\":\"awq\"}}";
    static const char plain[] = "{\"model_type\":\"paligemma\"}";
    static const char foreign[] = "{\"model_type\":\"whisper\"}";
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options options = { .notes = &notes };
    lvlm_checkpoint *cp = NULL;
    scratch s;
    (void)state;
    scratch_make(&s);
    (void)scratch_write(&s, "adapter_config.json", "{}", 2);
    (void)scratch_write(&s, "adapter_model.safetensors", "", 0);
    refuse(s.dir, "is an adapter (PEFT), not a model");
    (void)scratch_write(&s, "config.json", plain, sizeof plain - 1);
    (void)scratch_write(&s, "model.safetensors", pointer, sizeof pointer - 1);
    refuse(s.dir, "model.safetensors: is a Git LFS pointer, not the file itself");
    (void)scratch_write(&s, "config.json", foreign, sizeof foreign - 1);
    refuse(s.dir,
           "model_type 'whisper', without a section about vision, is not a known");
    (void)scratch_write(&s, "config.json", quantised, sizeof quantised - 1);
    refuse(s.dir, "is quantised (awq): its weights are packed");

    /* leftover settings */
    scratch_copy(&s, HUB "/model.safetensors", "model.safetensors");
    assert_int_equal(lvlm_checkpoint_open(&cp, s.dir, &options, NULL), 0);
    assert_int_equal(notes.n, 2); /* and the adapter's weights */
    assert_string_equal(notes.at[0],
                        "config.json: quantization_config (awq) is not followed: no "
                        "tensor is packed");
    lvlm_checkpoint_close(cp);
    lvlm_notes_free(&notes);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_refuse_a_bad_index),
        cmocka_unit_test(the_index_must_agree_with_the_files),
        cmocka_unit_test(a_shard_that_is_missing_is_named),
        cmocka_unit_test(one_file_takes_precedence_over_an_index),
        cmocka_unit_test(safetensors_take_precedence_over_torch_files),
        cmocka_unit_test(an_index_of_torch_files_names_torch_files),
        cmocka_unit_test(a_directory_without_a_model_says_what_it_lacks),
        cmocka_unit_test(adapters_pointers_and_packed_weights_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
