/* merge_proof.c - computes what each arithmetic makes of base and adapter, and compares
 * the merged model with it; see merge_proof.h.
 *
 *   a piece of a row: base, scale B A and its error in float32 -> expected values */
#include "verify/compare/merge_proof.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/adapter/adapter_fold.h"
#include "formats/adapter/adapter_saved.h"
#include "formats/base/alloc.h"
#include "formats/container/numeric.h"
#include "verify/values.h"

enum { PIECE = 4096 };

static const struct {
    const char *name, *words;
    bool own, twice, safe;
} orders[LVLM_N_MERGE_ORDERS] = {
    [LVLM_MERGE_ONCE] = { "once",
                          "base + scale B A in double, rounded once, as lvlm-convert "
                          "merge-lora computes it",
                          false, false, false },
    [LVLM_MERGE_PEFT] = { "peft",
                          "as PEFT merges: the change in float32, added to the weights",
                          false, false, false },
    [LVLM_MERGE_PEFT_SAFE] = { "peft_safe",
                               "as PEFT merges with safe_merge: the change rounded to "
                               "the weights' type, then added",
                               false, false, true },
    [LVLM_MERGE_PEFT_OWN] = { "peft_own",
                              "as PEFT merges without autocast_adapter_dtype: the "
                              "change rounded to the adapter's own type, then added",
                              true, false, false },
    [LVLM_MERGE_PEFT_OWN_SAFE] = { "peft_own_safe",
                                   "as PEFT merges without autocast_adapter_dtype and "
                                   "with safe_merge: the change rounded to the "
                                   "adapter's own type, then to that of the weights",
                                   true, false, true },
    [LVLM_MERGE_PEFT_TWICE] = { "peft_twice",
                                "as PEFT merges without autocast_adapter_dtype on a "
                                "GPU: B A rounded to the adapter's own type before the "
                                "scale and after it",
                                true, true, false },
    [LVLM_MERGE_PEFT_TWICE_SAFE] = { "peft_twice_safe",
                                     "as PEFT merges without autocast_adapter_dtype "
                                     "and with safe_merge on a GPU",
                                     true, true, true },
};

const char *lvlm_merge_order_name(lvlm_merge_order order)
{
    assert((size_t)order < LVLM_N_MERGE_ORDERS);
    return orders[order].name;
}

const char *lvlm_merge_order_words(lvlm_merge_order order)
{
    assert((size_t)order < LVLM_N_MERGE_ORDERS);
    return orders[order].words;
}

enum { ALL_ORDERS = (1U << LVLM_N_MERGE_ORDERS) - 1 };

typedef struct piece {
    double before[PIECE], after[PIECE]; /* of base and merged model */
    double sum[PIECE];                  /* B A */
    double error[PIECE]; /* of float32 in B A and its product with the scale, at most,
                              relative to nothing */
    double exact[PIECE], expected[PIECE], low[PIECE], high[PIECE];
    unsigned char bytes[PIECE * sizeof(double)], stored[PIECE * sizeof(double)];
} piece;

typedef struct run {
    lvlm_merge_result *result;
    const lvlm_merge_options *options;
    const lvlm_adapter *adapter;
    piece *p;
    uint64_t done, total;
} run;

/* ---- arithmetic ----------------------------------------------------------------- */

static void round_all(piece *p, double *values, lvlm_dtype dtype, size_t n)
{
    if (dtype == LVLM_F64) return;
    lvlm_convert_values(p->stored, dtype, values, LVLM_F64, n);
    lvlm_convert_values(values, LVLM_F64, p->stored, dtype, n);
}

/* Row `o` of B A, columns [first, first + n), in double; ours adds up in this order. */
static void multiply(piece *p, const lvlm_fold_factors *f, size_t o, size_t first,
                     size_t n)
{
    const double u = 0x1p-24, steps = (double)f->r + 2;
    memset(p->sum, 0, n * sizeof *p->sum);
    memset(p->error, 0, n * sizeof *p->error);
    for (size_t k = 0; k < f->r; k++) {
        const double b = f->b[o * f->r + k], *const a = f->a + k * f->in + first;
        for (size_t i = 0; i < n; i++) {
            p->sum[i] += b * a[i];
            p->error[i] += fabs(b * a[i]);
        }
    }
    for (size_t i = 0; i < n; i++) p->error[i] *= 1.01 * steps * u;
}

/* The result of an order, for the sum at one end of its error: `sign` -1 or 1. All
 * roundings keep the order of what they round. */
