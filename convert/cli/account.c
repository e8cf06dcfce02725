/* account.c - plan, totals and notes of a conversion; see account.h. */
#include "convert/cli/account.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "convert/cli/commands.h"
#include "convert/make.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/cli/program.h"

/* ---- the plan ------------------------------------------------------------------- */

/* How values are made that are in no source. */
static const lvlm_init *init_of(const lvlm_step *step)
{
    if (step->write != lvlm_growth_write) return step->user;
    const lvlm_growth *const growth = step->user;
    return &growth->init;
}

static const char *describe(char text[96], const lvlm_step *step)
{
    assert(step->kind == LVLM_STEP_WRITTEN || step->kind == LVLM_STEP_ZEROS ||
           step->kind == LVLM_STEP_JOIN || step->n_inputs == 1);
    switch (step->kind) {
    case LVLM_STEP_WRITTEN: lvlm_init_describe(text, init_of(step)); return text;
    case LVLM_STEP_ZEROS: return "padding";
    case LVLM_STEP_JOIN: return "keep";
    case LVLM_STEP_COPY:
        if (step->inputs[0]->dtype == step->out.dtype)
            return lvlm_shape_equal(&step->inputs[0]->shape, &step->out.shape)
                       ? "keep"
                       : "reshape";
        snprintf(text, 96, "%s to %s", lvlm_dtype_name(step->inputs[0]->dtype),
                 lvlm_dtype_name(step->out.dtype));
        return text;
    default: return "rearrange";
    }
}

static void print_step(lvlm_printer *p, const lvlm_step *step)
{
    char shape[LVLM_SHAPE_TEXT], text[96];
    const lvlm_tensor *const out = &step->out;
    const char *const how = describe(text, step);
    const char *const from = step->n_inputs > 0 ? step->inputs[0]->name : NULL;
    lvlm_printer_line(p, "%-44s %-5s %-16s %12" PRIu64 "  %-8s %s\n",
                      lvlm_shown(out->name), lvlm_dtype_name(out->dtype),
                      lvlm_shape_text(shape, &out->shape), out->n_bytes, how,
                      from != NULL && from != out->name ? lvlm_shown(from) : "");
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", out->name);
    lvlm_printer_text(p, "dtype", lvlm_dtype_name(out->dtype));
    lvlm_printer_shape(p, "shape", &out->shape);
    lvlm_printer_count(p, "bytes", out->n_bytes);
    lvlm_printer_text(p, "transform", how);
    lvlm_printer_list(p, "sources");
    if (from != NULL) lvlm_printer_text(p, NULL, from);
    lvlm_printer_end(p);
    lvlm_printer_end(p);
}

static void print_tie(const lvlm_printer *p, const lvlm_manifest *m,
                      const lvlm_target *t)
{
    if (t->row->tied_to == NULL) return;
    if (t->state == LVLM_TARGET_TIED)
        lvlm_printer_line(p, "%-44s tied to %s\n", t->name, t->row->tied_to);
    else if (lvlm_family_ties(m->family, m->checkpoint->config).tied)
        lvlm_printer_line(p, "%-44s is left out, as tied, if its bytes equal %s\n",
                          t->name, t->row->tied_to);
}

void account_plan(lvlm_printer *p, const lvlm_import *import)
{
    const lvlm_import_view v = lvlm_import_planned(import);
    lvlm_printer_line(p, "%-44s %-5s %-16s %12s  %-8s %s\n", "tensor", "dtype", "shape",
                      "bytes", "how", "from");
    lvlm_printer_list(p, "plan");
    for (size_t i = 0; i < v.plan->n_steps; i++) print_step(p, &v.plan->steps[i]);
    lvlm_printer_end(p);
    for (size_t i = 0; i < v.manifest->n_targets; i++)
        print_tie(p, v.manifest, &v.manifest->targets[i]);
}

/* ---- the totals ----------------------------------------------------------------- */

void account_uses(size_t n[LVLM_N_USES], const lvlm_ledger *ledger)
{
    for (size_t i = 0; i < LVLM_N_USES; i++) n[i] = 0;
    for (size_t i = 0; i < ledger->n_entries; i++) n[ledger->entries[i].use]++;
}

void account_narrowing(lvlm_printer *p, const lvlm_narrowing *n, bool overflows)
{
    lvlm_printer_object(p, "narrowed");
    lvlm_printer_count(p, "values", n->n);
    lvlm_printer_count(p, "rounded", n->n_rounded);
    if (overflows) lvlm_printer_count(p, "overflowed", n->n_overflowed);
    lvlm_printer_count(p, "flushed", n->n_flushed);
    lvlm_printer_number(p, "max_relative", n->max_relative);
    lvlm_printer_end(p);
}

static void print_unused(const lvlm_printer *p, const lvlm_manifest *m)
{
    for (const lvlm_unused_rule *rule = m->family->unused; rule->name != NULL; rule++) {
        size_t n = 0;
        for (size_t i = 0; i < m->n_extras; i++) n += m->extras[i].rule == rule;
        if (n > 0)
            lvlm_printer_line(p, "  %zu by rule %s: %s\n", n, rule->name, rule->why);
    }
}

