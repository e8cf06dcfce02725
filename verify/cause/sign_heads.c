/* sign_heads.c - which head of a block is wrong, or which row of its output map, from
 * the block's rows by themselves; see trial.h.
 *
 *   z = x + Wo attention(x)      what attention adds
 *   y = F(z) = z + MLP(norm2 z)  row by row
 *
 * Without Wo the block is F, and without the map that ends its MLP it gives z, so both
 * are computed by variants of it. The recorded y is F of some z, which broyden.h finds,
 * as F can be computed of any rows; e is that z minus the computed one. If one head is
 * wrong, each row of e is a combination of the columns of Wo that read this head; if
 * one row of Wo is wrong, e is zero in all channels but one. If the MLP is wrong, e is
 * neither. */
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/block_pass.h"
#include "verify/cause/broyden.h"
#include "verify/replay/own.h"

enum {
    MOST_ROWS = 32,
    FEWEST_ROWS = 2,
    MOST_OTHERS = 4, /* times as many rows as are explained */
    STARTS = 3,
};

#define MOST_WORK (UINT64_C(1) << 40) /* multiplications of all steps */
#define CLOSE 1e-6                    /* of the error: a row is solved */
#define SAME 1e-3                     /* of e: it is explained */

typedef struct head_search {
    block_pass pass;        /* its z and y are below */
    const lvlm_target *out; /* (C,Q) its output map */
    size_t R, C, Q, D;      /* rows that are looked at */
    size_t *at;             /* (R) which of the session's rows */
    double *z;              /* (R,C) rows that enter F */
    double *y;              /* (R,C) what came of a pass */
    double *x, *computed;   /* (R,C) what enters the block, and its z */
    double *e;              /* (STARTS,R,C) */
    bool *solved;           /* (STARTS,R) */
} head_search;

/* ---- the recorded z -------------------------------------------------------------- */

static int make_solvers(broyden **out, const head_search *h, lvlm_arena *arena,
                        lvlm_error *err)
{
    const cause_session *const s = h->pass.s;
    broyden *const list = lvlm_arena_alloc(arena, h->R, sizeof *list);
    if (list == NULL) return lvlm_fail_memory(err);
    for (size_t r = 0; r < h->R; r++) {
        double d2 = 0;
        for (size_t c = 0; c < h->C; c++) {
            const size_t i = h->at[r] * h->C + c;
            d2 += (s->got[i] - s->want[i]) * (s->got[i] - s->want[i]);
        }
        TRY(broyden_make(&list[r], h->C, CLOSE * sqrt(d2), arena, err));
    }
    *out = list;
    return 0;
}

/* From h->z, with a model that is F. */
static int iterate(head_search *h, lvlm_model *model, broyden *rows, lvlm_error *err)
{
    size_t left = h->R;
    for (size_t i = 0; i < BROYDEN_STEPS && left > 0; i++) {
        TRY(block_pass_run(&h->pass, model, err));
        left = 0;
        for (size_t r = 0; r < h->R; r++) {
            double *const y = h->y + r * h->C;
            for (size_t c = 0; c < h->C; c++)
                y[c] -= h->pass.s->want[h->at[r] * h->C + c];
            broyden_step(&rows[r], h->z + r * h->C, y);
            left += !rows[r].solved;
        }
    }
    return 0;
}

/* Set h->e of start number `start`: the computed z, the recorded y, or what enters. */
static int solve(head_search *h, lvlm_model *model, size_t start, lvlm_error *err)
{
    const size_t n = h->R * h->C;
    double *const e = h->e + start * n;
    lvlm_arena arena = LVLM_ARENA_INIT;
    broyden *rows = NULL;
    int rc = make_solvers(&rows, h, &arena, err);
    for (size_t i = 0; i < n; i++)
        h->z[i] = start == 0   ? h->computed[i]
                  : start == 1 ? h->pass.s->want[h->at[i / h->C] * h->C + i % h->C]
                               : h->x[i];
    if (rc == 0) rc = iterate(h, model, rows, err);
    for (size_t i = 0; rc == 0 && i < n; i++) e[i] = h->z[i] - h->computed[i];
    for (size_t r = 0; rc == 0 && r < h->R; r++)
        h->solved[start * h->R + r] = rows[r].solved;
    lvlm_arena_free(&arena);
    return rc;
}

