/* test_report.c - the reports in markup: replays built in memory, what is said about
 * them, and that nothing from a file gets out of its quotes. */
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
#include "verify/bands.h"
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
static lvlm_replay_stage *add(sample *s, const char *name, double relative_l2)
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

static void add_blocks(sample *s, const char *part, size_t n, double error)
{
    char name[NAME];
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s.blocks.%zu", part, i);
        add(s, name, error * (1 + (double)((i * 7) % 5) / 5 + (double)i / 8));
    }
}

static void add_logits(sample *s, double error)
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

static lvlm_replay_stage *find(sample *s, const char *name)
{
    for (size_t i = 0; i < s->replay.n_stages; i++)
        if (strcmp(s->names[i], name) == 0) return &s->stages[i];
    fail_msg("no stage %s", name);
    return NULL;
}

static void break_stage(lvlm_replay_stage *stage, lvlm_verdict verdict, double error)
{
    stage->verdict = verdict;
    stage->error = stage->relative_l2 = error;
    if (verdict != LVLM_VERDICT_OUT) stage->found.n_worst = 0;
}

/* Counts what is bad, as a run does. */
static const lvlm_replay *finish(sample *s)
{
    lvlm_replay *r = &s->replay;
    for (size_t i = 0; i < r->n_stages; i++)
        if (!lvlm_verdict_passes(s->stages[i].verdict) && r->n_failed++ == 0)
            r->first_bad = &s->stages[i];
    return r;
}

static void free_shared(void)
{
    lvlm_json_free(shared.metadata);
    shared.metadata = NULL;
}

/* ---- reading reports ------------------------------------------------------------ */

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

static void expect(const char *text, const char *word)
{
    if (strstr(text, word) == NULL) fail_msg("'%s' is not in: %.2000s", word, text);
}

static void expect_not(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    if (at != NULL) fail_msg("'%s' is in: %.200s", word, at);
}

/* Elements of HTML that have no end. */
static bool is_void_element(const char *name, size_t n)
{
    return (n == 4 && memcmp(name, "meta", 4) == 0);
}

/* `at` is behind '<'. Attributes are name="value" without '<' in the value; returns
 * what is behind '>'. */
static const char *skip_attributes(const char *at, bool *empty)
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

static const char *check_entity(const char *at)
{
    static const char *const known[] = { "&lt;",  "&gt;", "&amp;", "&quot;",
                                         "&#39;", "&#9;", "&#10;", "&#13;" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0) return at + strlen(known[i]);
    fail_msg("an unescaped '&': %.40s", at);
    return at;
}

static bool is_plain(const char *at)
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

/* `at` is a '<'; returns what is behind the tag. */
static const char *check_tag(nesting *in, const char *at)
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
static void check_markup(const char *text)
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
static lvlm_strbuf write_with(writer *write, const lvlm_replay *r)
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
static void check_coordinates(const char *html)
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
static double height_of(const char *html, const char *name, char mark)
{
    char title[2 * NAME], *end;
    snprintf(title, sizeof title, "<title>%s:", name);
    const char *at = strstr(html, title);
    assert_non_null(at);
    at = strstr(at, "/>") + 2; /* behind what the pointer finds */
    at = strstr(at, mark == 'c' ? " cy=\"" : " d=\"M");
    assert_non_null(at);
    const double first = strtod(at + 5, &end);
    return mark == 'c' ? first : strtod(end, NULL);
}

/* ---- HTML ----------------------------------------------------------------------- */