void account_totals(lvlm_printer *p, const lvlm_import *import, const char *model,
                    const char *root, double seconds)
{
    const lvlm_import_view v = lvlm_import_planned(import);
    const lvlm_manifest *const m = v.manifest;
    const lvlm_ledger *const ledger = v.ledger;
    const lvlm_narrowing narrowing = lvlm_plan_narrowing(v.plan);
    const uint64_t n_bytes = v.plan->n_bytes;
    size_t n[LVLM_N_USES];
    char size[LVLM_AMOUNT_TEXT], speed[LVLM_AMOUNT_TEXT];
    assert(root == NULL || model != NULL);
    account_uses(n, ledger);
    lvlm_printer_line(p,
                      "%s: %s, %zu source tensors: %zu used, %zu tied, %zu kept unused",
                      m->checkpoint->path, m->family->title, ledger->n_entries,
                      n[LVLM_USE_USED], n[LVLM_USE_TIED], n[LVLM_USE_UNUSED]);
    if (ledger->n_made > 0) lvlm_printer_line(p, "; %zu made", ledger->n_made);
    lvlm_printer_line(p, "\n");
    print_unused(p, m);
    lvlm_printer_text(p, "family", m->family->name);
    lvlm_printer_count(p, "used", n[LVLM_USE_USED]);
    lvlm_printer_count(p, "tied", n[LVLM_USE_TIED]);
    lvlm_printer_count(p, "unused", n[LVLM_USE_UNUSED]);
    lvlm_printer_count(p, "made", ledger->n_made);
    lvlm_printer_count(p, "bytes", n_bytes);
    if (root == NULL) return;
    lvlm_printer_line(p, "%s: %s in %.1f s (%s/s), root digest %.16s...\n", model,
                      lvlm_bytes_text(size, (double)n_bytes), seconds,
                      lvlm_bytes_text(speed, (double)n_bytes / (seconds + 1e-9)), root);
    lvlm_printer_text(p, "root", root);
    lvlm_printer_seconds(p, "seconds", seconds);
    if (v.options->change_dtype) account_narrowing(p, &narrowing, true);
}

/* ---- the conversion ------------------------------------------------------------- */

/* At most this many problems are printed; the error has the number of all. */
enum { MAX_SHOWN = 20 };

/* Tensors that do not match. */
typedef struct problems {
    size_t n;
    cJSON *list; /* with --json: all of them; else NULL */
} problems;

static void print_problem(void *user, const char *text)
{
    problems *const p = user;
    if (++p->n <= MAX_SHOWN) fprintf(stderr, PROGRAM ": %s\n", lvlm_shown(text));
    if (p->n == MAX_SHOWN + 1) fprintf(stderr, PROGRAM ": ... and more\n");
    if (p->list != NULL) cJSON_AddItemToArray(p->list, cJSON_CreateString(text));
}

/* Plan with the problems printed, and in the report of the error. */
static int plan(const account_job *job, lvlm_import **import, lvlm_notes *notes,
                lvlm_error *err)
{
    problems found = { 0, job->common->json ? cJSON_CreateArray() : NULL };
    lvlm_import_options options = { .headers_only = job->dry_run,
                                    .notes = notes,
                                    .problem = print_problem,
                                    .problem_user = &found };
    const int rc = job->plan(job->user, import, &options, err);
    if (found.n > 0)
        lvlm_report_with("problems", found.list);
    else
        lvlm_json_free(found.list);
    return rc;
}

int account_spare(const lvlm_outputs *outputs, const lvlm_checkpoint *cp,
                  lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_files + cp->n_side_maps; i++) {
        const lvlm_infile *const map =
            i < cp->n_files ? cp->files[i].map : cp->side_maps[i - cp->n_files];
        const char *const path = map->path;
        TRY(lvlm_outputs_spare(outputs, &path, 1, err));
    }
    return 0;
}

static int spare(const lvlm_outputs *outputs, const lvlm_import *import,
                 const char *other, lvlm_error *err)
{
    TRY(account_spare(outputs, lvlm_import_planned(import).manifest->checkpoint, err));
    return lvlm_outputs_spare(outputs, &other, 1, err);
}

static int write_model(const account_job *job, lvlm_import *import, lvlm_outfile *model,
                       lvlm_hex_digest root, lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, job->label, job->common->quiet);
    const lvlm_run run = { lvlm_thread_count(job->common), lvlm_progress_bytes, &bar };
    const int rc = lvlm_import_execute(import, model, &run, root, err);
    lvlm_progress_finish(&bar);
    return rc;
}

/* The drawing is committed after the model. */
static int write_all(const account_job *job, lvlm_import *import, lvlm_outfile *model,
                     lvlm_outfile *drawing, lvlm_hex_digest root, lvlm_error *err)
{
    if (drawing != NULL) TRY(job->draw(job->user, drawing, err));
    TRY(job->dry_run ? lvlm_import_note(import, err)
                     : write_model(job, import, model, root, err));
    return drawing != NULL ? lvlm_outfile_commit(drawing, err) : 0;
}

int account_run(const account_job *job, lvlm_import **import, lvlm_notes *notes,
                lvlm_error *err)
{
    const double started = lvlm_seconds();
    lvlm_outputs outputs = { .force = job->force };
    lvlm_outfile *out = NULL, *drawing = NULL;
    lvlm_hex_digest root = "";
    assert(job->plan != NULL && job->print != NULL && *import == NULL);
    int rc = lvlm_outputs_file(&outputs, &out, job->dry_run ? NULL : job->model, err);
    if (rc == 0) rc = lvlm_outputs_file(&outputs, &drawing, job->drawing, err);
    if (rc == 0 && (rc = plan(job, import, notes, err)) == 0 &&
        (rc = spare(&outputs, *import, job->other, err)) == 0)
        rc = write_all(job, *import, out, drawing, root, err);
    if (rc == 0)
        rc = job->print(job->user, *import, job->dry_run ? NULL : root,
                        lvlm_seconds() - started, err);
    lvlm_outputs_close(&outputs);
    return rc;
}
