/* example_document.c - pairs of an image and a caption, and texts with images between,
 * as a document. */
#include "runtime/tune/data/example_reader.h"

#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"

static const lvlm_key part_keys[] = {
    { "image" },
    { "text" },
    { "type", LVLM_KEY_INERT, "the other key says it" },
    { NULL },
};

/* Begin the one message, with room for `n` parts. */
static int begin_document(lvlm_message **out, example_reader *r, size_t n,
                          lvlm_error *err)
{
    lvlm_messages *const m = &r->out->messages;
    *out = m->at = lvlm_arena_alloc(&m->arena, 1, sizeof *m->at);
    if (m->at == NULL) return lvlm_fail_memory(err);
    r->out->form = LVLM_EXAMPLE_DOCUMENT;
    m->n = 1;
    m->document = true;
    m->at->role = LVLM_ROLE_ASSISTANT;
    return example_make_parts(m->at, n, r, err);
}

static int add_words(lvlm_message *m, const cJSON *item, example_reader *r,
                     lvlm_error *err)
{
    const char *const words = lvlm_json_string(item);
    FAIL_IF(words == NULL || *words == '\0', err, LVLM_EFORMAT,
            "\"%s\": expected a text to learn", item->string);
    for (int tag = 0; tag <= r->tags; tag++)
        FAIL_IF(strstr(words, tag ? EXAMPLE_TAG : EXAMPLE_PLACE) != NULL, err,
                LVLM_EFORMAT,
                "\"%s\": has %s, and images among words are parts of "
                "\"interleaved\"",
                item->string, tag ? EXAMPLE_TAG : EXAMPLE_PLACE);
    r->out->n_bytes += strlen(words);
    return example_add_text(m, words, strlen(words), r, err);
}

int example_read_pair(example_reader *r, const cJSON *json, lvlm_error *err)
{
    const cJSON *const caption = lvlm_json_given(json, "caption");
    const cJSON *const text = lvlm_json_given(json, "text");
    const size_t n = r->out->n_images;
    lvlm_message *m;
    FAIL_IF(caption != NULL && text != NULL, err, LVLM_EFORMAT,
            "has \"caption\" and \"text\"; keep one of them");
    FAIL_IF(n != 1, err, LVLM_EFORMAT,
            "a \"%s\" is of one \"image\", and the line names %zu; \"interleaved\" has "
            "any number",
            caption != NULL ? "caption" : "text", n);
    TRY(begin_document(&m, r, 2, err));
    TRY(example_add_image(m, r->out->images[0], strlen(r->out->images[0]), r, err));
    return add_words(m, caption != NULL ? caption : text, r, err);
}

static int read_part(lvlm_message *m, example_reader *r, const cJSON *part,
                     lvlm_error *err)
{
    const cJSON *const text = lvlm_json_given(part, "text");
    const cJSON *const image = lvlm_json_given(part, "image");
    FAIL_IF((text != NULL) == (image != NULL), err, LVLM_EFORMAT,
            "expected a \"text\" or an \"image\"");
    TRY(lvlm_keys_check(part, "training examples: interleaved", part_keys, r->notes,
                        err));
    if (text != NULL) return add_words(m, text, r, err);
    TRY(example_read_image(r, image, err));
    const char *const file = r->out->images[r->out->n_images - 1];
    return example_add_image(m, file, strlen(file), r, err);
}

int example_read_interleaved(example_reader *r, const cJSON *json, lvlm_error *err)
{
    const cJSON *const parts = lvlm_json_get(json, "interleaved"), *part;
    lvlm_message *m;
    FAIL_IF(r->n_beside > 0, err, LVLM_EFORMAT,
            "has \"interleaved\" and \"%s\": its images are parts of it", r->key);
    TRY(begin_document(&m, r, lvlm_json_count(parts), err));
    r->key = "image";
    LVLM_JSON_ITEMS (part, parts) {
        const int rc = read_part(m, r, part, err);
        TRY(lvlm_within(rc, err, "interleaved[%zu]: ", m->n_parts));
    }
    FAIL_IF(r->out->n_bytes == 0, err, LVLM_EFORMAT,
            "\"interleaved\": expected a list of images and texts, with a text to "
            "learn");
    return 0;
}
