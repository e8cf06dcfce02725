/* run_main.c - lvlm-run: runs vision-language models. */
#include <stdio.h>

#include "formats/cli/program.h"
#include "runtime/cli/run_commands.h"
#include "runtime/kernel/kernel.h"

static void print_about(void)
{
    lvlm_error err;
    if (lvlm_unit_check(&err) < 0)
        printf("matrix products: %s\n", err.text);
    else
        printf("matrix products: %s\n", lvlm_kernel_name(LVLM_COMPUTE_F32));
}

int main(int argc, char *argv[])
{
    const lvlm_command commands[] = { command_forward,
                                      command_generate,
                                      command_preprocess,
                                      command_tokenize,
                                      { .name = NULL } };
    const lvlm_program program = { PROGRAM,
                                   "Runs vision-language models from native files",
                                   commands, print_about };
    return lvlm_program_main(&program, argc, argv);
}