static void html_says_that_parity_holds(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(5, 5)));
    const char *t = out.text;
    expect(t, "<h1>Parity holds: all 17 stages within their bands</h1>");
    expect(t, "✓ Replay passed");
    expect(t, "models/paligemma.lvlm");
    expect(t, "<dt>behaviour computed</dt><dd>trained</dd>");
    expect(t, "f32, single precision");
    expect(t, "38 of 38 rows");
    expect(t, "2.50e-09");
    expect(t, "Worst tokens of <span class=\"name\">logits</span>");
    expect(t, "<td>[0, 12]</td><td class=\"n\">108</td>");
    expect(t, LVLM_VERSION);
    assert_int_equal(count(t, "class=\"point\""), 2 * 17);    /* wide and narrow */
    assert_int_equal(count(t, "class=\"dot\""), 2 * 16 + 1);  /* and in the legend */
    assert_int_equal(count(t, "class=\"exact\""), 2 * 1 + 1); /* text.embed */
    assert_int_equal(count(t, "class=\"cross\""), 0);
    assert_int_equal(count(t, "<tr class=\"bad\">"), 0);
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_needs_nothing_else(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(5, 5)));
    static const char *const outside[] = { "http",  "url(", "@import", "<script",
                                           "<link", "src=", "href" };
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        expect_not(out.text, outside[i]);
    lvlm_strbuf_free(&out);
}

static void html_lists_versions_sorted_and_digests(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(1, 1)));
    const char *a = strstr(out.text, "<dt>attention</dt><dd>eager</dd>");
    const char *b = strstr(out.text, "<dt>torch</dt><dd>2.13.0+cpu</dd>");
    const char *c = strstr(out.text, "<dt>transformers</dt><dd>5.23.0</dd>");
    assert_true(a != NULL && b != NULL && c != NULL && a < b && b < c);
    expect_not(out.text, "not a string");
    expect(out.text, shared.replay.model_root);
    expect(out.text, shared.replay.recording.sha256);
    lvlm_strbuf_free(&out);
}

static void html_names_the_first_bad_stage(void **state)
{
    (void)state;
    sample *s = make(5, 5);
    break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 1.2e-3);
    break_stage(find(s, "text.blocks.1"), LVLM_VERDICT_OUT, 2e-3);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    expect(t, "First stage out of band: <span class=\"name bad\">text.blocks.0</span>");
    expect(t, "✗ Replay failed");
    expect(t, "error 1.20e-03 is over the band 1e-05 (120 times)");
    expect(t, "2 of 17 stages fail; the 10 before it are within their bands");
    expect(t, "Worst tokens of <span class=\"name\">text.blocks.0</span>");
    expect(t, "257152");
    assert_int_equal(count(t, "<tr class=\"bad\">"), 2);
    assert_int_equal(count(t, "class=\"cross\""), 2 * 2 + 1);
    assert_true(height_of(t, "text.blocks.0", 'M') < height_of(t, "vision.out", 'c'));
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_tells_divergence_from_distance(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    lvlm_replay_stage *logits = find(s, "logits");
    logits->verdict = LVLM_VERDICT_OUT;
    logits->found.max_kl = 3.5e-5;
    logits->found.n_top1 = 37;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "There: max KL 3.50e-05 is over the band 1e-06.");
    expect(out.text, "37 of 38 rows");
    lvlm_strbuf_free(&out);
}

