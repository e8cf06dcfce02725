/* messages.c - conversations from JSON or a single prompt. */
#include "runtime/prepare/prompt/messages.h"

#include <assert.h>
#include <string.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"
#include "runtime/prepare/prompt/message_video.h"

static const char *const role_names[LVLM_N_ROLES] = {
    [LVLM_ROLE_SYSTEM] = "system",
    [LVLM_ROLE_USER] = "user",
    [LVLM_ROLE_ASSISTANT] = "assistant",
};

const char *lvlm_role_name(lvlm_role role)
{
    assert((size_t)role < LVLM_N_ROLES);
    return role_names[role];
}

/* State of reading, and the images that have no place yet. */
typedef struct reader {
    lvlm_messages *out;
    const char *const *images;
    size_t n_images;
    size_t n_taken;    /* of them */
    size_t n_places;   /* image parts */
    size_t message;    /* index of the current one */
    lvlm_notes *notes; /* or NULL */
} reader;

static int keep(const char **kept, lvlm_messages *out, const char *text,
                lvlm_error *err)
{
    *kept = lvlm_arena_strndup(&out->arena, text, strlen(text));
    return *kept != NULL ? 0 : lvlm_fail_memory(err);
}

/* ---- keys ------------------------------------------------------------------------ */

#define REFUSED LVLM_KEY_REFUSED
#define BOUNDS                                                                         \
    "sizes of a single picture are not followed; give it in the size that it is to "   \
    "have, or set the bounds of all in preprocessor_config.json"
#define TOOLS "templates are written without tools"

static const lvlm_key message_keys[] = {
    { "role" },
    { "content" },
    { "name", LVLM_KEY_NOTED, "templates write roles, not names" },
    { "reasoning_content|thinking", LVLM_KEY_NOTED, "only the content is written" },
    { "tool_calls", REFUSED, TOOLS, "[]" },
    { "function_call", REFUSED, TOOLS },
    { "tools", REFUSED, TOOLS, "[]" },
    { NULL },
};

static const lvlm_key text_keys[] = { { "type" }, { "text" }, { NULL } };

/* Of an image part, and of the object that image_url may be. */
static const lvlm_key image_keys[] = {
    { "type" },
    { "path" },
    { "image" },
    { "url" },
    { "image_url" },
    { MESSAGE_SIZE_KEYS, REFUSED, BOUNDS },
    { "detail", LVLM_KEY_NOTED, "every picture is treated alike", "\"auto\"" },
    { NULL },
};

/* Note keys that are not followed or unknown, once for all messages. */
static int check_keys(const cJSON *object, const lvlm_key *keys, const reader *r,
                      lvlm_error *err)
{
    return lvlm_keys_check(object, "messages", keys, r->notes, err);
}

/* ---- parts ---------------------------------------------------------------------- */

/* Keys that may name the file of an image. */
static const char *const file_keys[] = { "path", "image", "url", "image_url.url",
                                         "image_url" };

/* *out is NULL if there is none. */
static int find_file(const char **out, const cJSON *part, const reader *r,
                     lvlm_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof file_keys / sizeof file_keys[0]; i++) {
        const char *const file = lvlm_json_string(lvlm_json_path(part, file_keys[i]));
        if (file == NULL) continue;
        FAIL_IF(*out != NULL && strcmp(*out, file) != 0, err, LVLM_EFORMAT,
                "messages[%zu]: an image names '%.64s' and '%.64s'; keep one of them",
                r->message, *out, file);
        *out = file;
    }
    return 0;
}

