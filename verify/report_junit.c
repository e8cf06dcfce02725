/* report_junit.c - a replay as JUnit XML: one test case a stage. */
#include "verify/report.h"

#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"

/* Text as XML 1.0 takes it: markup escaped, control characters (which it forbids) as
 * '?'. */
static void put_escaped(lvlm_strbuf *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        const unsigned char c = (unsigned char)*at;
        if (c == '<')
            lvlm_strbuf_puts(out, "&lt;");
        else if (c == '>')
            lvlm_strbuf_puts(out, "&gt;");
        else if (c == '&')
            lvlm_strbuf_puts(out, "&amp;");
        else if (c == '"')
            lvlm_strbuf_puts(out, "&quot;");
        else
            lvlm_strbuf_append(out, c < 0x20 ? "?" : at, 1);
    }
}

static void put_property(lvlm_strbuf *out, const char *name, const char *value)
{
    lvlm_strbuf_puts(out, "      <property name=\"");
    put_escaped(out, name);
    lvlm_strbuf_puts(out, "\" value=\"");
    put_escaped(out, value);
    lvlm_strbuf_puts(out, "\"/>\n");
}

static void put_properties(lvlm_strbuf *out, const lvlm_replay *r)
{
    const cJSON *item;
    lvlm_strbuf_puts(out, "    <properties>\n");
    put_property(out, "lvlm", LVLM_VERSION);
    put_property(out, "model", r->model);
    put_property(out, "model root digest", r->model_root);
    put_property(out, "golden", r->golden);
    put_property(out, "golden SHA-256", r->golden_sha256);
    put_property(out, "behaviour of", r->reference);
    cJSON_ArrayForEach(item, r->golden_metadata) if (lvlm_json_string(item) != NULL)
        put_property(out, item->string, lvlm_json_string(item));
    lvlm_strbuf_puts(out, "    </properties>\n");
}

static void put_failure(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char want[LVLM_SHAPE_TEXT], got[LVLM_SHAPE_TEXT];
    lvlm_strbuf_puts(out, "      <failure message=\"");
    switch (s->verdict) {
    case LVLM_VERDICT_MISSING:
        lvlm_strbuf_puts(out, "recorded, and this model does not compute it");
        break;
    case LVLM_VERDICT_SHAPE:
        lvlm_strbuf_printf(out, "expected shape %s, got %s",
                           lvlm_shape_text(want, &s->shape),
                           lvlm_shape_text(got, &s->got));
        break;
    default:
        lvlm_strbuf_printf(out, "relative L2 %.2e, band %.1e", s->relative_l2, s->band);
        if (s->is_logits)
            lvlm_strbuf_printf(out, "; max KL %.2e, band %.1e", s->max_kl,
                               LVLM_BAND_KL);
    }
    lvlm_strbuf_printf(out, "\">max abs %.3e, cosine %.10f</failure>\n",
                       s->distance.max_abs, s->cosine);
}

static void put_case(lvlm_strbuf *out, const lvlm_replay *r, const lvlm_replay_stage *s)
{
    const bool failed = s->verdict != LVLM_VERDICT_OK;
    lvlm_strbuf_puts(out, "    <testcase classname=\"");
    put_escaped(out, r->family);
    lvlm_strbuf_printf(out, ".%s\" name=\"",
                       r->compute == LVLM_COMPUTE_F64 ? "f64" : "f32");
    put_escaped(out, s->name);
    lvlm_strbuf_puts(out, failed ? "\">\n" : "\"/>\n");
    if (!failed) return;
    put_failure(out, s);
    lvlm_strbuf_puts(out, "    </testcase>\n");
}

void lvlm_report_junit(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    lvlm_strbuf_printf(out, "<testsuites tests=\"%zu\" failures=\"%zu\">\n",
                       r->n_stages, r->n_failed);
    lvlm_strbuf_printf(out,
                       "  <testsuite name=\"replay\" tests=\"%zu\" failures=\"%zu\" "
                       "errors=\"0\" skipped=\"0\">\n",
                       r->n_stages, r->n_failed);
    put_properties(out, r);
    for (size_t i = 0; i < r->n_stages; i++) put_case(out, r, &r->stages[i]);
    lvlm_strbuf_puts(out, "  </testsuite>\n</testsuites>\n");
}
