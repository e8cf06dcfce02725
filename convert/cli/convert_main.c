/* convert_main.c - lvlm-convert: between Hugging Face checkpoints and native files. */
#include "convert/cli/commands.h"
#include "formats/cli/program.h"

int main(int argc, char *argv[])
{
    const lvlm_command commands[] = { command_hf2native,  command_native2hf,
                                      command_npz2native, command_compose,
                                      command_inspect,    command_merge_lora,
                                      command_change,     { .name = NULL } };
    const lvlm_program program = {
        PROGRAM, "Converts vision-language checkpoints to one native file and back",
        commands
    };
    return lvlm_program_main(&program, argc, argv);
}
