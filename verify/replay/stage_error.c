/* stage_error.c - compares a stage with its reference, row by row; see
 * stage_error.h. */
#include "verify/replay/stage_error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/container/numeric.h"
#include "runtime/batch/input_tensor.h"

/* A row of the reference is taken to be at least this part of the median row. */
#define LEAST_LENGTH 1e-3

/* ---- rows ----------------------------------------------------------------------- */

static bool is_of_text(const char *name)
{
    return strncmp(name, "text.", 5) == 0 || strcmp(name, "logits") == 0;
}

/* That of a batch, or of a training step. */
static bool is_loss(const char *name)
{
    const char *const last = strrchr(name, '.');
    return strcmp(last != NULL ? last + 1 : name, "loss") == 0;
}

const lvlm_tensor *lvlm_rows_input(const lvlm_checkpoint *inputs, const char *prefix,
                                   const char *name)
{
    const lvlm_input_source source = { .checkpoint = inputs, .prefix = prefix };
    const lvlm_tensor *const t = lvlm_input_find(&source, name);
    const bool integers =
        t != NULL && (t->dtype == LVLM_I64 || t->dtype == LVLM_I32) && t->shape.n == 2;
    return integers ? t : NULL;
}

lvlm_rows lvlm_rows_of(const char *name, const lvlm_shape *shape,
                       const lvlm_tensor *ids, const lvlm_tensor *mask,
                       const lvlm_tensor *kept)
{
    lvlm_rows rows = { .kept = kept, .floor = is_loss(name) };
    const bool fits =
        ids != NULL &&
        (kept != NULL || (shape->n == 3 && shape->dims[0] == ids->shape.dims[0] &&
                          shape->dims[1] == ids->shape.dims[1]));
    if (!is_of_text(name) || !fits) return rows;
    rows.ids = ids;
    if (mask != NULL && lvlm_shape_equal(&mask->shape, &ids->shape)) rows.mask = mask;
    return rows;
}

size_t lvlm_row_place(const lvlm_rows *rows, size_t i)
{
    assert(rows->kept == NULL || i < rows->kept->shape.dims[0]);
    return rows->kept != NULL ? (size_t)lvlm_input_integer(rows->kept, i) : i;
}

bool lvlm_row_counts(const lvlm_rows *rows, size_t i)
{
    return rows->mask == NULL ||
           lvlm_input_integer(rows->mask, lvlm_row_place(rows, i)) != 0;
}

int64_t lvlm_row_token(const lvlm_rows *rows, size_t i)
{
    return rows->ids != NULL ? lvlm_input_integer(rows->ids, lvlm_row_place(rows, i))
                             : -1;
}

/* Rows of a shape: all axes but the last, which is *width. */
static size_t count_rows(size_t *width, const lvlm_shape *shape)
{
    size_t n = 1;
    *width = shape->n > 0 ? (size_t)shape->dims[shape->n - 1] : 1;
    for (size_t i = 0; i + 1 < shape->n; i++) n *= (size_t)shape->dims[i];
    return *width > 0 ? n : 0;
}

bool lvlm_stages_fit(const lvlm_shape *got, const lvlm_shape *want,
                     const lvlm_rows *rows)
{
    size_t width, wanted_width;
    if (rows->kept == NULL) return lvlm_shape_equal(got, want);
    const size_t n = count_rows(&width, got), n_kept = count_rows(&wanted_width, want);
    if (width != wanted_width || n_kept != rows->kept->shape.dims[0]) return false;
    for (size_t i = 0; i < n_kept; i++)
        if (lvlm_row_place(rows, i) >= n) return false;
    return true;
}

/* ---- errors --------------------------------------------------------------------- */

/* The figures of one row. */
typedef struct row {
    size_t place;
    int64_t token;
    double difference2, length2; /* |a - b|^2, |b|^2 */
} row;

static int by_length(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of |b|^2 over the rows that are not zero; 0 where all are. */
static double median_length2(const row *rows, size_t n, double *spare)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].length2 > 0) spare[m++] = rows[i].length2;
    if (m == 0) return 0;
    qsort(spare, m, sizeof *spare, by_length);
    return spare[m / 2];
}

