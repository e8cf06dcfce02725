/* normal_form.c - applies the steps, from one buffer to the next.
 *
 *   NFC: text -> code points decomposed -> marks ordered -> composed -> text
 *
 * utf8proc decomposes and composes; it orders marks by insertion, which is slow for a
 * long run, so they are sorted here. */
#include "runtime/prepare/tokenizer/normal_form.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/tokenizer/unicode_newer.h"

/* Characters below this are their own NFC and do not compose with a preceding one. */
#define FIRST_COMPOSED 0x300

/* The longest decomposition of a code point in Unicode. */
enum { MAX_DECOMPOSED = 18 };

int normal_form_add(normal_form *form, normal_kind kind, const char *from,
                    const char *to, lvlm_error *err)
{
    FAIL_IF(form->n == NORMAL_MAX_STEPS, err, LVLM_EFORMAT, "over %d normalizers",
            NORMAL_MAX_STEPS);
    assert((from != NULL && *from != '\0') ||
           (kind != NORMAL_REPLACE && kind != NORMAL_TRIM_END));
    assert(to != NULL || (kind != NORMAL_REPLACE && kind != NORMAL_PREPEND));
    normal_step *const step = &form->steps[form->n++];
    *step = (normal_step){ .kind = kind };
    if ((from != NULL && (step->from = lvlm_strdup(from)) == NULL) ||
        (to != NULL && (step->to = lvlm_strdup(to)) == NULL))
        return lvlm_fail_memory(err);
    return 0;
}

void normal_form_free(normal_form *form)
{
    for (size_t i = 0; i < form->n; i++) {
        lvlm_free(form->steps[i].from);
        lvlm_free(form->steps[i].to);
    }
}

/* ---- NFC ------------------------------------------------------------------------- */

typedef struct mark {
    utf8proc_int32_t c;
    int class;
    size_t at;
} mark;

static int mark_order(const void *a, const void *b)
{
    const mark *const x = a, *const y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

static int class_of(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Stable sort of each run of marks by class. `marks` has room for n. */
static void order_marks(utf8proc_int32_t *points, size_t n, mark *marks)
{
    for (size_t at = 0, end; at < n; at = end + 1) {
        for (end = at; end < n; end++) {
            const int class = class_of(points[end]);
            if (class == 0) break;
            marks[end - at] = (mark){ points[end], class, end };
        }
        if (end - at < 2) continue;
        qsort(marks, end - at, sizeof *marks, mark_order);
        for (size_t i = at; i < end; i++) points[i] = marks[i - at].c;
    }
}

static size_t decompose(utf8proc_int32_t *points, const char *text, size_t n_bytes)
{
    size_t n = 0;
    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        int boundary = 0;
        at += unicode_next(&c, text + at, n_bytes - at);
        const utf8proc_ssize_t made =
            utf8proc_decompose_char((utf8proc_int32_t)c, points + n, MAX_DECOMPOSED,
                                    UTF8PROC_DECOMPOSE, &boundary);
        assert(made > 0 && made <= MAX_DECOMPOSED);
        n += (size_t)made;
    }
    return n;
}

static void append_points(lvlm_strbuf *out, const utf8proc_int32_t *points, size_t n)
{
    utf8proc_uint8_t bytes[4];
    for (size_t i = 0; i < n; i++)
        lvlm_strbuf_append(out, bytes, (size_t)utf8proc_encode_char(points[i], bytes));
}

/* Append the NFC of a piece that does not compose with characters outside. */
static int compose(lvlm_strbuf *out, const char *text, size_t n_bytes, lvlm_error *err)
{
    /* a byte decomposes into one and a half code points at most */
    const size_t room = 2 * n_bytes + MAX_DECOMPOSED;
    utf8proc_int32_t *const points = lvlm_calloc(room, sizeof *points);
    mark *const marks = lvlm_calloc(room, sizeof *marks);
    if (points != NULL && marks != NULL) {
        size_t n = decompose(points, text, n_bytes);
        assert(n <= room);
        order_marks(points, n, marks);
        n = (size_t)utf8proc_normalize_utf32(points, (utf8proc_ssize_t)n,
                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        append_points(out, points, n);
    }
    const bool failed = points == NULL || marks == NULL;
    lvlm_free(marks);
    lvlm_free(points);
    return failed ? lvlm_fail_memory(err) : 0;
}

/* A piece that may change begins with the preceding low character, or after an inert
 * one, and ends before the next of either. */
static int apply_nfc(lvlm_strbuf *out, const char *text, size_t n_bytes, bool unicode_9,
                     lvlm_error *err)
{
    size_t done = 0, start = 0; /* end of the output; start of the piece */
    bool may_change = false;    /* the piece has more than its low character */
    for (size_t at = 0, end; at < n_bytes; at = end) {
        uint32_t c;
        end = at + unicode_next(&c, text + at, n_bytes - at);
        const bool inert = unicode_9 && unicode_newer_is_inert(c);
        if (c >= FIRST_COMPOSED && !inert) {
            may_change = true;
            continue;
        }
        if (may_change) {
            lvlm_strbuf_append(out, text + done, start - done);
            TRY(compose(out, text + start, at - start, err));
            done = at;
        }
        start = inert ? end : at;
        may_change = false;
    }
    lvlm_strbuf_append(out, text + done, start - done);
    if (may_change) return compose(out, text + start, n_bytes - start, err);
    lvlm_strbuf_append(out, text + start, n_bytes - start);
    return 0;
}

/* ---- the other steps ------------------------------------------------------------- */

static void apply_replace(lvlm_strbuf *out, const normal_step *step, const char *text,
                          size_t n_bytes)
{
    const size_t n_from = strlen(step->from);
    const char *const end = text + n_bytes;
    const char *found;
    while ((found = memmem(text, (size_t)(end - text), step->from, n_from)) != NULL) {
        lvlm_strbuf_append(out, text, (size_t)(found - text));
        lvlm_strbuf_puts(out, step->to);
        text = found + n_from;
    }
    lvlm_strbuf_append(out, text, (size_t)(end - text));
}

static void apply_squeeze(lvlm_strbuf *out, const char *text, size_t n_bytes)
{
    bool after_space = true;
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] != ' ' || !after_space) lvlm_strbuf_append(out, text + i, 1);
        after_space = text[i] == ' ';
    }
}

