/* tune_commands.h - the verbs of lvlm-tune, and what they share. */
#ifndef LVLM_RUNTIME_TUNE_CLI_TUNE_COMMANDS_H
#define LVLM_RUNTIME_TUNE_CLI_TUNE_COMMANDS_H

#include "formats/base/options.h"
#include "runtime/tune/zero_gradients.h"

#define PROGRAM "lvlm-tune"

extern const lvlm_command command_grad;
extern const lvlm_command command_train;
extern const lvlm_command command_stages;

/* One line per group on stderr. */
void tune_tell_zeros(const lvlm_zero_gradients *zeros);

#endif
