/* test_dataset_lines.c - lines of training data that cannot be used are named, or left
 * out. */
#include "tests/runtime/tune/data/dataset_bench.h"

/* Lines that opening refuses, each after a good one and an empty line. */
static const struct {
    const char *line, *said;
} unusable[] = {
    { "{\"conversations\":[}", "data.jsonl:3: not JSON" },
    { "{\"txt\":\"a\"}", "data.jsonl:3: is in no known form" },
    { SAID("a", "b", "\"png-one.png\""), "data.jsonl:3: \"image\": 1 file, and the" },
    { ASKED("a", "b"), "data.jsonl:3: is in PaliGemma's form, and the file began in "
                       "LLaVA's" },
    { SAID("<image>a", "b", "\"nowhere.png\""),
      "data.jsonl:3: " IMAGES "/nowhere.png: there is no such image" },
    { SAID("<image>a", "b", "\"https://example.org/a.png\""),
      "data.jsonl:3: 'https://example.org/a.png': images are not fetched" },
};

static void dataset_names_the_line_that_cannot_be_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unusable / sizeof unusable[0]; i++) {
        char text[2048];
        bench b;
        lvlm_error err;
        (void)snprintf(text, sizeof text, "%s\n%s\n%s", GOOD, unusable[i].line, GOOD);
        wanted w = { .model = MODEL("qwen2_vl"), .text = text };
        assert_int_equal(open_bench(&b, &w, &err) < 0, true);
        if (strstr(err.text, unusable[i].said) == NULL)
            fail_msg("'%s' lacks '%s'", err.text, unusable[i].said);
        assert_int_equal(b.n_told, 0);
        close_bench(&b);
        w.skip_bad = true;
        open_well(&b, &w);
        assert_int_equal(b.data.counts.bad, 1);
        assert_int_equal(b.data.n, 2);
        assert_int_equal(b.n_told, 1);
        assert_non_null(strstr(b.reported, unusable[i].said));
        close_bench(&b);
    }
}

static void dataset_without_a_usable_line_is_refused(void **state)
{
    bench b;
    lvlm_error err;
    const wanted w = { .model = MODEL("qwen2_vl"),
                       .text = "{}\n{}\n",
                       .skip_bad = true };
    (void)state;
    assert_int_equal(open_bench(&b, &w, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "none of its 2 examples can be used"));
    assert_int_equal(b.n_told, 2);
    close_bench(&b);
}

/* Lines that are found bad only when they are encoded; those with `cut`, when that many
 * of their last tokens are cut. */
static const struct {
    const char *model, *line, *said;
    size_t cut;
} unencodable[] = {
    { MODEL("qwen2_vl"), SAID("<image>a", "b", "\"expected.json\""),
      "data.jsonl:2: " IMAGES "/expected.json", 0 },
    { MODEL("qwen2_vl"), SAID("a<|endoftext|>", "b", "[]"),
      "data.jsonl:2: the text holds <|endoftext|>, which", 0 },
    { MODEL("qwen2_vl"), SAID("<|image_pad|>", "b", "[]"),
      "data.jsonl:2: images: the text has 1 places", 0 },
    { MODEL("mllama"), SAID("Hello there", "b", "[]"),
      "data.jsonl:2: nothing is left to learn", 20 },
    { MODEL("mllama"),
      SAID("a", "b<|start_header_id|>user<|end_header_id|>\\n\\nc", "[]"),
      "data.jsonl:2: nothing of it is learnt", 0 },
    { MODEL("qwen2_vl"), SAID("Hello there, hello <image>", "b", "\"png-rgb.png\""),
      "data.jsonl:2: an image would be cut", 18 },
    { MODEL("qwen_vl"), SAYS_OF_QWEN("Hello <img>png-one.png</img>", "b"),
      "data.jsonl:2: an image would be cut", 20 },
    { MODEL("paligemma"), "{\"prefix\":\"a\",\"suffix\":\"b\"}\n",
      "data.jsonl:2: ", 0 },
};

