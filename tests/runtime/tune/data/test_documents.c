/* test_documents.c - pairs and texts with images between: what every family is given of
 * them, token by token, and what of it is learnt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "tests/runtime/tune/data/label_model.h"

enum { ROWS = 2, MAX_IMAGES = 4 };

static void open_named(model *m, const char *name, const char *template)
{
    char path[512];
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/prompts/%s/model", name);
    open_model(m, path, template);
}

/* The line as a prompt whose images have ROWS rows, or the error. */
static int write_prompt(lvlm_prompt *out, const model *m, const char *line,
                        lvlm_error *err)
{
    size_t rows[MAX_IMAGES];
    lvlm_example example;
    cJSON *json = NULL;
    *out = (lvlm_prompt){ .n = 0 };
    assert_int_equal(lvlm_json_parse(&json, line, strlen(line), NULL), 0);
    int rc = lvlm_example_read(&example, json, m->tags, NULL, err);
    if (rc == 0) rc = lvlm_prompt_write(out, m->prompter, &example.messages, err);
    if (rc == 0) {
        assert_true(out->n_images <= MAX_IMAGES);
        assert_int_equal(out->n_images, example.n_images);
        for (size_t i = 0; i < out->n_images; i++) {
            rows[i] = ROWS;
            assert_string_equal(out->images[i], example.images[i]);
        }
        assert_int_equal(lvlm_prompt_expand(out, rows, NULL, NULL), 0);
    }
    lvlm_example_free(&example);
    lvlm_json_free(json);
    return rc;
}

static void print_token(lvlm_strbuf *out, const model *m, int64_t id)
{
    size_t n = 0;
    const char *const token =
        lvlm_tokenizer_token(lvlm_prompter_tokenizer(m->prompter), id, &n);
    assert_non_null(token);
    for (size_t i = 0; i < n; i++)
        if (token[i] == '\n')
            lvlm_strbuf_puts(out, "\\n");
        else
            lvlm_strbuf_append(out, &token[i], 1);
}

/* "<s> <image> <image> [a] [cat]": its tokens, those that are learnt in brackets, the
 * file between an image's tags as FILE. */
static void print(lvlm_strbuf *out, const model *m, const lvlm_prompt *p)
{
    int64_t labels[1024];
    assert_true(p->n > 0 && p->n <= sizeof labels / sizeof *labels);
    lvlm_labels_make(labels, &m->labeller, p);
    for (size_t i = 0; i < p->n; i++) {
        const bool learnt = labels[i] != LVLM_IGNORE_LABEL;
        if (learnt) assert_int_equal(labels[i], p->ids[i]);
        lvlm_strbuf_printf(out, "%s%s", i > 0 ? " " : "", learnt ? "[" : "");
        print_token(out, m, p->ids[i]);
        lvlm_strbuf_puts(out, learnt ? "]" : "");
        if (!m->tags || p->ids[i] != p->form.image_token) continue;
        lvlm_strbuf_puts(out, " FILE");
        while (p->ids[i + 1] != p->form.image_token + 1)
            assert_int_equal(labels[++i], LVLM_IGNORE_LABEL);
    }
}

static void check(const model *m, const char *name, const char *line,
                  const char *expected)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
    lvlm_error err;
    lvlm_prompt prompt;
    if (write_prompt(&prompt, m, line, &err) < 0) {
        if (strcmp(err.text, expected) != 0)
            fail_msg("%s: '%s', expected '%s'", name, err.text, expected);
    } else {
        print(&text, m, &prompt);
        if (strcmp(text.text, expected) != 0)
            fail_msg("%s: '%s', expected '%s'", name, text.text, expected);
    }
    lvlm_strbuf_free(&text);
    lvlm_prompt_free(&prompt);
}

#define PAIR "{\"image\": \"a.png\", \"caption\": \"a cat\"}"
#define BETWEEN                                                                        \
    "{\"interleaved\": [{\"text\": \"a cat\"}, {\"image\": \"a.png\"}, "               \
    "{\"type\": \"text\", \"text\": \"a \"}, {\"image\": \"b.png\"}]}"
#define AFTER                                                                          \
    "{\"interleaved\": [{\"image\": \"a.png\"}, {\"image\": \"b.png\"}, "              \
    "{\"text\": \"a\"}, {\"text\": \" cat\"}]}"

