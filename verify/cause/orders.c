/* orders.c - mistakes in the order of values: rotary pairs, heads, patches, channels,
 * positions; see trial.h.
 *
 * A tensor is viewed as `outer` times `n` items of `inner` values; undoing a mistake
 * puts the items into another order. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "verify/cause/trial.h"

enum { LABEL = CAUSE_ORDER_TEXT };
enum { NUMBERS = 64 }; /* far above the tries of any mistake */

typedef struct view view;
struct view {
    size_t outer, n, inner;
    size_t (*from)(const view *v, size_t k); /* item k is that which was here */
    size_t extent[4];                        /* for `from` */
    size_t order[4];                         /* for `from` */
    char label[LABEL];                       /* what the order is */
};

/* Try number `number` of a mistake; false: there are no more, or it does not apply. */
typedef bool view_maker(view *v, const cause_session *s, const lvlm_target *t,
                        size_t number);

/* ---- orders ---------------------------------------------------------------------- */

/* Order number `number` of n things, the first is that which they have. */
static void permutation(size_t order[4], size_t n, size_t number)
{
    size_t left[4] = { 0, 1, 2, 3 }, factorial = 1;
    for (size_t i = 2; i < n; i++) factorial *= i;
    for (size_t i = 0; i < n; i++) {
        const size_t at = number / factorial;
        order[i] = left[at];
        memmove(left + at, left + at + 1, (n - i - at - 1) * sizeof *left);
        number %= factorial;
        if (n - i > 1) factorial /= n - i - 1;
    }
}

static size_t in_order(const view *v, size_t k)
{
    return v->order[k];
}

static size_t reversed(const view *v, size_t k)
{
    return v->n - 1 - k;
}

static size_t one_later(const view *v, size_t k)
{
    return (k + 1) % v->n;
}

static size_t one_earlier(const view *v, size_t k)
{
    return (k + v->n - 1) % v->n;
}

/* extent[0] x extent[1] items, stored column by column. */
static size_t transposed(const view *v, size_t k)
{
    return k % v->extent[1] * v->extent[0] + k / v->extent[1];
}

/* Axes `order` of `extent`, as stored, back to axes 0 to 3. */
static size_t permuted(const view *v, size_t k)
{
    size_t at[4], from = 0;
    for (size_t i = 4; i-- > 0; k /= v->extent[i]) at[i] = k % v->extent[i];
    for (size_t i = 0; i < 4; i++)
        from = from * v->extent[v->order[i]] + at[v->order[i]];
    return from;
}

/* ---- rows of heads --------------------------------------------------------------- */

static size_t rows_of(const lvlm_target *t)
{
    return (size_t)t->shape.dims[0];
}

static size_t columns_of(const lvlm_target *t)
{
    return (size_t)(lvlm_tensor_numel(t->here.tensor) / t->shape.dims[0]);
}

/* The halves of a head are what rotates together; pairs of neighbours are the other
 * convention. */
static bool make_pairs(view *v, const cause_session *s, const lvlm_target *t,
                       size_t number)
{
    static const char *const labels[] = {
        "as neighbouring pairs, where halves of a head are expected",
        "as halves of a head, where neighbouring pairs are expected"
    };
    const size_t D = cause_head_dim(s, t);
    if (number > (D > 4) || D < 4 || rows_of(t) % D != 0) return false; /* of 4: both */
    *v = (view){ .outer = rows_of(t) / D, .n = D, .inner = columns_of(t) };
    v->from = transposed;
    v->extent[0] = number == 0 ? 2 : D / 2;
    v->extent[1] = number == 0 ? D / 2 : 2;
    (void)snprintf(v->label, LABEL, "%s", labels[number]);
    return true;
}

