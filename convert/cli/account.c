/* account.c - plan, totals and notes of a conversion; see account.h. */
#include "convert/cli/account.h"

#include <inttypes.h>
#include <stdio.h>

#include "convert/cli/commands.h"
#include "convert/make.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/cli/program.h"

/* ---- problems ------------------------------------------------------------------- */

/* At most this many problems are printed; the error has the number of all. */
enum { MAX_SHOWN = 20 };

void account_problem(void *problems, const char *text)
{
    account_problems *const p = problems;
    if (++p->n <= MAX_SHOWN) fprintf(stderr, PROGRAM ": %s\n", lvlm_shown(text));
    if (p->n == MAX_SHOWN + 1) fprintf(stderr, PROGRAM ": ... and more\n");
    if (p->list != NULL) cJSON_AddItemToArray(p->list, cJSON_CreateString(text));
}

void account_problems_end(account_problems *problems)
{
    if (problems->n > 0)
        lvlm_report_with("problems", problems->list);
    else
        lvlm_json_free(problems->list);
}

/* ---- sources -------------------------------------------------------------------- */

int account_spare(const lvlm_outputs *outputs, const lvlm_import *import,
                  const char *other, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = lvlm_import_manifest(import)->checkpoint;
    for (size_t i = 0; i < cp->n_files + cp->n_side_maps; i++) {
        const lvlm_infile *const map =
            i < cp->n_files ? cp->files[i].map : cp->side_maps[i - cp->n_files];
        const char *const path = map->path;
        TRY(lvlm_outputs_spare(outputs, &path, 1, err));
    }
    return lvlm_outputs_spare(outputs, &other, 1, err);
}

/* ---- the plan ------------------------------------------------------------------- */

static const char *describe(char text[96], const lvlm_step *step, const lvlm_init *init)
{
    switch (step->kind) {
    case LVLM_STEP_WRITTEN: lvlm_init_describe(text, init); return text;
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

static void print_step(lvlm_printer *p, const lvlm_step *step, const lvlm_init *init)
{
    char shape[LVLM_SHAPE_TEXT], text[96];
    const lvlm_tensor *const out = &step->out;
    const char *const how = describe(text, step, init);
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

/* Does config.json say that the head is the table of word vectors? */
static bool says_tied(const lvlm_import *import)
{
    const lvlm_manifest *const m = lvlm_import_manifest(import);
    return lvlm_family_ties(m->family, m->checkpoint->config).tied;
}

static void print_tie(const lvlm_printer *p, const lvlm_import *import,
                      const lvlm_target *t)
{
    if (t->row->tied_to == NULL) return;
    if (t->state == LVLM_TARGET_TIED)
        lvlm_printer_line(p, "%-44s tied to %s\n", t->name, t->row->tied_to);
    else if (says_tied(import))
        lvlm_printer_line(p, "%-44s is left out, as tied, if its bytes equal %s\n",
                          t->name, t->row->tied_to);
}

void account_plan(lvlm_printer *p, const lvlm_import *import)
{
    const lvlm_manifest *const m = lvlm_import_manifest(import);
    const lvlm_plan *const plan = lvlm_import_steps(import);
    lvlm_printer_line(p, "%-44s %-5s %-16s %12s  %-8s %s\n", "tensor", "dtype", "shape",
                      "bytes", "how", "from");
    lvlm_printer_list(p, "plan");
    for (size_t i = 0; i < plan->n_steps; i++)
        print_step(p, &plan->steps[i], &lvlm_import_chosen(import)->init);
    lvlm_printer_end(p);
    for (size_t i = 0; i < m->n_targets; i++) print_tie(p, import, &m->targets[i]);
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
    const lvlm_manifest *const m = lvlm_import_manifest(import);
    const lvlm_ledger *const ledger = lvlm_import_ledger(import);
    const lvlm_narrowing narrowing = lvlm_import_narrowing(import);
    const uint64_t n_bytes = lvlm_import_steps(import)->n_bytes;
    size_t n[LVLM_N_USES];
    char size[LVLM_AMOUNT_TEXT], speed[LVLM_AMOUNT_TEXT];
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
    if (lvlm_import_chosen(import)->change_dtype)
        account_narrowing(p, &narrowing, true);
}

/* ---- notes ---------------------------------------------------------------------- */

static int note_target(const lvlm_import *import, const lvlm_target *t, lvlm_error *err)
{
    lvlm_notes *const notes = lvlm_import_chosen(import)->notes;
    const char *const identity = lvlm_import_chosen(import)->identity;
    if (identity != NULL && lvlm_starts_with(t->name, identity)) return 0;
    if (t->state == LVLM_TARGET_MADE)
        return lvlm_notes_add(notes, err, "%s was made, not found: train it before use",
                              t->name);
    if (t->row->tied_to == NULL) return 0;
    const bool tied = says_tied(import);
    if (t->state == LVLM_TARGET_FOUND && tied &&
        !lvlm_import_manifest(import)->checkpoint->headers_only)
        return lvlm_notes_add(
            notes, err,
            "'%s' differs from %s, although tie_word_embeddings is true: kept as a "
            "head of its own",
            t->here.tensor->name, t->row->tied_to);
    if (t->state == LVLM_TARGET_TIED && t->here.tensor == NULL && !tied)
        return lvlm_notes_add(
            notes, err,
            "tie_word_embeddings is false, but there is no '%s': %s is used; is it a "
            "base model saved alone?",
            t->source_name, t->row->tied_to);
    return 0;
}

/* Values that the requested type cannot hold, and the first tensor with such. */
static int note_narrowing(const lvlm_import *import, lvlm_error *err)
{
    lvlm_notes *const notes = lvlm_import_chosen(import)->notes;
    const lvlm_narrowing n = lvlm_import_narrowing(import);
    const lvlm_plan *const plan = lvlm_import_steps(import);
    const char *const dtype = lvlm_dtype_name(lvlm_import_chosen(import)->dtype);
    const char *overflowed = "", *flushed = "";
    for (size_t i = plan->n_steps; i-- > 0;) {
        const lvlm_step *const step = &plan->steps[i];
        if (step->narrowing.n_overflowed > 0) overflowed = step->out.name;
        if (step->narrowing.n_flushed > 0) flushed = step->out.name;
    }
    if (n.n_overflowed > 0)
        TRY(lvlm_notes_add(notes, err,
                           "%s: %" PRIu64 " value%s beyond the range of %s, now "
                           "infinite: --dtype bf16 has the range of F32",
                           overflowed, n.n_overflowed,
                           n.n_overflowed == 1 ? " is" : "s, in it and others, are",
                           dtype));
    if (n.n_flushed > 0)
        TRY(lvlm_notes_add(
            notes, err, "%s: %" PRIu64 " value%s too small for %s, now zero", flushed,
            n.n_flushed, n.n_flushed == 1 ? " is" : "s, in it and others, are", dtype));
    return 0;
}

int account_notes(const lvlm_import *import, lvlm_error *err)
{
    const lvlm_manifest *const m = lvlm_import_manifest(import);
    const lvlm_checkpoint *const source = m->checkpoint;
    for (size_t i = 0; i < m->n_targets; i++)
        TRY(note_target(import, &m->targets[i], err));
    if (source->assumed != NULL)
        TRY(lvlm_notes_add(source->notes, err, "%s: %s", source->path,
                           source->assumed));
    return note_narrowing(import, err);
}
