/* multiply.c - matrix products by kernels, in parallel.
 *
 *   stretch   some rows of the operand that is packed once, over some of the sum, in
 *             groups of as many as a kernel takes
 *   piece     rows of the other operand: block by block of the sum, they are
 *             multiplied with all groups. Sums stay in the thread's memory until the
 *             last block, and then go to the output
 *   task      a piece, or, if there are too few of these for the threads, a piece with
 *             a share of the groups, for which it is packed again
 *
 * Memory that comes next is prefetched between the calls of a kernel. */
#include "runtime/kernel/multiply.h"

#include <assert.h>
#include <omp.h>

#include "runtime/kernel/clones.h"
#include "runtime/kernel/output.h"

enum {
    ONCE = 288,         /* rows of the operand that is packed once */
    MOST = 1152,        /* the same where the sum is one block, and shorter than most */
    GROUPS = MOST / 16, /* of rows, at most */
    PIECE = 96,         /* rows of the other one in a task ... */
    LEAST_PIECE = 32,   /* ... of which there are few */
    TASKS = 4,          /* of each thread, where there are so many */
    SUM_STEPS = 16,     /* of a block of the sum: with ONCE rows, half of an L2 cache */
    SUM_STEPS_FLOATS = 8, /* in form floats: sums of more would be rounded too often */
    SMALL_STEPS = 16,     /* that a small product packs at once */
    FEW = 16384,          /* products for which one thread is enough */
};

/* Rows [first, first + n) of the operand that is packed once, over [k, k + len). */
typedef struct stretch {
    const lvlm_product *p;
    const lvlm_kernel *kernel;
    lvlm_form form;
    bool pours; /* outputs go past the caches */
    size_t first, n, k, len;
    lvlm_left left[GROUPS];   /* of kernel->rows each, or */
    lvlm_right right[GROUPS]; /* of kernel->panels */
    char *memory, *own;       /* scratch of all, and of each thread */
} stretch;

/* What a task multiplies a piece with, and the thread's own memory. */
typedef struct worker {
    size_t group, n_groups; /* from `group` on */
    float *sums;            /* (blocks of a piece, n_groups, values of a block) */
    char *packed;           /* the other operand */
} worker;

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

static size_t groups_of(const stretch *s)
{
    return (s->n + once_rows(s) - 1) / once_rows(s);
}

/* Rows of group g. */
static size_t group_rows(const stretch *s, size_t g)
{
    return lvlm_min(once_rows(s), s->n - g * once_rows(s));
}

static size_t others_of(const stretch *s)
{
    return s->p->packs_left ? s->p->N : s->p->M;
}

/* Values of a block of a kernel. */
static size_t block_values(const stretch *s)
{
    return left_rows(s) * right_rows(s);
}

/* Length of the blocks of the sum. */
static size_t sum_length(const stretch *s)
{
    return LVLM_STEP * (s->form.is_floats ? SUM_STEPS_FLOATS : SUM_STEPS);
}

/* ---- memory ---------------------------------------------------------------------- */

/* Of the largest operands: those of three terms. */
static const lvlm_form largest = { .levels = LVLM_MOST_TERMS };

/* The sums of a piece and ONCE rows. */
static size_t sums_bytes(void)
{
    return (size_t)PIECE * ONCE * sizeof(float);
}

static size_t own_bytes(size_t length)
{
    return sums_bytes() +
           lvlm_pack_bytes(PIECE, lvlm_min(SUM_STEPS, lvlm_steps_of(length)), largest);
}

size_t lvlm_product_scratch(size_t length, size_t n_threads)
{
    return lvlm_pack_bytes(ONCE, lvlm_steps_of(length), largest) +
           n_threads * own_bytes(length);
}

/* Rows that are packed at once: where the sum is one block, so many that they take the
 * memory of ONCE rows of a whole block. */
static size_t most_rows(const stretch *s)
{
    const size_t block = lvlm_min(sum_length(s), s->p->stretch);
    const size_t length = lvlm_steps_of(s->p->K) * LVLM_STEP;
    if (length > block) return ONCE;
    return lvlm_min(MOST, ONCE * block / length / PIECE * PIECE);
}