/* Heads as rows of a map into them, or as columns of one from them. */
static bool make_heads(view *v, const cause_session *s, const lvlm_target *t,
                       size_t number)
{
    const bool out = lvlm_matches_listed("*.out.weight", t->name);
    const size_t D = cause_head_dim(s, t), width = out ? columns_of(t) : rows_of(t);
    const size_t groups = cause_count(s, "text.kv_heads");
    const bool text = lvlm_starts_with(t->name, "text.");
    static const char *const labels[] = { "with the heads in reverse order",
                                          "with heads of a group far apart",
                                          "with heads of a group side by side" };
    if (number > 2 || D == 0 || width % D != 0 || width == D) return false;
    if (number > 0 &&
        (!text || groups < 2 || width / D % groups != 0 || width / D == groups))
        return false;
    *v = (view){ .outer = out ? rows_of(t) : 1,
                 .n = width / D,
                 .inner = out ? D : D * columns_of(t) };
    v->from = number == 0 ? reversed : transposed;
    if (number > 0) {
        v->extent[0] = number == 1 ? groups : v->n / groups;
        v->extent[1] = v->n / v->extent[0];
    }
    (void)snprintf(v->label, LABEL, "%s", labels[number]);
    return true;
}

/* ---- matrices -------------------------------------------------------------------- */

static bool make_transposed(view *v, const cause_session *s, const lvlm_target *t,
                            size_t number)
{
    (void)s;
    if (number > 0 || t->shape.n != 2 || rows_of(t) == 1 || columns_of(t) == 1)
        return false;
    *v = (view){ .outer = 1, .n = rows_of(t) * columns_of(t), .inner = 1 };
    v->from = transposed;
    v->extent[0] = rows_of(t);
    v->extent[1] = columns_of(t);
    (void)snprintf(v->label, LABEL, "transposed");
    return true;
}

/* Another order of four parts of every row. */
static bool make_fours(view *v, const lvlm_target *t, size_t number, const char *what)
{
    if (++number >= 24) return false;
    *v = (view){ .outer = rows_of(t), .n = 4, .inner = columns_of(t) / 4 };
    v->from = in_order;
    permutation(v->order, 4, number);
    (void)snprintf(v->label, LABEL, "with the %s in the order %zu, %zu, %zu, %zu", what,
                   v->order[0], v->order[1], v->order[2], v->order[3]);
    return true;
}

/* Columns of a map from squares of 2 x 2 patches. */
static bool make_squares(view *v, const cause_session *s, const lvlm_target *t,
                         size_t number)
{
    return cause_count(s, "vision.merge") == 2 && t->shape.n == 2 &&
           columns_of(t) % 4 == 0 && make_fours(v, t, number, "patches of a square");
}

/* Columns of a map from the last state and earlier ones: those interleaved, or not. */
static bool make_states(view *v, const cause_session *s, const lvlm_target *t,
                        size_t number)
{
    const size_t C = cause_count(s, "vision.hidden");
    const size_t K =
        lvlm_json_count(lvlm_json_path(s->manifest->config, "vision.taps"));
    if (number > 1 || K < 2 || columns_of(t) != C * (K + 1)) return false;
    *v = (view){ .outer = rows_of(t), .n = C * K, .inner = 1 };
    v->from = transposed;
    v->extent[0] = number == 0 ? C : K;
    v->extent[1] = number == 0 ? K : C;
    (void)snprintf(v->label, LABEL,
                   number == 0 ? "with the earlier states one after another"
                               : "with the earlier states interleaved twice");
    return true;
}

/* ---- patches --------------------------------------------------------------------- */

static const char *const patch_axes[4] = { "channel", "frame", "row", "column" };

static size_t flipped(const view *v, size_t k)
{
    size_t at[4], from = 0;
    for (size_t i = 4; i-- > 0; k /= v->extent[i]) at[i] = k % v->extent[i];
    at[v->order[0]] = v->extent[v->order[0]] - 1 - at[v->order[0]];
    for (size_t i = 0; i < 4; i++) from = from * v->extent[i] + at[i];
    return from;
}

/* Another order of the three channels. */
static size_t rechannelled(const view *v, size_t k)
{
    const size_t inner = v->extent[1] * v->extent[2] * v->extent[3];
    return v->order[k / inner] * inner + k % inner;
}

