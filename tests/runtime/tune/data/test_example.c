/* test_example.c - forms of training data as messages, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "runtime/tune/data/example.h"

static int read_text(lvlm_example *out, const char *text, bool tags, lvlm_error *err)
{
    cJSON *json = NULL;
    assert_int_equal(lvlm_json_parse(&json, text, strlen(text), NULL), 0);
    const int rc = lvlm_example_read(out, json, tags, NULL, err);
    lvlm_json_free(json);
    return rc;
}

/* "[FILE FILE]@4" */
static void print_clip(lvlm_strbuf *out, const lvlm_clip *clip)
{
    for (size_t i = 0; i < clip->n_files; i++)
        lvlm_strbuf_printf(out, "%s%s", i == 0 ? "[" : " ", clip->files[i]);
    lvlm_strbuf_printf(out, "]@%g", clip->fps);
}

/* "user{FILE}|words|; assistant|words|": what was read, in one line. */
static void print(lvlm_strbuf *out, const lvlm_messages *m)
{
    for (size_t i = 0; i < m->n; i++) {
        lvlm_strbuf_printf(out, "%s%s", i > 0 ? "; " : "",
                           lvlm_role_name(m->at[i].role));
        for (size_t j = 0; j < m->at[i].n_parts; j++) {
            const lvlm_part *const p = &m->at[i].parts[j];
            if (p->image != NULL)
                lvlm_strbuf_printf(out, "{%s}", p->image);
            else if (p->video != NULL)
                print_clip(out, p->video);
            else
                lvlm_strbuf_printf(out, "|%s|", p->text);
        }
    }
    for (size_t i = 0; i < m->n_unplaced; i++)
        lvlm_strbuf_printf(out, "; beside {%s}", m->unplaced[i]);
}

/* The list of files is what the messages name, in order. */
static void check_images(const lvlm_example *e)
{
    const lvlm_messages *const m = &e->messages;
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++)
            if (m->at[i].parts[j].image != NULL)
                assert_string_equal(m->at[i].parts[j].image, e->images[n++]);
    for (size_t i = 0; i < m->n_unplaced; i++)
        assert_string_equal(m->unplaced[i], e->images[n++]);
    assert_int_equal(n, e->n_images);
}

typedef struct good {
    const char *json, *messages;
    lvlm_example_form form;
    size_t n_images;
    bool tags, left_out;
} good;

static void check(const good *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
        lvlm_example e;
        lvlm_error err;
        if (read_text(&e, cases[i].json, cases[i].tags, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        print(&text, &e.messages);
        assert_string_equal(text.text, cases[i].messages);
        assert_int_equal(e.form, cases[i].form);
        assert_int_equal(e.n_images, cases[i].n_images);
        assert_int_equal(e.left_out, cases[i].left_out);
        if (!cases[i].tags) check_images(&e);
        if (cases[i].tags) assert_string_equal(e.images[e.n_images - 1], "c.jpg");
        lvlm_strbuf_free(&text);
        lvlm_example_free(&e);
    }
}

#define TURNS(turns) "{\"conversations\":[" turns "]}"
#define TURNS_AND(turns, rest) "{\"conversations\":[" turns "]," rest "}"
#define SAYS(who, words) "{\"from\":\"" who "\",\"value\":\"" words "\"}"

static void example_reads_llavas_form(void **state)
{
    static const good cases[] = {
        { TURNS(SAYS("human", "Hi") "," SAYS("gpt", " Ho\\n")),
          "user|Hi|; assistant| Ho\n|", LVLM_EXAMPLE_LLAVA, 0, false, false },
        { TURNS_AND(SAYS("human", "<image>\\nWhat is it?") "," SAYS("gpt", "A cat."),
                    "\"id\":7,\"image\":\"a/cat.jpg\""),
          "user{a/cat.jpg}|What is it?|; assistant|A cat.|", LVLM_EXAMPLE_LLAVA, 1,
          false, false },
        { TURNS_AND(
              SAYS("system", " Be brief. ") "," SAYS("human", "A <image> b<image>") //
              "," SAYS("gpt", "c <image>") "," SAYS("human", " \\n<image>\\u3000 ") //
              "," SAYS("gpt", ""),
              "\"image\":[\"1.png\",\"2.png\",\"3.png\"],\"video\":[]"),
          "system| Be brief. |; user|A|{1.png}|b|{2.png}; assistant|c <image>|; "
          "user{3.png}; assistant||",
          LVLM_EXAMPLE_LLAVA, 3, false, false },
        { TURNS_AND(
              SAYS("human", "<video>\\nWhat? <image> <video>") "," SAYS("gpt", "x"),
              "\"image\":\"1.png\",\"fps\":2,"
              "\"video\":[\"a\",{\"video\":[\"b/1.png\",\"c.png\"],\"fps\":0.5}]"),
          "user[a]@2|What?|{1.png}[b/1.png c.png]@0.5; assistant|x|",
          LVLM_EXAMPLE_LLAVA, 1, false, false },
        { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "x"),
                    "\"videos\":[\"1.png\",\"2.png\"]"),
          "user[1.png 2.png]@0; assistant|x|", LVLM_EXAMPLE_LLAVA, 0, false, false },
        { TURNS_AND(SAYS("human", "<video> <video>") "," SAYS("gpt", "x"),
                    "\"video\":[\"1\",\"2\"],\"fps\":[3,4]"),
          "user[1]@3[2]@4; assistant|x|", LVLM_EXAMPLE_LLAVA, 0, false, false },
        { TURNS_AND(SAYS("gpt", "first") "," SAYS("human", " ") "," SAYS("gpt", "x"),
                    "\"image\":null"),
          "assistant|first|; user; assistant|x|", LVLM_EXAMPLE_LLAVA, 0, false, false },
    };
    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