/* ---- work ------------------------------------------------------------------------ */

/* Pack group g. */
static void pack_once(stretch *s, size_t g)
{
    const lvlm_product *const p = s->p;
    const size_t r = g * once_rows(s), n = group_rows(s, g);
    char *const to = s->memory + lvlm_pack_bytes(r, lvlm_steps_of(s->len), s->form);
    if (p->packs_left)
        s->left[g] = lvlm_pack_left(to, &p->left, s->first + r, n, left_rows(s), s->k,
                                    s->len, s->form);
    else
        s->right[g] =
            lvlm_pack_right(to, &p->right, s->first + r, n, s->k, s->len, s->form);
}

/* The block b of rows [r, r + n) of the other operand and group g, both over the sum
 * from the stretch's value i on, into `sums`. */
static void multiply(const stretch *s, float *sums, lvlm_block b, size_t n, size_t g,
                     size_t i)
{
    const bool packs_left = s->p->packs_left;
    const size_t columns = packs_left ? n : group_rows(s, g), step = i / LVLM_STEP;
    if (packs_left)
        b.left = s->left[g], b.left.data += step * b.left.step;
    else
        b.right = s->right[g], b.right.data += step * b.right.step;
    b.n_panels = (columns + LVLM_PANEL - 1) / LVLM_PANEL;
    b.adds = i > 0;
    s->kernel->multiply(sums, &b);
}

/* The sums of rows [r, r + n) of the other operand and group g are complete. */
static void take(const stretch *s, const float *sums, size_t r, size_t n, size_t g)
{
    const lvlm_product *const p = s->p;
    const size_t at = s->first + g * once_rows(s), some = group_rows(s, g);
    lvlm_sums complete = { sums, right_rows(s), r, at, n, some };
    if (p->packs_left)
        complete.m = at, complete.n = r, complete.rows = some, complete.columns = n;
    lvlm_output_take(&p->out, &complete, s->k == 0, s->pours, s->kernel);
}

/* Prefetch where they go. */
static void fetch_output(const stretch *s, size_t r, size_t n, size_t g)
{
    const lvlm_product *const p = s->p;
    const size_t at = s->first + g * once_rows(s), some = group_rows(s, g);
    if (p->packs_left)
        lvlm_output_fetch(&p->out, at, r, some, n);
    else
        lvlm_output_fetch(&p->out, r, at, n, some);
}

/* Rows [first, first + n) of the other operand over [k, k + len) of the sum. */
typedef struct area {
    size_t first, n, k, len;
} area;

/* Prefetch part `part` of `parts` of an area. */
static void fetch(const stretch *s, area a, size_t part, size_t parts)
{
    const lvlm_matrix *const m = s->p->packs_left ? &s->p->right : &s->p->left;
    size_t *const from = m->turned ? &a.k : &a.first;
    size_t *const size = m->turned ? &a.len : &a.n;
    const size_t begin = *size * part / parts;
    *from += begin;
    *size = *size * (part + 1) / parts - begin;
    lvlm_fetch(m, a.first, a.n, a.k, a.len);
}

/* Multiply the other operand's rows of area a, which are in b, with all groups of the
 * task; the time is part `part` of `parts` of that in which `next` is prefetched. */
static void run_rows(const stretch *s, const area *a, lvlm_block b, const worker *own,
                     float *sums, const area *next, size_t part, size_t parts)
{
    const size_t n = own->n_groups, i = a->k - s->k;
    const bool is_one = s->len <= sum_length(s), is_last = i + a->len == s->len;
    for (size_t j = 0; j < n; j++) {
        const size_t g = own->group + j;
        fetch(s, *next, part * n + j, parts * n);
        if (is_last && !s->pours) fetch_output(s, a->first, a->n, g);
        multiply(s, sums, b, a->n, g, i);
        if (is_last) take(s, sums, a->first, a->n, g);
        if (!is_one) sums += block_values(s);
    }
}

