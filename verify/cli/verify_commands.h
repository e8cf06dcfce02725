/* verify_commands.h - the verbs of lvlm-verify, one file each. */
#ifndef LVLM_VERIFY_CLI_VERIFY_COMMANDS_H
#define LVLM_VERIFY_CLI_VERIFY_COMMANDS_H

#include "formats/base/options.h"
#include "formats/base/outfile.h"
#include "verify/report/report.h"

#define PROGRAM "lvlm-verify"

extern const lvlm_command command_checksum;
extern const lvlm_command command_schema;
extern const lvlm_command command_projections;
extern const lvlm_command command_compare;
extern const lvlm_command command_replay;
extern const lvlm_command command_precision;

/* Print a replay or a measure on stdout, as text or JSON. */
LVLM_MUST_CHECK int verify_print_result(const lvlm_replay *result, bool json,
                                        lvlm_error *err);

/* Write and commit a file of that text. */
int verify_save(lvlm_outfile *file, const lvlm_strbuf *text, lvlm_error *err);
/* The same for what `report` writes about a result; does nothing if `file` is NULL. */
LVLM_MUST_CHECK int verify_write_report(lvlm_outfile *file,
                                        void (*report)(lvlm_strbuf *out,
                                                       const lvlm_replay *result),
                                        const lvlm_replay *result, lvlm_error *err);

#endif
