/* prompt_layout.c - messages to pieces of text: turns, a plain text, a prefix. */
#include "runtime/prepare/prompt/prompt_style.h"

#include <assert.h>
#include <string.h>

#include "runtime/prepare/prompt/strip.h"

enum { MAX_TEXT = 256 << 20 }; /* of one piece */

/* ---- pieces --------------------------------------------------------------------- */

static int add(prompt_pieces *out, const prompt_piece *piece, lvlm_error *err)
{
    if (piece->text == NULL) return lvlm_fail_memory(err);
    if (out->n == out->capacity) {
        const size_t capacity = 2 * out->capacity + 16;
        prompt_piece *const grown =
            lvlm_arena_alloc(out->arena, capacity, sizeof *grown);
        if (grown == NULL) return lvlm_fail_memory(err);
        if (out->n > 0) memcpy(grown, out->at, out->n * sizeof *grown);
        out->at = grown;
        out->capacity = capacity;
    }
    out->at[out->n++] = *piece;
    return 0;
}

/* ---- images --------------------------------------------------------------------- */

static bool names_place(const lvlm_message *message, const char *place)
{
    for (size_t i = 0; i < message->n_parts; i++)
        if (message->parts[i].text != NULL &&
            strstr(message->parts[i].text, place) != NULL)
            return true;
    return false;
}

