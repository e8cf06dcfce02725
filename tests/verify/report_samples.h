/* report_samples.h - replays built in memory, and checks of what reports say about
 * them. */
#ifndef LVLM_TESTS_VERIFY_REPORT_SAMPLES_H
#define LVLM_TESTS_VERIFY_REPORT_SAMPLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/utf8.h"
#include "formats/base/version.h"
#include "verify/replay/bands.h"
#include "verify/report/report.h"

enum { MAX_STAGES = 512, NAME = 96, DEPTH = 64 };

#define HOSTILE                                                                        \
    "a<script>alert('1')</script>&amp;\"\x01\x1b[31m\xff\xc2\x85 \xef\xbf\xbe\n"

/* ---- replays in memory ---------------------------------------------------------- */

typedef struct sample {
    lvlm_replay replay;
    lvlm_replay_stage stages[MAX_STAGES];
    char names[MAX_STAGES][NAME];
    cJSON *metadata;
} sample;

static sample shared;

/* A stage [2, 19, 64] within its band. */
static inline lvlm_replay_stage *add(sample *s, const char *name, double relative_l2)
{
    const size_t i = s->replay.n_stages++;
    lvlm_replay_stage *stage = &s->stages[i];
    assert_true(i < MAX_STAGES);
    snprintf(s->names[i], NAME, "%s", name);
    *stage = (lvlm_replay_stage){
        .name = s->names[i],
        .shape = { 3, { 2, 19, 64 } },
        .got = { 3, { 2, 19, 64 } },
        .found = { .distance = { .max_abs = 4 * relative_l2,
                                 .n = 2432,
                                 .n_differ = 2000 },
                   .error = relative_l2,
                   .n_rows = 38,
                   .n_worst = 2,
                   .worst = { { 12, 3 * relative_l2, 257152 },
                              { 22, relative_l2, 2 } } },
        .error = relative_l2,
        .relative_l2 = relative_l2,
        .cosine = 1 - relative_l2 * relative_l2 / 2,
        .band = 1e-5,
        .band_kl = LVLM_BAND_F32_KL,
    };
    if (strncmp(name, "text.", 5) != 0)
        stage->found.worst[0].token = stage->found.worst[1].token = -1;
    return stage;
}

static inline void add_blocks(sample *s, const char *part, size_t n, double error)
{
    char name[NAME];
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s.blocks.%zu", part, i);
        add(s, name, error * (1 + (double)((i * 7) % 5) / 5 + (double)i / 8));
    }
}

static inline void add_logits(sample *s, double error)
{
    lvlm_replay_stage *logits = add(s, "logits", error);
    logits->is_logits = true;
    logits->found.max_kl = 2.5e-9;
    logits->found.n_top1 = 38;
    logits->found.worst[0].token = 108;
    logits->found.worst[1].token = 2;
}

/* All of it within its bands: 9 stages and the blocks. */
static sample *make(size_t n_vision, size_t n_text)
{
    sample *s = &shared;
    lvlm_json_free(s->metadata);
    *s = (sample){ .metadata = cJSON_CreateObject() };
    s->replay = (lvlm_replay){ .model = "models/paligemma.lvlm",
                               .golden = "paligemma/golden.safetensors",
                               .family = "paligemma",
                               .reference = "trained",
                               .stages = s->stages,
                               .recording = { .metadata = s->metadata } };
    memset(s->replay.model_root, 'a', LVLM_DIGEST_HEX);
    memset(s->replay.recording.sha256, 'b', LVLM_DIGEST_HEX);
    cJSON_AddStringToObject(s->metadata, "transformers", "5.23.0");
    cJSON_AddStringToObject(s->metadata, "attention", "eager");
    cJSON_AddStringToObject(s->metadata, "torch", "2.13.0+cpu");
    cJSON_AddNumberToObject(s->metadata, "not a string", 7);
    add(s, "vision.patches", 5e-8);
    add(s, "vision.embed", 6e-8);
    add_blocks(s, "vision", n_vision, 1.5e-7);
    add(s, "vision.out", 3e-7);
    add(s, "connector.out", 2.6e-7);
    add(s, "text.embed", 0);
    add_blocks(s, "text", n_text, 3e-7);
    add(s, "text.norm", 1.1e-6);
    add_logits(s, 9e-7);
    return s;
}

static inline lvlm_replay_stage *find(sample *s, const char *name)
{
    for (size_t i = 0; i < s->replay.n_stages; i++)
        if (strcmp(s->names[i], name) == 0) return &s->stages[i];
    fail_msg("no stage %s", name);
    return NULL;
}

static inline void break_stage(lvlm_replay_stage *stage, lvlm_verdict verdict,
                               double error)
{
    stage->verdict = verdict;
    stage->error = stage->relative_l2 = error;
    if (verdict != LVLM_VERDICT_OUT) stage->found.n_worst = 0;
}

/* Counts what is bad, as a run does. */
static inline const lvlm_replay *finish(sample *s)
{
    lvlm_replay *r = &s->replay;
    for (size_t i = 0; i < r->n_stages; i++)
        if (!lvlm_verdict_passes(s->stages[i].verdict) && r->n_failed++ == 0)
            r->first_bad = &s->stages[i];
    return r;
}

static inline void free_shared(void)
{
    lvlm_json_free(shared.metadata);
    shared.metadata = NULL;
}

