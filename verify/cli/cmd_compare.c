/* cmd_compare.c - lvlm-verify compare A B */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/cli/terminal.h"
#include "verify/cli/verify_commands.h"
#include "verify/compare/compare_sum.h"

typedef struct args {
    lvlm_common_args common;
    bool all;
} args;

static const lvlm_option options[] = {
    { "all", NULL, LVLM_OPTION_FLAG, offsetof(args, all),
      "list tensors that are the same, too" },
    LVLM_OPTION_END,
};

typedef struct output {
    lvlm_printer rows;
    lvlm_compare_sum sum;
    bool all;
    size_t n_renamed, n_reshaped, n_retied, n_same_bits;
} output;

static const char *word(lvlm_sameness sameness)
{
    static const char *const words[] = { "identical",   "equal values",   "DIFFERS",
                                         "only in A",   "only in B",      "other shape",
                                         "wrong shape", "missing in both" };
    assert((size_t)sameness < sizeof words / sizeof *words);
    return words[sameness];
}

static bool is_same(const lvlm_comparison *c)
{
    return c->sameness == LVLM_SAME_BITS || c->sameness == LVLM_SAME_VALUES;
}

static void print_remarks(const lvlm_comparison *c)
{
    char a[LVLM_SHAPE_TEXT], b[LVLM_SHAPE_TEXT];
    if (c->sameness == LVLM_OTHER_SHAPE)
        printf(": %s, %s", lvlm_shape_text(a, &c->a->shape),
               lvlm_shape_text(b, &c->b->shape));
    if (c->a_expected != NULL)
        printf(": A has %s, its configuration says %s",
               lvlm_shape_text(a, &c->a->shape), lvlm_shape_text(b, c->a_expected));
    if (c->b_expected != NULL)
        printf(": B has %s, its configuration says %s",
               lvlm_shape_text(a, &c->b->shape), lvlm_shape_text(b, c->b_expected));
    if (c->n_rows > 0)
        printf("; the first %" PRIu64 " rows are the same, bit for bit", c->n_rows);
    if (c->renamed)
        printf("; renamed: %s, %s", lvlm_shown(c->a->name), lvlm_shown(c->b->name));
    if (c->reshaped)
        printf("; reshaped: %s, %s", lvlm_shape_text(a, &c->a->shape),
               lvlm_shape_text(b, &c->b->shape));
    if (c->retied) printf("; tied in one, stored in the other");
}

/* What kind of change it is. */
static void print_change(const lvlm_comparison *c)
{
    const lvlm_alteration *const k = &c->change;
    switch (k->kind) {
    case LVLM_ALTERED_OTHER: break;
    case LVLM_ALTERED_ROUNDED:
        printf("; rounded to %s", lvlm_dtype_name(c->b->dtype));
        break;
    case LVLM_ALTERED_ROWS:
    case LVLM_ALTERED_COLUMNS:
        printf("; the same %s in another order, %" PRIu64 " of them elsewhere",
               k->kind == LVLM_ALTERED_ROWS ? "rows" : "columns", k->moved);
        break;
    case LVLM_ALTERED_TRANSPOSED: printf("; transposed"); break;
    case LVLM_ALTERED_SCALED: printf("; scaled by %.6g", k->by); break;
    case LVLM_ALTERED_SHIFTED: printf("; shifted by %.6g", k->by); break;
    case LVLM_ALTERED_LOW_RANK: printf("; a change of rank %zu", k->rank); break;
    }
}

static void add_change(lvlm_printer *p, const lvlm_alteration *k)
{
    static const char *const names[] = {
        NULL,         "rounded", "rows",    "columns",
        "transposed", "scaled",  "shifted", "low_rank"
    };
    if (k->kind == LVLM_ALTERED_OTHER) return;
    assert((size_t)k->kind < sizeof names / sizeof *names);
    lvlm_printer_text(p, "change", names[k->kind]);
    if (k->kind == LVLM_ALTERED_ROWS || k->kind == LVLM_ALTERED_COLUMNS)
        lvlm_printer_count(p, "n_moved", k->moved);
    if (k->kind == LVLM_ALTERED_SCALED || k->kind == LVLM_ALTERED_SHIFTED)
        lvlm_printer_number(p, "by", k->by);
    if (k->kind == LVLM_ALTERED_LOW_RANK) lvlm_printer_count(p, "rank", k->rank);
}

