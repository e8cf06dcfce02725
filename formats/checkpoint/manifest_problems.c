/* manifest_problems.c - reports the problems of a checkpoint, one line each.
 *
 * What is wrong with every block is one line, and so is a block too many or too few,
 * with the setting of config.json that counts them. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/checkpoint/manifest.h"
#include "formats/family/config_words.h"

/* Of more tensors than that each has a line of its own. */
enum { NAME = 512, MOST_GROUPED = 1 << 13 };

typedef struct report {
    const lvlm_manifest *m;
    size_t n;
    void (*line)(void *user, const char *text);
    void *user;
    bool groups;       /* what is wrong with blocks is one line */
    lvlm_strbuf words; /* of one line */
} report;

static void report_line(report *r, const char *fmt, ...) LVLM_PRINTF(2, 3);

static void report_line(report *r, const char *fmt, ...)
{
    char text[LVLM_ERROR_BYTES];
    r->n++;
    if (r->line == NULL) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->line(r->user, text);
}

/* ---- words ---------------------------------------------------------------------- */

static const char *text_of(const lvlm_strbuf *buf)
{
    return buf->text != NULL && !buf->failed ? buf->text : "(out of memory)";
}

/* "[text_config.vocab_size, 32] = [256, 32]", the expected shape of the source. */
static const char *expected(report *r, const lvlm_target *t)
{
    lvlm_strbuf *const buf = &r->words;
    lvlm_strbuf_free(buf);
    lvlm_strbuf_puts(buf, "[");
    lvlm_config_words(buf, t->here.shape_text, r->m->family, r->m->config,
                      r->m->checkpoint->config);
    lvlm_strbuf_puts(buf, "] = ");
    lvlm_shape_print(buf, &t->here.shape);
    return text_of(buf);
}

/* "text_config.num_hidden_layers" */
static const char *key_of(report *r, const char *setting)
{
    lvlm_strbuf_free(&r->words);
    lvlm_config_words(&r->words, setting, r->m->family, NULL, r->m->checkpoint->config);
    return text_of(&r->words);
}

static uint64_t count_of(const report *r, const char *setting)
{
    return lvlm_json_whole(r->m->config, setting);
}

/* What a name says of the model that a tensor is from. */
static const char *hint_of(const char *name)
{
    if (strstr(name, "_feedforward_layernorm") != NULL)
        return " (a norm of Gemma 2: does model_type of text_config say so?)";
    return "";
}

/* A name after the prefix of its root: "layers.2.mlp.up_proj.weight". */
static bool rest_of(char rest[NAME], const lvlm_target *t)
{
    const char *const source = t->section->source;
    const char *const hole = strstr(source, "{i}");
    const int n =
        hole == NULL ? snprintf(rest, NAME, "%s%s", source, t->row->source)
                     : snprintf(rest, NAME, "%.*s%" PRIu64 "%s%s", (int)(hole - source),
                                source, t->block, hole + 3, t->row->source);
    return n > 0 && n < NAME;
}

/* The name of a missing tensor with the prefix that others of its root have in this
 * file; the hub's if there is none. */
static const char *spelled(char name[NAME], const report *r, const lvlm_target *t)
{
    char rest[NAME];
    for (size_t i = 0; r->groups && i < r->m->n_targets; i++) {
        const lvlm_target *const other = &r->m->targets[i];
        if (other->root != t->root || other->here.tensor == NULL ||
            !rest_of(rest, other))
            continue;
        const char *const there = other->here.tensor->name;
        const size_t n = strlen(there), tail = strlen(rest);
        if (n < tail || strcmp(there + n - tail, rest) != 0 || !rest_of(rest, t))
            continue;
        const int m = snprintf(name, NAME, "%.*s%s", (int)(n - tail), there, rest);
        if (m > 0 && m < NAME) return name;
    }
    return t->source_name;
}

/* ---- missing -------------------------------------------------------------------- */

