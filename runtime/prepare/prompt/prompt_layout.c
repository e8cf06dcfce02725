/* prompt_layout.c - messages to pieces of text: turns, a plain text, a prefix, a
 * document. */
#include "runtime/prepare/prompt/prompt_style.h"

#include <assert.h>
#include <string.h>

#include "runtime/prepare/prompt/strip.h"

enum { MAX_TEXT = 256 << 20 }; /* of one piece */

/* ---- images --------------------------------------------------------------------- */

static bool names_place(const lvlm_message *message, const char *place)
{
    for (size_t i = 0; i < message->n_parts; i++)
        if (message->parts[i].text != NULL &&
            strstr(message->parts[i].text, place) != NULL)
            return true;
    return false;
}

static bool user_names(const lvlm_messages *m, const char *place)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->at[i].role == LVLM_ROLE_USER && names_place(&m->at[i], place))
            return true;
    return false;
}

bool prompt_names_places(const prompt_source *source)
{
    return user_names(source->messages, source->style->place);
}

/* Will image parts be written? Images named inside a text do not count: a template does
 * not know of them. */
static bool has_images(const prompt_source *s)
{
    const lvlm_messages *const m = s->messages;
    if (m->n_unplaced > 0 && !prompt_names_places(s)) return true;
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++)
            if (m->at[i].parts[j].image != NULL) return true;
    return false;
}

/* The output, and the message that is written. */
typedef struct writer {
    const prompt_source *source;
    prompt_pieces *out;
    size_t message;
    lvlm_role role;
    size_t n_images; /* written */
    /* images and videos to be placed before the first user's text */
    bool unplaced, unplaced_videos;
} writer;

/* At the first message, of the user. */
static writer begin(prompt_pieces *out, const prompt_source *source)
{
    const lvlm_messages *const m = source->messages;
    return (writer){ .source = source,
                     .out = out,
                     .role = LVLM_ROLE_USER,
                     .unplaced = m->n_unplaced > 0 && !prompt_names_places(source),
                     .unplaced_videos = m->n_unplaced_videos > 0 &&
                                        !user_names(m, source->style->video_place) };
}

/* Add a piece of the message. NULL: out of memory. */
static int put(writer *w, lvlm_span_kind kind, const char *text, bool apart,
               lvlm_error *err)
{
    const prompt_source *const s = w->source;
    prompt_pieces *const out = w->out;
    if (text == NULL) return lvlm_fail_memory(err);
    prompt_piece *const at =
        lvlm_arena_room(out->arena, out->at, out->n, &out->capacity, sizeof *at);
    if (at == NULL) return lvlm_fail_memory(err);
    out->at = at;
    at[out->n++] =
        (prompt_piece){ .text = text,
                        .kind = kind,
                        .role = w->role,
                        .message = w->message,
                        .apart = apart,
                        .guarded = kind == LVLM_SPAN_CONTENT &&
                                   s->style->tags != NULL && !s->options->training };
    return 0;
}

static void write_image(lvlm_strbuf *text, writer *w, const char *file)
{
    const prompt_style *const style = w->source->style;
    w->n_images++;
    if (style->numbered) lvlm_strbuf_printf(text, "Picture %zu: ", w->n_images);
    lvlm_strbuf_puts(text, style->image);
    if (style->image_close == NULL) return;
    lvlm_strbuf_puts(text, file);
    lvlm_strbuf_puts(text, style->image_close);
}

/* What is placed before the first user's text: images, then videos. */
static void write_unplaced(lvlm_strbuf *text, writer *w)
{
    const lvlm_messages *const m = w->source->messages;
    for (size_t i = 0; w->unplaced && i < m->n_unplaced; i++)
        write_image(text, w, m->unplaced[i]);
    for (size_t i = 0; w->unplaced_videos && i < m->n_unplaced_videos; i++)
        lvlm_strbuf_puts(text, w->source->style->video);
    w->unplaced = w->unplaced_videos = false;
}

/* Images that have no place yet; those of the parts, if they all come first. */
static void write_first_images(lvlm_strbuf *text, writer *w,
                               const lvlm_message *message)
{
    if (message->role == LVLM_ROLE_USER) write_unplaced(text, w);
    for (size_t i = 0; w->source->style->images_first && i < message->n_parts; i++)
        if (message->parts[i].image != NULL)
            write_image(text, w, message->parts[i].image);
}

/* Where an image stood between two texts, LLaVA's fine-tuning code leaves the blanks
 * that were around it. */
static bool leaves_gap(const writer *w, const lvlm_message *message, size_t part)
{
    const prompt_source *const s = w->source;
    if (!s->options->training || !s->style->images_first || part == 0 ||
        message->parts[part - 1].text != NULL)
        return false;
    for (size_t i = 0; i < part; i++)
        if (message->parts[i].text != NULL) return true;
    return false;
}