#define TWO_PICTURES                                                                   \
    TURNS(SAYS(                                                                        \
        "user",                                                                        \
        "Picture 1: <img>a.jpg</img>\\nPicture 12: "                                   \
        "<img>b.jpg</img>\\n\\nWhich? <img>c.jpg</img>") "," SAYS("assistant",         \
                                                                  "Picture 1:  \\n"))

static void example_reads_qwen_vls_form(void **state)
{
    static const good cases[] = {
        { TURNS(SAYS("user", " Hi ") "," SAYS("assistant", "Ho")),
          "user| Hi |; assistant|Ho|", LVLM_EXAMPLE_QWEN_VL, 0, false, false },
        { TWO_PICTURES,
          "user{a.jpg}{b.jpg}|\nWhich? |{c.jpg}; assistant|Picture 1:  \n|",
          LVLM_EXAMPLE_QWEN_VL, 3, false, false },
        { TWO_PICTURES,
          "user|Picture 1: <img>a.jpg</img>\nPicture 12: <img>b.jpg</img>\n\nWhich? "
          "<img>c.jpg</img>|; assistant|Picture 1:  \n|",
          LVLM_EXAMPLE_QWEN_VL, 3, true, false },
        { TURNS(SAYS("user",
                     "picture 1: <img>a</img>Picture : <img>b</img>Picture "
                     "3:<img>c</img>12: <img>d</img>") "," SAYS("assistant", "e")),
          "user|picture 1: |{a}|Picture : |{b}|Picture 3:|{c}|12: |{d}; assistant|e|",
          LVLM_EXAMPLE_QWEN_VL, 4, false, false },
        { TURNS(SAYS("assistant", "left") "," SAYS("user", "a") "," SAYS("assistant",
                                                                         "b")),
          "user|a|; assistant|b|", LVLM_EXAMPLE_QWEN_VL, 0, false, true },
        { TURNS(SAYS("system", "s") "," SAYS("user", "") "," SAYS("assistant", "b")),
          "system|s|; user; assistant|b|", LVLM_EXAMPLE_QWEN_VL, 0, false, false },
    };
    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void example_reads_paligemmas_form(void **state)
{
    static const good cases[] = {
        { "{\"image\":\"a.png\",\"prefix\":\"caption en\",\"suffix\":\" a cat \"}",
          "user|caption en|; assistant| a cat |; beside {a.png}",
          LVLM_EXAMPLE_PALIGEMMA, 1, false, false },
        { "{\"prefix\":\"\",\"suffix\":\"\",\"image\":[\"a\",\"b\"]}",
          "user||; assistant||; beside {a}; beside {b}", LVLM_EXAMPLE_PALIGEMMA, 2,
          false, false },
        { "{\"prefix\":\"p\",\"suffix\":\"s\"}", "user|p|; assistant|s|",
          LVLM_EXAMPLE_PALIGEMMA, 0, false, false },
    };
    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void example_reads_documents(void **state)
{
    static const good cases[] = {
        { "{\"image\":\"a.png\",\"caption\":\" a cat \",\"id\":1}",
          "assistant{a.png}| a cat |", LVLM_EXAMPLE_DOCUMENT, 1, false, false },
        { "{\"images\":[\"c.jpg\"],\"text\":\"<b>\",\"caption\":null}",
          "assistant{c.jpg}|<b>|", LVLM_EXAMPLE_DOCUMENT, 1, true, false },
        { "{\"interleaved\":[{\"text\":\"a\"},{\"image\":\"b.png\",\"text\":null},"
          "{\"image\":\"c.jpg\"},{\"type\":\"text\",\"text\":\" d\\n\"}],"
          "\"images\":[]}",
          "assistant|a|{b.png}{c.jpg}| d\n|", LVLM_EXAMPLE_DOCUMENT, 2, false, false },
        { "{\"interleaved\":[{\"text\":\"<img>\"}]}", "assistant|<img>|",
          LVLM_EXAMPLE_DOCUMENT, 0, false, false },
    };
    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static const struct {
    const char *json, *said;
} refused[] = {
    { "[1]", "expected an object" },
    { "{\"txt\":\"a\"}", "is in no known form" },
    { "{\"conversations\":[],\"suffix\":\"a\"}",
      "has \"conversations\" and \"suffix\": two forms at once" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"caption\":\"c\""),
      "has \"conversations\" and \"caption\": two forms at once" },
    { "{\"text\":\"a\",\"image\":\"b\",\"interleaved\":[]}",
      "has \"text\" and \"interleaved\": two forms at once" },
    { "{\"text\":\"a\",\"image\":\"b\",\"caption\":\"a\"}",
      "has \"caption\" and \"text\"; keep one of them" },
    { "{\"text\":\"a\"}",
      "a \"text\" is of one \"image\", and the line names 0; \"interleaved\" has any" },
    { "{\"caption\":\"a\",\"images\":[\"b\",\"c\"]}",
      "a \"caption\" is of one \"image\", and the line names 2" },
    { "{\"caption\":\"\",\"image\":\"b\"}", "\"caption\": expected a text to learn" },
    { "{\"text\":[1],\"image\":\"b\"}", "\"text\": expected a text to learn" },
    { "{\"text\":\"a<image>\",\"image\":\"b\"}",
      "\"text\": has <image>, and images among words are parts of \"interleaved\"" },
    { "{\"interleaved\":{}}", "\"interleaved\": expected a list of images and texts" },
    { "{\"interleaved\":[{\"image\":\"a\"}]}", "with a text to learn" },
    { "{\"interleaved\":[{\"text\":\"a\"}],\"image\":\"b\"}",
      "has \"interleaved\" and \"image\": its images are parts of it" },
    { "{\"interleaved\":[{\"text\":\"a\"},1]}",
      "interleaved[1]: expected a \"text\" or an \"image\"" },
    { "{\"interleaved\":[{\"text\":\"a\",\"image\":\"b\"}]}",
      "interleaved[0]: expected a \"text\" or an \"image\"" },
    { "{\"interleaved\":[{\"text\":\"a\"},{\"text\":\"\"}]}",
      "interleaved[1]: \"text\": expected a text to learn" },
    { "{\"interleaved\":[{\"image\":[\"a\"]}]}",
      "interleaved[0]: \"image\": expected a file's name" },
    { "{\"conversations\":{}}", "\"conversations\": expected a list of turns" },
    { TURNS(""), "\"conversations\": expected a list of turns" },
    { TURNS("1"), "conversations[0]: from '(none)': expected human and gpt" },
    { TURNS(SAYS("bot", "a")), "conversations[0]: from 'bot': expected human and gpt" },
    { TURNS(SAYS("human", "a") "," SAYS("assistant", "b")),
      "conversations[1]: from 'assistant' is Qwen-VL's form, and the line began in "
      "LLaVA's" },
    { TURNS(SAYS("human", "a") "," SAYS("system", "b")),
      "conversations[1]: from 'system', which only the first may be" },
    { TURNS("{\"from\":\"human\"}"), "conversations[0]: \"value\" is not a text" },
    { TURNS("{\"from\":\"human\",\"value\":[1]}"),
      "conversations[0]: \"value\" is not a text" },
    { TURNS(SAYS("human", "a")), "the last turn is not an answer to learn" },
    { TURNS(SAYS("assistant", "a")), "the last turn is not an answer to learn" },
    { TURNS(SAYS("human", "<image>") "," SAYS("gpt", "b")),
      "conversations[0]: <image> number 1, and the line names 0 files" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "<image>"), "\"image\":\"x\""),
      "\"image\": 1 file, and the text has <image> 0 times" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"image\":[1]"),
      "\"image\": expected a file's name, or a list of them" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"image\":\"\""),
      "\"image\": expected a file's name, or a list of them" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"video\":\"x\""),
      "\"video\": 1 video, and the words of a \"human\" have no <video>" },
    { TURNS_AND(SAYS("user", "<video>") "," SAYS("assistant", "b"), "\"video\":\"x\""),
      "\"video\": 1 video, and the words of a \"human\" have no <video>" },
    { "{\"prefix\":\"<video>\",\"suffix\":\"b\",\"video\":\"x\"}",
      "\"video\": 1 video, and the words of a \"human\" have no <video>" },
    { TURNS_AND(SAYS("human", "<video><video>") "," SAYS("gpt", "b"),
                "\"video\":\"x\""),
      "conversations[0]: <video> number 2, and the line names 1 video under "
      "\"video\"" },
    { TURNS(SAYS("human", "<video>") "," SAYS("gpt", "b")),
      "conversations[0]: <video> number 1, and the line names 0 videos" },
    { TURNS_AND(SAYS("human", "<video> <video>") "," SAYS("gpt", "b"),
                "\"videos\":[\"x\",\"y\",\"z\"]"),
      "\"videos\": 3 videos, and the text has <video> 2 times" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"),
                "\"video\":\"x\",\"videos\":\"x\""),
      "has \"video\" and \"videos\"; keep one of them" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"), "\"video\":1"),
      "video: a video: expected a folder of frames, or a list of their files" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"), "\"video\":[[]]"),
      "video: a video of no frames" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"), "\"video\":{\"fps\":1}"),
      "video: a video names no frames" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"),
                "\"video\":\"https://x/y.mp4\""),
      "video: 'https://x/y.mp4': videos are not fetched" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"),
                "\"video\":\"x\",\"fps\":0"),
      "\"fps\": fps: expected frames a second, a number above 0" },
    { TURNS_AND(SAYS("human", "<video>") "," SAYS("gpt", "b"),
                "\"video\":\"x\",\"fps\":[1,2]"),
      "\"fps\": 2 numbers, and 1 video" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"images\":[\"x\"]"),
      "\"images\": 1 file, and the text has <image> 0 times" },
    { TURNS_AND(SAYS("human", "<image>") "," SAYS("gpt", "b"),
                "\"images\":[\"x\"],\"image\":\"x\""),
      "has \"image\" and \"images\"; keep one of them" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"system\":\"x\""),
      "'system' is not supported: a system message is a first turn" },
    { TURNS_AND(SAYS("human", "a") "," SAYS("gpt", "b"), "\"tools\":[{}]"),
      "'tools' is not supported: templates are written without tools" },
    { TURNS_AND(SAYS("user", "a") "," SAYS("assistant", "b"), "\"image\":\"x\""),
      "\"image\" is LLaVA's form, and the turns are in Qwen-VL's" },
    { TURNS(SAYS("user", "<img>a") "," SAYS("assistant", "b")),
      "conversations[0]: <img> without </img>" },
    { TURNS(SAYS("user", "a</img><img>b</img>") "," SAYS("assistant", "b")),
      "conversations[0]: </img> without <img>" },
    { TURNS(SAYS("user", "<img></img>") "," SAYS("assistant", "b")),
      "conversations[0]: <img></img> names no file" },
    { TURNS(SAYS("user", "a") "," SAYS("assistant", "<img>x</img>")),
      "conversations[1]: an image in words of the assistant" },
    { "{\"prefix\":\"a\"}", "\"suffix\": expected a text beside \"prefix\"" },
    { "{\"suffix\":\"a\",\"prefix\":1}",
      "\"prefix\": expected a text beside \"suffix\"" },
};