/* Pairs that are not finite are counted; the others have a distance. */
static void print_distance(const lvlm_distance *d)
{
    printf(": %" PRIu64 " of %" PRIu64 " values", d->n_differ + d->n_bad, d->n);
    if (d->n_bad > 0)
        printf(", %" PRIu64 " of them not finite on one side or both", d->n_bad);
    if (d->n_bad > 0 && d->n_differ == 0) return;
    printf("%s max abs %.3e", d->n_bad > 0 ? "; the others:" : ",", d->max_abs);
    if (d->n_bad == 0)
        printf(", rel L2 %.3e, cosine %.9f", lvlm_relative_l2(d), lvlm_cosine(d));
}

static void print_text(const lvlm_comparison *c)
{
    printf(
        "%-44s %s", lvlm_shown(c->name),
        lvlm_coloured(stdout, is_same(c) ? LVLM_GREEN : LVLM_RED, word(c->sameness)));
    if (c->sameness == LVLM_SAME_VALUES)
        printf(", %s and %s", lvlm_dtype_name(c->a->dtype),
               lvlm_dtype_name(c->b->dtype));
    if (c->sameness == LVLM_DIFFERS) {
        print_distance(&c->distance);
        print_change(c);
    }
    print_remarks(c);
    printf("\n");
}

static void add_distance(lvlm_printer *p, const lvlm_distance *d)
{
    lvlm_printer_count(p, "n_values", d->n);
    lvlm_printer_count(p, "n_different", d->n_differ + d->n_bad);
    lvlm_printer_count(p, "n_not_finite", d->n_bad);
    lvlm_printer_number(p, "max_abs", d->n_bad > 0 ? INFINITY : d->max_abs);
    lvlm_printer_number(p, "relative_l2", lvlm_relative_l2(d));
    lvlm_printer_number(p, "cosine", lvlm_cosine(d));
}

static void print_row(void *user, const lvlm_comparison *c)
{
    output *const out = user;
    lvlm_printer *const p = &out->rows;
    lvlm_compare_sum_add(&out->sum, c);
    out->n_renamed += c->renamed;
    out->n_reshaped += c->reshaped;
    out->n_retied += c->retied;
    out->n_same_bits += c->sameness == LVLM_SAME_BITS;
    if (is_same(c) && !out->all) return;
    if (p->text) print_text(c);
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", c->name);
    lvlm_printer_text(p, "verdict", word(c->sameness));
    if (c->a != NULL) lvlm_printer_text(p, "a", c->a->name);
    if (c->b != NULL) lvlm_printer_text(p, "b", c->b->name);
    lvlm_printer_flag(p, "renamed", c->renamed);
    lvlm_printer_flag(p, "reshaped", c->reshaped);
    lvlm_printer_flag(p, "retied", c->retied);
    if (c->n_rows > 0) lvlm_printer_count(p, "n_same_rows", c->n_rows);
    if (c->sameness == LVLM_DIFFERS) {
        add_distance(p, &c->distance);
        add_change(p, &c->change);
    }
    lvlm_printer_end(p);
}

