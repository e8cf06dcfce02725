/* audit_print.c - the checks of an audit as text and JSON; see verify_commands.h. */
#include <string.h>

#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"

/* "checksum     passed   48 tensors ..."; of a replay the recording first. */
static void print_line(lvlm_printer *p, const lvlm_check *c, const char *sentence)
{
    const lvlm_colour colour = c->state == LVLM_CHECK_PASSED    ? LVLM_GREEN
                               : c->state == LVLM_CHECK_SKIPPED ? LVLM_YELLOW
                                                                : LVLM_RED;
    const char *const state = lvlm_check_state_name(c->state);
    const bool named = c->golden != NULL && c->error.code == LVLM_OK;
    lvlm_printer_line(p, "%-11s  %s%*s  %s%s%s\n", lvlm_check_name(c->kind),
                      lvlm_coloured(stdout, colour, state), (int)(7 - strlen(state)),
                      "", named ? lvlm_shown(c->golden) : "", named ? ": " : "",
                      lvlm_shown(sentence));
}

/* What it found and, of a replay, what `replay --json` has. */
static void print_check(lvlm_printer *p, const lvlm_check *c)
{
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&sentence, c);
    const char *const text = sentence.text != NULL ? sentence.text : "";
    print_line(p, c, text);
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "check", lvlm_check_name(c->kind));
    lvlm_printer_text(p, "state", lvlm_check_state_name(c->state));
    lvlm_printer_text(p, "summary", text);
    lvlm_printer_count(p, "n_checked", c->n);
    lvlm_printer_count(p, "n_failed", c->n_failed);
    lvlm_printer_texts(p, "problems", c->problems, c->n_problems);
    if (c->replay.model != NULL) {
        lvlm_printer_object(p, "replay");
        verify_print_replay(p, &c->replay);
        lvlm_printer_end(p);
    } else if (c->golden != NULL) {
        lvlm_printer_text(p, "golden", c->golden);
    }
    lvlm_printer_end(p);
    lvlm_strbuf_free(&sentence);
}

void verify_print_checks(lvlm_printer *p, const lvlm_audit *a)
{
    lvlm_printer_list(p, "checks");
    for (size_t i = 0; i < a->n_checks; i++) print_check(p, &a->checks[i]);
    lvlm_printer_end(p);
}
