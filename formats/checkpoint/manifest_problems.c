/* manifest_problems.c - reports the problems of a checkpoint, one line each. */
#include <stdarg.h>
#include <stdio.h>

#include "formats/checkpoint/manifest.h"

typedef struct report {
    size_t n;
    void (*line)(void *user, const char *text);
    void *user;
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

/* "[text.vocab, text.hidden] = [256, 32]", the expected shape of the source. */
static const char *expected(lvlm_strbuf *buf, const lvlm_target *t)
{
    lvlm_strbuf_free(buf);
    lvlm_strbuf_printf(buf, "[%s] = ", t->here.shape_text);
    lvlm_shape_print(buf, &t->here.shape);
    return buf->text != NULL && !buf->failed ? buf->text : "(out of memory)";
}

static void report_target(report *r, lvlm_strbuf *buf, const lvlm_target *t)
{
    char got[LVLM_SHAPE_TEXT];
    if (t->state == LVLM_TARGET_MISSING) {
        report_line(r, "tensor '%s' is missing: expected %s, for %s", t->source_name,
                    expected(buf, t), t->name);
        return;
    }
    if (t->here.tensor == NULL) return;
    if (t->here.wrong_shape)
        report_line(r, "tensor '%s': expected %s, got %s, for %s", t->here.tensor->name,
                    expected(buf, t), lvlm_shape_text(got, &t->here.tensor->shape),
                    t->name);
    if (!lvlm_dtype_is_weight(t->here.tensor->dtype))
        report_line(
            r, "tensor '%s': expected dtype F32, BF16, F16 or F64, got %s, for %s",
            t->here.tensor->name, lvlm_dtype_name(t->here.tensor->dtype), t->name);
}

static void report_extra(report *r, const lvlm_manifest *m, const lvlm_extra *extra)
{
    if (extra->kind == LVLM_EXTRA_DUPLICATE)
        report_line(r, "tensor '%s' is a second one for %s: '%s' is used",
                    extra->tensor->name, extra->canonical, extra->other);
    else if (extra->kind == LVLM_EXTRA_UNKNOWN)
        report_line(
            r, "tensor '%s': no rule of %s matches it%s%s%s", extra->tensor->name,
            m->family->name, extra->other != NULL ? "; nearest known name is '" : "",
            extra->other != NULL ? extra->other : "", extra->other != NULL ? "'" : "");
}

size_t lvlm_manifest_problems(const lvlm_manifest *m,
                              void (*line)(void *user, const char *text), void *user)
{
    report r = { .line = line, .user = user };
    lvlm_strbuf buf = LVLM_STRBUF_INIT(LVLM_ERROR_BYTES);
    for (size_t i = 0; i < m->n_targets; i++) report_target(&r, &buf, &m->targets[i]);
    for (size_t i = 0; i < m->n_extras; i++) report_extra(&r, m, &m->extras[i]);
    lvlm_strbuf_free(&buf);
    return r.n;
}