static void write_parts(lvlm_strbuf *text, writer *w, const lvlm_message *message)
{
    const prompt_style *const style = w->source->style;
    lvlm_strbuf_puts(text, "");
    write_first_images(text, w, message);
    for (size_t i = 0; i < message->n_parts; i++) {
        const lvlm_part *const part = &message->parts[i];
        if (part->video != NULL) lvlm_strbuf_puts(text, style->video);
        if (part->image != NULL && !style->images_first)
            write_image(text, w, part->image);
        if (part->text == NULL) continue;
        if (leaves_gap(w, message, i)) lvlm_strbuf_puts(text, "  ");
        lvlm_strbuf_puts(text, part->text);
        if (style->text_end != NULL) lvlm_strbuf_puts(text, style->text_end);
    }
}

/* The concatenated parts of a message. NULL with an error: out of memory. */
static const char *content(writer *w, const lvlm_message *message, lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_TEXT);
    const char *kept = NULL;
    write_parts(&text, w, message);
    if (lvlm_strbuf_check(&text, err) == 0) {
        const char *from = text.text;
        size_t n = text.length;
        if (style->strips) from = lvlm_strip(from, &n);
        kept = lvlm_arena_strndup(w->out->arena, from, n);
        if (kept == NULL) lvlm_fail_memory(err);
    }
    lvlm_strbuf_free(&text);
    return kept;
}

/* ---- turns ---------------------------------------------------------------------- */

static const char *role_name(const prompt_style *style, lvlm_role role)
{
    return style->roles != NULL ? style->roles[role] : lvlm_role_name(role);
}

static int write_header(writer *w, size_t message, lvlm_role role, lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    const char *const texts[] = { style->open, role_name(style, role), style->opened };
    w->message = message;
    w->role = role;
    if (*texts[1] == '\0') return 0;
    if (!style->separate)
        return put(
            w, LVLM_SPAN_HEADER,
            lvlm_arena_printf(w->out->arena, "%s%s%s", texts[0], texts[1], texts[2]),
            !style->joined, err);
    for (size_t i = 0; i < 3; i++)
        TRY(put(w, LVLM_SPAN_HEADER, texts[i], !style->joined, err));
    return 0;
}

static int write_turn(writer *w, size_t message, lvlm_role role, const char *text,
                      lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    const bool eos = style->eos_closes && role == LVLM_ROLE_ASSISTANT;
    const char *const close = eos ? w->source->eos : style->close;
    if (style->lead != NULL && *role_name(style, role) != '\0')
        text = lvlm_arena_printf(w->out->arena, "%s%s", style->lead, text);
    TRY(write_header(w, message, role, err));
    TRY(put(w, LVLM_SPAN_CONTENT, text, style->separate, err));
    return *close != '\0' ? put(w, LVLM_SPAN_END, close, !style->joined, err) : 0;
}

static const char *stripped(const char *text, lvlm_arena *arena)
{
    size_t n = strlen(text);
    text = lvlm_strip(text, &n);
    return lvlm_arena_strndup(arena, text, n);
}

/* The system message of Llama 3.2: the dates, then the given text. */
static int write_knowledge(writer *w, lvlm_error *err)
{
    const prompt_source *const s = w->source;
    const lvlm_message *const first = &s->messages->at[0];
    const bool given = first->role == LVLM_ROLE_SYSTEM;
    const char *said = "";
    if (given) {
        FAIL_IF(!first->plain, err, LVLM_EFORMAT,
                "messages[0]: content of a system message is a list; the model's "
                "template takes text");
        said = stripped(first->parts[0].text, w->out->arena);
        if (said == NULL) return lvlm_fail_memory(err);
    }
    if (has_images(s)) {
        FAIL_IF(*said != '\0', err, LVLM_EFORMAT,
                "messages[0]: the model takes no system message beside an image");
        return 0;
    }
    const char *const date =
        s->options->date != NULL ? s->options->date : LVLM_PROMPT_DATE;
    const char *const text =
        lvlm_arena_printf(w->out->arena, "%s%s\n\n%s", s->style->knowledge, date, said);
    return write_turn(w, given ? 0 : LVLM_NO_MESSAGE, LVLM_ROLE_SYSTEM, text, err);
}

/* User and assistant in turn, from the user on. */
static int check_turns(const prompt_source *s, lvlm_error *err)
{
    const lvlm_messages *const m = s->messages;
    for (size_t i = 0; s->style->alternates && i < m->n; i++)
        FAIL_IF(m->at[i].role != (i % 2 == 0 ? LVLM_ROLE_USER : LVLM_ROLE_ASSISTANT),
                err, LVLM_EFORMAT,
                "messages[%zu]: is the %s's; %s are those of the user and the "
                "assistant in turn",
                i, lvlm_role_name(m->at[i].role), s->style->name);
    return 0;
}

