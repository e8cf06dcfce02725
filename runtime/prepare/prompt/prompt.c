/* prompt.c - pieces of text to ids, spans and places of images.
 *
 *   prompt_style.h (pieces) -> groups that are tokenised together -> ids
 *   image tokens among the ids -> places; between tags also the file */
#include "runtime/prepare/prompt/prompt.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"
#include "runtime/prepare/prompt/prompt_affix.h"
#include "runtime/prepare/prompt/prompt_places.h"
#include "runtime/prepare/prompt/prompt_style.h"

/* MAX_SLOTS: ids that the tokenizer writes between the tags of an image. */
enum { MAX_LISTED = 16, MAX_SLOTS = 256 };

/* Ids of a style's list of tokens. */
typedef struct listed {
    int64_t ids[MAX_LISTED];
    lvlm_special special; /* all others off */
} listed;

struct lvlm_prompter {
    const prompt_style *style;
    const prompt_style *base; /* of documents */
    lvlm_prompt_options options;
    lvlm_tokenizer *tokenizer;
    const char *bos, *eos; /* "" if there is none */
    lvlm_prompt_form form;
    size_t between; /* places of an image between its tags; 0: no tags */
    size_t window;  /* limit of history in tokens; 0: none */
    prompt_affix affix;
    listed tags, kept;
    lvlm_arena arena;
};

/* ---- opening -------------------------------------------------------------------- */

