/* multiply.c - matrix products by kernels, in parallel. */
#include "runtime/kernel/multiply.h"

#include <assert.h>
#include <omp.h>

#include "runtime/kernel/clones.h"
#include "runtime/kernel/output.h"

enum {
    ONCE = 288,         /* rows of the operand that is packed once */
    GROUPS = ONCE / 16, /* of rows, at most */
    PIECE = 96,         /* rows of the other one in a task */
    SUM_STEPS = 16,     /* of a block of the sum: with ONCE rows, half of an L2 cache */
    SUM_STEPS_ONE = 32, /* the same for products of one term */
    SUM_STEPS_FLOATS = 8, /* in form floats: sums of more would be rounded too often */
    SMALL_STEPS = 16,     /* that a small product packs at once */
    FEW = 16384,          /* products for which one thread is enough */
};

/* Rows [first, first + n) of the operand that is packed once, over [k, k + len). */
typedef struct stretch {
    const lvlm_product *p;
    const lvlm_kernel *kernel;
    lvlm_form form;
    size_t first, n, k, len;
    lvlm_left left[GROUPS];   /* of kernel->rows each, or */
    lvlm_right right[GROUPS]; /* of kernel->panels */
    char *memory, *own;       /* scratch of all, and of each thread */
} stretch;

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t left_rows(const stretch *s)
{
    return s->kernel->rows;
}

static size_t right_rows(const stretch *s)
{
    return s->kernel->panels * LVLM_PANEL;
}

/* Rows of a group of the operand that is packed once, and of the other one. */
static size_t once_rows(const stretch *s)
{
    return s->p->packs_left ? left_rows(s) : right_rows(s);
}

static size_t other_rows(const stretch *s)
{
    return s->p->packs_left ? right_rows(s) : left_rows(s);
}

/* Length of the blocks of the sum. */
static size_t sum_length(const stretch *s)
{
    if (s->form.is_floats) return LVLM_STEP * SUM_STEPS_FLOATS;
    return LVLM_STEP * (s->form.levels == 1 ? SUM_STEPS_ONE : SUM_STEPS);
}

/* Of the largest operands: those of three terms. */
static const lvlm_form largest = { false, LVLM_MOST_TERMS };

static size_t own_bytes(size_t length)
{
    return lvlm_pack_bytes(LVLM_MOST_PANELS * LVLM_PANEL,
                           min(SUM_STEPS, lvlm_steps_of(length)), largest);
}

size_t lvlm_product_scratch(size_t length, size_t n_threads)
{
    return lvlm_pack_bytes(ONCE, lvlm_steps_of(length), largest) +
           n_threads * own_bytes(length);
}

/* Pack group g. */
static void pack_once(stretch *s, size_t g)
{
    const lvlm_product *const p = s->p;
    const size_t r = g * once_rows(s), n = min(once_rows(s), s->n - r);
    char *const to = s->memory + lvlm_pack_bytes(r, lvlm_steps_of(s->len), s->form);
    if (p->packs_left)
        s->left[g] = lvlm_pack_left(to, &p->left, s->first + r, n, left_rows(s), s->k,
                                    s->len, s->form);
    else
        s->right[g] =
            lvlm_pack_right(to, &p->right, s->first + r, n, s->k, s->len, s->form);
}

/* Multiply rows [r, r + n) of the other operand, in `b`, with group g; both over the
 * sum from the stretch's value i on. */
static void multiply(const stretch *s, lvlm_block b, size_t r, size_t n, size_t g,
                     size_t i)
{
    const lvlm_product *const p = s->p;
    const size_t at = g * once_rows(s), some = min(once_rows(s), s->n - at);
    const bool first = s->k + i == 0;
    const size_t line = right_rows(s);
    float sums[LVLM_MOST_BLOCK];
    if (p->packs_left) {
        b.left = s->left[g];
        b.left.data += i / LVLM_STEP * b.left.step;
    } else {
        b.right = s->right[g];
        b.right.data += i / LVLM_STEP * b.right.step;
    }
    const size_t columns = p->packs_left ? n : some;
    b.n_panels = (columns + LVLM_PANEL - 1) / LVLM_PANEL;
    s->kernel->multiply(sums, &b);
    if (p->packs_left)
        lvlm_output_take(&p->out, sums, line, s->first + at, r, some, n, first,
                         s->kernel->turn);
    else
        lvlm_output_take(&p->out, sums, line, r, s->first + at, n, some, first,
                         s->kernel->turn);
}

/* Prefetch rows of an operand that is read in place. */
static void fetch(const lvlm_matrix *m, size_t first, size_t n, size_t k, size_t len)
{
    const size_t bytes = lvlm_dtype_bytes(m->dtype);
    const char *const data = m->data;
    for (size_t r = first; r < first + n; r++)
        for (size_t at = 0; at < len * bytes; at += LVLM_CACHE_LINE)
            LVLM_PREFETCH(data + (r * m->ld + k) * bytes + at);
}

/* Rows [r, r + n) of the other operand, over [i, i + len) of the stretch; memory is
 * asked for the `next` rows. */
