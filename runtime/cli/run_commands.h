/* run_commands.h - the verbs of lvlm-run, one file each, and what they share. */
#ifndef LVLM_RUNTIME_CLI_RUN_COMMANDS_H
#define LVLM_RUNTIME_CLI_RUN_COMMANDS_H

#include "formats/base/options.h"
#include "runtime/model.h"

#define PROGRAM "lvlm-run"

extern const lvlm_command command_forward;
extern const lvlm_command command_generate;
extern const lvlm_command command_preprocess;
extern const lvlm_command command_tokenize;

/* ---- run_shared.c: how a model is opened and run --------------------------------- */

/* Open a model for its side files alone, which are compared with their digests. Which
 * files a conversion would not keep does not matter for that, and is not noted. Close
 * *out with lvlm_checkpoint_close, also after a failure. */
LVLM_MUST_CHECK int run_open_files(lvlm_checkpoint **out, const char *path,
                                   const lvlm_common_args *common, lvlm_notes *notes,
                                   lvlm_error *err);

typedef struct run_model_args {
    const char *compute;   /* LVLM_COMPUTE_NAMES; NULL: f32 */
    const char *reference; /* NULL: as trained */
    bool check;
    bool cache_bf16; /* as lvlm_model_options has it; generate's --cache */
    bool once;       /* no option: the program makes one pass */
} run_model_args;

// clang-format off
/* Rows of an option table, for arguments that hold a run_model_args `field`. */
#define RUN_MODEL_OPTIONS(type, field, whose)                                          \
    { "compute", LVLM_COMPUTE_NAMES, LVLM_OPTION_TEXT, offsetof(type, field.compute),  \
      "precision of the computation" whose " (default f32); bf16x2 and bf16 round operands of matrix products of more than 8 rows" }, \
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT,                   \
      offsetof(type, field.reference),                                                 \
      "whose behaviour, where versions of transformers differ from training (default trained)" }, \
    { "check", NULL, LVLM_OPTION_FLAG, offsetof(type, field.check),                    \
      "compare every weight with its digest before it is used" }
// clang-format on

/* Free *out with lvlm_model_free. */
LVLM_MUST_CHECK int run_open_model(lvlm_model **out, const char *path,
                                   const lvlm_common_args *common,
                                   const run_model_args *args, lvlm_notes *notes,
                                   lvlm_error *err);
const char *run_reference(const run_model_args *args);

#endif