static void apply_trim(lvlm_strbuf *out, const normal_step *step, const char *text,
                       size_t n_bytes)
{
    const size_t n = strlen(step->from);
    while (n_bytes >= n && memcmp(text + n_bytes - n, step->from, n) == 0) n_bytes -= n;
    lvlm_strbuf_append(out, text, n_bytes);
}

static int apply_step(lvlm_strbuf *out, const normal_step *step, const char *text,
                      size_t n_bytes, lvlm_error *err)
{
    switch (step->kind) {
    case NORMAL_NFC:
    case NORMAL_NFC_UNICODE_9:
        TRY(apply_nfc(out, text, n_bytes, step->kind == NORMAL_NFC_UNICODE_9, err));
        break;
    case NORMAL_REPLACE: apply_replace(out, step, text, n_bytes); break;
    case NORMAL_PREPEND:
        if (n_bytes > 0) lvlm_strbuf_puts(out, step->to);
        lvlm_strbuf_append(out, text, n_bytes);
        break;
    case NORMAL_SQUEEZE_SPACES: apply_squeeze(out, text, n_bytes); break;
    case NORMAL_TRIM_END: apply_trim(out, step, text, n_bytes); break;
    }
    return lvlm_strbuf_check(out, err);
}

int normal_form_apply(const normal_form *form, lvlm_strbuf *out, const char *text,
                      size_t n_bytes, lvlm_error *err)
{
    lvlm_strbuf from = LVLM_STRBUF_INIT(out->max), to = LVLM_STRBUF_INIT(out->max);
    int rc = 0;
    for (size_t i = 0; i < form->n && n_bytes > 0 && rc == 0; i++) {
        to.length = 0;
        rc = apply_step(&to, &form->steps[i], text, n_bytes, err);
        const lvlm_strbuf swap = from;
        from = to;
        to = swap;
        text = from.text;
        n_bytes = from.length;
    }
    if (rc == 0) {
        lvlm_strbuf_append(out, text, n_bytes);
        rc = lvlm_strbuf_check(out, err);
    }
    lvlm_strbuf_free(&from);
    lvlm_strbuf_free(&to);
    return rc;
}