static void html_shows_missing_stages_and_wrong_shapes(void **state)
{
    (void)state;
    sample *s = make(2, 2);
    break_stage(find(s, "connector.out"), LVLM_VERDICT_MISSING, (double)INFINITY);
    lvlm_replay_stage *wrong = find(s, "text.blocks.1");
    break_stage(wrong, LVLM_VERDICT_SHAPE, (double)INFINITY);
    wrong->got = (lvlm_shape){ 2, { 38, 64 } };
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    expect(t, "First stage missing: <span class=\"name bad\">connector.out</span>");
    expect(t, "recorded, and this model does not compute it");
    expect(t, "computed in [38, 64]");
    expect(t, "✗ wrong shape");
    assert_int_equal(count(t, "<td class=\"error n soft\">–</td>"), 2);
    assert_int_equal(count(t, "class=\"point\""), 2 * s->replay.n_stages);
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_escapes_what_comes_from_files(void **state)
{
    (void)state;
    static const lvlm_difference difference = { .behaviour = LVLM_FINAL_SOFTCAP,
                                                .stage = "logits",
                                                .what = HOSTILE };
    const lvlm_difference *borrowed[] = { &difference };
    sample *s = make(1, 1);
    s->replay.model = s->replay.golden = s->replay.family = s->replay.reference =
        HOSTILE;
    s->replay.differences = borrowed;
    s->replay.from_recorded = borrowed;
    s->replay.n_differences = s->replay.n_from_recorded = 1;
    s->replay.recording.reference = s->replay.recording.family = "<script>";
    cJSON_AddStringToObject(s->metadata, HOSTILE, HOSTILE);
    add(s, HOSTILE, 1e-7);
    add(s, HOSTILE ".blocks.<0>", 1e-7);
    break_stage(find(s, HOSTILE), LVLM_VERDICT_OUT, 1);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect_not(out.text, "<script");
    expect(out.text, "a&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;&quot;"
                     "\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd"
                     "&#10;");
    check_coordinates(out.text);
    lvlm_strbuf_free(&out);
}

static void html_draws_errors_that_have_no_logarithm(void **state)
{
    (void)state;
    sample *s = make(3, 3);
    break_stage(find(s, "vision.out"), LVLM_VERDICT_OUT, (double)INFINITY);
    find(s, "vision.out")->found.distance.n_bad = 3;
    break_stage(find(s, "text.norm"), LVLM_VERDICT_OUT, (double)NAN);
    find(s, "text.norm")->cosine = (double)NAN;
    find(s, "text.norm")->found.distance.max_abs = (double)NAN;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    check_coordinates(t);
    expect(t, "error inf is over the band 1e-05; 3 of 2432 values are not finite");
    expect(t, "data-name=\"cosine\">nan</td>");
    expect_not(t, "-nan");
    const double top = height_of(t, "vision.out", 'M');
    const double bottom = height_of(t, "text.embed", 'M');
    assert_true(top == height_of(t, "text.norm", 'M'));
    for (size_t i = 0; i < 3; i++) {
        const double y = height_of(t, s->names[i], 'c');
        assert_true(top < y && y < bottom);
    }
    lvlm_strbuf_free(&out);
}

static void html_draws_extreme_and_equal_values(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    find(s, "vision.patches")->error = 5e-324;
    find(s, "vision.embed")->band = 1e308;
    find(s, "vision.out")->band = 0;
    break_stage(find(s, "vision.out"), LVLM_VERDICT_OUT, 1e300);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    check_coordinates(out.text);
    expect(out.text, ">band 0 to 1e+308</text>");
    lvlm_strbuf_free(&out);

    s = make(2, 2);
    for (size_t i = 0; i < s->replay.n_stages; i++) {
        s->stages[i].error = 0;
        s->stages[i].band = 0;
    }
    out = write_with(lvlm_report_html, finish(s));
    check_coordinates(out.text);
    expect(out.text, "Every value equals the recorded one.");
    assert_int_equal(count(out.text, "class=\"exact\""), 2 * 11 + 1);
    assert_int_equal(count(out.text, "class=\"dot\""), 0);
    lvlm_strbuf_free(&out);
}

static void html_draws_any_number_of_stages(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 0, 0 }, { 27, 46 }, { 200, 300 } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sample *s = make(sizes[i][0], sizes[i][1]);
        lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
        assert_int_equal(count(out.text, "class=\"point\""), 2 * s->replay.n_stages);
        check_coordinates(out.text);
        expect(out.text, ">vision</text>");
        expect(out.text, ">connector</text>");
        expect(out.text, ">text</text>");
        lvlm_strbuf_free(&out);
    }
    sample *s = make(0, 0);
    s->replay.n_stages = 1;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "the one stage is within its band");
    lvlm_strbuf_free(&out);
    s->replay.n_stages = 0;
    out = write_with(lvlm_report_html, &s->replay);
    expect(out.text, "Nothing was compared");
    expect_not(out.text, "Parity holds");
    lvlm_strbuf_free(&out);
}

/* ---- what the reports share ----------------------------------------------------- */