/* What a model is given of the three lines above, or why it is not. */
static const struct {
    const char *model, *template, *pair, *between, *after;
} forms[] = {
    { "llava", NULL, "<s> <image> <image> [▁a] [▁c] [at] [<0x0A>]",
      "<s> [▁a] [▁c] [at] <image> <image> [▁a] [▁] <image> <image> "
      "[▁] [<0x0A>]",
      "<s> <image> <image> <image> <image> [▁a] [▁c] [at] [<0x0A>]" },
    { "llava", "vicuna_v1", "<s> <image> <image> [▁a] [▁c] [at] [<0x0A>]",
      "<s> [▁a] [▁c] [at] <image> <image> [▁a] [▁] <image> <image> "
      "[▁] [<0x0A>]",
      "<s> <image> <image> <image> <image> [▁a] [▁c] [at] [<0x0A>]" },
    { "llava-qwen2", NULL, "<image> <image> [a] [Ġ] [c] [a] [t] [Ċ]",
      "a [Ġ] [c] [a] [t] <image> <image> [a] [Ġ] <image> <image> [Ċ]",
      "<image> <image> <image> <image> [a] [Ġ] [c] [a] [t] [Ċ]" },
    { "llava-gemma", NULL, "<bos> <image> <image> [a] [▁c] [at] [<0x0A>]",
      "<bos> [a] [▁c] [at] <image> <image> [a] [▁] <image> <image> "
      "[<0x0A>]",
      "<bos> <image> <image> <image> <image> [a] [▁c] [at] [<0x0A>]" },
    { "paligemma", NULL, "<image> <image> <bos> \\n [a] [▁c] [at] [<eos>]",
      "PaliGemma takes an image with every text, first",
      "<image> <image> <image> <image> <bos> \\n [a] [▁c] [at] [<eos>]" },
    { "paligemma2", NULL, "<image> <image> <bos> \\n [a] [▁c] [at] [<eos>]",
      "PaliGemma takes an image with every text, first",
      "<image> <image> <image> <image> <bos> \\n [a] [▁c] [at] [<eos>]" },
    { "qwen2_vl", NULL,
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> [a] [Ġ] "
      "[c] [a] [t] [<|endoftext|>]",
      "a [Ġ] [c] [a] [t] <|vision_start|> <|image_pad|> <|image_pad|> "
      "<|vision_end|> [a] [Ġ] <|vision_start|> <|image_pad|> <|image_pad|> "
      "<|vision_end|> [<|endoftext|>]",
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> "
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> [a] [Ġ] "
      "[c] [a] [t] [<|endoftext|>]" },
    { "qwen2_5_vl", NULL,
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> [a] [Ġ] "
      "[c] [a] [t] [<|endoftext|>]",
      "a [Ġ] [c] [a] [t] <|vision_start|> <|image_pad|> <|image_pad|> "
      "<|vision_end|> [a] [Ġ] <|vision_start|> <|image_pad|> <|image_pad|> "
      "<|vision_end|> [<|endoftext|>]",
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> "
      "<|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> [a] [Ġ] "
      "[c] [a] [t] [<|endoftext|>]" },
    { "qwen_vl", NULL, "<img> FILE </img> [a] [ ] [c] [a] [t] [<|endoftext|>]",
      "a [ ] [c] [a] [t] <img> FILE </img> [a] [ ] <img> FILE </img> "
      "[<|endoftext|>]",
      "<img> FILE </img> <img> FILE </img> [a] [ ] [c] [a] [t] [<|endoftext|>]" },
    { "mllama", NULL,
      "<|image|> <|begin_of_text|> [a] [Ġ] [c] [a] [t] [<|end_of_text|>]",
      "<|begin_of_text|> [a] [Ġ] [c] [a] [t] <|image|> [a] [Ġ] <|image|> "
      "[<|end_of_text|>]",
      "<|image|> <|image|> <|begin_of_text|> [a] [Ġ] [c] [a] [t] "
      "[<|end_of_text|>]" },
};

static void every_family_writes_and_learns_its_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        model m;
        open_named(&m, forms[i].model, forms[i].template);
        check(&m, forms[i].model, PAIR, forms[i].pair);
        check(&m, forms[i].model, BETWEEN, forms[i].between);
        check(&m, forms[i].model, AFTER, forms[i].after);
        close_model(&m);
    }
}

/* A pair is what LLaVA's first stage learns, and PaliGemma without a prefix. */
static void a_pair_is_what_the_makers_learn(void **state)
{
    static const struct {
        const char *model, *template, *line, *pair;
    } cases[] = {
        { "llava", "plain",
          "{\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\\nWhat?\"}, "
          "{\"from\": \"gpt\", \"value\": \" a Cat.\"}], \"image\": \"a.png\"}",
          "{\"text\": \" a Cat.\", \"images\": [\"a.png\"], \"caption\": null}" },
        { "llava-gemma", "plain",
          "{\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\"}, "
          "{\"from\": \"gpt\", \"value\": \"a\\n\"}], \"image\": \"a.png\"}",
          "{\"caption\": \"a\\n\", \"image\": \"a.png\"}" },
        { "paligemma", NULL,
          "{\"prefix\": \"\", \"suffix\": \" a cat\", \"image\": \"a.png\"}",
          "{\"caption\": \" a cat\", \"image\": \"a.png\"}" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
        lvlm_error err = { .text = "" };
        lvlm_prompt prompt;
        model m;
        open_named(&m, cases[i].model, cases[i].template);
        if (write_prompt(&prompt, &m, cases[i].line, &err) < 0)
            fail_msg("%s", err.text);
        print(&text, &m, &prompt);
        lvlm_prompt_free(&prompt);
        check(&m, cases[i].model, cases[i].pair, text.text);
        lvlm_strbuf_free(&text);
        close_model(&m);
    }
}

static void what_a_form_cannot_hold_is_said(void **state)
{
    model m;
    (void)state;
    open_named(&m, "paligemma", NULL);
    check(&m, "paligemma",
          "{\"interleaved\": [{\"image\": \"a\"}, "
          "{\"text\": \"b\"}, {\"image\": \"c\"}]}",
          "PaliGemma takes images before the text, and one comes after words");
    close_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_what_the_makers_learn),
        cmocka_unit_test(what_a_form_cannot_hold_is_said),
        cmocka_unit_test(every_family_writes_and_learns_its_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
