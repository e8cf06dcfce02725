/* test_labels.c - which tokens of training data are learnt, compared with each family's
 * own fine-tuning code (fixtures/labels.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "tests/runtime/tune/data/label_model.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

/* A recorded line as a prompt with as many image tokens as recorded. */
static void write_prompt(lvlm_prompt *out, const model *m, const cJSON *recorded)
{
    const cJSON *const rows = lvlm_json_get(recorded, "rows"), *item;
    lvlm_example example;
    lvlm_error err = { .text = "" };
    size_t n_rows[8], n = 0;
    uint64_t value;
    LVLM_JSON_ITEMS (item, rows) {
        assert_true(n < 8 && lvlm_json_u64(&value, item));
        n_rows[n++] = (size_t)value;
    }
    if (lvlm_example_read(&example, lvlm_json_get(recorded, "line"), m->tags, NULL,
                          &err) < 0 ||
        lvlm_prompt_write(out, m->prompter, &example.messages, &err) < 0)
        fail_msg("%s", err.text);
    if (n > 0) assert_int_equal(out->n_images, n);
    assert_int_equal(out->n_images, example.n_images);
    for (size_t i = 0; i < example.n_images; i++)
        assert_string_equal(out->images[i], example.images[i]);
    assert_int_equal(lvlm_prompt_expand(out, n_rows, NULL, NULL), 0);
    lvlm_example_free(&example);
}

static void check_case(const model *m, const cJSON *recorded)
{
    const char *const name = lvlm_json_string(lvlm_json_get(recorded, "name"));
    const char *const learnt = lvlm_json_string(lvlm_json_get(recorded, "learnt"));
    const cJSON *item = lvlm_json_first_item(lvlm_json_get(recorded, "ids"));
    lvlm_prompt prompt;
    write_prompt(&prompt, m, recorded);
    int64_t *const labels = calloc(prompt.n, sizeof *labels);
    assert_non_null(labels);
    lvlm_labels_make(labels, &m->labeller, &prompt);
    const size_t n = strlen(learnt);
    if (lvlm_json_get(recorded, "max_length") == NULL) assert_int_equal(prompt.n, n);
    assert_true(prompt.n >= n);
    for (size_t i = 0; i < n; i++, item = item->next) {
        uint64_t id;
        assert_true(lvlm_json_u64(&id, item));
        if (prompt.ids[i] != (int64_t)id)
            fail_msg("%s: token %zu is %d, recorded %d", name, i, (int)prompt.ids[i],
                     (int)id);
        const int64_t wanted = learnt[i] == '1' ? (int64_t)id : LVLM_IGNORE_LABEL;
        if (labels[i] != wanted)
            fail_msg("%s: label %zu is %d, recorded %d", name, i, (int)labels[i],
                     (int)wanted);
    }
    free(labels);
    lvlm_prompt_free(&prompt);
}

/* The cases of a family, for a model of it; a case may name another template than the
 * model's. */
static void check_model(const char *family, const char *folder)
{
    char name[64];
    const cJSON *recorded;
    model own, other;
    (void)snprintf(name, sizeof name, "%s.json", family);
    cJSON *const cases = fixture_json("labels", name);
    open_model(&own, folder, NULL);
    LVLM_JSON_ITEMS (recorded, cases) {
        const char *const template =
            lvlm_json_string(lvlm_json_get(recorded, "template"));
        if (template == NULL) {
            check_case(&own, recorded);
            continue;
        }
        open_model(&other, folder, template);
        check_case(&other, recorded);
        close_model(&other);
    }
    assert_true(lvlm_json_count(cases) >= 6);
    close_model(&own);
    lvlm_json_free(cases);
}

static void labels_are_those_of_the_makers(void **state)
{
    char **names;
    size_t n;
    (void)state;
    assert_int_equal(lvlm_path_list(&names, &n, LVLM_FIXTURES "/labels", NULL), 0);
    assert_true(n >= 4);
    for (size_t i = 0; i < n; i++) {
        char path[512];
        *strrchr(names[i], '.') = '\0';
        (void)snprintf(path, sizeof path, LVLM_FIXTURES "/prompts/%s/model", names[i]);
        check_model(names[i], path);
    }
    lvlm_path_list_free(names, n);
}

/* What the base Qwen-VL is fine-tuned on is ChatML, though it does not chat yet. */
static void a_base_model_learns_the_same(void **state)
{
    static const char raw[] = "{\"chat_format\": \"raw\"}";
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LVLM_FIXTURES "/prompts/qwen_vl/model", "base");
    (void)scratch_write(&s, "base/generation_config.json", raw, sizeof raw - 1);
    check_model("qwen_vl", scratch_path(&s, "base"));
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_those_of_the_makers),
        cmocka_unit_test(a_base_model_learns_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