/* First other orders of the axes, then one reversed, then orders of three channels. */
static bool make_kernel(view *v, const cause_session *s, const lvlm_target *t,
                        size_t number)
{
    enum { AXES = 23, FLIPS = 4, CHANNELS = 5 };
    const size_t frames = cause_count(s, "vision.frames");
    const size_t p = cause_count(s, "vision.patch");
    const size_t c = cause_count(s, "vision.channels");
    *v = (view){ .outer = rows_of(t), .n = columns_of(t), .inner = 1 };
    const size_t extent[4] = { c, frames > 0 ? frames : 1, p, p };
    if (number >= AXES + FLIPS + CHANNELS ||
        extent[0] * extent[1] * p * p != columns_of(t))
        return false;
    memcpy(v->extent, extent, sizeof extent);
    if (number < AXES) {
        v->from = permuted;
        permutation(v->order, 4, number + 1);
        if (extent[1] == 1 && v->order[1] != 1) return false; /* the same as another */
        (void)snprintf(v->label, LABEL, "as %s, %s, %s, %s", patch_axes[v->order[0]],
                       patch_axes[v->order[1]], patch_axes[v->order[2]],
                       patch_axes[v->order[3]]);
    } else if (number < AXES + FLIPS) {
        const size_t axis = number - AXES;
        /* nothing to reverse, or one of the orders of channels below */
        if (v->extent[axis] == 1 || (axis == 0 && c == 3)) return false;
        v->from = flipped;
        v->order[0] = axis;
        (void)snprintf(v->label, LABEL, "with its %ss in reverse order",
                       patch_axes[v->order[0]]);
    } else {
        if (c != 3) return false;
        v->from = rechannelled;
        permutation(v->order, 3, number - AXES - FLIPS + 1);
        (void)snprintf(v->label, LABEL, "with its channels in the order %zu, %zu, %zu",
                       v->order[0], v->order[1], v->order[2]);
    }
    return true;
}

/* ---- tables ---------------------------------------------------------------------- */

static size_t transposed_grid(const view *v, size_t k)
{
    const size_t first = v->extent[2];
    return k < first ? k : first + transposed(v, k - first);
}

static size_t upside_down(const view *v, size_t k)
{
    const size_t first = v->extent[2], side = v->extent[0], at = k - first;
    return k < first ? k : first + (side - 1 - at / side) * side + at % side;
}

static size_t mirrored(const view *v, size_t k)
{
    const size_t first = v->extent[2], side = v->extent[0], at = k - first;
    return k < first ? k : first + at / side * side + side - 1 - at % side;
}

static bool make_positions(view *v, const cause_session *s, const lvlm_target *t,
                           size_t number)
{
    static const struct {
        size_t (*from)(const view *v, size_t k);
        const char *label;
    } orders[] = {
        { transposed_grid, "column by column" },
        { upside_down, "upside down" },
        { mirrored, "mirrored" },
        { one_later, "one row late" },
        { one_earlier, "one row early" },
        { reversed, "in reverse order" },
    };
    size_t side = 1;
    while ((side + 1) * (side + 1) <= rows_of(t)) side++;
    (void)s;
    /* a row of the class may be before them */
    if (number >= sizeof orders / sizeof *orders || t->shape.n != 2 ||
        rows_of(t) - side * side > 1)
        return false;
    *v = (view){ .outer = 1, .n = rows_of(t), .inner = columns_of(t) };
    v->from = orders[number].from;
    v->extent[0] = v->extent[1] = side;
    v->extent[2] = rows_of(t) - side * side;
    (void)snprintf(v->label, LABEL, "%s", orders[number].label);
    return true;
}

/* Rows or columns, in an order that any matrix may get. */
static bool make_lines(view *v, const lvlm_target *t, bool columns,
                       size_t (*from)(const view *v, size_t k), const char *label)
{
    if (t->shape.n < 2 || (columns && t->shape.n > 2)) return false;
    *v = columns ? (view){ .outer = rows_of(t), .n = columns_of(t), .inner = 1 }
                 : (view){ .outer = 1, .n = rows_of(t), .inner = columns_of(t) };
    v->from = from;
    (void)snprintf(v->label, LABEL, "%s", label);
    return v->n > 1;
}