static void apply(piece *p, double *out, lvlm_merge_order order, double sign,
                  const lvlm_adapted *x, lvlm_dtype base, lvlm_dtype merged, size_t n)
{
    const double scale = x->scale, side = scale < 0 ? -sign : sign;
    const lvlm_dtype own = x->b.dtype;
    for (size_t i = 0; i < n; i++) out[i] = p->sum[i] + side * p->error[i];
    if (orders[order].twice) round_all(p, out, own, n);
    for (size_t i = 0; i < n; i++) out[i] *= scale;
    if (orders[order].own) round_all(p, out, own, n);
    if (orders[order].safe) round_all(p, out, base, n);
    for (size_t i = 0; i < n; i++) out[i] += p->before[i];
    round_all(p, out, LVLM_F32, n);
    round_all(p, out, base, n);
    round_all(p, out, merged, n);
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool between(const piece *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(p->low[i] <= p->after[i] && p->after[i] <= p->high[i]) &&
            !(isnan(p->after[i]) && isnan(p->low[i])))
            return false;
    return true;
}

/* ---- tensors -------------------------------------------------------------------- */

/* Sums of least squares: the change as a multiple of the adapter's. */
typedef struct fit {
    double dd, dm, mm;
} fit;

static void add_fit(fit *f, const piece *p, double scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double d = scale * p->sum[i], m = p->after[i] - p->before[i];
        if (!isfinite(m)) continue;
        f->dd += d * d;
        f->dm += d * m;
        f->mm += m * m;
    }
}

static void read_piece(piece *p, double *to, const lvlm_values *v, uint64_t first,
                       size_t n)
{
    const unsigned char *const from = lvlm_values_fetch(v, first, n, p->bytes);
    lvlm_values_widen(to, from, v->tensor->dtype, n);
}

/* Compare with what is expected where no other order can be. */
static void compare_piece(piece *p, lvlm_merge_tensor *t, size_t n)
{
    for (size_t i = 0; i < n; i++) t->n_differ += !same(p->after[i], p->expected[i]);
    lvlm_distance_add(&t->distance, p->after, p->expected, n);
    if (t->n_differ > 0) t->fits &= ~(1U << LVLM_MERGE_ONCE);
}

static void check_piece(piece *p, lvlm_merge_tensor *t, fit *f, const lvlm_adapted *x,
                        lvlm_dtype base, lvlm_dtype merged, size_t n)
{
    for (size_t i = 0; i < n; i++) p->expected[i] = p->before[i] + x->scale * p->sum[i];
    round_all(p, p->expected, merged, n);
    compare_piece(p, t, n);
    add_fit(f, p, x->scale, n);
    for (int k = LVLM_MERGE_PEFT; k < LVLM_N_MERGE_ORDERS; k++) {
        if ((t->fits & 1U << k) == 0) continue;
        apply(p, p->low, (lvlm_merge_order)k, -1, x, base, merged, n);
        apply(p, p->high, (lvlm_merge_order)k, 1, x, base, merged, n);
        if (!between(p, n)) t->fits &= ~(1U << k);
    }
}

/* An adapter in float32 has no other type of its own. */
static unsigned possible(const lvlm_adapted *x)
{
    unsigned fits = 0;
    for (int k = 0; k < LVLM_N_MERGE_ORDERS; k++)
        if (!orders[k].own || x->b.dtype == LVLM_BF16 || x->b.dtype == LVLM_F16)
            fits |= 1U << k;
    return fits;
}

static int check_adapted(run *r, lvlm_merge_tensor *t, const lvlm_adapted *x,
                         size_t part, const lvlm_values *base,
                         const lvlm_values *merged, lvlm_error *err)
{
    lvlm_fold_factors f;
    fit sums = { 0, 0, 0 };
    uint64_t rows, columns;
    piece *const p = r->p;
    lvlm_values_matrix(&rows, &columns, base);
    t->fits = possible(x);
    r->result->n_adapted++;
    const int rc = lvlm_fold_factors_make(&f, x, part, (size_t)rows, err);
    for (size_t o = 0; rc == 0 && o < f.rows; o++)
        for (size_t at = 0; at < f.in; at += PIECE) {
            const size_t n = f.in - at < PIECE ? f.in - at : PIECE;
            read_piece(p, p->before, base, o * f.in + at, n);
            read_piece(p, p->after, merged, o * f.in + at, n);
            multiply(p, &f, o, at, n);
            check_piece(p, t, &sums, x, base->tensor->dtype, merged->tensor->dtype, n);
        }
    lvlm_fold_factors_free(&f);
    t->times = sums.dd > 0 ? sums.dm / sums.dd : 0;
    const double rest = sums.mm - t->times * sums.dm;
    t->rest = sums.mm > 0 ? sqrt(fmax(rest, 0) / sums.mm) : 0;
    return rc;
}