static const lvlm_difference softcap = { LVLM_FINAL_SOFTCAP, "5.23", NULL, "logits",
                                         "logits pass a cap" };
static const lvlm_difference *softcap_alone[] = { &softcap };

/* A recording of another family and of another reference. */
static const lvlm_replay *make_foreign(void)
{
    sample *s = make(2, 2);
    break_stage(find(s, "logits"), LVLM_VERDICT_OUT, 1.5);
    s->replay.recording.family = "paligemma2";
    s->replay.recording.reference = "transformers-5.23.0";
    s->replay.from_recorded = softcap_alone;
    s->replay.n_from_recorded = 1;
    return finish(s);
}

#define IS_FOREIGN "he recording is of paligemma2, the model is paligemma"
#define SHOWS_OTHER                                                                    \
    "he recording shows transformers-5.23.0, this run computes trained: they differ "  \
    "in final_softcap (seen from logits on)"

static void the_verdict_says_that_the_recording_is_another(void **state)
{
    const lvlm_replay *const r = make_foreign();
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20), json = LVLM_STRBUF_INIT(1 << 20);
    lvlm_error err;
    (void)state;
    lvlm_report_text(&text, r, 400);
    expect(text.text, "\nt" IS_FOREIGN "\n");
    expect(text.text, "\nt" SHOWS_OTHER "\n");
    assert_int_equal(lvlm_report_json(&json, r, &err), 0);
    expect(json.text, "\"verdict\": \"failed: 1 of 11 stages; t" IS_FOREIGN
                      "; t" SHOWS_OTHER "\"");
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&json);
    lvlm_strbuf html = write_with(lvlm_report_html, r);
    expect(html.text, "t" IS_FOREIGN ".</p>\n");
    expect(html.text, "t" SHOWS_OTHER ".</p>\n</header>");
    expect(html.text, "<span class=\"name\">logits</span> on: logits pass a cap</li>");
    lvlm_strbuf_free(&html);
    lvlm_strbuf xml = write_with(lvlm_report_junit, r);
    expect(xml.text, "is over the band 1e-05; t" IS_FOREIGN "; t" SHOWS_OTHER "\"");
    lvlm_strbuf_free(&xml);
}

/* The longest line of a text, in characters; all of these are ASCII. */
static size_t longest_line(const char *text)
{
    size_t most = 0;
    for (size_t n; *text != '\0'; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        if (n > most) most = n;
    }
    return most;
}

static void text_fits_its_width(void **state)
{
    static const size_t widths[] = { 0, 40, 60, 79, 80, 100, 200 };
    static const char gradient[] =
        "grad.model.vision_tower.vision_model.encoder.layers.26.self_attn.out_proj.w";
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        sample *s = make(2, 2);
        add(s, gradient, 1e-7)->is_gradient = true;
        lvlm_replay_stage *const wide = add(s, "vision.global_blocks.10", 1e-7);
        wide->shape = (lvlm_shape){ 5, { 128, 1, 4, 1601, 7680 } };
        break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 1.2e-3);
        find(s, "text.blocks.0")->looked_again = true;
        lvlm_strbuf out = LVLM_STRBUF_INIT(1 << 20);
        lvlm_report_text(&out, finish(s), widths[i]);
        const size_t most = widths[i] > 0 ? widths[i] : 80;
        if (longest_line(out.text) > most)
            fail_msg("%zu columns in place of %zu:\n%s", longest_line(out.text), most,
                     out.text);
        expect(out.text, "OUT OF BAND\n");
        expect(out.text, " at [0, 12] (id 257152)\n");
        expect(out.text, widths[i] < 79 && widths[i] > 0 ? "\ngrad.model." : gradient);
        lvlm_strbuf_free(&out);
    }
}

