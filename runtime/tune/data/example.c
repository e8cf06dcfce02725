/* example.c - training data in five forms; see example.h.
 *
 *   which form -> its images -> turn by turn: role, words cut at images -> messages */
#include "runtime/tune/data/example.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "runtime/prepare/prompt/strip.h"
#include "runtime/tune/data/example_reader.h"

static const char *const form_names[LVLM_N_EXAMPLE_FORMS] = {
    [LVLM_EXAMPLE_LLAVA] = "LLaVA",
    [LVLM_EXAMPLE_QWEN_VL] = "Qwen-VL",
    [LVLM_EXAMPLE_PALIGEMMA] = "PaliGemma",
    [LVLM_EXAMPLE_DOCUMENT] = "a document",
};

/* Values of "from" in the forms that are conversations. */
static const struct {
    const char *word;
    lvlm_example_form form;
    lvlm_role role;
} speakers[] = {
    { "human", LVLM_EXAMPLE_LLAVA, LVLM_ROLE_USER },
    { "gpt", LVLM_EXAMPLE_LLAVA, LVLM_ROLE_ASSISTANT },
    { "user", LVLM_EXAMPLE_QWEN_VL, LVLM_ROLE_USER },
    { "assistant", LVLM_EXAMPLE_QWEN_VL, LVLM_ROLE_ASSISTANT },
};

enum { N_SPEAKERS = sizeof speakers / sizeof speakers[0] };

static const char video_place[] = "<video>";
static const char place[] = EXAMPLE_PLACE, open_tag[] = EXAMPLE_TAG,
                  close_tag[] = "</img>";

const char *lvlm_example_form_name(lvlm_example_form form)
{
    assert(form < LVLM_N_EXAMPLE_FORMS);
    return form_names[form];
}

/* ---- parts ---------------------------------------------------------------------- */

int example_make_parts(lvlm_message *m, size_t n, example_reader *r, lvlm_error *err)
{
    m->parts = lvlm_arena_alloc(&r->out->messages.arena, n + 1, sizeof *m->parts);
    m->n_parts = 0;
    return m->parts != NULL ? 0 : lvlm_fail_memory(err);
}

static int keep(const char **out, lvlm_arena *arena, const char *text, size_t n,
                lvlm_error *err)
{
    *out = lvlm_arena_strndup(arena, text, n);
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

int example_add_text(lvlm_message *m, const char *text, size_t n, example_reader *r,
                     lvlm_error *err)
{
    return keep(&m->parts[m->n_parts++].text, &r->out->messages.arena, text, n, err);
}

int example_add_image(lvlm_message *m, const char *file, size_t n, example_reader *r,
                      lvlm_error *err)
{
    return keep(&m->parts[m->n_parts++].image, &r->out->messages.arena, file, n, err);
}

/* Append to the list of files, which has room. */
static int list_image(lvlm_example *out, const char *file, size_t n, lvlm_error *err)
{
    return keep(&out->images[out->n_images++], &out->arena, file, n, err);
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)) != NULL; text += strlen(word)) n++;
    return n;
}

/* The place that is next in `text`, or NULL. */
static const char *next_place(const char *text, bool *video)
{
    const char *const image = strstr(text, place);
    const char *const moving = strstr(text, video_place);
    *video = moving != NULL && (image == NULL || moving < image);
    return *video ? moving : image;
}

static int refuse_place(const example_reader *r, const char *mark, const char *key,
                        size_t n, const char *what, lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT,
                     "conversations[%zu]: %s number %zu, and the line names %zu %s%s "
                     "under \"%s\"",
                     r->turn, mark, n + 1, n, what, n == 1 ? "" : "s", key);
}

static int take_place(lvlm_message *m, bool video, example_reader *r, lvlm_error *err)
{
    if (video) {
        const example_videos *const v = &r->videos;
        if (r->n_videos_taken == v->n)
            return refuse_place(r, video_place, v->key, v->n, "video", err);
        m->parts[m->n_parts++].video = &v->at[r->n_videos_taken++];
        return 0;
    }
    if (r->n_taken == r->n_beside)
        return refuse_place(r, place, r->key, r->n_beside, "file", err);
    assert(r->n_taken < r->out->n_images);
    const char *const file = r->out->images[r->n_taken++];
    return example_add_image(m, file, strlen(file), r, err);
}

