/* verify_tell.c - output that the verbs of lvlm-verify share. */
#include <stdio.h>

#include "formats/cli/program.h"
#include "formats/cli/terminal.h"
#include "verify/cli/verify_commands.h"

/* Print a table on stdout, with coloured verdicts if colour is on. */
static void print_table(const char *table)
{
    static const lvlm_verdict_colour words[] = {
        { "ok", LVLM_GREEN },        { "exact", LVLM_GREEN },
        { "rounding", LVLM_GREEN },  { "OUT OF BAND", LVLM_RED },
        { "wrong shape", LVLM_RED }, { "missing", LVLM_YELLOW },
    };
    lvlm_print_verdicts(table, words, sizeof words / sizeof *words);
}

int verify_print_result(const lvlm_replay *result, bool json, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    int rc = 0;
    if (json)
        rc = lvlm_report_json(&text, result, err);
    else
        lvlm_report_text(&text, result, lvlm_terminal_width(stdout));
    if (rc == 0) rc = lvlm_strbuf_check(&text, err);
    if (rc == 0 && json)
        lvlm_print_json_text(text.text);
    else if (rc == 0)
        print_table(text.text);
    lvlm_strbuf_free(&text);
    return rc;
}

int verify_save(lvlm_outfile *file, const lvlm_strbuf *text, lvlm_error *err)
{
    TRY(lvlm_strbuf_check(text, err));
    lvlm_outfile_write(file, text->text, text->length);
    return lvlm_outfile_commit(file, err);
}

int verify_write_report(lvlm_outfile *file,
                        void (*report)(lvlm_strbuf *out, const lvlm_replay *result),
                        const lvlm_replay *result, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (file == NULL) return 0;
    report(&text, result);
    const int rc = verify_save(file, &text, err);
    lvlm_strbuf_free(&text);
    return rc;
}