static int read_image(lvlm_part *out, const cJSON *item, reader *r, lvlm_error *err)
{
    static const char local[] = "file://";
    static const char *const fetched[] = { "http://", "https://", "data:" };
    const char *file;
    TRY(find_file(&file, item, r, err));
    TRY(check_keys(item, image_keys, r, err));
    TRY(check_keys(lvlm_json_get(item, "image_url"), image_keys, r, err));
    r->n_places++;
    if (file == NULL) {
        FAIL_IF(r->n_taken == r->n_images, err, LVLM_EFORMAT,
                "messages[%zu]: image %zu names no file; given beside are %zu",
                r->message, r->n_places, r->n_images);
        file = r->images[r->n_taken++];
    }
    for (size_t i = 0; i < sizeof fetched / sizeof fetched[0]; i++)
        FAIL_IF(lvlm_starts_with(file, fetched[i]), err, LVLM_EFORMAT,
                "messages[%zu]: '%.64s': images are not fetched, expected a file",
                r->message, file);
    if (lvlm_starts_with(file, local)) file += strlen(local);
    return keep(&out->image, r->out, file, err);
}

static int read_video(lvlm_part *out, const cJSON *item, const reader *r,
                      lvlm_error *err)
{
    lvlm_arena *const arena = &r->out->arena;
    const char *const where = lvlm_arena_printf(arena, "messages[%zu]", r->message);
    if (where == NULL) return lvlm_fail_memory(err);
    return message_video_read(&out->video, item, where, arena, r->notes, err);
}

static int read_part(lvlm_part *out, const cJSON *item, reader *r, lvlm_error *err)
{
    const char *const type = lvlm_json_string(lvlm_json_get(item, "type"));
    FAIL_IF(type == NULL, err, LVLM_EFORMAT,
            "messages[%zu]: a part of content has no type", r->message);
    if (strcmp(type, "image") == 0 || strcmp(type, "image_url") == 0)
        return read_image(out, item, r, err);
    if (strcmp(type, "video") == 0) return read_video(out, item, r, err);
    FAIL_IF(strcmp(type, "text") != 0, err, LVLM_EFORMAT,
            "messages[%zu]: type '%.64s': expected image, video or text", r->message,
            type);
    TRY(check_keys(item, text_keys, r, err));
    const char *const text = lvlm_json_string(lvlm_json_get(item, "text"));
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "messages[%zu]: a part has no text",
            r->message);
    return keep(&out->text, r->out, text, err);
}

/* ---- messages ------------------------------------------------------------------- */

/* Make room for `n` parts. */
static int make_parts(lvlm_message *message, size_t n, lvlm_arena *arena,
                      lvlm_error *err)
{
    message->parts = lvlm_arena_alloc(arena, n + 1, sizeof *message->parts);
    message->n_parts = n;
    return message->parts != NULL ? 0 : lvlm_fail_memory(err);
}

static int set_text(lvlm_message *message, lvlm_role role, const char *text,
                    lvlm_messages *out, lvlm_error *err)
{
    message->role = role;
    message->plain = true;
    TRY(make_parts(message, 1, &out->arena, err));
    return keep(&message->parts[0].text, out, text, err);
}

static int read_role(lvlm_role *out, const cJSON *item, const reader *r,
                     lvlm_error *err)
{
    const char *const role = lvlm_json_string(lvlm_json_get(item, "role"));
    for (*out = 0; role != NULL && *out < LVLM_N_ROLES; (*out)++)
        if (strcmp(role, role_names[*out]) == 0) return 0;
    return lvlm_fail(err, LVLM_EFORMAT,
                     "messages[%zu]: role '%.64s': expected system, user or assistant",
                     r->message, role != NULL ? role : "");
}

static int read_message(lvlm_message *out, const cJSON *item, reader *r,
                        lvlm_error *err)
{
    const cJSON *const content = lvlm_json_get(item, "content");
    const char *const text = lvlm_json_string(content);
    lvlm_role role;
    TRY(read_role(&role, item, r, err));
    TRY(check_keys(item, message_keys, r, err));
    if (text != NULL) return set_text(out, role, text, r->out, err);
    FAIL_IF(!cJSON_IsArray(content), err, LVLM_EFORMAT,
            "messages[%zu]: content: expected text or a list of parts", r->message);
    out->role = role;
    TRY(make_parts(out, lvlm_json_count(content), &r->out->arena, err));
    const cJSON *part;
    lvlm_part *at = out->parts;
    LVLM_JSON_ITEMS (part, content) TRY(read_part(at++, part, r, err));
    return 0;
}

