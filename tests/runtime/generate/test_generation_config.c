/* test_generation_config.c - settings of generation_config.json and their defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/generate/generation_config.h"

/* Side files in order of name, as in a checkpoint; NULL: no such file. */
static int read_noted(lvlm_generation *out, const char *config, const char *generation,
                      lvlm_notes *notes, lvlm_error *err)
{
    lvlm_side_file files[2];
    lvlm_checkpoint checkpoint = { .side_files = files, .notes = notes };
    const lvlm_manifest manifest = { .checkpoint = &checkpoint };
    const char *const texts[] = { config, generation };
    static const char *const names[] = { "config.json", "generation_config.json" };
    for (size_t i = 0; i < 2; i++) {
        if (texts[i] == NULL) continue;
        files[checkpoint.n_side_files++] =
            (lvlm_side_file){ names[i], (const unsigned char *)texts[i],
                              strlen(texts[i]) };
    }
    return lvlm_generation_read(out, &manifest, err);
}

static int read_files(lvlm_generation *out, const char *config, const char *generation,
                      lvlm_error *err)
{
    return read_noted(out, config, generation, NULL, err);
}

static lvlm_generation read_one(const char *generation)
{
    lvlm_generation g;
    assert_int_equal(read_files(&g, NULL, generation, NULL), 0);
    return g;
}

static void expect_error(const char *config, const char *generation, const char *text)
{
    lvlm_generation g;
    lvlm_error err;
    assert_int_equal(read_files(&g, config, generation, &err), LVLM_EFORMAT);
    assert_string_equal(err.text, text);
}

static void defaults_are_those_of_the_reference(void **state)
{
    (void)state;
    static const char *const texts[] = { NULL, "{}",
                                         "{\"top_p\": null, \"eos_token_id\": null}" };
    for (size_t i = 0; i < 3; i++) {
        const lvlm_generation g = read_one(texts[i]);
        assert_true(g.sampling.temperature == 0);
        assert_int_equal(g.sampling.top_k, 50);
        assert_true(g.sampling.top_p == 1);
        assert_true(g.sampling.penalty == 1);
        assert_int_equal(g.max_new_tokens, LVLM_DEFAULT_NEW_TOKENS);
        assert_int_equal(g.n_ends, 0);
        assert_false(g.chatml);
    }
}

static void settings_of_the_file_apply_and_temperature_stays_0(void **state)
{
    (void)state;
    const lvlm_generation g = read_one(
        "{\"do_sample\": true, \"temperature\": 0.01, \"top_k\": 1, \"top_p\": 0.001,"
        "\"repetition_penalty\": 1.05, \"max_new_tokens\": 7, \"eos_token_id\": 9}");
    assert_true(g.sampling.temperature == 0);
    assert_int_equal(g.sampling.top_k, 1);
    assert_true(g.sampling.top_p == 0.001);
    assert_true(g.sampling.penalty == 1.05);
    assert_int_equal(g.max_new_tokens, 7);
    assert_int_equal(g.n_ends, 1);
    assert_int_equal(g.ends[0], 9);
}

static void ends_are_a_number_or_a_list(void **state)
{
    (void)state;
    const lvlm_generation g = read_one("{\"eos_token_id\": [151645, 0]}");
    assert_int_equal(g.n_ends, 2);
    assert_int_equal(g.ends[0], 151645);
    assert_int_equal(g.ends[1], 0);
    assert_int_equal(read_one("{\"eos_token_id\": []}").n_ends, 0);
}

static void ends_come_from_config_json_if_no_other_file_has_them(void **state)
{
    (void)state;
    static const char deep[] = "{\"text_config\": {\"eos_token_id\": [4, 5]}}";
    lvlm_generation g;
    assert_int_equal(read_files(&g, "{\"eos_token_id\": 3}", NULL, NULL), 0);
    assert_int_equal(g.ends[0], 3);
    assert_int_equal(read_files(&g, deep, "{\"top_k\": 2}", NULL), 0);
    assert_int_equal(g.n_ends, 2);
    assert_int_equal(g.ends[1], 5);
    assert_int_equal(g.sampling.top_k, 2);
    assert_int_equal(read_files(&g, deep, "{\"eos_token_id\": 6}", NULL), 0);
    assert_int_equal(g.n_ends, 1);
    assert_int_equal(g.ends[0], 6);
}

