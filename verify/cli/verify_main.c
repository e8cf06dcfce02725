/* verify_main.c - lvlm-verify: proves checkpoints and conversions. */
#include "formats/cli/program.h"
#include "runtime/about.h"
#include "verify/cli/verify_commands.h"

int main(int argc, char *argv[])
{
    const lvlm_command commands[] = {
        command_checksum,  command_schema,    command_projections, command_compare,
        command_replay,    command_precision, command_all,         command_card,
        command_calibrate, command_merge,     { .name = NULL }
    };
    const lvlm_program program = {
        PROGRAM, "Proves vision-language checkpoints and conversions stage by stage",
        commands, lvlm_about
    };
    return lvlm_program_main(&program, argc, argv);
}
