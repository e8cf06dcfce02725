/* commands.h - the verbs of lvlm-convert, one file each. */
#ifndef LVLM_CONVERT_CLI_COMMANDS_H
#define LVLM_CONVERT_CLI_COMMANDS_H

#include "formats/base/options.h"

#define PROGRAM "lvlm-convert"

extern const lvlm_command command_hf2native;
extern const lvlm_command command_native2hf;
extern const lvlm_command command_compose;
extern const lvlm_command command_npz2native;
extern const lvlm_command command_inspect;
extern const lvlm_command command_merge_lora;
extern const lvlm_command command_change;

#endif
