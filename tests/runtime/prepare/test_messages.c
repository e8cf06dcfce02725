/* test_messages.c - conversations from JSON and from one prompt, and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/prepare/prompt/messages.h"
#include "tests/support/scratch.h"

static const char *const files[] = { "a.png", "b.png" };

static int parse(lvlm_messages *out, const char *json, size_t n_images, lvlm_error *err)
{
    return lvlm_messages_parse(out, json, strlen(json), files, n_images, NULL, err);
}

static void parts_keep_their_order(void **state)
{
    lvlm_messages m;
    lvlm_error err;
    (void)state;
    assert_int_equal(
        parse(
            &m,
            "[{\"role\": \"system\", \"content\": \"be brief\"},"
            " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"},"
            "  {\"type\": \"image\"}, {\"type\": \"image\", \"path\": \"c.png\"},"
            "  {\"type\": \"image_url\", \"image_url\": {\"url\": \"file:///d.png\"}},"
            "  {\"type\": \"text\", \"text\": \"\"}, {\"type\": \"image\"}]},"
            " {\"role\": \"assistant\", \"content\": []}]",
            2, &err),
        0);
    assert_int_equal(m.n, 3);
    assert_int_equal(m.at[0].role, LVLM_ROLE_SYSTEM);
    assert_true(m.at[0].plain && m.at[0].n_parts == 1);
    assert_string_equal(m.at[0].parts[0].text, "be brief");
    const lvlm_message *const user = &m.at[1];
    assert_true(!user->plain && user->n_parts == 6);
    assert_string_equal(user->parts[0].text, "a");
    assert_null(user->parts[1].text);
    assert_string_equal(user->parts[1].image, "a.png");
    assert_string_equal(user->parts[2].image, "c.png");
    assert_string_equal(user->parts[3].image, "/d.png");
    assert_string_equal(user->parts[4].text, "");
    assert_string_equal(user->parts[5].image, "b.png");
    assert_true(m.at[2].role == LVLM_ROLE_ASSISTANT && m.at[2].n_parts == 0);
    assert_int_equal(m.n_unplaced, 0);
    lvlm_messages_free(&m);
}

static void images_without_a_part_are_unplaced(void **state)
{
    lvlm_messages m;
    lvlm_error err;
    (void)state;
    assert_int_equal(parse(&m, "[{\"role\": \"user\", \"content\": \"a\"}]", 2, &err),
                     0);
    assert_int_equal(m.n_unplaced, 2);
    assert_string_equal(m.unplaced[1], "b.png");
    lvlm_messages_free(&m);
    assert_int_equal(lvlm_messages_make(&m, NULL, "a", NULL, files, 1, &err), 0);
    assert_true(m.n == 1 && m.n_unplaced == 1 && m.at[0].role == LVLM_ROLE_USER);
    lvlm_messages_free(&m);
    assert_int_equal(lvlm_messages_make(&m, "s", "a", "b", files, 0, &err), 0);
    assert_true(m.n == 3 && m.n_unplaced == 0);
    assert_string_equal(m.at[2].parts[0].text, "b");
    assert_string_equal(lvlm_role_name(m.at[2].role), "assistant");
    lvlm_messages_free(&m);
}

#define USER(content) "[{\"role\": \"user\", \"content\": " content "}]"
#define PART(part) USER("[" part "]")

static void what_no_model_understands_is_refused(void **state)
{
    static const struct {
        const char *json;
        const char *message;
    } bad[] = {
        { "", "not JSON" },
        { "{}", "expected a list of messages" },
        { "[]", "expected a list of messages" },
        { "[1]", "messages[0]: role ''" },
        { "[{\"role\": \"tool\", \"content\": \"a\"}]",
          "messages[0]: role 'tool': expected system, user or assistant" },
        { "[{\"role\": \"user\"}]", "messages[0]: content: expected text or a list" },
        { USER("7"), "messages[0]: content: expected text or a list of parts" },
        { PART("\"a\""), "messages[0]: a part of content has no type" },
        { PART("{\"type\": \"sound\"}"),
          "type 'sound': expected image, video or text" },
        { PART("{\"type\": \"text\"}"), "messages[0]: a part has no text" },
        { PART("{\"type\": \"image\"}, {\"type\": \"image\"}"),
          "messages[0]: image 2 names no file; given beside are 1" },
        { PART("{\"type\": \"image\", \"url\": \"https://x/y.png\"}"),
          "'https://x/y.png': images are not fetched, expected a file" },
        { PART("{\"type\": \"image\", \"path\": \"c.png\"}"),
          "images: 1 are given, 0 of the messages' name no file" },
        { PART("{\"type\": \"image\", \"max_pixels\": 64}"),
          "messages: 'max_pixels' is not supported: sizes of a single picture" },
        { PART("{\"type\": \"image\", \"resized_height\": 8, \"resized_width\": 8}"),
          "messages: 'resized_height' is not supported: sizes of a single picture" },
        { PART("{\"type\": \"image\", \"path\": \"a.png\", \"url\": \"b.png\"}"),
          "messages[0]: an image names 'a.png' and 'b.png'; keep one of them" },
        { "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{}]}]",
          "messages: 'tool_calls' is not supported: templates are written without" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lvlm_messages m;
        lvlm_error err = { .text = "" };
        const int rc = parse(&m, bad[i].json, 1, &err);
        lvlm_messages_free(&m);
        assert_true(rc == LVLM_EFORMAT || rc == LVLM_EUSAGE);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
    }
}

static void keys_that_nothing_follows_are_noted(void **state)
{
    static const char json[] =
        "[{\"role\": \"user\", \"name\": \"Ann\", \"tool_calls\": null, \"content\": ["
        "{\"type\": \"text\", \"text\": \"a\", \"txt\": 1},"
        "{\"type\": \"text\", \"text\": \"a\", \"txt\": 1},"
        "{\"type\": \"image_url\", \"image_url\": {\"url\": \"a.png\", \"detail\":"
        " \"low\"}}]}]";
    static const char *const expected[] = {
        "messages: 'name' is not followed: templates write roles, not names",
        "messages: 'txt' is not known and not followed; did you mean 'text'?",
        "messages: 'detail' is not followed: every picture is treated alike",
    };
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_messages m;
    (void)state;
    assert_int_equal(
        lvlm_messages_parse(&m, json, sizeof json - 1, NULL, 0, &notes, NULL), 0);
    assert_int_equal(notes.n, 3);
    for (size_t i = 0; i < 3; i++) assert_string_equal(notes.at[i], expected[i]);
    lvlm_messages_free(&m);
    lvlm_notes_free(&notes);
}

static void a_file_is_named(void **state)
{
    scratch s;
    lvlm_messages m;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    const char *const path = scratch_write(&s, "m.json", "[1]", 3);
    assert_int_equal(lvlm_messages_read(&m, path, files, 0, NULL, &err), LVLM_EFORMAT);
    lvlm_messages_free(&m);
    assert_memory_equal(err.text, path, strlen(path));
    const char *const empty = scratch_write(&s, "e.json", "", 0);
    assert_int_equal(lvlm_messages_read(&m, empty, files, 0, NULL, &err), LVLM_EFORMAT);
    lvlm_messages_free(&m);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_keep_their_order),
        cmocka_unit_test(images_without_a_part_are_unplaced),
        cmocka_unit_test(what_no_model_understands_is_refused),
        cmocka_unit_test(keys_that_nothing_follows_are_noted),
        cmocka_unit_test(a_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