static bool same_block(const lvlm_target *a, const lvlm_target *b)
{
    return a->root == b->root && a->block == b->block && a->section->count != NULL &&
           b->section->count != NULL &&
           strcmp(a->section->native, b->section->native) == 0;
}

/* If all tensors of its block are missing: how many, and is `t` the first? */
static size_t missing_block(bool *first, const report *r, const lvlm_target *t)
{
    size_t n = 0;
    *first = true;
    for (size_t i = 0; r->groups && i < r->m->n_targets; i++) {
        const lvlm_target *const other = &r->m->targets[i];
        if (!same_block(other, t)) continue;
        if (other->state != LVLM_TARGET_MISSING) return 0;
        if (n++ == 0) *first = other == t;
    }
    return n;
}

/* If all blocks lack this row: how many, and is `t` the first? */
static size_t missing_everywhere(bool *first, const report *r, const lvlm_target *t)
{
    size_t n = 0;
    *first = true;
    for (size_t i = 0; r->groups && i < r->m->n_targets; i++) {
        const lvlm_target *const other = &r->m->targets[i];
        if (other->row != t->row || other->section != t->section ||
            t->section->count == NULL)
            continue;
        if (other->state != LVLM_TARGET_MISSING) return 0;
        if (n++ == 0) *first = other == t;
    }
    return n;
}

static void report_missing(report *r, const lvlm_target *t)
{
    char name[NAME];
    bool first;
    size_t n = missing_block(&first, r, t);
    if (n > 1) {
        if (first)
            report_line(r,
                        "block %" PRIu64 " is missing (%zu tensors from '%s' on): %s "
                        "says %" PRIu64,
                        t->block, n, spelled(name, r, t), key_of(r, t->section->count),
                        count_of(r, t->section->count));
        return;
    }
    n = missing_everywhere(&first, r, t);
    if (n > 1 && !first) return;
    report_line(r, "tensor '%s' is missing%s: expected %s, for %s%s",
                spelled(name, r, t), n > 1 ? ", and from every other block" : "",
                expected(r, t), t->name, hint_of(t->source_name));
}

static void report_target(report *r, const lvlm_target *t)
{
    char got[LVLM_SHAPE_TEXT];
    if (t->state == LVLM_TARGET_MISSING) {
        report_missing(r, t);
        return;
    }
    if (t->here.tensor == NULL) return;
    if (t->here.wrong_shape)
        report_line(r, "tensor '%s': expected %s, got %s, for %s", t->here.tensor->name,
                    expected(r, t), lvlm_shape_text(got, &t->here.tensor->shape),
                    t->name);
    if (!lvlm_dtype_is_weight(t->here.tensor->dtype))
        report_line(
            r, "tensor '%s': expected dtype F32, BF16, F16 or F64, got %s, for %s",
            t->here.tensor->name, lvlm_dtype_name(t->here.tensor->dtype), t->name);
}

/* ---- too many ------------------------------------------------------------------- */

/* A block that an unknown tensor is of. */
typedef struct place {
    const lvlm_section *section;
    size_t prefix;    /* length of the canonical name before the number */
    uint64_t block;   /* the number */
    const char *rest; /* after it: ".mlp.up_proj.weight" */
} place;

/* Is the name "text.layers.7.rest", of this section? */
static bool is_of(place *out, const lvlm_root *root, const lvlm_section *section,
                  const char *canonical)
{
    char prefix[NAME];
    char *end;
    const char *const hole = strstr(section->source, "{i}");
    if (section->count == NULL || hole == NULL) return false;
    const int n = snprintf(prefix, sizeof prefix, "%s%.*s", root->native,
                           (int)(hole - section->source), section->source);
    if (n <= 0 || n >= NAME || !lvlm_starts_with(canonical, prefix)) return false;
    const char *const digits = canonical + n;
    if (*digits < '0' || *digits > '9') return false;
    *out = (place){ section, (size_t)n, strtoull(digits, &end, 10), NULL };
    out->rest = end;
    return *end == '.';
}