/* Images without a part. */
static int keep_unplaced(reader *r, lvlm_error *err)
{
    lvlm_messages *const out = r->out;
    const size_t n = r->n_images - r->n_taken;
    assert(r->n_taken <= r->n_images && (n == 0 || r->images != NULL));
    FAIL_IF(n > 0 && r->n_places > 0, err, LVLM_EUSAGE,
            "images: %zu are given, %zu of the messages' name no file", r->n_images,
            r->n_taken);
    out->unplaced = lvlm_arena_alloc(&out->arena, n + 1, sizeof *out->unplaced);
    if (out->unplaced == NULL) return lvlm_fail_memory(err);
    for (; out->n_unplaced < n; out->n_unplaced++)
        TRY(keep(&out->unplaced[out->n_unplaced], out, r->images[out->n_unplaced],
                 err));
    return 0;
}

static int read_list(reader *r, const cJSON *list, lvlm_error *err)
{
    lvlm_messages *const out = r->out;
    const cJSON *item;
    FAIL_IF(lvlm_json_count(list) == 0, err, LVLM_EFORMAT,
            "expected a list of messages, each with a role and content");
    out->n = lvlm_json_count(list);
    out->at = lvlm_arena_alloc(&out->arena, out->n, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, list) {
        TRY(read_message(&out->at[r->message], item, r, err));
        r->message++;
    }
    return keep_unplaced(r, err);
}

int lvlm_messages_take(lvlm_messages *out, const cJSON *list, const char *const *images,
                       size_t n_images, lvlm_notes *notes, lvlm_error *err)
{
    reader r = { out, images, n_images, .notes = notes };
    *out = (lvlm_messages){ .n = 0 };
    return read_list(&r, list, err);
}

int lvlm_messages_parse(lvlm_messages *out, const char *json, size_t n_bytes,
                        const char *const *images, size_t n_images, lvlm_notes *notes,
                        lvlm_error *err)
{
    cJSON *list = NULL;
    *out = (lvlm_messages){ .n = 0 };
    FAIL_IF(n_bytes > LVLM_MESSAGES_MAX_BYTES, err, LVLM_EFORMAT,
            "%zu bytes of messages, at most %d", n_bytes, LVLM_MESSAGES_MAX_BYTES);
    TRY(lvlm_json_parse(&list, json, n_bytes, err));
    const int rc = lvlm_messages_take(out, list, images, n_images, notes, err);
    lvlm_json_free(list);
    return rc;
}

int lvlm_messages_read(lvlm_messages *out, const char *path, const char *const *images,
                       size_t n_images, lvlm_notes *notes, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    *out = (lvlm_messages){ .n = 0 };
    TRY(lvlm_infile_open(&file, path, err));
    const char *const text = file->bytes != NULL ? (const char *)file->bytes : "";
    const int rc = lvlm_messages_parse(out, text, (size_t)file->n_bytes, images,
                                       n_images, notes, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    lvlm_infile_close(file);
    return rc;
}

int lvlm_messages_make(lvlm_messages *out, const char *system, const char *text,
                       const char *answer, const char *const *images, size_t n_images,
                       lvlm_error *err)
{
    const char *const said[LVLM_N_ROLES] = { system, text, answer };
    reader r = { .out = out, .images = images, .n_images = n_images };
    assert(text != NULL);
    *out = (lvlm_messages){ .n = 0 };
    out->at = lvlm_arena_alloc(&out->arena, LVLM_N_ROLES, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    for (lvlm_role role = 0; role < LVLM_N_ROLES; role++)
        if (said[role] != NULL)
            TRY(set_text(&out->at[out->n++], role, said[role], out, err));
    return keep_unplaced(&r, err);
}

void lvlm_messages_free(lvlm_messages *messages)
{
    lvlm_arena_free(&messages->arena);
    *messages = (lvlm_messages){ .n = 0 };
}
