/* run_main.c - lvlm-run: runs vision-language models. */
#include "formats/cli/program.h"
#include "runtime/about.h"
#include "runtime/cli/run_commands.h"

int main(int argc, char *argv[])
{
    const lvlm_command commands[] = { command_forward,
                                      command_generate,
                                      command_preprocess,
                                      command_tokenize,
                                      { .name = NULL } };
    const lvlm_program program = { PROGRAM,
                                   "Runs vision-language models from native files",
                                   commands, lvlm_about };
    return lvlm_program_main(&program, argc, argv);
}