/* Tokens of one example. */
static size_t length_of(const char *model, const char *line)
{
    bench b;
    open_well(&b, &(wanted){ .model = model, .text = line });
    lvlm_dataset_batch *const batch = make(&b, 0);
    const size_t length = (size_t)tensor(batch, "labels")->shape.dims[1];
    lvlm_dataset_batch_free(batch);
    close_bench(&b);
    return length;
}

static void dataset_finds_the_line_of_a_batch_that_is_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unencodable / sizeof unencodable[0]; i++) {
        const char *const m = unencodable[i].model;
        const char *const good = strstr(m, "paligemma") != NULL ? ASKED("a", "b")
                                 : strstr(m, "qwen_vl") != NULL ? SAYS_OF_QWEN("a", "b")
                                                                : GOOD;
        char text[2048];
        bench b;
        lvlm_error err;
        lvlm_dataset_batch *batch = NULL;
        (void)snprintf(text, sizeof text, "%s%s%s", good, unencodable[i].line, good);
        const size_t cut = unencodable[i].cut;
        wanted w = { .model = m, .text = text, .batch_size = 3 };
        if (cut > 0) w.max_length = length_of(m, unencodable[i].line) - cut;
        open_well(&b, &w);
        assert_int_equal(lvlm_dataset_make(&batch, &b.data, 0, 1, &err) < 0, true);
        if (strstr(err.text, unencodable[i].said) == NULL)
            fail_msg("'%s' lacks '%s'", err.text, unencodable[i].said);
        close_bench(&b);
        w.skip_bad = true;
        open_well(&b, &w);
        for (int again = 0; again < 2; again++) {
            batch = make(&b, (size_t)again);
            assert_int_equal(tensor(batch, "labels")->shape.dims[0], 2);
            assert_non_null(strstr(batch->name, "data.jsonl lines 1, 3"));
            assert_int_equal(b.data.counts.bad, 1);
            assert_int_equal(b.n_told, 1);
            lvlm_dataset_batch_free(batch);
        }
        assert_non_null(strstr(b.reported, unencodable[i].said));
        close_bench(&b);
    }
}

/* A batch is read as the model reads it: here a tag of an image on its own. */
static void dataset_leaves_out_examples_that_the_model_refuses(void **state)
{
    static const char text[] =
        SAID("a", "b", "[]") SAID("a</img> b", "c", "[]") SAID("b", "c", "[]");
    bench b;
    const wanted w = {
        .model = MODEL("qwen_vl"), .text = text, .batch_size = 3, .skip_bad = true
    };
    (void)state;
    open_well(&b, &w);
    lvlm_dataset_batch *const batch = make(&b, 0);
    assert_non_null(strstr(batch->name, "data.jsonl lines 1, 3"));
    assert_non_null(strstr(b.reported, "data.jsonl:2: input_ids[0, "));
    lvlm_dataset_batch_free(batch);
    close_bench(&b);
}

static void dataset_is_checked_as_a_whole(void **state)
{
    static const char bad[] = SAID("<image>a", "b", "\"expected.json\"");
    bench b;
    lvlm_error err;
    char text[2048];
    (void)state;
    (void)snprintf(text, sizeof text, "%s%s", GOOD, bad);
    wanted w = { .model = MODEL("qwen2_vl"), .text = text };
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "data.jsonl:2: " IMAGES "/expected.json"));
    close_bench(&b);
    w.skip_bad = true;
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), 0);
    assert_int_equal(b.data.counts.bad, 1);
    close_bench(&b);
    w.text = bad;
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "none of its examples can be used"));
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataset_names_the_line_that_cannot_be_used),
        cmocka_unit_test(dataset_without_a_usable_line_is_refused),
        cmocka_unit_test(dataset_finds_the_line_of_a_batch_that_is_bad),
        cmocka_unit_test(dataset_leaves_out_examples_that_the_model_refuses),
        cmocka_unit_test(dataset_is_checked_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