static bool make_shifted(view *v, const cause_session *s, const lvlm_target *t,
                         size_t number)
{
    (void)s;
    switch (number) {
    case 0: return make_lines(v, t, false, one_later, "one row late");
    case 1: return make_lines(v, t, false, one_earlier, "one row early");
    case 2: return make_lines(v, t, true, one_later, "one column late");
    case 3: return make_lines(v, t, true, one_earlier, "one column early");
    default: return false;
    }
}

static bool make_reversed(view *v, const cause_session *s, const lvlm_target *t,
                          size_t number)
{
    (void)s;
    return number < 2 && make_lines(v, t, number == 1, reversed,
                                    number == 1 ? "with its columns in reverse order"
                                                : "with its rows in reverse order");
}

/* Tables with an entry for every tile. */
static bool make_tiles(view *v, const cause_session *s, const lvlm_target *t,
                       size_t number)
{
    return cause_count(s, "vision.tiles") == 4 && t->shape.n >= 3 &&
           t->shape.dims[1] == 4 && make_fours(v, t, number, "tiles");
}

/* ---- the table ------------------------------------------------------------------- */

#define POSITIONS "vision.positions.weight|connector.positions.weight"
#define QK "*attn.[qk].*|*cross.[qk].*"

// clang-format off
static const struct order_row {
    const char *mistake, *tensors;
    view_maker *make;
    const char *see;  /* after the names of the tensors */
    bool together;    /* all of them, before each by itself */
    bool maps;        /* a weight and its bias too */
    bool relations;
    const char *but; /* not these tensors: of another row; NULL: none */
} rows[] = {
    { "rotary_pairs", "text.*.attn.[qk].*|vision.*.attn.[qk].*", make_pairs, "rows are stored", true, true, true },
    { "heads",        QK,                                make_heads,     "rows are stored",     true,  true, true },
    { "heads",        "*attn.v.*|*cross.v.*|*attn.out.weight|*cross.out.weight", make_heads, "it is stored", true, true, false },
    { "transposed",   QK,                                make_transposed, "it is stored",       false, false, true },
    { "transposed",   "*.weight|*.queries",              make_transposed, "it is stored",       false, false, false },
    { "squares",      "connector.*.weight",              make_squares,   "its columns are stored", false, false, false },
    { "states",       "connector.proj.weight",           make_states,    "its columns are stored", false, false, false },
    { "kernel",       "vision.patch.weight",             make_kernel,    "it is stored",        false, false, false },
    { "positions",    POSITIONS,                           make_positions, "rows are stored", false, false, false },
    { "positions",    "connector.queries",               make_shifted,   "rows are stored",     false, false, false },
    { "tiles",        "vision.*tile*",                   make_tiles,     "it is stored",        false, false, false },
    { "shifted",      QK,                                make_shifted,   "it is stored",        false, false, true },
    { "shifted",      "*.weight|vision.*tile*",          make_shifted,   "it is stored",        false, false, false, POSITIONS },
    { "reversed",     QK,                                make_reversed,  "it is stored",        false, false, true },
    { "reversed",     "*.weight",                        make_reversed,  "it is stored",        false, false, false, POSITIONS },
};
// clang-format on

/* `total` values as the view has them. */
static void arrange(double *to, const double *from, size_t total, const view *v)
{
    /* what a view leaves out is before its items */
    const size_t skipped = total - v->outer * v->n * v->inner;
    const size_t before = v->outer > 0 ? skipped / v->outer : 0;
    const size_t row = before + v->n * v->inner;
    memcpy(to, from, total * sizeof *to);
    for (size_t o = 0; o < v->outer; o++)
        for (size_t k = 0; k < v->n; k++) {
            const size_t item = v->from(v, k);
            assert(item < v->n);
            memcpy(to + o * row + before + k * v->inner,
                   from + o * row + before + item * v->inner, v->inner * sizeof *to);
        }
}

