/* tune_main.c - lvlm-tune: gradients and fine-tuning. */
#include "formats/cli/program.h"
#include "runtime/about.h"
#include "runtime/tune/cli/tune_commands.h"

int main(int argc, char *argv[])
{
    const lvlm_command commands[] = {
        command_grad, command_train, command_stages, { .name = NULL }
    };
    const lvlm_program program = { PROGRAM,
                                   "Fine-tunes vision-language models in native files",
                                   commands, lvlm_about };
    return lvlm_program_main(&program, argc, argv);
}