/* A user's words in LLaVA's form. */
static int cut_at_places(lvlm_message *m, const char *text, example_reader *r,
                         lvlm_error *err)
{
    const size_t n_places = count(text, place) + count(text, video_place);
    TRY(example_make_parts(m, 2 * n_places + 1, r, err));
    for (;;) {
        bool video;
        const char *const next = next_place(text, &video);
        size_t n = next != NULL ? (size_t)(next - text) : strlen(text);
        const char *const words = lvlm_strip(text, &n);
        if (n > 0) TRY(example_add_text(m, words, n, r, err));
        if (next == NULL) return 0;
        TRY(take_place(m, video, r, err));
        text = next + strlen(video ? video_place : place);
    }
}

/* Length of `text` without a "Picture 12: " at its end. */
static size_t without_number(const char *text, size_t n)
{
    static const char word[] = "Picture ";
    const size_t word_length = sizeof word - 1;
    size_t at = n;
    if (at < 2 || memcmp(text + at - 2, ": ", 2) != 0) return n;
    at -= 2;
    const size_t digits = at;
    while (at > 0 && isdigit((unsigned char)text[at - 1])) at--;
    if (at == digits || at < word_length) return n;
    return memcmp(text + at - word_length, word, word_length) == 0 ? at - word_length
                                                                   : n;
}

/* Find the next "<img>FILE</img>": *file is NULL when there is none. */
static int find_tag(const char **file, size_t *n, const char *text,
                    const example_reader *r, lvlm_error *err)
{
    const char *const open = strstr(text, open_tag);
    const char *const stray = strstr(text, close_tag);
    *file = NULL;
    FAIL_IF(stray != NULL && (open == NULL || stray < open), err, LVLM_EFORMAT,
            "conversations[%zu]: %s without %s in front of it", r->turn, close_tag,
            open_tag);
    if (open == NULL) return 0;
    const char *const from = open + sizeof open_tag - 1;
    const char *const close = strstr(from, close_tag);
    FAIL_IF(close == NULL, err, LVLM_EFORMAT, "conversations[%zu]: %s without %s",
            r->turn, open_tag, close_tag);
    FAIL_IF(close == from, err, LVLM_EFORMAT, "conversations[%zu]: %s%s names no file",
            r->turn, open_tag, close_tag);
    assert(open < from && from < close);
    *file = from;
    *n = (size_t)(close - from);
    return 0;
}

/* A user's words in Qwen-VL's form: cut at the tags, or with `tags` only searched. */
static int cut_at_tags(lvlm_message *m, const char *text, example_reader *r,
                       lvlm_error *err)
{
    const char *const all = text, *file;
    size_t n;
    TRY(example_make_parts(m, 2 * count(text, open_tag) + 1, r, err));
    for (;;) {
        TRY(find_tag(&file, &n, text, r, err));
        if (file == NULL) break;
        TRY(list_image(r->out, file, n, err));
        if (!r->tags) {
            const size_t before = (size_t)(file - text) - (sizeof open_tag - 1);
            const size_t words = without_number(text, before);
            if (words > 0) TRY(example_add_text(m, text, words, r, err));
            TRY(example_add_image(m, file, n, r, err));
        }
        text = file + n + sizeof close_tag - 1;
        if (!r->tags && *text == '\n') text++;
    }
    if (r->tags) text = all;
    return *text != '\0' ? example_add_text(m, text, strlen(text), r, err) : 0;
}

/* ---- files ---------------------------------------------------------------------- */

int example_read_image(example_reader *r, const cJSON *item, lvlm_error *err)
{
    const char *const file = lvlm_json_string(item);
    assert(r->out->images != NULL);
    FAIL_IF(file == NULL || *file == '\0', err, LVLM_EFORMAT,
            "\"%s\": expected a file's name, or a list of them", r->key);
    return list_image(r->out, file, strlen(file), err);
}

/* Allocate the list of files, and read those that are named beside the text: under
 * "image", or "images" as other trainers call it. */