static int solve_all(head_search *h, lvlm_error *err)
{
    cause_session *const s = h->pass.s;
    lvlm_model *model = NULL;
    TRY(block_clear(s, BLOCK_OUT, err));
    int rc = lvlm_model_bind(&model, &s->changed.manifest, &s->options, err);
    h->pass.z = h->z;
    for (size_t i = 0; rc == 0 && i < STARTS; i++) rc = solve(h, model, i, err);
    lvlm_model_free(model);
    return rc < 0 ? rc : variant_reset(&s->changed, err);
}

/* ---- what e is ------------------------------------------------------------------- */

/* Make columns [first, first + n) of Wo orthonormal, as rows of `q`; returns how many
 * remain. */
static size_t orthonormal(double *q, const head_search *h, const double *w,
                          size_t first, size_t n)
{
    const size_t C = h->C;
    size_t kept = 0;
    for (size_t d = 0; d < n; d++) {
        double *const x = q + kept * C;
        for (size_t c = 0; c < C; c++) x[c] = w[c * h->Q + first + d];
        const double before = sqrt(broyden_dot(x, x, C));
        for (int twice = 0; twice < 2; twice++)
            for (size_t k = 0; k < kept; k++) {
                const double f = broyden_dot(q + k * C, x, C);
                for (size_t c = 0; c < C; c++) x[c] -= f * q[k * C + c];
            }
        const double length = sqrt(broyden_dot(x, x, C));
        if (!(length > 1e-9 * before)) continue;
        for (size_t c = 0; c < C; c++) x[c] /= length;
        kept++;
    }
    return kept;
}

/* Is a row of e a combination of these columns? */
static bool is_explained(const head_search *h, const double *e, const double *q,
                         size_t n)
{
    const double e2 = broyden_dot(e, e, h->C);
    double rest2 = e2;
    for (size_t k = 0; k < n; k++) {
        const double f = broyden_dot(q + k * h->C, e, h->C);
        rest2 -= f * f;
    }
    return rest2 <= SAME * SAME * e2;
}

/* Are many of the rows? F may come to y from several z, of which another was found, but
 * no row is explained by chance. */
static bool explains(const head_search *h, const double *q, size_t n)
{
    size_t explained = 0, solved = 0;
    for (size_t r = 0; r < h->R; r++) {
        bool is_solved = false, is = false;
        for (size_t i = r; i < STARTS * h->R; i += h->R) {
            is_solved |= h->solved[i];
            is |= h->solved[i] && is_explained(h, h->e + i * h->C, q, n);
        }
        solved += is_solved;
        explained += is;
    }
    return explained >= FEWEST_ROWS && MOST_OTHERS * explained >= solved;
}

/* The channel in which the first solved row of e is largest. */
static size_t largest_channel(const head_search *h)
{
    size_t i = 0, most = 0;
    while (i < STARTS * h->R && !h->solved[i]) i++;
    for (size_t c = 0; i < STARTS * h->R && c < h->C; c++)
        if (fabs(h->e[i * h->C + c]) > fabs(h->e[i * h->C + most])) most = c;
    return most;
}

/* ---- sentences ------------------------------------------------------------------- */

#define SAY(h, err, ...) CAUSE_SAY_SIGN((h)->pass.s, err, __VA_ARGS__)

/* "rows 8 to 15 of NAME", of heads [first, first + n) of a map into them, after others:
 * those of NAME are "rows 8 to 15 there". */
