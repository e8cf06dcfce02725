/* verify_commands.h - the verbs of lvlm-verify, one file each, and what they share. */
#ifndef LVLM_VERIFY_CLI_VERIFY_COMMANDS_H
#define LVLM_VERIFY_CLI_VERIFY_COMMANDS_H

#include "formats/base/options.h"
#include "formats/checkpoint/manifest.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/progress.h"
#include "verify/audit.h"

#define PROGRAM "lvlm-verify"

extern const lvlm_command command_checksum;
extern const lvlm_command command_schema;
extern const lvlm_command command_projections;
extern const lvlm_command command_compare;
extern const lvlm_command command_replay;
extern const lvlm_command command_precision;
extern const lvlm_command command_all;
extern const lvlm_command command_card;
extern const lvlm_command command_calibrate;
extern const lvlm_command command_merge;

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

/* Print the checks of an audit (audit_print.c). */
void verify_print_checks(lvlm_printer *printer, const lvlm_audit *audit);

/* Add the members of a replay to the innermost object. */
void verify_print_replay(lvlm_printer *printer, const lvlm_replay *result);

/* Arguments of replay, precision, all and calibrate; NULL: not given, or none of the
 * verb's. */
typedef struct verify_proof_args {
    lvlm_common_args common;
    const char *compute, *inputs, *reference, *tolerance;
    const char *report, *junit, *annotations, *card, *out;
    uint64_t layers;
    bool grads, steps, force;
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
#define VERIFY_JUNIT                                                                   \
    { "junit", "FILE.xml", LVLM_OPTION_TEXT, offsetof(verify_proof_args, junit),       \
      "write a report for CI systems" }
#define VERIFY_ANNOTATIONS                                                             \
    { "annotations", "github", LVLM_OPTION_TEXT,                                       \
      offsetof(verify_proof_args, annotations),                                        \
      "also tell the result on stderr as commands of GitHub Actions" }
#define VERIFY_FORCE                                                                   \
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, force),             \
      "overwrite the reports" }
#define VERIFY_COMPUTE                                                                 \
    { "compute", LVLM_COMPUTE_NAMES, LVLM_OPTION_TEXT,                                 \
      offsetof(verify_proof_args, compute),                                            \
      "precision of the computation (default: f64 for a recording in double, else "    \
      "f32)" }
#define VERIFY_GRADS                                                                   \
    { "grads", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, grads),             \
      "compare the recorded gradients too (grad.*), from the head down" }
#define VERIFY_TOLERANCE                                                               \
    { "tolerance", "FILE.json", LVLM_OPTION_TEXT,                                      \
      offsetof(verify_proof_args, tolerance),                                          \
      "bands: { \"text.blocks.*\": 1e-4, ... }; the first pattern that fits counts" }
// clang-format on

/* The files that a verb writes about its result; those that were not requested are
 * NULL. Close them, also after a failure. */
typedef struct verify_reports {
    lvlm_outputs outputs;
    lvlm_outfile *html, *junit, *card, *card_page;
    lvlm_arena arena; /* of the page's name */
} verify_reports;
/* LVLM_EUSAGE if one of them would replace an input. */
LVLM_MUST_CHECK int verify_reports_open(verify_reports *out,
                                        const verify_proof_args *args,
                                        const char *const *inputs, size_t n,
                                        lvlm_error *err);
void verify_reports_close(verify_reports *reports);
/* Write and commit a report, and free its text. */
LVLM_MUST_CHECK int verify_save(lvlm_outfile *file, lvlm_strbuf *text, lvlm_error *err);
/* CI systems expect test results even if no stage was computed. */
void verify_report_error(const verify_reports *reports, const verify_proof_args *args,
                         const char *model, const char *golden,
                         const lvlm_error *error);
/* Print annotations on stderr, and free them. */
LVLM_MUST_CHECK int verify_annotate(lvlm_strbuf *text, lvlm_error *err);

/* The progress of a replay: begin, run with these options, end, which prints the
 * notes. */
typedef struct verify_watch {
    lvlm_progress stages, bytes;
} verify_watch;
lvlm_audit_options verify_audit_begin(verify_watch *watch,
                                      const verify_proof_args *args, lvlm_notes *notes);
lvlm_replay_options verify_watch_begin(verify_watch *watch, const char *label,
                                       const verify_proof_args *args,
                                       lvlm_notes *notes);
void verify_watch_end(verify_watch *watch, lvlm_notes *notes);

typedef struct verify_proof {
    const verify_proof_args *args;
    int (*run)(lvlm_replay *out, const char *model, const char *golden,
               const lvlm_replay_options *options, lvlm_error *err);
    const char *label; /* of the progress */
    const char *model, *golden;
} verify_proof;

/* Run a proof, print its result and write its reports. Returns what a command does. */
LVLM_MUST_CHECK int verify_prove(const verify_proof *proof, lvlm_notes *notes,
                                 lvlm_error *err);

#endif
