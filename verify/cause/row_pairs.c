/* row_pairs.c - two rows exchanged of the map that ends a branch: most of the error is
 * then in two channels, as what follows spreads the rest over all of them; see
 * trial.h. */
#include <string.h>

#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/block_pass.h"

enum { LOUDEST = 3 };

/* Of `t`, which has a row for each channel. */
static int exchange(cause_session *s, const lvlm_target *t, size_t a, size_t b,
                    lvlm_error *err)
{
    double *const x = variant_values(&s->changed, t);
    const size_t row = (size_t)(lvlm_tensor_numel(t->here.tensor) / t->shape.dims[0]);
    if (x == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < row; i++) {
        const double before = x[a * row + i];
        x[a * row + i] = x[b * row + i];
        x[b * row + i] = before;
    }
    return 0;
}

static int try_pair(cause_session *s, const lvlm_target *map, size_t a, size_t b,
                    lvlm_error *err)
{
    const lvlm_target *const bias = cause_bias(s, map);
    const char *const names = cause_row_pair(s, map, a, b);
    if (names == NULL) return lvlm_fail_memory(err);
    for (int with_bias = 0; with_bias <= (bias != NULL); with_bias++) {
        TRY(exchange(s, map, a, b, err));
        if (with_bias) TRY(exchange(s, bias, a, b, err));
        TRY(cause_try(s, "rows",
                      lvlm_arena_printf(&s->arena, "%s exchanged%s", names,
                                        with_bias ? ", and those of its bias" : ""),
                      lvlm_arena_printf(&s->arena, "%s: each has the other's values",
                                        cause_name(map)),
                      err));
    }
    return 0;
}

/* The channels with the largest errors. */
static void find_loudest(size_t at[LOUDEST], const cause_session *s)
{
    double most2[LOUDEST] = { 0 };
    memset(at, 0, LOUDEST * sizeof *at);
    for (size_t c = 0; c < s->C; c++) {
        double d2 = 0;
        for (size_t r = 0; r < s->R; r++) {
            const double d = s->got[r * s->C + c] - s->want[r * s->C + c];
            d2 += d * d;
        }
        size_t i = LOUDEST;
        for (; i > 0 && d2 > most2[i - 1]; i--)
            if (i < LOUDEST) most2[i] = most2[i - 1], at[i] = at[i - 1];
        if (i < LOUDEST) most2[i] = d2, at[i] = c;
    }
}

/* Does it end the stage, or a branch of a block, with a row for each channel? */
static bool is_last(const cause_session *s, const lvlm_target *t)
{
    return lvlm_ends_with(t->name, ".weight") && t->shape.n > 1 &&
           t->shape.dims[0] == s->C &&
           (strstr(t->name, "blocks.") == NULL ||
            lvlm_matches_listed(BLOCK_OUT "|" BLOCK_DOWN, t->name));
}

int cause_find_pair(cause_session *s, lvlm_error *err)
{
    size_t at[LOUDEST];
    if (s->C < LOUDEST) return 0;
    find_loudest(at, s);
    for (size_t i = 0; i < s->n_feeds; i++)
        for (size_t a = 0; is_last(s, s->feeds[i]) && a < LOUDEST; a++)
            for (size_t b = a + 1; b < LOUDEST; b++)
                if (at[a] != at[b]) TRY(try_pair(s, s->feeds[i], at[a], at[b], err));
    return 0;
}