static const char *rows_of(const head_search *h, const char *before, const char *globs,
                           size_t first, size_t n)
{
    cause_session *const s = h->pass.s;
    const lvlm_target *const t = block_feed(s, globs);
    if (before == NULL || t == NULL) return before;
    const char *const rows = cause_rows(s, t, first * h->D, (first + n) * h->D - 1);
    const char *const of = rows != NULL ? strstr(rows, " of ") : NULL;
    if (of == NULL) return NULL;
    if (*before == '\0') return rows;
    return strstr(before, of) != NULL
               ? lvlm_arena_printf(&s->arena, "%s or %.*s there", before,
                                   (int)(of - rows), rows)
               : lvlm_arena_printf(&s->arena, "%s or %s", before, rows);
}

/* `n` heads of queries from number `first` on, of which one head of keys is. */
static int say_heads(const head_search *h, size_t first, size_t n, size_t group,
                     lvlm_error *err)
{
    const bool whole = n == group, relations = h->pass.s->only_relations;
    const char *where = "";
    if (n == 1 || !whole)
        where = rows_of(h, where, "*attn.q.weight|*cross.q.weight", first, n);
    if (whole)
        where = rows_of(h, where, "*attn.k.weight|*cross.k.weight", first / group, 1);
    if (whole && !relations)
        where = rows_of(h, where, "*attn.v.weight|*cross.v.weight", first / group, 1);
    if (where == NULL) return lvlm_fail_memory(err);
    const size_t heads = h->Q / h->D;
    if (n == 1)
        return SAY(h, err, "only head %zu of %zu is wrong: %s", first, heads, where);
    return SAY(h, err,
               "only heads %zu to %zu of %zu are wrong, which share keys and "
               "values: %s",
               first, first + n - 1, heads, where);
}

static int say_row(const head_search *h, size_t channel, lvlm_error *err)
{
    const char *const row = cause_rows(h->pass.s, h->out, channel, channel);
    if (row == NULL) return lvlm_fail_memory(err);
    return SAY(h, err,
               "what attention adds is wrong in channel %zu of %zu alone: %s, or a "
               "number in it or in its bias",
               channel, h->C, row);
}

/* Heads of one group share keys and values. */
static size_t group_of(const head_search *h)
{
    const size_t heads = h->Q / h->D;
    const size_t kv = lvlm_starts_with(h->pass.s->stage->name, "text.")
                          ? cause_count(h->pass.s, "text.kv_heads")
                          : heads;
    return kv > 0 && heads % kv == 0 ? heads / kv : 1;
}

static int conclude(head_search *h, lvlm_error *err)
{
    const size_t channel = largest_channel(h), group = group_of(h), C = h->C;
    const size_t heads = h->Q / h->D;
    double *const w = lvlm_calloc(C * h->Q + 1, sizeof *w);
    double *const q = lvlm_calloc(C * h->Q + 1, sizeof *q);
    int rc = w != NULL && q != NULL ? 0 : lvlm_fail_memory(err);
    bool said = rc < 0;
    if (rc == 0) {
        q[channel] = 1;
        said = explains(h, q, 1);
        if (said) rc = say_row(h, channel, err);
        lvlm_convert_values(w, LVLM_F64, h->out->here.tensor->data,
                            h->out->here.tensor->dtype, C * h->Q);
    }
    for (size_t n = 1; !said && n <= group; n += group > 1 ? group - 1 : 1)
        for (size_t k = 0; !said && k + n <= heads && 2 * n * h->D <= C; k += n) {
            const size_t kept = orthonormal(q, h, w, k * h->D, n * h->D);
            if (!explains(h, q, kept)) continue;
            said = true;
            rc = say_heads(h, k, n, group, err);
        }
    lvlm_free(w);
    lvlm_free(q);
    return rc;
}

/* ---- all ------------------------------------------------------------------------- */