/* From the sums of some rows of a piece to those of the next. */
static size_t sums_stride(const stretch *s, const worker *own)
{
    return s->len <= sum_length(s) ? 0 : own->n_groups * block_values(s);
}

/* An area that is a piece, with the right operand packed once: the left one is read or
 * packed as a kernel takes it. */
static void run_left(const stretch *s, area a, const area *next, const worker *own)
{
    const lvlm_product *const p = s->p;
    const size_t rows = other_rows(s), end = a.first + a.n;
    const size_t stride = sums_stride(s, own);
    lvlm_block b = { .n_values = a.len, .levels = s->form.levels };
    float *sums = own->sums;
    for (; a.first < end; a.first += rows, sums += stride) {
        area after = { a.first + rows, 0, a.k, a.len };
        a.n = lvlm_min(rows, end - a.first);
        if (after.first < end) after.n = lvlm_min(rows, end - after.first);
        b.left = lvlm_pack_left(own->packed, &p->left, a.first, a.n, rows, a.k, a.len,
                                s->form);
        run_rows(s, &a, b, own, sums, after.n > 0 ? &after : next, 0, 1);
    }
}

/* The same with the left operand packed once: all of the piece is packed, since the
 * columns of a kernel share lines of memory. */
static void run_right(const stretch *s, area a, const area *next, const worker *own)
{
    const lvlm_product *const p = s->p;
    const size_t rows = other_rows(s), end = a.first + a.n;
    const size_t stride = sums_stride(s, own);
    const size_t parts = (a.n + rows - 1) / rows;
    lvlm_block b = { .n_values = a.len, .levels = s->form.levels };
    float *sums = own->sums;
    b.right =
        lvlm_pack_right(own->packed, &p->right, a.first, a.n, a.k, a.len, s->form);
    for (size_t i = 0; i < parts; i++, a.first += rows, sums += stride) {
        a.n = lvlm_min(rows, end - a.first);
        run_rows(s, &a, b, own, sums, next, i, parts);
        b.right.data += s->kernel->panels * b.right.panel;
    }
}

static void run_piece(const stretch *s, size_t begin, size_t end, const worker *own)
{
    const size_t step = sum_length(s), n = end - begin;
    if (s->kernel->begin != NULL) s->kernel->begin();
    for (size_t i = 0; i < s->len; i += step) {
        const area a = { begin, n, s->k + i, lvlm_min(step, s->len - i) };
        area next = { begin, n, a.k + a.len, 0 };
        next.len = lvlm_min(step, s->len - i - a.len);
        if (s->p->packs_left)
            run_right(s, a, &next, own);
        else
            run_left(s, a, &next, own);
    }
    if (s->kernel->end != NULL) s->kernel->end();
}

/* How the work on a stretch is cut. */
typedef struct cut {
    size_t piece, n_pieces; /* rows of a piece, and how many there are */
    size_t shares;          /* of the groups */
} cut;

static cut cut_into(const stretch *s, size_t piece, size_t shares)
{
    return (cut){ piece, (others_of(s) + piece - 1) / piece, shares };
}

/* Into enough tasks for so many threads, if there are. */
static cut cut_for(const stretch *s, size_t n_threads)
{
    const size_t wanted = n_threads * TASKS, groups = groups_of(s);
    cut c = cut_into(s, PIECE, 1);
    if (c.n_pieces * groups < wanted) c = cut_into(s, LEAST_PIECE, 1);
    c.shares = lvlm_min((wanted + c.n_pieces - 1) / c.n_pieces, groups);
    return c;
}

/* `own`: memory of the thread. */
static void run_task(const stretch *s, const cut *c, size_t t, char *own)
{
    const size_t groups = groups_of(s), share = t % c->shares;
    const size_t begin = t / c->shares * c->piece;
    worker w = { .group = groups * share / c->shares,
                 .sums = (float *)(void *)own,
                 .packed = own + sums_bytes() };
    w.n_groups = groups * (share + 1) / c->shares - w.group;
    run_piece(s, begin, lvlm_min(begin + c->piece, others_of(s)), &w);
}

