/* tensors.c - what the tensors of a stage show without a comparison; see trial.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "formats/native/native.h"
#include "verify/cause/trial.h"

enum { FEW = 16 };       /* values from which nothing follows */
enum { AT_ONCE = 4096 }; /* values that are read at a time */

#define OUTLIER 1e4

static int say(cause_session *s, const lvlm_target *t, lvlm_error *err,
               const char *what)
{
    return cause_say(s, &s->out->weights, &s->out->n_weights, err, "%s %s",
                     cause_name(t), what);
}

/* ---- one tensor ------------------------------------------------------------------ */

typedef struct figures {
    size_t n, n_bad, n_zero;
    double first, sum, largest, second; /* the latter two of absolute values */
    bool constant, in_bf16, in_f16; /* the latter: every value is exact in that type */
} figures;

static void add(figures *f, double x)
{
    const double size = fabs(x);
    if (f->n++ == 0) f->first = x;
    f->n_bad += isfinite(x) ? 0 : 1;
    f->n_zero += x == 0;
    f->constant &= x == f->first;
    f->sum += x;
    f->in_bf16 &= (double)lvlm_f32_of_bf16(lvlm_bf16_of_f32((float)x)) == x;
    f->in_f16 &= (double)lvlm_f32_of_f16(lvlm_f16_of_f32((float)x)) == x;
    if (size > f->largest) {
        f->second = f->largest;
        f->largest = size;
    } else if (size > f->second) {
        f->second = size;
    }
}

static figures figures_of(const lvlm_tensor *t)
{
    figures f = { .constant = true, .in_bf16 = true, .in_f16 = true };
    double some[AT_ONCE];
    const size_t total = (size_t)lvlm_tensor_numel(t);
    const size_t bytes = lvlm_dtype_bytes(t->dtype);
    for (size_t at = 0; at < total; at += AT_ONCE) {
        const size_t n = total - at < AT_ONCE ? total - at : AT_ONCE;
        lvlm_convert_values(some, LVLM_F64, t->data + at * bytes, t->dtype, n);
        for (size_t i = 0; i < n; i++) add(&f, some[i]);
    }
    return f;
}

static bool is_norm(const lvlm_target *t)
{
    return lvlm_matches_listed("*norm*.weight", t->name);
}

static int say_values(cause_session *s, const lvlm_target *t, const figures *f,
                      lvlm_error *err)
{
    const double offset = (double)cause_count(s, "text.norm_offset");
    const double mean = f->sum / (double)f->n;
    if (f->n_bad > 0) return say(s, t, err, "has values that are not finite");
    if (f->n_zero == f->n) return say(s, t, err, "is zero in every value");
    if (f->n > 1 && f->constant && !is_norm(t))
        return say(s, t, err, "has the same value everywhere");
    if (f->n > FEW && f->second > 0 && f->largest > OUTLIER * f->second)
        return say(s, t, err,
                   "has one value more than ten thousand times as large as all others");
    if (!is_norm(t) || !lvlm_starts_with(t->name, "text.") || f->n <= FEW) return 0;
    if (strstr(t->name, "q_norm") != NULL || strstr(t->name, "k_norm") != NULL)
        return 0;
    if (offset == 1 && fabs(mean - 1) < 0.2)
        return say(
            s, t, err,
            "averages near 1, and this family stores norms minus 1: 1 was added?");
    if (offset == 0 && fabs(mean) < 0.2)
        return say(s, t, err,
                   "averages near 0, where norms average near 1: 1 is "
                   "missing?");
    return 0;
}

/* ---- a tensor beside others ------------------------------------------------------ */

/* Rounded to a type of which the other tensors have more. */
static int say_rounding(cause_session *s, const figures *all, lvlm_error *err)
{
    size_t n_bf16 = 0, n_f16 = 0, n = 0;
    for (size_t i = 0; i < s->n_feeds; i++) {
        if (s->feeds[i]->here.tensor->dtype != LVLM_F32 || all[i].n <= FEW ||
            all[i].constant)
            continue;
        n++;
        n_bf16 += all[i].in_bf16;
        n_f16 += all[i].in_f16;
    }
    for (size_t i = 0; i < s->n_feeds; i++) {
        const figures *const f = &all[i];
        if (s->feeds[i]->here.tensor->dtype != LVLM_F32 || f->n <= FEW || f->constant)
            continue;
        if (f->in_bf16 && 2 * n_bf16 < n)
            TRY(say(s, s->feeds[i], err,
                    "is exact in bfloat16 in every value, and others are not: it was "
                    "rounded"));
        else if (f->in_f16 && 2 * n_f16 < n)
            TRY(say(s, s->feeds[i], err,
                    "is exact in float16 in every value, and others are not: it was "
                    "rounded"));
    }
    return 0;
}

static bool same_bytes(const lvlm_tensor *a, const lvlm_tensor *b)
{
    return a->dtype == b->dtype && a->n_bytes == b->n_bytes && a != b &&
           memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
}

/* Equal, bit for bit, to another tensor of the model. */
static int say_twin(cause_session *s, const lvlm_target *t, lvlm_error *err)
{
    char what[512];
    for (size_t i = 0; i < s->manifest->n_targets; i++) {
        const lvlm_target *const o = &s->manifest->targets[i];
        if (o == t || o->here.tensor == NULL || o->state != LVLM_TARGET_FOUND ||
            !same_bytes(t->here.tensor, o->here.tensor))
            continue;
        (void)snprintf(what, sizeof what, "equals %s bit for bit", cause_name(o));
        return say(s, t, err, what);
    }
    return 0;
}

/* Two heads of keys or values that are equal. */
static int say_heads(cause_session *s, const lvlm_target *t, lvlm_error *err)
{
    const size_t D = cause_head_dim(s, t);
    char what[128];
    if (!lvlm_matches_listed("*attn.[kv].weight|*cross.[kv].weight", t->name) || D == 0)
        return 0;
    const lvlm_tensor *const x = t->here.tensor;
    const size_t heads = (size_t)t->shape.dims[0] / D;
    const size_t bytes = heads > 0 ? (size_t)x->n_bytes / heads : 0;
    for (size_t a = 0; a < heads; a++)
        for (size_t b = a + 1; b < heads; b++) {
            if (memcmp(x->data + a * bytes, x->data + b * bytes, bytes) != 0) continue;
            (void)snprintf(what, sizeof what,
                           "has heads %zu and %zu alike, bit for bit", a, b);
            return say(s, t, err, what);
        }
    return 0;
}

int cause_find_weights(cause_session *s, lvlm_error *err)
{
    figures *const all = lvlm_calloc(s->n_feeds + 1, sizeof *all);
    int rc = all != NULL ? 0 : lvlm_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i];
        all[i] = figures_of(t->here.tensor);
        rc = say_values(s, t, &all[i], err);
        if (rc == 0 && all[i].n > FEW && !all[i].constant) rc = say_twin(s, t, err);
        if (rc == 0 && !all[i].constant) rc = say_heads(s, t, err);
    }
    if (rc == 0) rc = say_rounding(s, all, err);
    lvlm_free(all);
    return rc;
}