static int read_images(example_reader *r, const cJSON *json, lvlm_error *err)
{
    const cJSON *const image = lvlm_json_given(json, "image"), *turn, *item;
    const cJSON *const images = lvlm_json_given(json, "images");
    const cJSON *const list = image != NULL ? image : images;
    FAIL_IF(image != NULL && images != NULL, err, LVLM_EFORMAT,
            "has \"image\" and \"images\"; keep one of them");
    r->key = images != NULL ? "images" : "image";
    size_t most =
        lvlm_json_count(list) + lvlm_json_count(lvlm_json_get(json, "interleaved")) + 1;
    LVLM_JSON_ITEMS (turn, lvlm_json_get(json, "conversations")) {
        const char *const words = lvlm_json_string(lvlm_json_get(turn, "value"));
        if (words != NULL) most += count(words, open_tag);
    }
    r->out->images = lvlm_arena_alloc(&r->out->arena, most, sizeof *r->out->images);
    if (r->out->images == NULL) return lvlm_fail_memory(err);
    if (list != NULL && !cJSON_IsArray(list)) TRY(example_read_image(r, list, err));
    LVLM_JSON_ITEMS (item, list) TRY(example_read_image(r, item, err));
    r->n_beside = r->out->n_images;
    return 0;
}

/* ---- keys ------------------------------------------------------------------------ */

#define INERT LVLM_KEY_INERT
#define NOTED LVLM_KEY_NOTED
#define REFUSED LVLM_KEY_REFUSED
#define ABOUT "about the example, not of it"

/* Keys of a line, in all forms. */
static const lvlm_key line_keys[] = {
    { "conversations" },
    { "image" },
    { "images" },
    { "prefix" },
    { "suffix" },
    { "caption" },
    { "text" },
    { "interleaved" },
    { "video" },
    { "videos" },
    { "fps" },
    { "audio", REFUSED, "sound cannot be trained on", "\"\"|[]" },
    { "audios", REFUSED, "sound cannot be trained on", "\"\"|[]" },
    { "system", REFUSED, "a system message is a first turn, from 'system'", "\"\"" },
    { "tools", REFUSED, "templates are written without tools", "\"\"|[]|\"[]\"" },
    { "chosen", REFUSED, "answers are learnt, not preferred" },
    { "rejected", REFUSED, "answers are learnt, not preferred" },
    { "weight", NOTED, "every example counts alike", "1" },
    { "id", INERT, ABOUT },
    { "*_id", INERT, ABOUT },
    { "source", INERT, ABOUT },
    { "*_source", INERT, ABOUT },
    { "dataset", INERT, ABOUT },
    { "task", INERT, ABOUT },
    { "category", INERT, ABOUT },
    { "type", INERT, ABOUT },
    { "model", INERT, ABOUT },
    { "metadata", INERT, ABOUT },
    { "height*", INERT, "the file says it" },
    { "width*", INERT, "the file says it" },
    { NULL },
};

static const lvlm_key turn_keys[] = {
    { "from" },
    { "value" },
    { "weight", NOTED, "every turn counts alike", "1" },
    { "loss", NOTED, "every answer is learnt", "true|1" },
    { "train", NOTED, "every answer is learnt", "true|1" },
    { NULL },
};

/* ---- conversations -------------------------------------------------------------- */

/* The form and the role that "from" implies; a system message fits every form. */
static int read_speaker(lvlm_role *role, const cJSON *turn, bool *known,
                        example_reader *r, lvlm_error *err)
{
    const char *word = lvlm_json_string(lvlm_json_get(turn, "from"));
    if (word == NULL) word = "(none)";
    *role = LVLM_ROLE_SYSTEM;
    if (strcmp(word, "system") == 0) {
        FAIL_IF(r->turn > 0, err, LVLM_EFORMAT,
                "conversations[%zu]: from 'system', which only the first may be",
                r->turn);
        return 0;
    }
    for (size_t i = 0; i < N_SPEAKERS; i++) {
        if (strcmp(word, speakers[i].word) != 0) continue;
        FAIL_IF(
            *known && r->out->form != speakers[i].form, err, LVLM_EFORMAT,
            "conversations[%zu]: from '%s' is %s's form, and the line began in %s's",
            r->turn, word, form_names[speakers[i].form], form_names[r->out->form]);
        *known = true;
        *role = speakers[i].role;
        r->out->form = speakers[i].form;
        return 0;
    }
    return lvlm_fail(
        err, LVLM_EFORMAT,
        "conversations[%zu]: from '%.64s': expected human and gpt, or user "
        "and assistant",
        r->turn, word);
}