/* False: it is of no block. */
static bool place_of(place *out, const report *r, const char *canonical)
{
    for (const lvlm_root *root = r->m->family->roots; root->native != NULL; root++)
        for (const lvlm_model_part *p = root->parts; p->sections != NULL; p++) {
            if (p->when != NULL && !lvlm_config_says(r->m->config, p->when)) continue;
            for (const lvlm_section *s = p->sections; s->native != NULL; s++)
                if (is_of(out, root, s, canonical)) return true;
        }
    return false;
}

static bool is_unknown(const lvlm_extra *e)
{
    return e->kind == LVLM_EXTRA_UNKNOWN;
}

/* Unknown tensors that are of the same block, or in each block have the same name; is
 * `extra` the first of them? */
static size_t count_like(bool *first, const report *r, const lvlm_extra *extra,
                         const place *at, bool same_block_only)
{
    size_t n = 0;
    *first = true;
    for (size_t i = 0; i < r->m->n_extras; i++) {
        const lvlm_extra *const e = &r->m->extras[i];
        place other;
        if (!is_unknown(e) || !place_of(&other, r, e->canonical) ||
            other.prefix != at->prefix ||
            memcmp(e->canonical, extra->canonical, at->prefix) != 0)
            continue;
        if (same_block_only ? other.block != at->block
                            : strcmp(other.rest, at->rest) != 0)
            continue;
        if (n++ == 0) *first = e == extra;
    }
    return n;
}

/* A block that is beyond those that the configuration counts. False: it is not. */
static bool report_surplus(report *r, const lvlm_extra *extra, const place *at)
{
    const uint64_t count = count_of(r, at->section->count);
    bool first;
    if (at->block < count) return false;
    const size_t n = count_like(&first, r, extra, at, true);
    if (first)
        report_line(r,
                    "block %" PRIu64
                    " is there (%zu tensor%s from '%s' on): %s says %" PRIu64,
                    at->block, n, n == 1 ? "" : "s", extra->tensor->name,
                    key_of(r, at->section->count), count);
    return true;
}

static void report_unknown(report *r, const lvlm_extra *extra)
{
    place at;
    bool first = true;
    size_t n = 0;
    if (r->groups && place_of(&at, r, extra->canonical)) {
        if (report_surplus(r, extra, &at)) return;
        n = count_like(&first, r, extra, &at, false);
        if (n != count_of(r, at.section->count)) n = 0;
    }
    if (n > 1 && !first) return;
    report_line(r, "tensor '%s'%s: no rule of %s matches it%s%s%s%s",
                extra->tensor->name, n > 1 ? ", and that of every other block" : "",
                r->m->family->name,
                extra->other != NULL ? "; nearest known name is '" : "",
                extra->other != NULL ? extra->other : "",
                extra->other != NULL ? "'" : "", hint_of(extra->tensor->name));
}

static void report_extra(report *r, const lvlm_extra *extra)
{
    if (extra->kind == LVLM_EXTRA_DUPLICATE)
        report_line(r, "tensor '%s' is a second one for %s: '%s' is used",
                    extra->tensor->name, extra->canonical, extra->other);
    else if (is_unknown(extra))
        report_unknown(r, extra);
}

size_t lvlm_manifest_problems(const lvlm_manifest *m,
                              void (*line)(void *user, const char *text), void *user)
{
    report r = { .m = m,
                 .line = line,
                 .user = user,
                 .groups = m->n_targets + m->n_extras <= MOST_GROUPED,
                 .words = LVLM_STRBUF_INIT(LVLM_ERROR_BYTES) };
    for (size_t i = 0; i < m->n_targets; i++) report_target(&r, &m->targets[i]);
    for (size_t i = 0; i < m->n_extras; i++) report_extra(&r, &m->extras[i]);
    lvlm_strbuf_free(&r.words);
    return r.n;
}
