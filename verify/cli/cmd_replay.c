/* cmd_replay.c - lvlm-verify replay MODEL GOLDEN.safetensors */
#include "verify/cli/verify_commands.h"

static const lvlm_option options[] = {
    VERIFY_COMPUTE,
    VERIFY_REFERENCE("recording says"),
    VERIFY_GRADS,
    VERIFY_TOLERANCE,
    VERIFY_REPORT,
    VERIFY_JUNIT,
    VERIFY_ANNOTATIONS,
    VERIFY_FORCE,
    { "layers", "N", LVLM_OPTION_COUNT, offsetof(verify_proof_args, layers),
      "compute only the first N decoder blocks (default: as many as the recording "
      "says)",
      LVLM_COUNTED },
    { "steps", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, steps),
      "train the recorded steps too, and compare losses, norms and weights" },
    LVLM_OPTION_END,
};

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const verify_proof_args *const a = arguments;
    const verify_proof proof = { a, lvlm_replay_run, "replaying", operands->at[0],
                                 operands->at[1] };
    return verify_prove(&proof, notes, err);
}

const lvlm_command command_replay = {
    "replay",
    "MODEL GOLDEN",
    2,
    2,
    "run a recording's inputs and compare every stage that it holds",
    "MODEL is a native file, GOLDEN a .safetensors recording of a reference run on\n"
    "the same weights: inputs under in., stages under out. (formats/GOLDEN.md). Each\n"
    "stage is one row, in order of computation; the first one out of its band is\n"
    "named (exit 1). Rows of padding tokens are not compared.\n"
    "\n"
    "A recording in double is computed in double; then both agree to 1e-12, whatever\n"
    "the model, and the verdict is exact. Float32 has wider bands; what is beyond one\n"
    "is computed again in double and passes as rounding where the recording is hardly\n"
    "farther from double than our own f32 is. lvlm-verify precision measures that.\n"
    "\n"
    "  lvlm-verify replay model.lvlm golden.safetensors --report report.html",
    options,
    sizeof(verify_proof_args),
    run,
};