/* Parts, or layers, of which anything differs. */
static void print_sums(lvlm_printer *p, const char *list, const char *key,
                       const lvlm_sum_row *rows, size_t n)
{
    lvlm_printer_list(p, list);
    for (size_t i = 0; i < n; i++) {
        const lvlm_sum_row *const row = &rows[i];
        const double l2 = lvlm_relative_l2(&row->distance);
        if (row->n_differ == 0) continue;
        lvlm_printer_line(p, "  %-24s %zu of %zu differ", lvlm_shown(row->name),
                          row->n_differ, row->n);
        if (row->distance.n_differ > 0) lvlm_printer_line(p, ", rel L2 %.3e", l2);
        lvlm_printer_line(p, "\n");
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, key, row->name);
        lvlm_printer_count(p, "n_tensors", row->n);
        lvlm_printer_count(p, "n_different", row->n_differ);
        lvlm_printer_number(p, "relative_l2", l2);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

/* What the differences are together. */
static void print_summary(lvlm_printer *p, const lvlm_compare_result *r,
                          const lvlm_compare_sum *sum)
{
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(1 << 16);
    if (r->n_differ > 0 && sum->n_parts > 0) lvlm_printer_line(p, "in all:\n");
    print_sums(p, "parts", "part", sum->parts, sum->n_parts);
    print_sums(p, "layers", "layer", sum->layers, sum->n_layers);
    lvlm_printer_list(p, "moves");
    for (size_t i = 0; i < r->n_moves; i++) {
        lvlm_printer_line(p, "%s of A is %s of B, bit for bit\n",
                          lvlm_shown(r->moves[i].a_name),
                          lvlm_shown(r->moves[i].b_name));
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "a", r->moves[i].a_name);
        lvlm_printer_text(p, "b", r->moves[i].b_name);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
    lvlm_compare_sum_sentence(&sentence, sum);
    if (sentence.text != NULL) {
        lvlm_printer_line(p, "%s\n", lvlm_shown(sentence.text));
        lvlm_printer_text(p, "looks_like", sentence.text);
    }
    lvlm_strbuf_free(&sentence);
}

static int print_result(const lvlm_compare_result *r, const output *out,
                        const lvlm_operands *operands, const lvlm_notes *notes,
                        lvlm_error *err)
{
    lvlm_printer p;
    lvlm_printer_open(&p, out->rows.json, true);
    lvlm_printer_flag(&p, "passed", r->n_differ == 0);
    print_summary(&p, r, &out->sum);
    lvlm_printer_line(
        &p,
        "%s and %s: %zu tensors, %zu the same (%zu bit for bit), %zu differ; %zu "
        "renamed, %zu reshaped, %zu tied in one only",
        operands->at[0], operands->at[1], r->n, r->n_same, out->n_same_bits,
        r->n_differ, out->n_renamed, out->n_reshaped, out->n_retied);
    if (r->n_missing > 0) lvlm_printer_line(&p, "; %zu missing in both", r->n_missing);
    lvlm_printer_line(&p, "\n");
    lvlm_printer_count(&p, "n_tensors", r->n);
    lvlm_printer_count(&p, "n_same", r->n_same);
    lvlm_printer_count(&p, "n_different", r->n_differ);
    lvlm_printer_count(&p, "n_missing_in_both", r->n_missing);
    lvlm_printer_tree(&p, "tensors", out->rows.at[0]);
    return lvlm_printer_close(&p, notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *a = arguments;
    const lvlm_open_options open = { .in_place = true, .notes = notes };
    lvlm_checkpoint *x = NULL, *y = NULL;
    lvlm_compare_result result = { 0 };
    lvlm_progress bar;
    int rc;

    if ((rc = lvlm_checkpoint_open(&x, operands->at[0], &open, err)) < 0 ||
        (rc = lvlm_checkpoint_open(&y, operands->at[1], &open, err)) < 0)
        goto done;
    output out = { .all = a->all };
    lvlm_printer_open_rows(&out.rows, a->common.json);
    lvlm_progress_init(&bar, "comparing", a->common.quiet);
    const lvlm_compare_options compare_options = { print_row, &out, lvlm_progress_bytes,
                                                   &bar };
    rc = lvlm_compare(&result, x, y, &compare_options, err);
    lvlm_progress_finish(&bar);
    if (rc == 0 && out.sum.failed) rc = lvlm_fail_memory(err);
    if (rc == 0) rc = print_result(&result, &out, operands, notes, err);
    lvlm_printer_drop(&out.rows);
    lvlm_compare_sum_free(&out.sum);
    lvlm_compare_free(&result);
done:
    lvlm_checkpoint_close(x);
    lvlm_checkpoint_close(y);
    return rc < 0 ? rc : result.n_differ > 0;
}

const lvlm_command command_compare = {
    "compare",
    "A B",
    2,
    2,
    "two checkpoints of any kind, tensor by tensor",
    "A and B are model directories or native files in any combination, or two bare\n"
    ".safetensors or torch files, in blocks: they may be larger than memory. Tensors\n"
    "are paired by what they are, whatever each side calls them. Of one that differs\n"
    "it is told how far, and what kind of change it is: rounded to another type, rows\n"
    "or columns in another order, transposed, scaled, shifted, or of a low rank, such\n"
    "as a merged LoRA adapter is; then how far each part and layer changed, and what\n"
    "is at another place. Exit 0 when all values are the same, 1 when any differs.\n"
    "What both should have and neither has is listed and is not a difference:\n"
    "lvlm-verify schema judges one model alone.",
    options,
    sizeof(args),
    run,
};
