/* cmd_merge.c - lvlm-verify merge BASE ADAPTER MERGED */
#include <inttypes.h>
#include <stdio.h>

#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/compare/merge_proof.h"

typedef struct args {
    lvlm_common_args common;
    bool all;
} args;

static const lvlm_option options[] = {
    { "all", NULL, LVLM_OPTION_FLAG, offsetof(args, all),
      "list tensors that fit, too" },
    LVLM_OPTION_END,
};

typedef struct output {
    lvlm_printer rows;
    bool all;
} output;

/* ---- tensors -------------------------------------------------------------------- */

static const char *kind_name(lvlm_merge_kind kind)
{
    return kind == LVLM_MERGED_ADAPTED ? "adapted"
           : kind == LVLM_MERGED_SAVED ? "saved"
                                       : "kept";
}

/* The first that it fits; NULL: none. */
static const char *order_of(unsigned fits)
{
    for (int k = 0; k < LVLM_N_MERGE_ORDERS; k++)
        if ((fits & 1U << k) != 0) return lvlm_merge_order_name((lvlm_merge_order)k);
    return NULL;
}

/* Why an adapted tensor may be neither. */
static void print_hint(const lvlm_merge_tensor *t)
{
    if (t->kind != LVLM_MERGED_ADAPTED || t->problem != NULL) return;
    if (t->times == 0 && t->rest == 0)
        printf("; it is the base's: the adapter was not folded in");
    else if (t->rest < 0.5)
        printf("; its change is %.4g times the adapter's, and %.1e of it is not",
               t->times, t->rest);
    else
        printf("; its change is not the adapter's");
}

static void print_row(lvlm_printer *p, const lvlm_merge_tensor *t)
{
    const char *const order = order_of(t->fits);
    if (!p->text) return;
    printf("%-44s ", lvlm_shown(t->name));
    if (order != NULL) {
        printf("%s %s\n", lvlm_coloured(stdout, LVLM_GREEN, kind_name(t->kind)),
               t->kind == LVLM_MERGED_ADAPTED ? order : "");
        return;
    }
    printf("%s", lvlm_coloured(stdout, LVLM_RED, "NEITHER"));
    if (t->problem != NULL)
        printf(": %s", t->problem);
    else
        printf(": %s, %" PRIu64 " of %" PRIu64
               " values are not what is expected, max abs %.3e, rel L2 %.3e",
               kind_name(t->kind), t->n_differ, t->distance.n, t->distance.max_abs,
               lvlm_relative_l2(&t->distance));
    print_hint(t);
    printf("\n");
}

static void add_row(lvlm_printer *p, const lvlm_merge_tensor *t)
{
    const char *const order = order_of(t->fits);
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", t->name);
    lvlm_printer_text(p, "kind", kind_name(t->kind));
    if (order != NULL)
        lvlm_printer_text(p, "order", order);
    else
        lvlm_printer_null(p, "order");
    if (t->problem != NULL) {
        lvlm_printer_text(p, "problem", t->problem);
    } else {
        lvlm_printer_count(p, "n_values", t->distance.n);
        lvlm_printer_count(p, "n_different", t->n_differ);
        lvlm_printer_number(p, "max_abs", t->distance.max_abs);
        lvlm_printer_number(p, "relative_l2", lvlm_relative_l2(&t->distance));
    }
    if (t->kind == LVLM_MERGED_ADAPTED && t->problem == NULL) {
        lvlm_printer_number(p, "times", t->times);
        lvlm_printer_number(p, "rest", t->rest);
    }
    lvlm_printer_end(p);
}

static void take_row(void *user, const lvlm_merge_tensor *t)
{
    output *const out = user;
    if (t->fits != 0 && !out->all) return;
    print_row(&out->rows, t);
    add_row(&out->rows, t);
}

/* ---- the result ----------------------------------------------------------------- */

/* One order that explains all of it, some that do together, or none. */
static const char *words_of(const lvlm_merge_result *r)
{
    if (r->n_neither > 0) return "not a merge of them";
    for (int k = 0; k < LVLM_N_MERGE_ORDERS; k++)
        if ((r->fits & 1U << k) != 0)
            return lvlm_merge_order_words((lvlm_merge_order)k);
    return "every tensor is merged as lvlm-convert or PEFT do it, not all in one way";
}