/* New values of `t` as the view has them. */
static int rearrange(cause_session *s, const lvlm_target *t, const view *v,
                     lvlm_error *err)
{
    double *const to = variant_values(&s->changed, t);
    const size_t total = (size_t)lvlm_tensor_numel(t->here.tensor);
    double *const x = lvlm_malloc((total + 1) * sizeof *x);
    if (to == NULL || x == NULL) {
        lvlm_free(x);
        return lvlm_fail_memory(err);
    }
    memcpy(x, to, total * sizeof *x);
    arrange(to, x, total, v);
    lvlm_free(x);
    return 0;
}

static bool fits(const struct order_row *row, const lvlm_target *t)
{
    return lvlm_matches_listed(row->tensors, t->name) && t->shape.n > 0 &&
           (row->but == NULL || !lvlm_matches_listed(row->but, t->name)) &&
           (row->relations || !lvlm_matches_listed(QK, t->name));
}

static int try_list(cause_session *s, const struct order_row *row,
                    const lvlm_target *const *list, size_t n, size_t number,
                    lvlm_error *err)
{
    view v;
    for (size_t i = 0; i < n; i++) {
        if (!row->make(&v, s, list[i], number)) return variant_reset(&s->changed, err);
        TRY(rearrange(s, list[i], &v, err));
    }
    const char *const names = cause_names(s, list, n);
    if (names == NULL) return lvlm_fail_memory(err);
    return cause_try(
        s, row->mistake, lvlm_arena_printf(&s->arena, "%s read %s", names, v.label),
        lvlm_arena_printf(&s->arena, "%s: %s %s", names, row->see, v.label), err);
}

static int try_row(cause_session *s, const struct order_row *row, lvlm_error *err)
{
    const lvlm_target *all[FEEDS];
    size_t n = 0;
    view v;
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i];
        if (fits(row, t)) all[n++] = t;
    }
    for (size_t number = 0; number < NUMBERS; number++) {
        if (row->together && n > 1 && n <= VARIANT_TENSORS)
            TRY(try_list(s, row, all, n, number, err));
        for (size_t i = 0; i < n; i++) {
            const lvlm_target *const map[2] = { all[i], cause_bias(s, all[i]) };
            if (!row->make(&v, s, all[i], number)) continue;
            TRY(try_list(s, row, map, 1, number, err));
            if (row->maps && map[1] != NULL && row->make(&v, s, map[1], number))
                TRY(try_list(s, row, map, 2, number, err));
        }
    }
    return 0;
}

int cause_try_orders(cause_session *s, bool relations, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].relations == relations) TRY(try_row(s, &rows[i], err));
    return 0;
}

/* ---- one by one ------------------------------------------------------------------ */

bool cause_next_order(cause_order *o, const cause_session *s, const lvlm_target *t)
{
    view v;
    for (; o->next < NUMBERS * (sizeof rows / sizeof *rows); o->next++) {
        const struct order_row *const row = &rows[o->next / NUMBERS];
        if (!fits(row, t) || !row->make(&v, s, t, o->next % NUMBERS)) continue;
        o->mistake = row->mistake;
        o->see = row->see;
        o->at = o->next++;
        memcpy(o->label, v.label, LABEL);
        return true;
    }
    return false;
}

void cause_arrange(double *to, const double *from, const cause_order *o,
                   const cause_session *s, const lvlm_target *t)
{
    view v;
    if (rows[o->at / NUMBERS].make(&v, s, t, o->at % NUMBERS))
        arrange(to, from, (size_t)lvlm_tensor_numel(t->here.tensor), &v);
}

int cause_undo_order(cause_session *s, const cause_order *o, const lvlm_target *t,
                     lvlm_error *err)
{
    view v;
    if (!rows[o->at / NUMBERS].make(&v, s, t, o->at % NUMBERS)) return 0;
    return rearrange(s, t, &v, err);
}
