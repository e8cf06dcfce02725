/* verify_commands.h - the verbs of lvlm-verify, one file each, and what they share. */
#ifndef LVLM_VERIFY_CLI_VERIFY_COMMANDS_H
#define LVLM_VERIFY_CLI_VERIFY_COMMANDS_H

#include "formats/base/options.h"
#include "formats/checkpoint/manifest.h"
#include "verify/replay.h"

#define PROGRAM "lvlm-verify"

extern const lvlm_command command_checksum;
extern const lvlm_command command_schema;
extern const lvlm_command command_projections;
extern const lvlm_command command_compare;
extern const lvlm_command command_replay;
extern const lvlm_command command_precision;

/* ---- verify_shared.c ------------------------------------------------------------- */

/* Print what is wrong with a model, and count it. */
typedef int verify_print(size_t *n_bad, const lvlm_manifest *manifest, bool json,
                         lvlm_error *err);
/* Open the checkpoint at `path`, and print its account. */
LVLM_MUST_CHECK int verify_judge(size_t *n_bad, verify_print *print,
                                 const lvlm_common_args *args, const char *path,
                                 lvlm_notes *notes, lvlm_error *err);

/* Print the result of a proof on stdout (replay_json.c). */
LVLM_MUST_CHECK int verify_print_json(const lvlm_replay *result, lvlm_error *err);

/* Arguments of replay and precision; NULL: not given, or none of the verb's. */
typedef struct verify_proof_args {
    lvlm_common_args common;
    const char *compute, *inputs, *reference, *tolerance;
    const char *report, *junit;
    bool grads, force;
} verify_proof_args;

// clang-format off
/* Rows of their option tables. */
#define VERIFY_REFERENCE(whose)                                                        \
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT,                   \
      offsetof(verify_proof_args, reference),                                          \
      "whose behaviour to compute where they differ (default: what the " whose ")" }
#define VERIFY_REPORT                                                                  \
    { "report", "FILE.html", LVLM_OPTION_TEXT, offsetof(verify_proof_args, report),    \
      "write a report for people" }
// clang-format on

typedef struct verify_proof {
    const verify_proof_args *args;
    int (*run)(lvlm_replay *out, const char *model, const char *golden,
               const lvlm_replay_options *options, lvlm_error *err);
    const char *label; /* of the progress */
    const char *model, *golden;
    const lvlm_compute *compute; /* as in lvlm_replay_options */
} verify_proof;

/* Run a proof, print its result and write its reports. Returns what a command does. */
LVLM_MUST_CHECK int verify_prove(const verify_proof *proof, lvlm_notes *notes,
                                 lvlm_error *err);

#endif
