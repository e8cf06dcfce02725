/* report_github.c - results as workflow commands of GitHub Actions, one a line:
 *
 *   ::error title=TITLE,file=FILE::MESSAGE
 *   ::notice title=TITLE,file=FILE::MESSAGE
 *
 * The runner reads them in the output of a step, on either stream, and shows them
 * beside the run. Line ends and percent signs are escaped everywhere, colons and commas
 * in properties, so that nothing from a file is read as a command or as a property. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/utf8.h"
#include "verify/report/report.h"
#include "verify/report/report_words.h"

enum { SHOWN_BYTES = 4096 };

static void put_escaped(lvlm_strbuf *out, const char *text, const char *escaped)
{
    for (; *text != '\0'; text++) {
        if (strchr(escaped, *text) != NULL)
            lvlm_strbuf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
        else
            lvlm_strbuf_append(out, text, 1);
    }
}

static void put_property(lvlm_strbuf *out, const char *name, const char *value)
{
    char shown[SHOWN_BYTES];
    lvlm_strbuf_puts(out, name);
    put_escaped(out, lvlm_visible(shown, sizeof shown, value), "%\r\n:,");
}

void lvlm_report_github_line(lvlm_strbuf *out, bool error, const char *title,
                             const char *file, const char *message)
{
    char shown[SHOWN_BYTES];
    lvlm_strbuf_puts(out, error ? "::error" : "::notice");
    put_property(out, " title=", title);
    put_property(out, ",file=", file);
    lvlm_strbuf_puts(out, "::");
    put_escaped(out, lvlm_visible(shown, sizeof shown, message), "%\r\n");
    lvlm_strbuf_puts(out, "\n");
}

/* Whose error it is, and the mistake that explains it; where none does, what shows. */
static void put_cause(lvlm_strbuf *out, const lvlm_replay *r)
{
    const bool named = lvlm_report_is_explained(r);
    lvlm_strbuf whose = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    char text[LVLM_CAUSE_TEXT];
    const char *kind, *sentence;
    lvlm_report_whose(&whose, r);
    out->failed = out->failed || whose.failed;
    if (whose.length > 0) lvlm_strbuf_printf(out, "; %s", whose.text);
    lvlm_strbuf_free(&whose);
    for (size_t i = 0; (sentence = lvlm_report_cause(text, &kind, r, i)) != NULL; i++)
        if (strcmp(kind, "cause") == 0 ||
            (!named && (strcmp(kind, "sign") == 0 || strcmp(kind, "weights") == 0)))
            lvlm_strbuf_printf(out, "; %s", sentence);
}

/* The first stage that fails, by how much, and what explains it or may be the cause. */
static void put_failure(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    lvlm_strbuf title = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), message = title;
    const size_t n = lvlm_report_mismatches(sentences, r);
    assert(r->first_bad != NULL);
    lvlm_strbuf_printf(&title, "lvlm-verify: %s, %s", r->first_bad->name,
                       lvlm_verdict_name(r->first_bad->verdict));
    lvlm_strbuf_printf(&message, "first stage that is wrong: %s: ", r->first_bad->name);
    lvlm_report_reason(&message, r->first_bad);
    put_cause(&message, r);
    for (size_t i = 0; i < n; i++) lvlm_strbuf_printf(&message, "; %s", sentences[i]);
    out->failed = out->failed || title.failed || message.failed;
    if (!out->failed)
        lvlm_report_github_line(out, true, title.text, r->golden, message.text);
    lvlm_strbuf_free(&title);
    lvlm_strbuf_free(&message);
}

void lvlm_report_github(lvlm_strbuf *out, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    if (r->first_bad != NULL) put_failure(out, r);
    lvlm_report_github_line(out, false, "lvlm-verify", r->golden,
                            lvlm_report_verdict(verdict, r));
}
