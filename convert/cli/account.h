/* account.h - the account of a conversion: its plan, its totals, and notes on it. */
#ifndef LVLM_CONVERT_CLI_ACCOUNT_H
#define LVLM_CONVERT_CLI_ACCOUNT_H

#include "convert/import.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"

/* Tensors that do not match. */
typedef struct account_problems {
    size_t n;
    cJSON *list; /* with --json: all of them; else NULL */
} account_problems;

/* Print one to stderr, unless it is one of many; `problems` is an account_problems. */
void account_problem(void *problems, const char *text);
/* Hand them to the report of the error, if there are any, or free them. */
void account_problems_end(account_problems *problems);

/* LVLM_EUSAGE if an output is one of the files that the model is made of: those of the
 * import, and `other` (NULL: none). */
LVLM_MUST_CHECK int account_spare(const lvlm_outputs *outputs,
                                  const lvlm_import *import, const char *other,
                                  lvlm_error *err);

/* Number of source tensors by use.  n (LVLM_N_USES) */
void account_uses(size_t n[LVLM_N_USES], const lvlm_ledger *ledger);

/* The effect of a narrower type on values, as a member "narrowed". */
void account_narrowing(lvlm_printer *printer, const lvlm_narrowing *narrowing,
                       bool overflows);

/* Add what a user should know beyond the numbers to the import's notes. */
LVLM_MUST_CHECK int account_notes(const lvlm_import *import, lvlm_error *err);

/* The steps of a dry run; as text also what is not stored because it is tied. */
void account_plan(lvlm_printer *printer, const lvlm_import *import);

/* The totals, and if a file was written, its size, root digest and duration. `root`
 * NULL: a dry run. */
void account_totals(lvlm_printer *printer, const lvlm_import *import, const char *model,
                    const char *root, double seconds);

#endif