static void note_worst(lvlm_stage_error *e, const lvlm_worst_row *worst)
{
    size_t at = e->n_worst;
    assert(at <= LVLM_WORST_ROWS);
    while (at > 0 && e->worst[at - 1].error < worst->error) at--;
    if (at == LVLM_WORST_ROWS) return;
    if (e->n_worst < LVLM_WORST_ROWS) e->n_worst++;
    memmove(&e->worst[at + 1], &e->worst[at], (e->n_worst - at - 1) * sizeof *worst);
    e->worst[at] = *worst;
}

/* The error of the stage, from those of its rows.  spare (n) */
static void judge_rows(lvlm_stage_error *e, const row *rows, size_t n, double floor,
                       double *spare)
{
    const double least2 = fmax(
        LEAST_LENGTH * LEAST_LENGTH * median_length2(rows, n, spare), floor * floor);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double length2 = fmax(rows[i].length2, least2);
        const double error2 =
            rows[i].difference2 > 0 ? rows[i].difference2 / length2 : 0;
        const lvlm_worst_row worst = { rows[i].place, sqrt(error2), rows[i].token };
        sum += error2;
        note_worst(e, &worst);
    }
    e->n_rows = n;
    e->error = n > 0 ? sqrt(sum / (double)n) : INFINITY;
}

/* One row: a (computed) against b (reference), C values each. */
static void add_row(lvlm_stage_error *e, row *r, const double *a, const double *b,
                    size_t C, bool logits)
{
    assert(C > 0);
    lvlm_distance d = { 0 };
    lvlm_distance_add(&d, a, b, C);
    lvlm_distance_merge(&e->distance, &d);
    r->difference2 = d.n_bad > 0 ? (double)INFINITY : d.difference2;
    r->length2 = d.b2;
    if (!logits) return;
    const double kl = lvlm_kl(a, b, C);
    if (!(kl <= e->max_kl)) e->max_kl = kl;
    e->n_top1 += lvlm_argmax(a, C) == lvlm_argmax(b, C);
}

/* Count rows of the reference that do not tell anything.  b, first (C) */
static void count_blind(lvlm_stage_error *e, const double *b, double *first, size_t C,
                        bool is_first)
{
    if (is_first) memcpy(first, b, C * sizeof *b);
    e->n_same += memcmp(first, b, C * sizeof *b) == 0;
    size_t i = 1;
    while (i < C && b[i] == b[0]) i++;
    e->n_constant += C > 1 && i == C;
}

bool lvlm_stage_is_blind(const lvlm_stage_error *e)
{
    return e->n_rows > 0 &&
           (e->n_constant == e->n_rows || (e->n_rows > 1 && e->n_same == e->n_rows));
}

int lvlm_stage_compare(lvlm_stage_error *out, const lvlm_tensor *got,
                       const lvlm_tensor *want, const lvlm_rows *rows, bool logits,
                       lvlm_error *err)
{
    size_t C, n = 0;
    const size_t n_rows = count_rows(&C, &want->shape);
    const size_t got_bytes = C * lvlm_dtype_bytes(got->dtype);
    const size_t want_bytes = C * lvlm_dtype_bytes(want->dtype);
    double *const a = lvlm_calloc(3 * C + n_rows + 1, sizeof *a);
    row *const list = lvlm_calloc(n_rows + 1, sizeof *list);
    assert(lvlm_stages_fit(&got->shape, &want->shape, rows));
    *out = (lvlm_stage_error){ 0 };
    for (size_t i = 0; a != NULL && list != NULL && i < n_rows; i++) {
        const size_t place = lvlm_row_place(rows, i);
        if (!lvlm_row_counts(rows, i)) continue;
        list[n].place = place;
        list[n].token = lvlm_row_token(rows, i);
        lvlm_convert_values(a, LVLM_F64, got->data + place * got_bytes, got->dtype, C);
        lvlm_convert_values(a + C, LVLM_F64, want->data + i * want_bytes, want->dtype,
                            C);
        count_blind(out, a + C, a + 2 * C, C, n == 0);
        add_row(out, &list[n++], a, a + C, C, logits);
    }
    const bool ok = a != NULL && list != NULL;
    if (ok) judge_rows(out, list, n, rows->floor, a + 3 * C);
    lvlm_free(list);
    lvlm_free(a);
    return ok ? 0 : lvlm_fail_memory(err);
}