bool prompt_names_places(const prompt_source *source)
{
    const lvlm_messages *const m = source->messages;
    for (size_t i = 0; i < m->n; i++)
        if (m->at[i].role == LVLM_ROLE_USER &&
            names_place(&m->at[i], source->style->place))
            return true;
    return false;
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

/* The output and the number of images written. */
typedef struct writer {
    const prompt_source *source;
    prompt_pieces *out;
    size_t n_images;
    bool unplaced; /* images to be placed before the first user's text */
} writer;

static writer begin(prompt_pieces *out, const prompt_source *source)
{
    return (writer){ .source = source,
                     .out = out,
                     .unplaced = source->messages->n_unplaced > 0 &&
                                 !prompt_names_places(source) };
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

/* Images that have no place yet; those of the parts, if they all come first. */
static void write_first_images(lvlm_strbuf *text, writer *w,
                               const lvlm_message *message)
{
    const lvlm_messages *const m = w->source->messages;
    if (w->unplaced && message->role == LVLM_ROLE_USER) {
        for (size_t i = 0; i < m->n_unplaced; i++) write_image(text, w, m->unplaced[i]);
        w->unplaced = false;
    }
    for (size_t i = 0; w->source->style->images_first && i < message->n_parts; i++)
        if (message->parts[i].image != NULL)
            write_image(text, w, message->parts[i].image);
}

/* Where an image stood between two texts, LLaVA's fine-tuning code leaves the blanks
 * that were around it. */
static void write_gap(lvlm_strbuf *text, const writer *w, const lvlm_message *message,
                      size_t part)
{
    const prompt_source *const s = w->source;
    if (s->options->training && s->style->images_first && part > 1 &&
        message->parts[part - 1].text == NULL && message->parts[0].text != NULL)
        lvlm_strbuf_puts(text, "  ");
}

static void write_parts(lvlm_strbuf *text, writer *w, const lvlm_message *message)
{
    const prompt_style *const style = w->source->style;
    lvlm_strbuf_puts(text, "");
    write_first_images(text, w, message);
    for (size_t i = 0; i < message->n_parts; i++) {
        const lvlm_part *const part = &message->parts[i];
        if (part->text == NULL && style->images_first) continue;
        if (part->text == NULL) {
            write_image(text, w, part->image);
            continue;
        }
        write_gap(text, w, message, i);
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
    const char *const name = role_name(style, role);
    prompt_piece piece = { .kind = LVLM_SPAN_HEADER,
                           .role = role,
                           .message = message,
                           .apart = !style->joined };
    if (*name == '\0') return 0;
    if (!style->separate) {
        piece.text = lvlm_arena_printf(w->out->arena, "%s%s%s", style->open, name,
                                       style->opened);
        return add(w->out, &piece, err);
    }
    const char *const texts[] = { style->open, name, style->opened };
    for (size_t i = 0; i < 3; i++) {
        piece.text = texts[i];
        TRY(add(w->out, &piece, err));
    }
    return 0;
}

static int write_end(writer *w, size_t message, lvlm_role role, lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    const bool eos = style->eos_closes && role == LVLM_ROLE_ASSISTANT;
    const prompt_piece piece = { .text = eos ? w->source->eos : style->close,
                                 .kind = LVLM_SPAN_END,
                                 .role = role,
                                 .message = message,
                                 .apart = !style->joined };
    return *piece.text != '\0' ? add(w->out, &piece, err) : 0;
}

static int write_turn(writer *w, size_t message, lvlm_role role, const char *text,
                      lvlm_error *err)
{
    const prompt_style *const style = w->source->style;
    if (style->lead != NULL && *role_name(style, role) != '\0')
        text = lvlm_arena_printf(w->out->arena, "%s%s", style->lead, text);
    const prompt_piece said = { .text = text,
                                .kind = LVLM_SPAN_CONTENT,
                                .role = role,
                                .message = message,
                                .apart = style->separate,
                                .guarded = style->tags != NULL &&
                                           !w->source->options->training };
    TRY(write_header(w, message, role, err));
    TRY(add(w->out, &said, err));
    return write_end(w, message, role, err);
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
    if (style->bos) {
        const prompt_piece bos = { .text = source->bos,
                                   .role = LVLM_ROLE_SYSTEM,
                                   .message = LVLM_NO_MESSAGE,
                                   .apart = true };
        TRY(add(out, &bos, err));
    }
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
    FAIL_IF(w.unplaced, err, LVLM_EFORMAT,
            "images: %zu are given, and no message of the user", m->n_unplaced);
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
    const prompt_piece piece = { .text = with_bos(source, text, out->arena),
                                 .kind = LVLM_SPAN_CONTENT,
                                 .role = LVLM_ROLE_USER,
                                 .apart = true };
    return add(out, &piece, err);
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
    const prompt_piece pieces[] = {
        { .text = asked, .kind = LVLM_SPAN_CONTENT, .role = LVLM_ROLE_USER },
        { .text = answer, LVLM_SPAN_CONTENT, LVLM_ROLE_ASSISTANT, .message = 1 },
        { .text = "\n", LVLM_SPAN_END, LVLM_ROLE_ASSISTANT, .message = 1 },
    };
    for (size_t i = 0; i < 3; i++) TRY(add(w->out, &pieces[i], err));
    return 0;
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
    prompt_piece piece = { .text = lvlm_arena_printf(arena, "%.*s%s", (int)n, text,
                                                     source->bos),
                           .kind = LVLM_SPAN_HEADER,
                           .role = LVLM_ROLE_USER,
                           .apart = true };
    TRY(add(out, &piece, err));
    piece = (prompt_piece){ .text = lvlm_arena_printf(arena, "%s\n", text + n),
                            .kind = LVLM_SPAN_CONTENT,
                            .role = LVLM_ROLE_USER };
    TRY(add(out, &piece, err));
    if (m->n == 1) return 0;
    FAIL_IF(*source->eos == '\0', err, LVLM_EFORMAT,
            "the tokenizer's files name no eos_token, which ends a suffix");
    const char *const suffix = content(&w, &m->at[1], err);
    if (suffix == NULL) return LVLM_ENOMEM;
    piece = (prompt_piece){ .text = suffix,
                            .kind = LVLM_SPAN_CONTENT,
                            .role = LVLM_ROLE_ASSISTANT,
                            .message = 1,
                            .apart = true };
    TRY(add(out, &piece, err));
    piece = (prompt_piece){ .text = source->eos,
                            .kind = LVLM_SPAN_END,
                            .role = LVLM_ROLE_ASSISTANT,
                            .message = 1 };
    return add(out, &piece, err);
}
