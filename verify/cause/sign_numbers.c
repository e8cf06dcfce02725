/* sign_numbers.c - which number of the map that ends a block is wrong, and what it must
 * be, where one channel alone is wrong; see trial.h.
 *
 *   y = z + Wdown h:  D[r,c] = (wrong - right) h[r,j] if number [c,j] is wrong
 *
 * h is what the block computes with parts of the identity in the place of Wdown, a few
 * columns at a time. */
#include <string.h>

#include "verify/cause/block_pass.h"

enum { MOST_ROWS = 256, MOST_PASSES = 16, FEWEST_ROWS = 3 };

#define SAME 1e-3 /* of D: it is explained */

typedef struct number_search {
    block_pass pass;
    const lvlm_target *map; /* (C,F) */
    size_t channel;
    double *d, *z; /* (R) D of the channel; (R,C) the rows without the map */
    size_t n, j;   /* numbers that explain it, and the last of them */
    double change; /* wrong - right, of that */
} number_search;

/* The only wrong channel; SIZE_MAX: there are more. */
static size_t only_channel(const cause_session *s)
{
    double all2 = 0, most2 = 0;
    size_t most = 0;
    for (size_t c = 0; c < s->C; c++) {
        double d2 = 0;
        for (size_t r = 0; r < s->R; r++) {
            const double d = s->got[r * s->C + c] - s->want[r * s->C + c];
            d2 += d * d;
        }
        if (d2 > most2) most2 = d2, most = c;
        all2 += d2;
    }
    return all2 > 0 && all2 - most2 <= 1e-8 * all2 ? most : SIZE_MAX;
}

/* Numbers [from, from + C) of each row: those whose inputs explain the error. */
static int try_part(number_search *n, size_t from, lvlm_error *err)
{
    block_pass *const p = &n->pass;
    const size_t F = (size_t)n->map->shape.dims[1], C = p->C;
    TRY(block_clear(p->s, BLOCK_DOWN, err));
    double *const w = variant_values(&p->s->changed, n->map);
    if (w == NULL) return lvlm_fail_memory(err);
    memset(w, 0, C * F * sizeof *w);
    for (size_t c = 0; c < C && from + c < F; c++) w[c * F + from + c] = 1;
    TRY(block_pass_once(p, err));
    for (size_t c = 0; c < C && from + c < F; c++) {
        double hh = 0, hd = 0, rest2 = 0, d2 = 0;
        for (size_t r = 0; r < p->R; r++) {
            const double h = p->y[r * C + c] - n->z[r * C + c];
            hh += h * h;
            hd += h * n->d[r];
        }
        const double change = hh > 0 ? hd / hh : 0;
        for (size_t r = 0; r < p->R; r++) {
            const double h = p->y[r * C + c] - n->z[r * C + c];
            rest2 += (n->d[r] - change * h) * (n->d[r] - change * h);
            d2 += n->d[r] * n->d[r];
        }
        if (!(rest2 <= SAME * SAME * d2)) continue;
        n->n++;
        n->j = from + c;
        n->change = change;
    }
    return 0;
}

static int say(const number_search *n, lvlm_error *err)
{
    cause_session *const s = n->pass.s;
    const size_t at = n->channel * (size_t)n->map->shape.dims[1] + n->j;
    const double is = cause_value(n->map->here.tensor, at);
    const char *const row = cause_rows(s, n->map, n->channel, n->channel);
    if (row == NULL) return lvlm_fail_memory(err);
    return CAUSE_SAY_SIGN(s, err,
                          "number %zu of %s is %.6g, and with %.6g in its place the "
                          "recorded rows would come of it",
                          n->j, row, is, is - n->change);
}

static int search(number_search *n, lvlm_error *err)
{
    block_pass *const p = &n->pass;
    const cause_session *const s = p->s;
    const size_t F = (size_t)n->map->shape.dims[1];
    for (size_t r = 0; r < p->R; r++) {
        const size_t i = r * p->C + n->channel;
        n->d[r] = s->got[i] - s->want[i];
    }
    TRY(block_clear(p->s, BLOCK_DOWN, err));
    TRY(block_pass_once(p, err));
    memcpy(n->z, p->y, p->R * p->C * sizeof *n->z);
    for (size_t from = 0; from < F; from += p->C) TRY(try_part(n, from, err));
    return n->n == 1 ? say(n, err) : 0;
}

int cause_find_number(cause_session *s, lvlm_error *err)
{
    number_search n = { .n = 0 };
    lvlm_error ignored = { .text = "" };
    n.map = block_feed(s, "*.mlp.down.weight|*.mlp.fc2.weight");
    n.channel = only_channel(s);
    if (!block_pass_of(&n.pass, s) || n.map == NULL || n.channel == SIZE_MAX ||
        n.map->shape.dims[0] != s->C || s->R < FEWEST_ROWS ||
        n.map->shape.dims[1] > MOST_PASSES * s->C ||
        block_feed(s, "*.post_mlp_norm.*") != NULL)
        return 0;
    block_pass *const p = &n.pass;
    p->R = s->R < MOST_ROWS ? s->R : MOST_ROWS;
    p->y = lvlm_arena_alloc(&s->arena, (2 * p->C + 1) * p->R, sizeof *p->y);
    if (p->y == NULL) return lvlm_fail_memory(err);
    n.z = p->y + p->R * p->C;
    n.d = n.z + p->R * p->C;
    const int rc = search(&n, &ignored); /* what cannot be computed says nothing */
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : variant_reset(&s->changed, err);
}
