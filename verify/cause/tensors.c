/* tensors.c - what the tensors of a stage show without a comparison; see trial.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/random.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/trial.h"

enum { FEW = 16 };         /* values from which nothing follows */
enum { AT_ONCE = 4096 };   /* values that are read at a time */
enum { SAMPLED = 16 };     /* tensors of the whole model that are looked at */
enum { EIGHT_BITS = 256 }; /* values that such a type has */

#define OUTLIER 1e4

static int say(cause_session *s, const lvlm_target *t, lvlm_error *err,
               const char *what)
{
    return CAUSE_SAY_WEIGHT(s, err, "%s %s", cause_name(t), what);
}

/* ---- one tensor ------------------------------------------------------------------ */

typedef struct figures {
    size_t n, n_bad, n_zero;
    double first, sum, largest, second; /* the latter two of absolute values */
    bool constant, in_bf16, in_f16; /* the latter: every value is exact in that type */
} figures;

/* Is it exact in that type, of 16 bits? */
static bool is_exact_in(double x, lvlm_dtype type)
{
    const float f = (float)x;
    return (double)(type == LVLM_BF16 ? lvlm_f32_of_bf16(lvlm_bf16_of_f32(f))
                                      : lvlm_f32_of_f16(lvlm_f16_of_f32(f))) == x;
}

static void add(figures *f, double x)
{
    const double size = fabs(x);
    if (f->n++ == 0) f->first = x;
    f->n_bad += isfinite(x) ? 0 : 1;
    f->n_zero += x == 0;
    f->constant &= x == f->first;
    f->sum += x;
    f->in_bf16 &= is_exact_in(x, LVLM_BF16);
    f->in_f16 &= is_exact_in(x, LVLM_F16);
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

/* Are those of most other blocks or places so too? */
static bool norms_are_constant(const cause_session *s, const lvlm_target *norm)
{
    size_t n = 0, n_constant = 0;
    for (size_t i = 0; i < s->manifest->n_targets && n < SAMPLED; i++) {
        const lvlm_target *const t = &s->manifest->targets[i];
        if (t == norm || t->here.tensor == NULL || !is_norm(t)) continue;
        n++;
        n_constant += figures_of(t->here.tensor).constant;
    }
    return n == 0 || 2 * n_constant > n;
}

/* ---- parts of one tensor --------------------------------------------------------- */

/* Which of `n` rows or columns are zero: how many, and from the first to the last. */
typedef struct zeros {
    size_t n, first, last;
} zeros;

static zeros find_zeros(const lvlm_tensor *t, size_t n, size_t step, size_t length,
                        size_t stride)
{
    zeros z = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < length && cause_value(t, i * step + k * stride) == 0) k++;
        if (k < length) continue;
        if (z.n++ == 0) z.first = i;
        z.last = i;
    }
    return z;
}

static int say_zeros_of(cause_session *s, const lvlm_target *t, zeros z,
                        const char *what, size_t head, lvlm_error *err)
{
    char text[160];
    if (z.n == 1)
        (void)snprintf(text, sizeof text, "has only zeros in %s %zu", what, z.first);
    else if (head > 0 && z.n == head && z.last - z.first + 1 == z.n &&
             z.first % head == 0)
        (void)snprintf(text, sizeof text,
                       "has only zeros in %ss %zu to %zu, those of head %zu", what,
                       z.first, z.last, z.first / head);
    else
        (void)snprintf(text, sizeof text, "has only zeros in %zu %ss, from %zu to %zu",
                       z.n, what, z.first, z.last);
    return say(s, t, err, text);
}

/* Rows or columns of zeros, if it has some. */
static int say_zeros(cause_session *s, const lvlm_target *t, size_t n_zero,
                     lvlm_error *err)
{
    const lvlm_tensor *const x = t->here.tensor;
    const size_t rows = (size_t)t->shape.dims[0];
    const size_t columns = (size_t)lvlm_tensor_numel(x) / rows;
    const size_t head =
        lvlm_matches_listed("*attn.*|*cross.*", t->name) ? cause_head_dim(s, t) : 0;
    if (t->shape.n < 2 || n_zero < (rows < columns ? rows : columns)) return 0;
    const zeros of_rows = find_zeros(x, rows, columns, columns, 1);
    const zeros of_columns = find_zeros(x, columns, 1, rows, columns);
    if (of_rows.n > 0) TRY(say_zeros_of(s, t, of_rows, "row", head, err));
    if (of_columns.n == 0) return 0;
    return say_zeros_of(s, t, of_columns, "column", head, err);
}

/* Far fewer values than there are places for them? */
static bool has_few_values(const lvlm_tensor *t)
{
    enum { PLACES = 4 * EIGHT_BITS };
    double seen[PLACES];
    bool used[PLACES] = { false };
    const size_t total = (size_t)lvlm_tensor_numel(t);
    size_t n = 0;
    if (total < 2 * EIGHT_BITS) return false;
    for (size_t i = 0; i < total; i++) {
        const double x = cause_value(t, i);
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        size_t at = (size_t)(lvlm_random_scramble(bits) % PLACES);
        while (used[at] && seen[at] != x) at = (at + 1) % PLACES;
        if (used[at]) continue;
        if (n++ == EIGHT_BITS) return false;
        used[at] = true;
        seen[at] = x;
    }
    return n * 3 <= total;
}