static int print_result(const lvlm_merge_result *r, const output *out,
                        const lvlm_operands *operands, const lvlm_notes *notes,
                        lvlm_error *err)
{
    const char *const order = r->n_neither == 0 ? order_of(r->fits) : NULL;
    lvlm_printer p;
    lvlm_printer_open(&p, out->rows.json, true);
    lvlm_printer_line(&p,
                      "%s: %zu tensors adapted, %zu saved whole, %zu kept; %zu neither "
                      "ours nor PEFT's: %s\n",
                      operands->at[2], r->n_adapted, r->n_saved, r->n_kept,
                      r->n_neither, words_of(r));
    lvlm_printer_flag(&p, "passed", r->n_neither == 0);
    lvlm_printer_text(&p, "verdict", words_of(r));
    if (order != NULL)
        lvlm_printer_text(&p, "order", order);
    else
        lvlm_printer_null(&p, "order");
    lvlm_printer_count(&p, "n_adapted", r->n_adapted);
    lvlm_printer_count(&p, "n_saved", r->n_saved);
    lvlm_printer_count(&p, "n_kept", r->n_kept);
    lvlm_printer_count(&p, "n_neither", r->n_neither);
    lvlm_printer_tree(&p, "tensors", out->rows.at[0]);
    return lvlm_printer_close(&p, notes, err);
}

/* ---- the command ---------------------------------------------------------------- */

/* A model of any kind. */
typedef struct opened {
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
} opened;

static int open_model(opened *out, const char *path, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_open_options open = { .notes = notes };
    TRY(lvlm_checkpoint_open(&out->checkpoint, path, &open, err));
    FAIL_IF(out->checkpoint->kind == LVLM_CHECKPOINT_PLAIN, err, LVLM_EFORMAT,
            "%s: is not a model but a bare file of tensors", path);
    return lvlm_manifest_build(&out->manifest, out->checkpoint, err);
}

static void close_model(opened *model)
{
    lvlm_manifest_free(&model->manifest);
    lvlm_checkpoint_close(model->checkpoint);
}

static int check(lvlm_merge_result *result, output *out, const opened *base,
                 const lvlm_adapter *adapter, const opened *merged, const args *a,
                 lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "comparing", a->common.quiet);
    const lvlm_merge_options o = { take_row, out, lvlm_progress_bytes, &bar };
    const int rc =
        lvlm_merge_check(result, &base->manifest, adapter, &merged->manifest, &o, err);
    lvlm_progress_finish(&bar);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *const a = arguments;
    const char *const *const at = operands->at;
    opened base = { NULL, { 0 } }, merged = { NULL, { 0 } };
    lvlm_adapter adapter = { 0 };
    lvlm_merge_result result = { 0 };
    output out = { .all = a->all };
    lvlm_printer_open_rows(&out.rows, a->common.json);
    int rc = open_model(&base, at[0], notes, err);
    if (rc == 0) rc = lvlm_adapter_open(&adapter, at[1], &base.manifest, err);
    if (rc == 0) rc = open_model(&merged, at[2], notes, err);
    if (rc == 0) rc = check(&result, &out, &base, &adapter, &merged, a, err);
    if (rc == 0) rc = print_result(&result, &out, operands, notes, err);
    lvlm_printer_drop(&out.rows);
    lvlm_adapter_free(&adapter);
    close_model(&base);
    close_model(&merged);
    return rc < 0 ? rc : result.n_neither > 0;
}

const lvlm_command command_merge = {
    "merge",
    "BASE ADAPTER MERGED",
    3,
    3,
    "is a model the base with this adapter folded in, and by whose arithmetic?",
    "BASE and MERGED are model directories or native files in any combination,\n"
    "ADAPTER is a PEFT directory. Every value that the adapter changes is compared\n"
    "with base + scale B A in double, rounded once to the type of MERGED, which is\n"
    "what lvlm-convert merge-lora writes, and with the orders in which PEFT's merge\n"
    "rounds: the change in float32, or rounded to the adapter's own type or to that\n"
    "of the weights, then added. In whatever order float32 sums were added up: such a\n"
    "value passes if one of them gives it. Everything else must be the base's,\n"
    "modules that the adapter saves whole its own. Tensors that are neither are named\n"
    "with how far they are (exit 1), and how many times the adapter was folded in, if\n"
    "that is it: a scale that was left out, or an adapter that was merged twice.\n"
    "\n"
    "  lvlm-verify merge hf-model adapter merged-by-peft",
    options,
    sizeof(args),
    run,
};
