/* run_commands.h - the verbs of lvlm-run, one file each. */
#ifndef LVLM_RUNTIME_CLI_RUN_COMMANDS_H
#define LVLM_RUNTIME_CLI_RUN_COMMANDS_H

#include "formats/base/options.h"

#define PROGRAM "lvlm-run"

extern const lvlm_command command_forward;
extern const lvlm_command command_generate;
extern const lvlm_command command_preprocess;
extern const lvlm_command command_tokenize;

#endif