static int read_words(lvlm_message *m, const char *words, example_reader *r,
                      lvlm_error *err)
{
    const bool qwen = r->out->form == LVLM_EXAMPLE_QWEN_VL;
    r->out->n_bytes += strlen(words);
    assert(m->n_parts == 0);
    if (m->role == LVLM_ROLE_USER)
        return qwen ? cut_at_tags(m, words, r, err) : cut_at_places(m, words, r, err);
    FAIL_IF(qwen && strstr(words, open_tag) != NULL, err, LVLM_EFORMAT,
            "conversations[%zu]: an image in words of the %s", r->turn,
            lvlm_role_name(m->role));
    TRY(example_make_parts(m, 1, r, err));
    return example_add_text(m, words, strlen(words), r, err);
}

/* Read the turn into the next message, unless it is left out. */
static int read_turn(example_reader *r, const cJSON *turn, bool *known, lvlm_error *err)
{
    lvlm_example *const out = r->out;
    lvlm_message *const m = &out->messages.at[out->messages.n];
    const char *const words = lvlm_json_string(lvlm_json_get(turn, "value"));
    TRY(read_speaker(&m->role, turn, known, r, err));
    FAIL_IF(words == NULL, err, LVLM_EFORMAT,
            "conversations[%zu]: \"value\" is not a text", r->turn);
    if (r->turn == 0 && m->role == LVLM_ROLE_ASSISTANT &&
        out->form == LVLM_EXAMPLE_QWEN_VL) {
        out->left_out = true;
        return 0;
    }
    m->plain = true;
    out->messages.n++;
    return read_words(m, words, r, err);
}