static void run_rows(const stretch *s, size_t r, size_t n, size_t next, size_t i,
                     size_t len, char *own)
{
    const lvlm_product *const p = s->p;
    const size_t k = s->k + i, rows = other_rows(s);
    lvlm_block b = { .n_values = len, .levels = s->form.levels };
    if (p->packs_left)
        b.right = lvlm_pack_right(own, &p->right, r, n, k, len, s->form);
    else
        b.left = lvlm_pack_left(own, &p->left, r, n, rows, k, len, s->form);
    if (!p->packs_left && !p->left.turned) fetch(&p->left, r + n, next, k, len);
    for (size_t at = 0, g = 0; at < s->n; at += once_rows(s), g++)
        multiply(s, b, r, n, g, i);
}

/* Rows [begin, end) of the other operand, block by block of the sum. If one group is
 * packed it stays in cache: then group by group, so that rows are read end to end. */
static void run_task(const stretch *s, size_t begin, size_t end, char *own)
{
    const size_t rows = other_rows(s), step = sum_length(s);
    const size_t span = s->n > once_rows(s) ? end - begin : rows;
    if (s->kernel->begin != NULL) s->kernel->begin();
    for (size_t at = begin; at < end; at += span)
        for (size_t i = 0; i < s->len; i += step)
            for (size_t r = at; r < min(at + span, end); r += rows) {
                const size_t n = min(rows, end - r);
                run_rows(s, r, n, min(rows, end - r - n), i, min(step, s->len - i),
                         own);
            }
    if (s->kernel->end != NULL) s->kernel->end();
}

static size_t others_of(const stretch *s)
{
    return s->p->packs_left ? s->p->N : s->p->M;
}

static size_t groups_of(const stretch *s)
{
    return (s->n + once_rows(s) - 1) / once_rows(s);
}

static void run_stretch(stretch *s, size_t n_threads)
{
    const lvlm_product *const p = s->p;
    const size_t n_pieces = (others_of(s) + PIECE - 1) / PIECE;
#pragma omp parallel num_threads((int)n_threads) if (p->M * p->N * p->K > FEW)
    {
#pragma omp for schedule(static)
        for (size_t g = 0; g < groups_of(s); g++) pack_once(s, g);
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < n_pieces; t++)
            run_task(s, t * PIECE, min((t + 1) * PIECE, others_of(s)),
                     s->own + (size_t)omp_get_thread_num() * own_bytes(p->stretch));
    }
}

static void run_stretch_here(stretch *s)
{
    for (size_t g = 0; g < groups_of(s); g++) pack_once(s, g);
    run_task(s, 0, others_of(s), s->own);
}

/* By n_threads; 0: by the calling thread, without a team. */
static void run_all(stretch *s, size_t n_threads)
{
    const lvlm_product *const p = s->p;
    const size_t once = p->packs_left ? p->M : p->N;
    assert(p->M > 0 && p->N > 0 && p->K > 0 && p->stretch > 0);
    assert(p->stretch % LVLM_STEP == 0);
    for (s->first = 0; s->first < once; s->first += ONCE) {
        s->n = min(ONCE, once - s->first);
        for (s->k = 0; s->k < p->K; s->k += p->stretch) {
            s->len = min(p->stretch, p->K - s->k);
            if (n_threads > 0)
                run_stretch(s, n_threads);
            else
                run_stretch_here(s);
        }
    }
}

void lvlm_product_run(const lvlm_product *p, const lvlm_unit *unit, void *scratch,
                      size_t n_threads)
{
    const unsigned products =
        lvlm_products_of(p->left.dtype, p->right.dtype, p->levels);
    stretch s = { .p = p,
                  .form = { products > unit->most_products, p->levels },
                  .memory = scratch };
    s.kernel = s.form.is_floats ? unit->floats : unit->terms;
    s.own = s.memory + lvlm_pack_bytes(ONCE, lvlm_steps_of(p->stretch), largest);
    run_all(&s, n_threads);
}

/* ---- small products -------------------------------------------------------------- */

static const lvlm_form floats = { true, LVLM_MOST_TERMS };

static size_t small_stretch(size_t length)
{
    return min(lvlm_steps_of(length), SMALL_STEPS) * LVLM_STEP;
}

/* Of the operand that is packed once; its last group may be padded. */
static size_t small_bytes(size_t rows, size_t length)
{
    return lvlm_pack_bytes(min(rows, ONCE) + LVLM_MOST_ROWS,
                           lvlm_steps_of(small_stretch(length)), floats);
}

size_t lvlm_product_small_scratch(size_t rows, size_t length)
{
    return small_bytes(rows, length) +
           lvlm_pack_bytes(LVLM_MOST_PANELS * LVLM_PANEL, SUM_STEPS_FLOATS, floats);
}

void lvlm_product_small(lvlm_product p, const lvlm_unit *unit, void *scratch)
{
    stretch s = { .p = &p, .form = floats, .memory = scratch, .kernel = unit->floats };
    p.levels = LVLM_MOST_TERMS;
    p.stretch = small_stretch(p.K);
    s.own = s.memory + small_bytes(p.packs_left ? p.M : p.N, p.K);
    run_all(&s, 0);
}