int prompt_write_turns(prompt_pieces *out, const prompt_source *source, lvlm_error *err)
{
    const lvlm_messages *const m = source->messages;
    const prompt_style *const style = source->style;
    const bool given = m->at[0].role == LVLM_ROLE_SYSTEM;
    assert(m->n > 0 && style->open != NULL && style->close != NULL);
    writer w = begin(out, source);
    TRY(check_turns(source, err));
    w.message = LVLM_NO_MESSAGE;
    w.role = LVLM_ROLE_SYSTEM;
    if (style->bos) TRY(put(&w, LVLM_SPAN_HEADER, source->bos, true, err));
    if (style->knowledge != NULL)
        TRY(write_knowledge(&w, err));
    else if (!given && style->system != NULL)
        TRY(write_turn(&w, LVLM_NO_MESSAGE, LVLM_ROLE_SYSTEM, style->system, err));
    for (size_t i = 0; i < m->n; i++) {
        const lvlm_message *const message = &m->at[i];
        if (i == 0 && given && style->knowledge != NULL) continue;
        const char *const text = content(&w, message, err);
        if (text == NULL) return LVLM_ENOMEM;
        if (i >= given && i < source->first) continue; /* its images are counted */
        TRY(write_turn(&w, i, message->role, text, err));
    }
    FAIL_IF(w.unplaced || w.unplaced_videos, err, LVLM_EFORMAT,
            "%s: %zu are given, and no message of the user",
            w.unplaced ? "images" : "videos",
            w.unplaced ? m->n_unplaced : m->n_unplaced_videos);
    if (m->at[m->n - 1].role == LVLM_ROLE_ASSISTANT) return 0;
    return write_header(&w, LVLM_NO_MESSAGE, LVLM_ROLE_ASSISTANT, err);
}

/* ---- one text ------------------------------------------------------------------- */

/* A user's message and, if `answers`, an answer; or an error. */
static int check_single(const prompt_source *s, bool answers, lvlm_error *err)
{
    const lvlm_messages *const m = s->messages;
    const bool chosen = s->options->raw || s->style->unturned == NULL;
    const char *const why = chosen ? "" : s->style->unturned;
    const char *const between = chosen ? "" : ": ";
    FAIL_IF(m->at[0].role == LVLM_ROLE_SYSTEM, err, LVLM_EFORMAT,
            "messages[0]: %s takes no system message%s%s", s->style->name, between,
            why);
    const bool fits =
        m->at[0].role == LVLM_ROLE_USER &&
        (m->n == 1 || (answers && m->n == 2 && m->at[1].role == LVLM_ROLE_ASSISTANT));
    FAIL_IF(!fits, err, LVLM_EFORMAT,
            "%zu messages: %s takes one message of the user%s%s%s", m->n,
            s->style->name, answers ? ", and an answer to learn" : "", between, why);
    return 0;
}

/* The length of the places at the start of `text`. */
static size_t leading_places(const char *text, const char *place)
{
    const size_t step = strlen(place);
    size_t n = 0;
    assert(step > 0); /* so that the search ends */
    while (strncmp(text + n, place, step) == 0) n += step;
    return n;
}

/* bos where transformers' processor puts it: after leading images, and not if the text
 * has one; or before everything. */
static const char *with_bos(const prompt_source *s, const char *text, lvlm_arena *arena)
{
    if (!s->style->bos || strstr(text, s->bos) != NULL) return text;
    const size_t n = s->options->as_trained ? 0 : leading_places(text, s->style->place);
    return lvlm_arena_printf(arena, "%.*s%s%s", (int)n, text, s->bos, text + n);
}

int prompt_write_text(prompt_pieces *out, const prompt_source *source, lvlm_error *err)
{
    writer w = begin(out, source);
    TRY(check_single(source, false, err));
    const char *const text = content(&w, &source->messages->at[0], err);
    if (text == NULL) return LVLM_ENOMEM;
    return put(&w, LVLM_SPAN_CONTENT, with_bos(source, text, out->arena), true, err);
}

/* What to learn is images and an answer: words between them are not written. */
static int write_pair(writer *w, lvlm_error *err)
{
    const lvlm_messages *const m = w->source->messages;
    const char *asked = content(w, &m->at[0], err);
    const char *const answer = content(w, &m->at[1], err);
    if (asked == NULL || answer == NULL) return LVLM_ENOMEM;
    lvlm_strbuf images = LVLM_STRBUF_INIT(MAX_TEXT);
    const char *const place = w->source->style->place;
    for (const char *at = asked; (at = strstr(at, place)) != NULL; at += strlen(place))
        lvlm_strbuf_puts(&images, place);
    if (images.length > 0)
        asked = lvlm_arena_strndup(w->out->arena, images.text, images.length);
    const int rc = lvlm_strbuf_check(&images, err);
    lvlm_strbuf_free(&images);
    TRY(rc);
    TRY(put(w, LVLM_SPAN_CONTENT, asked, false, err));
    w->message = 1;
    w->role = LVLM_ROLE_ASSISTANT;
    TRY(put(w, LVLM_SPAN_CONTENT, answer, false, err));
    return put(w, LVLM_SPAN_END, "\n", false, err);
}