/* ---- reading reports ------------------------------------------------------------ */

static inline size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

static inline void expect(const char *text, const char *word)
{
    if (strstr(text, word) == NULL) fail_msg("'%s' is not in: %.2000s", word, text);
}

static inline void expect_not(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    if (at != NULL) fail_msg("'%s' is in: %.200s", word, at);
}

/* Elements of HTML that have no end. */
static inline bool is_void_element(const char *name, size_t n)
{
    return (n == 4 && memcmp(name, "meta", 4) == 0);
}

/* `at` is after '<'. Attributes are name="value" without '<' in the value; returns what
 * is after '>'. */
static inline const char *skip_attributes(const char *at, bool *empty)
{
    while (*at == ' ' || *at == '\n') {
        at++;
        const size_t name =
            strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                       "WXYZ0123456789-:");
        if (name == 0) break;
        if (at[name] != '=' || at[name + 1] != '"')
            fail_msg("an attribute without quotes: %.60s", at);
        at += name + 2;
        at += strcspn(at, "\"<");
        if (*at != '"') fail_msg("'<' in an attribute: %.60s", at);
        at++;
    }
    *empty = *at == '/';
    if (*empty) at++;
    if (*at != '>') fail_msg("a tag does not end: %.60s", at);
    return at + 1;
}

static inline const char *check_entity(const char *at)
{
    static const char *const known[] = { "&lt;",  "&gt;", "&amp;", "&quot;",
                                         "&#39;", "&#9;", "&#10;", "&#13;" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0) return at + strlen(known[i]);
    fail_msg("an unescaped '&': %.40s", at);
    return at;
}

static inline bool is_plain(const char *at)
{
    const unsigned char c = (unsigned char)*at;
    return (c >= 0x20 && c != 0x7f) || c == '\n';
}

/* Elements that are open. */
typedef struct nesting {
    struct {
        const char *name;
        size_t n;
    } open[DEPTH];
    size_t depth;
} nesting;

/* `at` is a '<'; returns what is after the tag. */
static inline const char *check_tag(nesting *in, const char *at)
{
    const bool ends = at[1] == '/';
    const char *const name = at + 1 + ends;
    const size_t n = strcspn(name, " \n/>");
    bool empty;
    at = skip_attributes(name + n, &empty);
    if (ends) {
        assert_true(in->depth > 0);
        in->depth--;
        if (n != in->open[in->depth].n ||
            memcmp(name, in->open[in->depth].name, n) != 0)
            fail_msg("</%.*s> ends <%.*s>", (int)n, name, (int)in->open[in->depth].n,
                     in->open[in->depth].name);
    } else if (!empty && !is_void_element(name, n)) {
        assert_true(in->depth < DEPTH);
        in->open[in->depth].name = name;
        in->open[in->depth++].n = n;
    }
    return at;
}

/* Every tag is closed by its own, in order; every attribute is quoted; every '&' is an
 * entity; characters are UTF-8 and none is a control. */
static inline void check_markup(const char *text)
{
    nesting in = { .depth = 0 };
    assert_true(lvlm_utf8_valid(text, strlen(text)));
    expect_not(text, "\xef\xbf\xbe");
    expect_not(text, "\xc2\x85");
    const char *at = text[1] == '?' || text[1] == '!' ? strchr(text, '>') + 1 : text;
    while (*at != '\0') {
        if (!is_plain(at)) fail_msg("a control character %d", *at);
        if (*at == '&')
            at = check_entity(at);
        else if (*at == '<')
            at = check_tag(&in, at);
        else
            at++;
    }
    assert_int_equal(in.depth, 0);
}

typedef void writer(lvlm_strbuf *out, const lvlm_replay *replay);

/* Checked; freed by the caller. */
static inline lvlm_strbuf write_with(writer *write, const lvlm_replay *r)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_error err;
    write(&out, r);
    assert_int_equal(lvlm_strbuf_check(&out, &err), 0);
    assert_int_equal(out.length, strlen(out.text));
    check_markup(out.text);
    return out;
}

/* No coordinate or path may hold a word in place of a number. */
static inline void check_coordinates(const char *html)
{
    static const char *const names[] = { " d=\"",  " x=\"",  " y=\"",  " x1=\"",
                                         " x2=\"", " y1=\"", " y2=\"", " cx=\"",
                                         " cy=\"", " r=\"" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (const char *at = html; (at = strstr(at, names[i])) != NULL;) {
            at += strlen(names[i]);
            const size_t n = strcspn(at, "\"");
            const size_t good = strspn(at, "0123456789.,- MmLlHhVvZz");
            if (good < n) fail_msg("%s%.40s", names[i], at);
        }
}

/* The height at which the mark of a stage is drawn: 'c', a circle's; 'M', a path's. */
static inline double height_of(const char *html, const char *name, char mark)
{
    char title[2 * NAME], *end;
    snprintf(title, sizeof title, "<title>%s:", name);
    const char *at = strstr(html, title);
    assert_non_null(at);
    at = strstr(at, "/>") + 2; /* after the rectangle for the pointer */
    at = strstr(at, mark == 'c' ? " cy=\"" : " d=\"M");
    assert_non_null(at);
    const double first = strtod(at + 5, &end);
    return mark == 'c' ? first : strtod(end, NULL);
}

static inline int teardown(void **state)
{
    (void)state;
    free_shared();
    return 0;
}

#endif
