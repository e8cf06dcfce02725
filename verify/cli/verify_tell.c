/* verify_tell.c - what the verbs of lvlm-verify print alike. */
#include "formats/cli/terminal.h"
#include "verify/cli/verify_commands.h"

void verify_print_table(const char *table)
{
    static const lvlm_verdict_colour words[] = {
        { "ok", LVLM_GREEN },
        { "OUT OF BAND", LVLM_RED },
        { "missing", LVLM_YELLOW },
    };
    lvlm_print_verdicts(table, words, sizeof words / sizeof *words);
}