static void figures_are_those_of_people(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 0.7);
    lvlm_replay_stage *const loss = add(s, "loss", 1e-3);
    break_stage(loss, LVLM_VERDICT_OUT, 1e-3);
    loss->shape = loss->got = (lvlm_shape){ 0 };
    loss->cosine = 1;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *const row =
        strstr(out.text, "<tr class=\"bad\"><td class=\"name\">loss");
    expect(out.text, "error 7.00e-01 is over the band 1e-05 (70\u202f000 times)");
    assert_non_null(row);
    expect(row, "data-name=\"\"></td><td class=\"more n soft\" data-name=\"band\">");
    expect_not(row, "cosine");
    lvlm_strbuf_free(&out);
    out = write_with(lvlm_report_junit, &s->replay);
    expect_not(strstr(out.text, "name=\"loss\""), "cosine");
    lvlm_strbuf_free(&out);
}

static void html_has_a_second_look(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    lvlm_replay_stage *const stage = find(s, "text.norm");
    break_stage(stage, LVLM_VERDICT_ROUNDING, 2e-5);
    stage->looked_again = true;
    stage->recorded_error = 1.5e-5;
    stage->own_error = 9e-6;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "8 of 9 stages within their bands, 1 beyond by rounding");
    expect(out.text, "<h2>Second look</h2>");
    assert_int_equal(count(out.text, "class=\"ring\""), 2 * 1 + 1); /* in the legend */
    expect(out.text, "</svg>beyond its band by rounding</span>");
    expect(out.text, "text.norm</td><td class=\"n\">1.50e-05</td>"
                     "<td class=\"n\">9.00e-06</td><td><span class=\"ok\">rounding");
    lvlm_strbuf_free(&out);
}

/* Global blocks apart from local ones, every part named, whatever the room. */
static void html_names_the_parts_of_a_long_model(void **state)
{
    (void)state;
    sample *s = make(32, 0);
    s->replay.n_stages -= 5; /* the tower's end and all after it */
    char name[NAME];
    for (size_t i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "vision.global_blocks.%zu", i);
        add(s, name, 1e-7);
    }
    add(s, "vision.out", 3e-7);
    add(s, "connector.out", 2.6e-7);
    add(s, "text.embed", 1e-8);
    add_blocks(s, "text", 4, 3e-7);
    add(s, "text.norm", 1.1e-6);
    add_logits(s, 9e-7);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    static const char *const labels[] = { ">vision</text>", ">global</text>",
                                          ">connector</text>", ">text</text>",
                                          ">head</text>" };
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        assert_int_equal(count(out.text, labels[i]), 2);
    expect(out.text, "rotate(-90)\" text-anchor=\"end\">patches</text>");
    lvlm_strbuf_free(&out);
}

/* ---- JUnit ---------------------------------------------------------------------- */

static void junit_has_a_case_for_every_stage(void **state)
{
    (void)state;
    sample *s = make(5, 5);
    lvlm_replay_stage *bad = find(s, "text.blocks.0");
    break_stage(bad, LVLM_VERDICT_OUT, 1.2e-3);
    lvlm_replay_stage *wrong = find(s, "text.blocks.1");
    break_stage(wrong, LVLM_VERDICT_SHAPE, (double)INFINITY);
    lvlm_strbuf out = write_with(lvlm_report_junit, finish(s));
    const char *t = out.text;
    assert_int_equal(count(t, "<testcase "), 17);
    assert_int_equal(count(t, "<failure "), 2);
    expect(t, "<testsuites tests=\"17\" failures=\"2\">");
    expect(t, "<testsuite name=\"replay\" tests=\"17\" failures=\"2\"");
    expect(t, "<testcase classname=\"paligemma.f32\" name=\"text.blocks.0\">");
    expect(t, "<failure message=\"error 1.20e-03 is over the band 1e-05\"");
    expect(t, "recorded in shape [2, 19, 64], computed in shape [2, 19, 64]");
    expect(t, "<property name=\"golden.torch\" value=\"2.13.0+cpu\"/>");
    expect(t, "<property name=\"lvlm\" value=\"" LVLM_VERSION "\"/>");
    expect(t, s->replay.recording.sha256);
    expect(t, "worst rows, [text, token]:\nrow [0, 12] (id 257152): ");
    lvlm_strbuf_free(&out);
}