/* Wrong rows, from the first on, at equal distances. */
static void choose_rows(head_search *h)
{
    const cause_session *const s = h->pass.s;
    const size_t every = s->R / MOST_ROWS + 1;
    for (size_t r = 0; r < s->R; r++) {
        double d2 = 0, w2 = 0;
        for (size_t c = 0; c < s->C; c++) {
            const double w = s->want[r * s->C + c], d = s->got[r * s->C + c] - w;
            d2 += d * d;
            w2 += w * w;
        }
        /* far above rounding, so that what is left of it explains nothing */
        const double least = 1e3 * lvlm_own_limit(s->stage);
        if (r % every == 0 && isfinite(d2) && d2 > least * least * w2 &&
            h->R < MOST_ROWS)
            h->at[h->R++] = r;
    }
}

/* Does the block do what is said above? Without both maps it changes nothing. */
static int check(head_search *h, bool *fits, lvlm_error *err)
{
    const double limit = 10 * lvlm_own_limit(h->pass.s->stage);
    double d2 = 0, x2 = 0;
    TRY(block_clear(h->pass.s, BLOCK_OUT "|" BLOCK_DOWN, err));
    TRY(block_pass_once(&h->pass, err));
    cause_read_rows(h->x, h->pass.s, h->pass.from->recorded, h->at, h->R);
    for (size_t i = 0; i < h->R * h->C; i++) {
        d2 += (h->y[i] - h->x[i]) * (h->y[i] - h->x[i]);
        x2 += h->x[i] * h->x[i];
    }
    *fits = d2 <= limit * limit * x2;
    return 0;
}

static int search(head_search *h, lvlm_error *err)
{
    bool fits;
    TRY(check(h, &fits, err));
    if (!fits) return 0;
    TRY(block_clear(h->pass.s, BLOCK_DOWN, err));
    TRY(block_pass_once(&h->pass, err));
    memcpy(h->computed, h->y, h->R * h->C * sizeof *h->y);
    TRY(solve_all(h, err));
    return conclude(h, err);
}

/* A block of which what enters it is recorded, and whose branches have no norm after
 * them. */
static bool applies(head_search *h, cause_session *s)
{
    h->out = block_feed(s, "*attn.out.weight|*cross.out.weight");
    if (!block_pass_of(&h->pass, s) || h->out == NULL ||
        block_feed(s, "*.post_attn_norm.*") != NULL)
        return false;
    h->C = s->C;
    h->Q = (size_t)h->out->shape.dims[1];
    h->D = cause_head_dim(s, h->out);
    return h->out->shape.dims[0] == h->C && h->D > 0 && h->Q % h->D == 0 &&
           cause_work(s) <= MOST_WORK / (STARTS * BROYDEN_STEPS);
}

int cause_find_heads(cause_session *s, lvlm_error *err)
{
    head_search h = { .R = 0 };
    lvlm_error ignored = { .text = "" };
    if (!applies(&h, s)) return 0;
    const size_t n = MOST_ROWS * h.C;
    h.at = lvlm_arena_alloc(&s->arena, MOST_ROWS, sizeof *h.at);
    h.solved = lvlm_arena_alloc(&s->arena, STARTS * MOST_ROWS, sizeof *h.solved);
    h.z = lvlm_arena_alloc(&s->arena, (4 + STARTS) * n, sizeof *h.z);
    if (h.at == NULL || h.solved == NULL || h.z == NULL) return lvlm_fail_memory(err);
    h.y = h.z + n;
    h.x = h.y + n;
    h.computed = h.x + n;
    h.e = h.computed + n;
    choose_rows(&h);
    h.pass.R = h.R;
    h.pass.at = h.at;
    h.pass.y = h.y;
    if (h.R < FEWEST_ROWS) return 0;
    /* a variant that cannot be computed says nothing */
    const int rc = search(&h, &ignored);
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : variant_reset(&s->changed, err);
}