/* A tensor whose values are known: those of the base, or saved whole. */
static int check_known(run *r, lvlm_merge_tensor *t, const lvlm_saved *saved,
                       size_t part, const lvlm_values *base, const lvlm_values *merged,
                       lvlm_error *err)
{
    const uint64_t numel = lvlm_values_count(merged);
    piece *const p = r->p;
    t->fits = ALL_ORDERS;
    if (saved != NULL)
        r->result->n_saved++;
    else
        r->result->n_kept++;
    for (uint64_t at = 0; at < numel; at += PIECE) {
        const size_t n = numel - at < PIECE ? (size_t)(numel - at) : PIECE;
        read_piece(p, p->after, merged, at, n);
        if (saved != NULL) {
            TRY(lvlm_saved_read(p->expected, LVLM_F64, saved, part, at, n, err));
            round_all(p, p->expected, base->tensor->dtype, n);
        } else {
            read_piece(p, p->expected, base, at, n);
        }
        if (lvlm_dtype_is_weight(merged->tensor->dtype))
            round_all(p, p->expected, merged->tensor->dtype, n);
        compare_piece(p, t, n);
    }
    if (t->n_differ > 0) t->fits = 0;
    return 0;
}

static const char not_in_base[] = "is not in the base";

static const char *problem_of(const lvlm_values *base, const lvlm_values *merged)
{
    if (base->tensor == NULL) return not_in_base;
    if (merged->tensor == NULL) return "is missing";
    if (merged->expected != NULL) return "has another shape";
    return lvlm_values_count(base) != lvlm_values_count(merged) ? "has another shape"
                                                                : NULL;
}

/* Count a tensor, and hand it on. */
static void finish(run *r, const lvlm_merge_tensor *t)
{
    r->result->n_neither += t->fits == 0;
    r->result->fits &= t->fits;
    if (t->kind == LVLM_MERGED_ADAPTED) r->result->used |= t->fits;
    r->options->row(r->options->user, t);
}

static int check_tensor(run *r, const lvlm_manifest *base, const lvlm_target *x,
                        const lvlm_manifest *merged, lvlm_error *err)
{
    const lvlm_target *const y = lvlm_manifest_find(merged, x->name);
    const lvlm_values vx = lvlm_values_of(base, x);
    const lvlm_values vy =
        y != NULL ? lvlm_values_of(merged, y) : lvlm_values_stored(NULL);
    lvlm_merge_tensor t = { .name = x->name };
    size_t part = 0;
    if (lvlm_values_are_none(x, y)) return 0;
    const lvlm_adapted *const adapted = lvlm_adapter_find(&part, r->adapter, x->name);
    const lvlm_saved *const saved =
        adapted == NULL ? lvlm_adapter_find_saved(&part, r->adapter, x->name) : NULL;
    if (vx.expected != NULL ||
        (vx.tensor == NULL && (vy.tensor == NULL || saved != NULL)))
        return 0; /* no base to start from */
    t.kind = adapted != NULL ? LVLM_MERGED_ADAPTED
             : saved != NULL ? LVLM_MERGED_SAVED
                             : LVLM_MERGED_KEPT;
    t.problem = problem_of(&vx, &vy);
    if (t.problem == NULL && adapted != NULL)
        TRY(check_adapted(r, &t, adapted, part, &vx, &vy, err));
    else if (t.problem == NULL)
        TRY(check_known(r, &t, saved, part, &vx, &vy, err));
    if (vx.tensor != NULL) r->done += vx.tensor->n_bytes;
    if (r->options->progress != NULL)
        r->options->progress(r->options->progress_user, r->done, r->total);
    finish(r, &t);
    return 0;
}

/* What only the merged model has, such as one more block, is nobody's arithmetic. */
static void list_added(run *r, const lvlm_manifest *base, const lvlm_manifest *merged)
{
    for (size_t i = 0; i < merged->n_targets; i++) {
        const lvlm_target *const y = &merged->targets[i];
        const lvlm_values values = lvlm_values_of(merged, y);
        const lvlm_merge_tensor t = { .name = y->name,
                                      .kind = LVLM_MERGED_KEPT,
                                      .problem = not_in_base };
        if (values.tensor != NULL && lvlm_manifest_find(base, y->name) == NULL)
            finish(r, &t);
    }
}

int lvlm_merge_check(lvlm_merge_result *out, const lvlm_manifest *base,
                     const lvlm_adapter *adapter, const lvlm_manifest *merged,
                     const lvlm_merge_options *options, lvlm_error *err)
{
    run r = { .result = out, .options = options, .adapter = adapter };
    int rc = 0;
    *out = (lvlm_merge_result){ .fits = ALL_ORDERS };
    FAIL_IF(base->family != merged->family, err, LVLM_ECHECK, "%s is %s, %s is %s",
            base->checkpoint->path, base->family->title, merged->checkpoint->path,
            merged->family->title);
    if ((r.p = lvlm_malloc(sizeof *r.p)) == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < base->checkpoint->n_tensors; i++)
        r.total += base->checkpoint->tensors[i].n_bytes;
    for (size_t i = 0; rc == 0 && i < base->n_targets; i++)
        rc = check_tensor(&r, base, &base->targets[i], merged, err);
    if (rc == 0) list_added(&r, base, merged);
    lvlm_free(r.p);
    return rc;
}