static void junit_escapes_what_comes_from_files(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    s->replay.model = s->replay.golden = s->replay.family = s->replay.reference =
        HOSTILE;
    s->replay.compute = LVLM_COMPUTE_F64;
    cJSON_AddStringToObject(s->metadata, HOSTILE, HOSTILE);
    break_stage(add(s, HOSTILE, 0), LVLM_VERDICT_MISSING, (double)INFINITY);
    lvlm_strbuf out = write_with(lvlm_report_junit, finish(s));
    expect_not(out.text, "<script");
    expect(out.text, "&lt;script&gt;alert(&#39;1&#39;)");
    expect(out.text, ".f64\" name=");
    expect(out.text, "message=\"recorded, and this model does not compute it\"");
    lvlm_strbuf_free(&out);
}

static void junit_has_an_error_where_nothing_ran(void **state)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(1 << 16);
    lvlm_error err;
    (void)state;
    lvlm_fail(&err, LVLM_EIO, "<none>: cannot open");
    lvlm_report_junit_error(&out, "<none>", "golden", &err);
    assert_int_equal(lvlm_strbuf_check(&out, NULL), 0);
    expect(out.text, "<testsuites tests=\"1\" failures=\"0\" errors=\"1\">");
    expect(out.text, "<error message=\"&lt;none&gt;: cannot open\"/>");
    expect(out.text, "</testsuites>\n");
    lvlm_strbuf_free(&out);
}

/* ---- both ----------------------------------------------------------------------- */

static void reports_are_equal_bytes_on_every_run(void **state)
{
    (void)state;
    static writer *const writers[] = { lvlm_report_html, lvlm_report_junit };
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        lvlm_strbuf a = write_with(writers[i], finish(make(27, 18)));
        lvlm_strbuf b = write_with(writers[i], finish(make(27, 18)));
        assert_int_equal(a.length, b.length);
        assert_memory_equal(a.text, b.text, a.length);
        lvlm_strbuf_free(&a);
        lvlm_strbuf_free(&b);
    }
}

static void reports_stop_at_the_maximum(void **state)
{
    (void)state;
    const lvlm_replay *r = finish(make(5, 5));
    for (size_t max = 0; max < 12000; max += 997) {
        lvlm_strbuf out = LVLM_STRBUF_INIT(max);
        lvlm_report_html(&out, r);
        lvlm_report_junit(&out, r);
        assert_int_equal(lvlm_strbuf_check(&out, NULL), LVLM_ENOMEM);
        lvlm_strbuf_free(&out);
    }
}

static int teardown(void **state)
{
    (void)state;
    free_shared();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_says_that_parity_holds),
        cmocka_unit_test(html_needs_nothing_else),
        cmocka_unit_test(html_lists_versions_sorted_and_digests),
        cmocka_unit_test(html_names_the_first_bad_stage),
        cmocka_unit_test(html_tells_divergence_from_distance),
        cmocka_unit_test(html_shows_missing_stages_and_wrong_shapes),
        cmocka_unit_test(html_escapes_what_comes_from_files),
        cmocka_unit_test(html_draws_errors_that_have_no_logarithm),
        cmocka_unit_test(html_draws_extreme_and_equal_values),
        cmocka_unit_test(html_draws_any_number_of_stages),
        cmocka_unit_test(the_verdict_says_that_the_recording_is_another),
        cmocka_unit_test(text_fits_its_width),
        cmocka_unit_test(figures_are_those_of_people),
        cmocka_unit_test(html_has_a_second_look),
        cmocka_unit_test(html_names_the_parts_of_a_long_model),
        cmocka_unit_test(junit_has_a_case_for_every_stage),
        cmocka_unit_test(junit_escapes_what_comes_from_files),
        cmocka_unit_test(junit_has_an_error_where_nothing_ran),
        cmocka_unit_test(reports_are_equal_bytes_on_every_run),
        cmocka_unit_test(reports_stop_at_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