static void run_stretch(stretch *s, size_t n_threads)
{
    const lvlm_product *const p = s->p;
    const cut c = cut_for(s, n_threads);
#pragma omp parallel num_threads((int)n_threads) if (p->M * p->N * p->K > FEW)
    {
#pragma omp for schedule(static)
        for (size_t g = 0; g < groups_of(s); g++) pack_once(s, g);
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < c.n_pieces * c.shares; t++)
            run_task(s, &c, t,
                     s->own + (size_t)omp_get_thread_num() * own_bytes(p->stretch));
    }
}

static void run_stretch_here(stretch *s)
{
    for (size_t g = 0; g < groups_of(s); g++) pack_once(s, g);
    const cut c = cut_into(s, PIECE, 1);
    for (size_t t = 0; t < c.n_pieces; t++) run_task(s, &c, t, s->own);
}

/* By n_threads; 0: by the calling thread, without a team. */
static void run_all(stretch *s, size_t n_threads)
{
    const lvlm_product *const p = s->p;
    const size_t once = p->packs_left ? p->M : p->N;
    const size_t most = n_threads > 0 ? most_rows(s) : ONCE;
    assert(p->M > 0 && p->N > 0 && p->K > 0 && p->stretch > 0);
    assert(p->stretch % LVLM_STEP == 0);
    for (s->first = 0; s->first < once; s->first += most) {
        s->n = lvlm_min(most, once - s->first);
        for (s->k = 0; s->k < p->K; s->k += p->stretch) {
            s->len = lvlm_min(p->stretch, p->K - s->k);
            if (n_threads > 0)
                run_stretch(s, n_threads);
            else
                run_stretch_here(s);
        }
    }
}

/* By the kernel that is faster. */
static stretch stretch_of(const lvlm_product *p, const lvlm_unit *unit, void *scratch)
{
    const unsigned products =
        lvlm_products_of(p->left.dtype, p->right.dtype, p->levels);
    const bool is_floats = products > unit->most_products;
    stretch s = { .p = p,
                  .kernel = is_floats ? unit->floats : unit->terms,
                  .memory = scratch };
    s.form = (lvlm_form){ is_floats, p->levels, s.kernel->turn };
    return s;
}

void lvlm_product_run(const lvlm_product *p, const lvlm_unit *unit, void *scratch,
                      size_t n_threads)
{
    stretch s = stretch_of(p, unit, scratch);
    s.own = s.memory + lvlm_pack_bytes(ONCE, lvlm_steps_of(p->stretch), largest);
    s.pours = p->K <= p->stretch && lvlm_output_pours(&p->out, p->M, p->N);
    run_all(&s, n_threads);
}

size_t lvlm_product_tasks(const lvlm_product *p, const lvlm_unit *unit,
                          size_t n_threads)
{
    stretch s = stretch_of(p, unit, NULL);
    s.n = lvlm_min(most_rows(&s), p->packs_left ? p->M : p->N);
    const cut c = cut_for(&s, n_threads);
    return c.n_pieces * c.shares;
}

/* ---- small products -------------------------------------------------------------- */

static size_t small_stretch(size_t length)
{
    return lvlm_min(lvlm_steps_of(length), SMALL_STEPS) * LVLM_STEP;
}

/* Of the operand that is packed once; its last group may be padded. */
static size_t small_bytes(size_t rows, size_t length)
{
    return lvlm_pack_bytes(lvlm_min(rows, ONCE) + LVLM_MOST_ROWS,
                           lvlm_steps_of(small_stretch(length)), largest);
}

size_t lvlm_product_small_scratch(size_t rows, size_t length)
{
    return small_bytes(rows, length) + own_bytes(small_stretch(length));
}

void lvlm_product_small(lvlm_product p, const lvlm_unit *unit, void *scratch)
{
    p.stretch = small_stretch(p.K);
    stretch s = stretch_of(&p, unit, scratch);
    s.own = s.memory + small_bytes(p.packs_left ? p.M : p.N, p.K);
    run_all(&s, 0);
}