int prompt_write_plain(prompt_pieces *out, const prompt_source *source, lvlm_error *err)
{
    writer w = begin(out, source);
    if (source->messages->n == 1) return prompt_write_text(out, source, err);
    TRY(check_single(source, true, err));
    return write_pair(&w, err);
}

/* The end of the last place in `text`, or 0. */
static size_t end_of_places(const char *text, const char *place)
{
    size_t end = 0;
    for (const char *at = text; (at = strstr(at, place)) != NULL;) {
        at += strlen(place);
        end = (size_t)(at - text);
    }
    return end;
}

int prompt_write_prefix(prompt_pieces *out, const prompt_source *source,
                        lvlm_error *err)
{
    const lvlm_messages *const m = source->messages;
    writer w = begin(out, source);
    TRY(check_single(source, true, err));
    const char *const text = content(&w, &m->at[0], err);
    if (text == NULL) return LVLM_ENOMEM;
    const size_t n = end_of_places(text, source->style->place);
    FAIL_IF(n == 0, err, LVLM_EFORMAT, "%s takes an image with every prompt",
            source->style->name);
    lvlm_arena *const arena = out->arena;
    TRY(put(&w, LVLM_SPAN_HEADER,
            lvlm_arena_printf(arena, "%.*s%s", (int)n, text, source->bos), true, err));
    TRY(put(&w, LVLM_SPAN_CONTENT, lvlm_arena_printf(arena, "%s\n", text + n), false,
            err));
    if (m->n == 1) return 0;
    FAIL_IF(*source->eos == '\0', err, LVLM_EFORMAT,
            "the tokenizer's files name no eos_token, which ends a suffix");
    w.message = 1;
    w.role = LVLM_ROLE_ASSISTANT;
    TRY(put(&w, LVLM_SPAN_CONTENT, content(&w, &m->at[1], err), true, err));
    return put(&w, LVLM_SPAN_END, source->eos, false, err);
}

/* ---- a document ----------------------------------------------------------------- */

static int put_image(writer *w, const char *file, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_TEXT);
    write_image(&text, w, file);
    int rc = lvlm_strbuf_check(&text, err);
    w->role = LVLM_ROLE_USER;
    if (rc == 0)
        rc = put(w, LVLM_SPAN_CONTENT,
                 lvlm_arena_strndup(w->out->arena, text.text, text.length), false, err);
    lvlm_strbuf_free(&text);
    return rc;
}

/* Images at the start, and what is between them and the first text. */
static int write_lead(size_t *n_images, writer *w, const lvlm_message *m,
                      lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    size_t i = 0;
    for (; i < m->n_parts && m->parts[i].text == NULL; i++)
        TRY(put_image(w, m->parts[i].image, err));
    *n_images = i;
    if (style->bos) TRY(put(w, LVLM_SPAN_HEADER, w->source->bos, false, err));
    if (!style->form.prefix) return 0;
    FAIL_IF(i == 0, err, LVLM_EFORMAT, "%s takes an image with every text, first",
            style->name);
    return put(w, LVLM_SPAN_CONTENT, "\n", false, err);
}

int prompt_write_document(prompt_pieces *out, const prompt_source *source,
                          lvlm_error *err)
{
    const prompt_style *const style = source->style;
    const lvlm_message *const m = &source->messages->at[0];
    const char *const end = style->end != NULL ? style->end : source->eos;
    writer w = begin(out, source);
    size_t first;
    assert(source->messages->n == 1 && m->role == LVLM_ROLE_ASSISTANT);
    FAIL_IF(*end == '\0', err, LVLM_EFORMAT,
            "the tokenizer's files name no eos_token, which ends a text");
    TRY(write_lead(&first, &w, m, err));
    for (size_t i = first; i < m->n_parts; i++) {
        const lvlm_part *const part = &m->parts[i];
        FAIL_IF(part->text == NULL && style->form.prefix, err, LVLM_EFORMAT,
                "%s takes images before the text, and one comes after words",
                style->name);
        if (part->text == NULL) {
            TRY(put_image(&w, part->image, err));
            continue;
        }
        w.role = LVLM_ROLE_ASSISTANT;
        TRY(put(&w, LVLM_SPAN_CONTENT, part->text, style->form.prefix && i == first,
                err));
    }
    w.role = LVLM_ROLE_ASSISTANT;
    return put(&w, LVLM_SPAN_END, end, false, err);
}
