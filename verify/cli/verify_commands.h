/* verify_commands.h - the verbs of lvlm-verify, one file each. */
#ifndef LVLM_VERIFY_CLI_VERIFY_COMMANDS_H
#define LVLM_VERIFY_CLI_VERIFY_COMMANDS_H

#include "formats/base/options.h"

#define PROGRAM "lvlm-verify"

extern const lvlm_command command_checksum;
extern const lvlm_command command_schema;
extern const lvlm_command command_projections;
extern const lvlm_command command_compare;
extern const lvlm_command command_replay;
extern const lvlm_command command_precision;

/* A table on stdout, its verdicts coloured where that is wanted. */
void verify_print_table(const char *table);

#endif
