/* tune_commands.h - the verbs of lvlm-tune, one file each. */
#ifndef LVLM_RUNTIME_TUNE_CLI_TUNE_COMMANDS_H
#define LVLM_RUNTIME_TUNE_CLI_TUNE_COMMANDS_H

#include "formats/base/options.h"

#define PROGRAM "lvlm-tune"

extern const lvlm_command command_grad;
extern const lvlm_command command_train;

#endif
