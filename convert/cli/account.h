/* account.h - the account of a conversion: its plan, its totals, and notes on it. */
#ifndef LVLM_CONVERT_CLI_ACCOUNT_H
#define LVLM_CONVERT_CLI_ACCOUNT_H

#include "convert/import.h"
#include "formats/base/options.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"

/* A conversion, as hf2native, npz2native and compose run it. */
typedef struct account_job {
    const lvlm_common_args *common;
    bool dry_run, force;
    const char *label;   /* of the progress */
    const char *model;   /* the output; of a dry run not used */
    const char *other;   /* an input besides the source; NULL: none */
    const char *drawing; /* a second output, written by `draw`; NULL: none */
    int (*draw)(void *user, lvlm_outfile *file, lvlm_error *err);
    /* Plan it; `chosen` has the options that all have in common, others may be set. */
    int (*plan)(void *user, lvlm_import **import, lvlm_import_options *chosen,
                lvlm_error *err);
    /* Print the result. `root` NULL: a dry run. */
    int (*print)(void *user, const lvlm_import *import, const char *root,
                 double seconds, lvlm_error *err);
    void *user;
} account_job;

/* *import is what was planned, after a failure NULL; the caller's. */
LVLM_MUST_CHECK int account_run(const account_job *job, lvlm_import **import,
                                lvlm_notes *notes, lvlm_error *err);

/* LVLM_EUSAGE if an output is one of the files of a checkpoint. */
LVLM_MUST_CHECK int account_spare(const lvlm_outputs *outputs,
                                  const lvlm_checkpoint *checkpoint, lvlm_error *err);

/* Number of source tensors by use.  n (LVLM_N_USES) */
void account_uses(size_t n[LVLM_N_USES], const lvlm_ledger *ledger);

/* The effect of a narrower type on values, as a member "narrowed". */
void account_narrowing(lvlm_printer *printer, const lvlm_narrowing *narrowing,
                       bool overflows);

/* The steps of a dry run; as text also what is not stored because it is tied. */
void account_plan(lvlm_printer *printer, const lvlm_import *import);

/* The totals, and if a file was written, its size, root digest and duration. `root`
 * NULL: a dry run. */
void account_totals(lvlm_printer *printer, const lvlm_import *import, const char *model,
                    const char *root, double seconds);

#endif