static int read_conversations(example_reader *r, const cJSON *json, lvlm_error *err)
{
    const cJSON *const turns = lvlm_json_get(json, "conversations"), *turn;
    lvlm_messages *const m = &r->out->messages;
    bool known = false;
    FAIL_IF(lvlm_json_count(turns) == 0, err, LVLM_EFORMAT,
            "\"conversations\": expected a list of turns");
    m->at = lvlm_arena_alloc(&m->arena, lvlm_json_count(turns), sizeof *m->at);
    if (m->at == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (turn, turns) {
        TRY(lvlm_keys_check(turn, "training examples: conversations", turn_keys,
                            r->notes, err));
        TRY(read_turn(r, turn, &known, err));
        r->turn++;
    }
    FAIL_IF(m->n == 0 || m->at[m->n - 1].role != LVLM_ROLE_ASSISTANT, err, LVLM_EFORMAT,
            "\"conversations\": the last turn is not an answer to learn");
    const bool llava = r->out->form == LVLM_EXAMPLE_LLAVA;
    const example_videos *const v = &r->videos;
    FAIL_IF(llava && r->n_videos_taken < v->n, err, LVLM_EFORMAT,
            "\"%s\": %zu %s, and the text has %s %zu times", v->key, v->n,
            v->n == 1 ? "video" : "videos", video_place, r->n_videos_taken);
    FAIL_IF(llava && r->n_taken < r->n_beside, err, LVLM_EFORMAT,
            "\"%s\": %zu %s, and the text has %s %zu times", r->key, r->n_beside,
            r->n_beside == 1 ? "file" : "files", place, r->n_taken);
    FAIL_IF(!llava && r->n_beside > 0, err, LVLM_EFORMAT,
            "\"%s\" is LLaVA's form, and the turns are in Qwen-VL's, whose images "
            "stand in the text as %sFILE%s",
            r->key, open_tag, close_tag);
    return 0;
}

/* ---- prefix and suffix ---------------------------------------------------------- */

static int read_prefix(example_reader *r, const cJSON *json, lvlm_error *err)
{
    const char *const prefix = lvlm_json_string(lvlm_json_get(json, "prefix"));
    const char *const suffix = lvlm_json_string(lvlm_json_get(json, "suffix"));
    lvlm_example *const out = r->out;
    FAIL_IF(prefix == NULL || suffix == NULL, err, LVLM_EFORMAT,
            "\"%s\": expected a text beside \"%s\"",
            prefix == NULL ? "prefix" : "suffix", prefix == NULL ? "suffix" : "prefix");
    out->form = LVLM_EXAMPLE_PALIGEMMA;
    out->n_bytes = strlen(prefix) + strlen(suffix);
    return lvlm_messages_make(&out->messages, NULL, prefix, suffix, out->images,
                              out->n_images, err);
}

/* ---- videos --------------------------------------------------------------------- */

/* How often the user's words have <video>. */
static size_t count_videos(const cJSON *json)
{
    const cJSON *turn;
    size_t n = 0;
    LVLM_JSON_ITEMS (turn, lvlm_json_get(json, "conversations")) {
        const char *const words = lvlm_json_string(lvlm_json_get(turn, "value"));
        const char *const from = lvlm_json_string(lvlm_json_get(turn, "from"));
        if (words != NULL && from != NULL && strcmp(from, "human") == 0)
            n += count(words, video_place);
    }
    return n;
}

static int read_videos(example_reader *r, const cJSON *json, lvlm_error *err)
{
    lvlm_example *const out = r->out;
    const size_t n = count_videos(json);
    TRY(example_videos_read(&r->videos, json, n, &out->arena, r->notes, err));
    FAIL_IF(n == 0 && r->videos.n > 0, err, LVLM_EFORMAT,
            "\"%s\": %zu %s, and the words of a \"human\" have no %s", r->videos.key,
            r->videos.n, r->videos.n == 1 ? "video" : "videos", video_place);
    out->videos = r->videos.at;
    out->n_videos = r->videos.n;
    return 0;
}

/* ---- the line ------------------------------------------------------------------- */

/* The keys that say which form a line has. */
static const struct {
    const char *key;
    int (*read)(example_reader *r, const cJSON *json, lvlm_error *err);
} form_keys[] = {
    { "conversations", read_conversations },
    { "prefix", read_prefix },
    { "suffix", read_prefix },
    { "caption", example_read_pair },
    { "text", example_read_pair },
    { "interleaved", example_read_interleaved },
};

enum { N_FORM_KEYS = sizeof form_keys / sizeof form_keys[0] };

static int read_line(example_reader *r, const cJSON *json, lvlm_error *err)
{
    size_t form = N_FORM_KEYS;
    FAIL_IF(!cJSON_IsObject(json), err, LVLM_EFORMAT, "expected an object");
    for (size_t i = 0; i < N_FORM_KEYS; i++) {
        if (lvlm_json_given(json, form_keys[i].key) == NULL) continue;
        FAIL_IF(form < N_FORM_KEYS && form_keys[i].read != form_keys[form].read, err,
                LVLM_EFORMAT, "has \"%s\" and \"%s\": two forms at once",
                form_keys[form].key, form_keys[i].key);
        if (form == N_FORM_KEYS) form = i;
    }
    FAIL_IF(form == N_FORM_KEYS, err, LVLM_EFORMAT,
            "is in no known form: expected \"conversations\" (LLaVA, Qwen-VL), "
            "\"prefix\", \"suffix\" and \"image\" (PaliGemma), \"image\" and "
            "\"caption\", or \"interleaved\"");
    TRY(lvlm_keys_check(json, "training examples", line_keys, r->notes, err));
    TRY(read_images(r, json, err));
    TRY(read_videos(r, json, err));
    return form_keys[form].read(r, json, err);
}

int lvlm_example_read(lvlm_example *out, const cJSON *json, bool tags,
                      lvlm_notes *notes, lvlm_error *err)
{
    assert(json != NULL);
    example_reader r = { .out = out, .tags = tags, .key = "image", .notes = notes };
    *out = (lvlm_example){ .n_images = 0 };
    return read_line(&r, json, err);
}

void lvlm_example_free(lvlm_example *example)
{
    lvlm_messages_free(&example->messages);
    lvlm_arena_free(&example->arena);
}