static int say_values(cause_session *s, const lvlm_target *t, const figures *f,
                      lvlm_error *err)
{
    const double offset = (double)cause_count(s, "text.norm_offset");
    const double mean = f->sum / (double)f->n;
    if (f->n_bad > 0) return say(s, t, err, "has values that are not finite");
    if (f->n_zero == f->n) return say(s, t, err, "is zero in every value");
    if (f->n > 1 && f->constant && (!is_norm(t) || !norms_are_constant(s, t)))
        return say(s, t, err, "has the same value everywhere");
    if (f->n_zero > 0) TRY(say_zeros(s, t, f->n_zero, err));
    if (has_few_values(t->here.tensor))
        return say(s, t, err, "has no more than 256 values: it was quantised");
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

/* Is every value exact in that type? */
static bool is_exact(const lvlm_tensor *t, lvlm_dtype type)
{
    const size_t n = (size_t)lvlm_tensor_numel(t);
    for (size_t i = 0; i < n; i++)
        if (!is_exact_in(cause_value(t, i), type)) return false;
    return true;
}

static bool is_plain(const lvlm_target *t)
{
    return t->here.tensor != NULL && t->here.tensor->dtype == LVLM_F32 &&
           lvlm_tensor_numel(t->here.tensor) > FEW;
}

/* Are most tensors of the model, some of them looked at, exact in that type? */
static bool most_are_exact(const cause_session *s, const lvlm_target *but,
                           lvlm_dtype type)
{
    const size_t step = s->manifest->n_targets / SAMPLED + 1;
    size_t n = 0, n_exact = 0;
    for (size_t i = 0; i < s->manifest->n_targets; i += step) {
        const lvlm_target *const t = &s->manifest->targets[i];
        if (t == but || !is_plain(t)) continue;
        n++;
        n_exact += is_exact(t->here.tensor, type);
    }
    return n == 0 || 2 * n_exact > n;
}

/* Rounded to a type that most tensors of the model have more than. */
static int say_rounding(cause_session *s, const lvlm_target *t, const figures *f,
                        lvlm_error *err)
{
    const lvlm_dtype type = f->in_bf16 ? LVLM_BF16 : LVLM_F16;
    const char *const says =
        lvlm_json_string(lvlm_json_path(s->source_config, "dtype"));
    if ((t->here.tensor->dtype == LVLM_BF16 || t->here.tensor->dtype == LVLM_F16) &&
        says != NULL && strcmp(says, "float32") == 0)
        return say(
            s, t, err,
            "is stored in 16 bits, and config.json says float32: it was rounded");
    if (!is_plain(t) || f->constant || (!f->in_bf16 && !f->in_f16) ||
        most_are_exact(s, t, type))
        return 0;
    return say(s, t, err,
               type == LVLM_BF16
                   ? "is exact in bfloat16 in every value, and others are not: it was "
                     "rounded"
                   : "is exact in float16 in every value, and others are not: it was "
                     "rounded");
}

static bool same_values(const lvlm_tensor *a, const lvlm_tensor *b)
{
    const size_t n = (size_t)lvlm_tensor_numel(a);
    if (a == b || lvlm_tensor_numel(b) != n) return false;
    if (a->dtype == b->dtype) return memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
    for (size_t i = 0; i < n; i++)
        if (cause_value(a, i) != cause_value(b, i)) return false;
    return true;
}

/* Equal, bit for bit, to another tensor of the model; of two feeds once. */
static int say_twin(cause_session *s, size_t feed, lvlm_error *err)
{
    const lvlm_target *const t = s->feeds[feed];
    char what[512];
    for (size_t i = 0; i < s->manifest->n_targets; i++) {
        const lvlm_target *const o = &s->manifest->targets[i];
        if (o == t || o->here.tensor == NULL || o->state != LVLM_TARGET_FOUND ||
            cause_has(s->feeds, feed, o) ||
            !same_values(t->here.tensor, o->here.tensor))
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

/* Is there no head, and the table of word vectors in its place? */
static int say_head(cause_session *s, lvlm_error *err)
{
    const lvlm_target *const head = lvlm_manifest_find(s->manifest, "text.head.weight");
    lvlm_ties ties;
    if (strcmp(s->stage->name, "logits") != 0 || head == NULL ||
        head->state != LVLM_TARGET_TIED)
        return 0;
    TRY(lvlm_manifest_ties(&ties, s->manifest, err));
    return CAUSE_SAY_WEIGHT(s, err,
                            "no head is stored, and the word vectors take its place%s",
                            ties.tied ? "" : ", which config.json denies");
}

static int look_at(cause_session *s, size_t feed, lvlm_error *err)
{
    const lvlm_target *const t = s->feeds[feed];
    const figures f = figures_of(t->here.tensor);
    TRY(say_values(s, t, &f, err));
    TRY(say_rounding(s, t, &f, err));
    if (f.constant) return 0;
    if (f.n > FEW) TRY(say_twin(s, feed, err));
    return say_heads(s, t, err);
}

int cause_find_weights(cause_session *s, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_feeds; i++) TRY(look_at(s, i, err));
    return say_head(s, err);
}