static void example_refuses_what_is_in_no_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        for (int tags = 0; tags < 2; tags++) {
            lvlm_example e;
            lvlm_error err;
            assert_int_equal(read_text(&e, refused[i].json, tags, &err), LVLM_EFORMAT);
            if (strstr(err.text, refused[i].said) == NULL)
                fail_msg("case %zu: '%s' lacks '%s'", i, err.text, refused[i].said);
            lvlm_example_free(&e);
        }
}

static void example_notes_what_nothing_follows(void **state)
{
    static const struct {
        const char *keys, *note;
    } cases[] = {
        { "\"id\":\"7\",\"images\":null,\"videos\":[],\"system\":\"\",\"tools\":null",
          NULL },
        { "\"imgae\":\"x.png\"",
          "training examples: 'imgae' is not known and not followed; did you mean "
          "'image'?" },
        { "\"weight\":0.5",
          "training examples: 'weight' is not followed: every example counts alike" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        cJSON *json = NULL;
        lvlm_example e;
        lvlm_notes notes = LVLM_NOTES_INIT;
        (void)snprintf(
            line, sizeof line,
            "{\"conversations\":[" SAYS("human", "a") "," SAYS("gpt", "b") "],%s}",
            cases[i].keys);
        assert_int_equal(lvlm_json_parse(&json, line, strlen(line), NULL), 0);
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(lvlm_example_read(&e, json, false, &notes, NULL), 0);
            lvlm_example_free(&e);
        }
        assert_int_equal(notes.n, cases[i].note != NULL);
        if (notes.n > 0) assert_string_equal(notes.at[0], cases[i].note);
        lvlm_notes_free(&notes);
        lvlm_json_free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_reads_llavas_form),
        cmocka_unit_test(example_reads_qwen_vls_form),
        cmocka_unit_test(example_reads_paligemmas_form),
        cmocka_unit_test(example_reads_documents),
        cmocka_unit_test(example_notes_what_nothing_follows),
        cmocka_unit_test(example_refuses_what_is_in_no_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
