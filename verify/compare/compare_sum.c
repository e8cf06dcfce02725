/* compare_sum.c - adds up comparisons by the names of their tensors; see
 * compare_sum.h. */
#include "verify/compare/compare_sum.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- by name -------------------------------------------------------------------- */

/* "text.blocks.3" of "text.blocks.3.attn.q.weight": up to the first number; 0: there is
 * none. */
static size_t layer_of(const char *name)
{
    for (const char *at = name; *at != '\0';) {
        const size_t n = strcspn(at, ".");
        size_t digits = 0;
        while (digits < n && isdigit((unsigned char)at[digits])) digits++;
        if (n > 0 && digits == n) return (size_t)(at - name) + n;
        at += n + (at[n] == '.');
    }
    return 0;
}

static lvlm_sum_row *row_of(lvlm_compare_sum *sum, lvlm_sum_row **rows, size_t *n,
                            size_t *room, const char *name, size_t length)
{
    char wanted[LVLM_SUM_NAME];
    (void)snprintf(wanted, sizeof wanted, "%.*s", (int)length, name);
    for (size_t i = *n; i > 0; i--)
        if (strcmp((*rows)[i - 1].name, wanted) == 0) return &(*rows)[i - 1];
    lvlm_sum_row *const list =
        lvlm_arena_room(&sum->arena, *rows, *n, room, sizeof *list);
    if (list == NULL) {
        sum->failed = true;
        return NULL;
    }
    *rows = list;
    list[*n] = (lvlm_sum_row){ .n = 0 };
    memcpy(list[*n].name, wanted, sizeof wanted);
    return &list[(*n)++];
}

static bool differs(const lvlm_comparison *c)
{
    return c->sameness != LVLM_SAME_BITS && c->sameness != LVLM_SAME_VALUES &&
           c->sameness != LVLM_IN_NEITHER;
}

static void add_row(lvlm_sum_row *row, const lvlm_comparison *c)
{
    if (row == NULL) return;
    row->n++;
    row->n_differ += differs(c);
    lvlm_distance_merge(&row->distance, &c->distance);
}

/* ---- what it looks like ---------------------------------------------------------- */

/* "q" of "text.blocks.0.attn.q.weight". */
static void add_word(lvlm_compare_sum *sum, const char *name)
{
    char word[LVLM_SUM_NAME];
    (void)snprintf(word, sizeof word, "%s", name);
    char *end = strrchr(word, '.');
    if (end != NULL) *end = '\0';
    const char *const last = strrchr(word, '.');
    const char *const text = last != NULL ? last + 1 : word;
    for (size_t i = 0; i < sum->n_words; i++)
        if (strcmp(sum->words[i], text) == 0) return;
    if (sum->n_words == LVLM_SUM_WORDS) return;
    (void)snprintf(sum->words[sum->n_words++], LVLM_SUM_NAME, "%s", text);
}

/* A change of low rank that most values take part in: a few edited values have a low
 * rank, too. */
static void add_change(lvlm_compare_sum *sum, const lvlm_comparison *c)
{
    const size_t rank = c->change.rank;
    if (!differs(c)) return;
    if (c->sameness != LVLM_DIFFERS || c->change.kind != LVLM_ALTERED_LOW_RANK ||
        4 * c->distance.n_differ < c->distance.n) {
        if (sum->n_wide++ == 0) (void)snprintf(sum->wide, LVLM_SUM_NAME, "%s", c->name);
        return;
    }
    if (sum->n_low++ == 0) sum->least_rank = sum->most_rank = rank;
    if (rank < sum->least_rank) sum->least_rank = rank;
    if (rank > sum->most_rank) sum->most_rank = rank;
    add_word(sum, c->name);
}

void lvlm_compare_sum_add(lvlm_compare_sum *sum, const lvlm_comparison *c)
{
    const size_t layer = layer_of(c->name), part = strcspn(c->name, ".");
    if (c->name[part] != '\0')
        add_row(
            row_of(sum, &sum->parts, &sum->n_parts, &sum->parts_room, c->name, part),
            c);
    if (layer > 0)
        add_row(row_of(sum, &sum->layers, &sum->n_layers, &sum->layers_room, c->name,
                       layer),
                c);
    add_change(sum, c);
}

void lvlm_compare_sum_free(lvlm_compare_sum *sum)
{
    lvlm_arena_free(&sum->arena);
    *sum = (lvlm_compare_sum){ 0 };
}

void lvlm_compare_sum_sentence(lvlm_strbuf *out, const lvlm_compare_sum *sum)
{
    const bool one = sum->n_low == 1, equal = sum->least_rank == sum->most_rank;
    char ranks[64];
    if (sum->n_low == 0) return;
    (void)snprintf(ranks, sizeof ranks, "%zu", sum->most_rank);
    if (!equal)
        (void)snprintf(ranks, sizeof ranks, "%zu to %zu", sum->least_rank,
                       sum->most_rank);
    lvlm_strbuf_printf(out, "%zu %s changed by a rank of %s: looks like LoRA r=%zu on ",
                       sum->n_low, one ? "matrix" : "matrices", ranks, sum->most_rank);
    for (size_t i = 0; i < sum->n_words; i++)
        lvlm_strbuf_printf(out, "%s%s", i > 0 ? ", " : "", sum->words[i]);
    if (sum->n_wide > 0)
        lvlm_strbuf_printf(out, "; %zu other tensor%s %s, the first %s", sum->n_wide,
                           sum->n_wide == 1 ? "" : "s",
                           sum->n_wide == 1 ? "differs" : "differ", sum->wide);
}