static void chatml_needs_an_end(void **state)
{
    (void)state;
    assert_true(read_one("{\"chat_format\": \"chatml\", \"eos_token_id\": 2}").chatml);
    assert_false(read_one("{\"chat_format\": \"chatml\"}").chatml);
    assert_false(read_one("{\"chat_format\": \"raw\", \"eos_token_id\": 2}").chatml);
}

static void unsupported_settings_are_noted(void **state)
{
    static const struct {
        const char *json, *note;
    } cases[] = {
        { "{\"stop_strings\": [\"a\"]}",
          "generation_config.json: 'stop_strings' is not followed: only end tokens end "
          "a text" },
        { "{\"no_repeat_ngram_size\": 3}",
          "generation_config.json: 'no_repeat_ngram_size' is not followed: every token "
          "may come" },
        { "{\"dola_layers\": \"high\"}",
          "generation_config.json: 'dola_layers' is not followed: only the last layer "
          "decides" },
        { "{\"repetition_penalti\": 2}",
          "generation_config.json: 'repetition_penalti' is not known and not followed; "
          "did you mean 'repetition_penalty'?" },
        { "{\"num_beams\": 1, \"min_length\": 0, \"typical_p\": 1.0,"
          "\"remove_invalid_values\": false, \"do_sample\": true,"
          "\"temperature\": 0.01, \"_from_model_config\": true,"
          "\"transformers_version\": \"4.45.0\"}",
          NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_generation g;
        assert_int_equal(read_noted(&g, NULL, cases[i].json, &notes, NULL), 0);
        assert_int_equal(notes.n, cases[i].note != NULL);
        if (notes.n > 0) assert_string_equal(notes.at[0], cases[i].note);
        lvlm_notes_free(&notes);
    }
}

static void files_that_are_not_settings_are_named(void **state)
{
    (void)state;
    expect_error(NULL, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                 "generation_config.json: is a Git LFS pointer, not the file itself: "
                 "\"git lfs pull\" fetches it; convert the model again then");
    expect_error(NULL, "[]", "generation_config.json: is not an object");
}

static void invalid_settings_are_refused_by_name(void **state)
{
    (void)state;
    expect_error(NULL, "{\"top_p\": \"high\"}",
                 "generation_config.json: top_p is not a number");
    expect_error(NULL, "{\"top_k\": -1}",
                 "generation_config.json: top_k is not a whole number, 0 to "
                 "2147483647");
    expect_error(NULL, "{\"max_new_tokens\": 1.5}",
                 "generation_config.json: max_new_tokens is not a whole number, 0 to "
                 "2147483647");
    expect_error(
        NULL, "{\"eos_token_id\": [1, \"<end>\"]}",
        "generation_config.json: eos_token_id has a value that is not a token id");
    expect_error("{\"eos_token_id\": -1}", NULL,
                 "config.json: eos_token_id has a value that is not a token id");
    expect_error(NULL,
                 "{\"eos_token_id\": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,"
                 "19,20,21,22,23,24,25,26,27,28,29,30,31,32]}",
                 "generation_config.json: eos_token_id lists over 32 tokens");
    lvlm_generation g;
    lvlm_error err;
    assert_int_equal(read_files(&g, NULL, "{", &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "generation_config.json: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_reference),
        cmocka_unit_test(settings_of_the_file_apply_and_temperature_stays_0),
        cmocka_unit_test(ends_are_a_number_or_a_list),
        cmocka_unit_test(ends_come_from_config_json_if_no_other_file_has_them),
        cmocka_unit_test(chatml_needs_an_end),
        cmocka_unit_test(unsupported_settings_are_noted),
        cmocka_unit_test(files_that_are_not_settings_are_named),
        cmocka_unit_test(invalid_settings_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
