/* slope_ties.c - a tied head and its table counted otherwise, other references, and
 * dropout; see slope.h. */
#include <math.h>

#include "formats/container/numeric.h"
#include "runtime/tune/dropout_rates.h"
#include "verify/cause/slope.h"

#define HEAD "text.head.weight"

/* ---- a tied head ----------------------------------------------------------------- */

/* Weights with which two vectors come nearest to `want`. */
static void fit(double w[2], const double *x, const double *y, const double *want,
                size_t n)
{
    double xx = 0, xy = 0, yy = 0, xw = 0, yw = 0;
    for (size_t i = 0; i < n; i++) {
        xx += x[i] * x[i];
        xy += x[i] * y[i];
        yy += y[i] * y[i];
        xw += x[i] * want[i];
        yw += y[i] * want[i];
    }
    const double d = xx * yy - xy * xy;
    w[0] = d > 0 ? (xw * yy - yw * xy) / d : 0;
    w[1] = d > 0 ? (yw * xx - xw * xy) / d : 0;
    for (size_t i = 0; i < 2; i++)
        if (fabs(w[i] - nearbyint(w[i])) < 1e-6) w[i] = nearbyint(w[i]);
}

static const char *meaning(const double w[2])
{
    if (w[0] == 1 && w[1] == 0)
        return "the reference's head is not tied: see " LVLM_TIE_KEY " in config.json";
    if (w[0] == 0 && w[1] == 1)
        return "the reference did not train the table as an embedding (detached or "
               "frozen), only as the head";
    return "a tied table has the sum of both, each once";
}

/* Offer what the table's gradient is a sum of; `apart` has head and table apart. */
static int offer_sum(slopes *l, slope *table, const lvlm_model *apart, lvlm_error *err)
{
    cause_session *const s = &l->s;
    lvlm_tensor head;
    double w[2];
    if (!lvlm_model_gradient(apart, &head, HEAD) || !slope_load(l, table, apart))
        return 0;
    lvlm_convert_values(l->room, LVLM_F64, head.data, head.dtype, table->n);
    fit(w, l->got, l->room, l->want, table->n);
    for (size_t i = 0; i < table->n; i++)
        l->got[i] = w[0] * l->got[i] + w[1] * l->room[i];
    cause_finding found = { .error = slope_error(l, table, 1) };
    found.agrees = found.error <= slope_limit(table);
    for (size_t i = 0; i < l->n; i++) l->at[i].agrees = !l->at[i].wrong;
    table->agrees = found.agrees;
    found.n_settled = slopes_count_settled(l);
    return cause_offer(s, "tied_gradient",
                       lvlm_arena_printf(&s->arena,
                                         "%s counted %.4g times as the embedding and "
                                         "%.4g times as the head",
                                         cause_name(table->target), w[0], w[1]),
                       meaning(w), &found, err);
}

static int try_tie(slopes *l, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const lvlm_target *const head = lvlm_manifest_find(s->manifest, HEAD);
    const lvlm_target *const words = lvlm_manifest_find(s->manifest, LVLM_EMBED_TABLE);
    lvlm_model *apart = NULL;
    size_t i = 0;
    while (i < l->n && (l->at[i].target != words || l->at[i].stage != s->stage ||
                        !l->at[i].wrong || !l->at[i].fits))
        i++;
    if (i == l->n || head == NULL || head->state != LVLM_TARGET_TIED ||
        !slopes_can_pass(l, 1))
        return 0;
    lvlm_target *const own = &s->changed.manifest.targets[head - s->manifest->targets];
    own->state = LVLM_TARGET_FOUND;
    variant_use(&s->changed, head, words);
    int rc = slopes_bind(l, &apart, &s->changed.manifest, NULL, err);
    if (rc == 0) rc = slopes_pass(l, apart, s->replay->recording.checkpoint, 0, err);
    s->out->n_tried++;
    if (rc == 0) rc = offer_sum(l, &l->at[i], apart, err);
    lvlm_model_free(apart);
    if (rc < 0) return rc;
    return variant_reset(&s->changed, err);
}

/* ---- dropout --------------------------------------------------------------------- */

/* The rates of config.json; false: nothing is dropped. */
static bool read_rates(double rates[LVLM_N_DROPOUTS], const lvlm_manifest *m)
{
    const lvlm_dropout wanted = { .given = true, .from_config = true };
    lvlm_checkpoint quiet = *m->checkpoint;
    lvlm_manifest copy = *m;
    bool any = false;
    quiet.notes = NULL;
    copy.checkpoint = &quiet;
    if (lvlm_dropout_rates(rates, &wanted, &copy, NULL) < 0) return false;
    for (size_t i = 0; i < LVLM_N_DROPOUTS; i++) any |= rates[i] > 0;
    return any;
}

/* What dropout drops cannot be known, but how much gradients differ by it. */
static int say_dropout(slopes *l, lvlm_error *err)
{
    cause_session *const s = &l->s;
    double rates[LVLM_N_DROPOUTS] = { 0 }, recorded = 0, dropped = 0, n = 0;
    lvlm_model *model = NULL;
    if (!slopes_can_pass(l, 1) || !read_rates(rates, s->manifest)) return 0;
    TRY(slopes_bind(l, &model, s->manifest, NULL, err));
    lvlm_model_set_dropout(model, rates);
    const int rc = slopes_pass(l, model, s->replay->recording.checkpoint, 0, err);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        const slope *const x = &l->at[i];
        lvlm_tensor g;
        if (!x->wrong || !x->fits || x->distance.b2 == 0 ||
            !slope_load(l, x, l->model) ||
            !lvlm_model_gradient(model, &g, x->target->name))
            continue;
        lvlm_convert_values(l->want, LVLM_F64, g.data, g.dtype, x->n);
        dropped += fmin(slope_error(l, x, 1), 2);
        recorded += fmin(x->error, 2);
        n++;
    }
    lvlm_model_free(model);
    s->out->n_tried += rc == 0;
    if (rc < 0 || n == 0 || dropped == 0 || recorded > 3 * dropped ||
        recorded < dropped / 3)
        return rc;
    return CAUSE_SAY_SIGN(
        s, err,
        "gradients differ as much as by dropout at the rates of "
        "config.json (by %.2g on average, dropout %.2g): what a reference "
        "drops cannot be computed again, record them without "
        "(model.eval(), or rates of 0)",
        recorded / n, dropped / n);
}

/* ---- all ------------------------------------------------------------------------- */

int slopes_try_ties(slopes *l, lvlm_error *err)
{
    TRY(try_tie(l, err));
    if (cause_is_found(&l->s)) return 0;
    TRY(cause_try_references(&l->s, err));
    return cause_is_found(&l->s) ? 0 : say_dropout(l, err);
}