/* The spelling of the token for a role. */
static int read_role(const char **out, lvlm_prompter *p, lvlm_token_role role,
                     lvlm_error *err)
{
    size_t n = 0;
    const int64_t id = lvlm_tokenizer_role(p->tokenizer, role);
    const char *const token = id >= 0 ? lvlm_tokenizer_token(p->tokenizer, id, &n) : "";
    *out = lvlm_arena_strndup(&p->arena, token != NULL ? token : "", n);
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

/* Tags that are in the vocabulary. */
static void list(listed *out, const char *const *names, const lvlm_tokenizer *t)
{
    *out = (listed){ .special = { .off = true } };
    out->special.except = out->ids;
    for (; names != NULL && *names != NULL; names++) {
        const int64_t id = lvlm_tokenizer_id(t, *names);
        assert(out->special.n_except < MAX_LISTED);
        if (id >= 0) out->ids[out->special.n_except++] = id;
    }
}

static int read_config(lvlm_prompter *p, const lvlm_manifest *manifest, lvlm_error *err)
{
    uint64_t image = 0, video = 0, queries = 0;
    FAIL_IF(!lvlm_json_u64(&image, lvlm_json_path(manifest->config, "tokens.image")),
            err, LVLM_EFORMAT, "config: tokens.image is not a token");
    p->form = p->style->form;
    p->form.image_token = (int64_t)image;
    const cJSON *const token = lvlm_json_path(manifest->config, "tokens.video");
    p->form.video_token =
        p->style->video != NULL && lvlm_json_u64(&video, token) ? (int64_t)video : -1;
    if (p->style->image_close == NULL) return 0;
    const cJSON *const between = lvlm_json_path(manifest->config, "connector.queries");
    FAIL_IF(!lvlm_json_u64(&queries, between) || queries < 2, err, LVLM_EFORMAT,
            "config: connector.queries: expected 2 or more");
    p->between = (size_t)queries;
    return p->style->separate
               ? prompt_style_window(&p->window, manifest->checkpoint, err)
               : 0;
}

/* The tokenizer must read a placeholder as the token whose rows the model replaces. */
static int check_place(const lvlm_prompter *p, lvlm_error *err)
{
    const char *const place = p->style->place;
    const int64_t id = lvlm_tokenizer_id(p->tokenizer, place);
    const long long image = (long long)p->form.image_token;
    if (p->style->option == NULL) return 0;
    FAIL_IF(id < 0, err, LVLM_EFORMAT,
            "the tokenizer has no token %s; image_token_index says that it is %lld",
            place, image);
    FAIL_IF(id != image, err, LVLM_EFORMAT,
            "the tokenizer's %s is %lld, image_token_index says %lld", place,
            (long long)id, image);
    return 0;
}

static int open_all(lvlm_prompter *p, const lvlm_manifest *manifest, lvlm_error *err)
{
    TRY(prompt_style_choose(&p->style, manifest, &p->options, err));
    p->base = prompt_style_base(manifest);
    TRY(lvlm_tokenizer_open(&p->tokenizer, manifest->checkpoint, err));
    TRY(read_config(p, manifest, err));
    TRY(check_place(p, err));
    TRY(read_role(&p->bos, p, LVLM_TOKEN_BOS, err));
    TRY(read_role(&p->eos, p, LVLM_TOKEN_EOS, err));
    FAIL_IF(p->style->bos && *p->bos == '\0', err, LVLM_EFORMAT,
            "the tokenizer's files name no bos_token; texts of %s have it",
            p->style->name);
    const int64_t pad = lvlm_tokenizer_role(p->tokenizer, LVLM_TOKEN_PAD);
    p->form.pad = pad >= 0 ? pad : 0;
    FAIL_IF(p->style->eos_closes && *p->eos == '\0', err, LVLM_EFORMAT,
            "the tokenizer's files name no eos_token, with which answers of %s end",
            p->style->name);
    list(&p->tags, p->style->tags, p->tokenizer);
    list(&p->kept, p->style->kept, p->tokenizer);
    if (p->options.date != NULL) {
        FAIL_IF(p->style->knowledge == NULL, err, LVLM_EUSAGE,
                "a date is given: prompts of %s have none", p->style->name);
        p->options.date =
            lvlm_arena_strndup(&p->arena, p->options.date, strlen(p->options.date));
        if (p->options.date == NULL) return lvlm_fail_memory(err);
    }
    if (!(p->style->affixed || (p->options.training && p->base->affixed)) ||
        (p->style->bos && p->options.as_trained))
        return 0;
    return prompt_affix_read(&p->affix, manifest->checkpoint, p->tokenizer, err);
}

int lvlm_prompter_open(lvlm_prompter **out, const lvlm_manifest *manifest,
                       const lvlm_prompt_options *options, lvlm_error *err)
{
    lvlm_prompter *const p = lvlm_calloc(1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    if (options != NULL) p->options = *options;
    const int rc = open_all(p, manifest, err);
    if (rc < 0) {
        lvlm_prompter_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void lvlm_prompter_close(lvlm_prompter *prompter)
{
    if (prompter == NULL) return;
    lvlm_tokenizer_close(prompter->tokenizer);
    lvlm_arena_free(&prompter->arena);
    lvlm_free(prompter);
}

const char *lvlm_prompter_template(const lvlm_prompter *prompter)
{
    return prompter->style->option;
}

const lvlm_tokenizer *lvlm_prompter_tokenizer(const lvlm_prompter *prompter)
{
    return prompter->tokenizer;
}

const lvlm_special *lvlm_prompter_answer(const lvlm_prompter *prompter)
{
    return &prompter->kept.special;
}

/* ---- pieces to ids -------------------------------------------------------------- */

/* The ids under construction. */
typedef struct encoder {
    const lvlm_prompter *p;
    lvlm_prompt *out;
    lvlm_ids ids;
    lvlm_ids start;   /* of the start of a group */
    lvlm_strbuf text; /* of a group */
} encoder;

/* Merge consecutive pieces of one kind into a span. */
static void add_span(lvlm_prompt *out, const prompt_piece *piece, size_t first,
                     size_t end)
{
    lvlm_span *const last = out->n_spans > 0 ? &out->spans[out->n_spans - 1] : NULL;
    if (last != NULL && last->kind == piece->kind && last->role == piece->role &&
        last->message == piece->message) {
        last->end = end;
        return;
    }
    out->spans[out->n_spans++] = (lvlm_span){ .kind = piece->kind,
                                              .role = piece->role,
                                              .message = piece->message,
                                              .first = first,
                                              .end = end };
}

/* The first n_bytes of the group's text. */
static int encode_text(const encoder *e, lvlm_ids *ids, size_t n_bytes, bool guarded,
                       lvlm_error *err)
{
    const lvlm_special *const special = guarded ? &e->p->tags.special : NULL;
    return lvlm_tokenizer_encode(e->p->tokenizer, ids, e->text.text, n_bytes, special,
                                 err);
}

/* The tokens of the group starting at `first` that are already final for the text so
 * far. */
static size_t in_common(const encoder *e, size_t first)
{
    size_t n = 0;
    while (n < e->start.n && first + n < e->ids.n &&
           e->start.at[n] == e->ids.at[first + n])
        n++;
    return n;
}

/* Encode pieces [0, n) as one text, with the end of each. */
static int encode_group(encoder *e, const prompt_piece *pieces, size_t n,
                        lvlm_error *err)
{
    assert(n > 0);
    const bool guarded = pieces->guarded;
    size_t done = e->ids.n, length = 0;
    const size_t first = done;
    e->text.length = 0;
    for (size_t i = 0; i < n; i++) lvlm_strbuf_puts(&e->text, pieces[i].text);
    TRY(lvlm_strbuf_check(&e->text, err));
    TRY(encode_text(e, &e->ids, e->text.length, guarded, err));
    for (size_t i = 0; i < n; i++) {
        size_t end = e->ids.n;
        length += strlen(pieces[i].text);
        if (i + 1 < n) {
            e->start.n = 0;
            TRY(encode_text(e, &e->start, length, guarded, err));
            end = first + in_common(e, first);
            if (end < done) end = done;
        }
        add_span(e->out, &pieces[i], done, end);
        done = end;
    }
    return 0;
}

/* With what the tokenizer adds around them. */
static int encode_pieces(encoder *e, const prompt_pieces *pieces,
                         const prompt_affix *affix, lvlm_error *err)
{
    assert(pieces->n > 0);
    e->out->spans = lvlm_arena_alloc(&e->out->arena, pieces->n, sizeof *e->out->spans);
    if (e->out->spans == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < affix->n_front; i++)
        TRY(lvlm_ids_append(&e->ids, affix->front[i], err));
    for (size_t i = 0, n; i < pieces->n; i += n) {
        for (n = 1; i + n < pieces->n && !pieces->at[i + n].apart;) n++;
        TRY(encode_group(e, pieces->at + i, n, err));
    }
    for (size_t i = 0; i < affix->n_back; i++)
        TRY(lvlm_ids_append(&e->ids, affix->back[i], err));
    e->out->spans[0].first = 0;
    e->out->spans[e->out->n_spans - 1].end = e->ids.n;
    return 0;
}

/* ---- images --------------------------------------------------------------------- */

/* The position of the image token; between tags, the position after it. */
static int find_places(lvlm_prompt *out, const lvlm_prompter *p, lvlm_error *err)
{
    TRY(prompt_places_find(&out->places, &out->n_images, out, p->form.image_token,
                           err));
    out->images = lvlm_arena_alloc(&out->arena, out->n_images + 1, sizeof *out->images);
    if (out->images == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < out->n_images; i++) out->places[i] += p->between > 0;
    return prompt_places_find(&out->video_places, &out->n_videos, out,
                              p->form.video_token, err);
}

/* The file spelled by the slots of image `i`: ids below 256 are its bytes. */
static int spelled_image(lvlm_prompt *out, const lvlm_prompter *p, size_t i,
                         lvlm_error *err)
{
    const size_t place = out->places[i];
    assert(p->between >= 2);
    FAIL_IF(out->n - place <= MAX_SLOTS ||
                out->ids[place + MAX_SLOTS] != p->form.image_token + 1,
            err, LVLM_EFORMAT,
            "the model's tokenizer does not spell out the paths of images");
    const int64_t *const slots = out->ids + place;
    char *const file = lvlm_arena_alloc(&out->arena, MAX_SLOTS + 1, 1);
    size_t n = 0;
    if (file == NULL) return lvlm_fail_memory(err);
    for (; n < MAX_SLOTS && slots[n] >= 0 && slots[n] < 256; n++)
        file[n] = (char)slots[n];
    /* the model searches the end of the path in all slots except the last */
    FAIL_IF(n + 2 > p->between, err, LVLM_EFORMAT,
            "%.64s: an image's path of %zu bytes, at most %zu", file, n,
            p->between - 2);
    out->images[i] = file;
    return 0;
}

static int give(const char **out, size_t *n, const char *file, lvlm_arena *arena,
                lvlm_error *err)
{
    if (file == NULL) return 0;
    out[*n] = lvlm_arena_strndup(arena, file, strlen(file));
    return out[(*n)++] != NULL ? 0 : lvlm_fail_memory(err);
}

/* The images that come with the messages, in order. */
static int given_images(const char ***out, size_t *n, const lvlm_messages *m,
                        lvlm_arena *arena, lvlm_error *err)
{
    size_t most = m->n_unplaced;
    for (size_t i = 0; i < m->n; i++) most += m->at[i].n_parts;
    *n = 0;
    *out = lvlm_arena_alloc(arena, most + 1, sizeof **out);
    if (*out == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->n_unplaced; i++)
        TRY(give(*out, n, m->unplaced[i], arena, err));
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++)
            TRY(give(*out, n, m->at[i].parts[j].image, arena, err));
    return 0;
}

/* Assign an image to every place: the next of those given, or the one that its slots
 * spell if only the text names it. */
static int name_images(lvlm_prompt *out, const lvlm_prompter *p,
                       const prompt_source *source, lvlm_error *err)
{
    const lvlm_messages *const m = source->messages;
    const char **given;
    size_t n;
    TRY(given_images(&given, &n, m, &out->arena, err));
    const bool all_given =
        p->between == 0 || (m->n_unplaced > 0 && prompt_names_places(source));
    const bool fits = all_given ? n == out->n_images : n <= out->n_images;
    FAIL_IF(!fits && out->n_left_out == 0, err, LVLM_EFORMAT,
            "images: the text has %zu places (%s), %zu are given", out->n_images,
            p->style->place, n);
    for (size_t i = 0; p->between > 0 && i < out->n_images; i++)
        TRY(spelled_image(out, p, i, err));
    if (n != out->n_images && (out->n_left_out == 0 || n < out->n_images)) return 0;
    for (size_t i = 0; i < out->n_images; i++) /* dropped messages come first */
        out->images[i] = given[n - out->n_images + i];
    return 0;
}

/* ---- all of it ------------------------------------------------------------------ */

static int encode_all(encoder *e, const prompt_source *source, lvlm_error *err)
{
    static const prompt_affix no_affix = { .n_front = 0 };
    prompt_pieces pieces = { .arena = &e->out->arena };
    e->ids.n = 0;
    e->out->n_spans = 0;
    TRY(e->out->document ? prompt_write_document(&pieces, source, err)
                         : source->style->write(&pieces, source, err));
    return encode_pieces(e, &pieces, source->style->affixed ? &e->p->affix : &no_affix,
                         err);
}

/* Tokens before the last message, with images expanded. */
static size_t history(const encoder *e, size_t last)
{
    const lvlm_prompt *const prompt = e->out;
    size_t first = 0, n_images = 0;
    for (size_t i = 0; i < prompt->n_spans && first == 0; i++)
        if (prompt->spans[i].message == last) first = prompt->spans[i].first;
    for (size_t i = 0; i < first; i++)
        n_images += e->ids.at[i] == e->p->form.image_token;
    return first + n_images * e->p->between - n_images * MAX_SLOTS;
}

/* Drop the oldest question and its answer until the others fit the window. The new line
 * after the history is not counted. */
static int encode_in_window(encoder *e, prompt_source *source, lvlm_error *err)
{
    const lvlm_messages *const m = source->messages;
    const size_t last = m->n - 1, given = m->at[0].role == LVLM_ROLE_SYSTEM;
    TRY(encode_all(e, source, err));
    if (e->p->window == 0 || m->at[last].role == LVLM_ROLE_ASSISTANT) return 0;
    source->first = given;
    while (history(e, last) > e->p->window && source->first + 2 <= last) {
        source->first += 2;
        e->out->n_left_out += 2;
        TRY(encode_all(e, source, err));
    }
    return 0;
}

static int keep_ids(lvlm_prompt *out, const lvlm_ids *ids, lvlm_error *err)
{
    FAIL_IF(ids->n == 0, err, LVLM_EFORMAT, "the prompt is empty");
    out->ids = lvlm_arena_alloc(&out->arena, ids->n, sizeof *out->ids);
    if (out->ids == NULL) return lvlm_fail_memory(err);
    memcpy(out->ids, ids->at, ids->n * sizeof *out->ids);
    out->n = ids->n;
    return 0;
}

int lvlm_prompt_write(lvlm_prompt *out, const lvlm_prompter *prompter,
                      const lvlm_messages *messages, lvlm_error *err)
{
    encoder e = { .p = prompter,
                  .out = out,
                  .ids = LVLM_IDS_INIT,
                  .start = LVLM_IDS_INIT,
                  .text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX) };
    prompt_source source = { .style =
                                 messages->document ? prompter->base : prompter->style,
                             .messages = messages,
                             .options = &prompter->options,
                             .bos = prompter->bos,
                             .eos = prompter->eos };
    int rc;
    assert(messages->n > 0);
    assert(!messages->document || prompter->options.training);
    *out = (lvlm_prompt){ .document = messages->document };
    if ((rc = prompt_videos_check(messages, &prompter->form, prompter->style, err)) <
            0 ||
        (rc = encode_in_window(&e, &source, err)) < 0 ||
        (rc = keep_ids(out, &e.ids, err)) < 0 ||
        (rc = find_places(out, prompter, err)) < 0 ||
        (rc = name_images(out, prompter, &source, err)) < 0 ||
        (rc = prompt_videos_name(out, messages, prompter->style, err)) < 0)
        goto done;
    out->form = prompter->form;
    if (prompter->between > 0)
        rc = prompt_places_cut(out, MAX_SLOTS, prompter->between, err);
done:
    lvlm_ids_free(&e.ids);
    lvlm_ids_free(&e.start);
    lvlm_strbuf_free(&e.text);
    return rc;
}

void lvlm_prompt_free(lvlm_prompt *prompt)
{
    lvlm_arena_free(&prompt->arena);
    *prompt = (lvlm_prompt){ .n = 0 };
}
