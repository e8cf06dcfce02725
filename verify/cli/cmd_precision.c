/* cmd_precision.c - lvlm-verify precision MODEL --inputs IN.safetensors */
#include "verify/cli/verify_commands.h"
#include "verify/replay/precision.h"

static const lvlm_option options[] = {
    { "inputs", "FILE.safetensors", LVLM_OPTION_TEXT,
      offsetof(verify_proof_args, inputs),
      "a recording, or inputs as lvlm-run forward takes them" },
    { "compute", "f32|bf16x2|bf16", LVLM_OPTION_TEXT,
      offsetof(verify_proof_args, compute),
      "precision that is measured (default f32)" },
    { "grads", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, grads),
      "measure gradients too; there are labels among the inputs" },
    VERIFY_REFERENCE("inputs say"),
    VERIFY_REPORT,
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, force),
      "overwrite the report" },
    LVLM_OPTION_END,
};

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const verify_proof_args *const a = arguments;
    const verify_proof proof = { a, lvlm_precision_run, "computing", operands->at[0],
                                 a->inputs };
    return verify_prove(&proof, notes, err);
}

const lvlm_command command_precision = {
    "precision",
    "MODEL",
    1,
    1,
    "how far a precision is from double on this model and input, stage by stage",
    "Computes the inputs in double and in f32, or what --compute says, and compares\n"
    "each stage: the error is the root mean square over rows of each row's\n"
    "relative L2; of logits the divergence and the agreement of first choices too.\n"
    "No reference is needed. Every stage is kept in memory in double, 8 bytes a\n"
    "value. Exit 1 when a stage is not finite.\n"
    "\n"
    "  lvlm-verify precision model.lvlm --inputs golden.safetensors",
    options,
    sizeof(verify_proof_args),
    run,
    .needs = "--inputs FILE.safetensors",
};
