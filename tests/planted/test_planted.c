/* test_planted.c - mistakes of conversions, planted in every family that can have them:
 * none passes, each is at its stage, and verify/PLANTED.md says so. See README.md.
 *
 *   planted FAMILY        the family's rows of the page are those of a fresh run
 *   planted page          the page has every kind and no other, and is as written
 *   UPDATE=1 planted      writes the page */
#include <stdio.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "tests/convert/converted.h"
#include "tests/planted/outcome.h"
#include "tests/planted/planted_page.h"

static const kind *const lists[] = { weight_kinds, setting_kinds };
enum { LISTS = sizeof lists / sizeof *lists };

/* Families as the page has them: models that are composed count as one more. */
static const char *const families[] = { "qwen_vl",   "qwen2_vl",   "qwen2_5_vl",
                                        "paligemma", "paligemma2", "mllama",
                                        "llava",     "composed" };
enum { FAMILIES = sizeof families / sizeof *families };

static const char *wanted; /* a family; "page"; NULL: all */
static size_t n_wrong;
/* Causes that were named by undoing mistakes, and how many were undone for that. */
static size_t n_named[FAMILIES], n_tried[FAMILIES];

#define WRONG(...) (print_error(__VA_ARGS__), n_wrong++)

static const char *family_of(const fixture *f)
{
    return strncmp(f->name, "composed-", strlen("composed-")) == 0 ? "composed"
                                                                   : f->family->name;
}

/* ---- one kind in one family ------------------------------------------------------ */

static const char *why_blind(const kind *k, const char *family)
{
    for (const blind_pair *b = blind_pairs; b->kind != NULL; b++)
        if (lvlm_matches_listed(b->kind, k->name) &&
            (b->families == NULL || lvlm_matches_listed(b->families, family)))
            return b->why;
    return NULL;
}

/* In the order in which fixtures are tried: the main one, then short ones. */
static int rank(const fixture *f)
{
    return f->is_main ? 0 : f->is_long ? 2 : 1;
}

/* The first fixture whose stages show it, or else whose gradients do. */
static outcome best_of(const kind *k, const char *family, const fixtures *all,
                       scratch *s)
{
    outcome best = { .by = NOT_PLANTED, .cause = name_none() };
    for (int order = 0; order <= 2; order++)
        for (size_t i = 0; i < all->n && best.by < CAUGHT_BY_REFUSAL; i++) {
            const fixture *const f = &all->at[i];
            if (rank(f) != order || strcmp(family_of(f), family) != 0) continue;
            const outcome o = plant_and_replay(k, f, s);
            if (o.by > best.by) best = o;
        }
    return best;
}

static void add(page *p, const kind *k, size_t of, const fixtures *all, scratch *s)
{
    const char *const family = families[of];
    static const char *const by[] = { [CAUGHT_BY_GRADS] = "gradients",
                                      [CAUGHT_BY_REFUSAL] = "inputs",
                                      [CAUGHT_BY_HF2NATIVE] = "hf2native",
                                      [CAUGHT_BY_REPLAY] = "replay" };
    const outcome o = best_of(k, family, all, s);
    const char *const why = why_blind(k, family);
    char cells[PAGE_CELL];
    if (o.by == NOT_PLANTED || (o.by == NOT_READ && why == NULL)) return;
    if (o.by <= CAUGHT_BY_NOTHING) {
        if (why != NULL)
            page_add(p, k->name, family, why, true);
        else
            WRONG("%s: %s: missed\n", family, k->name);
        return;
    }
    if (why != NULL) WRONG("%s: %s: is shown after all\n", family, k->name);
    if (!o.is_expected)
        WRONG("%s: %s: is of %s, not of %s\n", o.in->name, k->name, o.stage,
              o.expected);
    if (o.cause.is_wrong)
        WRONG("%s: %s: the cause is not %s\n", o.in->name, k->name, o.cause.text);
    n_named[of] += o.cause.n_undone > 0;
    n_tried[of] += o.cause.n_undone > 0 ? o.cause.n_tried : 0;
    const bool has_stage = o.stage[0] != '\0';
    (void)snprintf(cells, sizeof cells, "%s | %s | %s | %s", by[o.by],
                   has_stage ? o.stage : "-", has_stage ? o.size : "-", o.cause.text);
    page_add(p, k->name, family, cells, false);
}

/* The rows of a family, or of all of them. */
static void plant_all(page *p, const fixtures *all)
{
    scratch s;
    scratch_make(&s);
    page_make(p);
    for (size_t l = 0; l < LISTS; l++)
        for (const kind *k = lists[l]; k->name != NULL; k++)
            for (size_t i = 0; i < FAMILIES; i++)
                if (wanted == NULL || strcmp(wanted, families[i]) == 0)
                    add(p, k, i, all, &s);
    for (size_t i = 0; i < FAMILIES; i++)
        if (n_named[i] > 0) page_add_tries(p, families[i], n_tried[i] / n_named[i]);
    scratch_remove(&s);
}

/* ---- the page -------------------------------------------------------------------- */

static const char *text_of(const page_row *row)
{
    return row != NULL ? row->outcome : "no row";
}

/* A try more or less may be rounding. */
static void check_tries(const page *fresh, const page *read)
{
    const size_t is = page_find_tries(fresh, wanted);
    const size_t was = page_find_tries(read, wanted);
    if (is > was + 1 || was > is + 1)
        WRONG("%s: %zu tries; the page says: %zu\n", wanted, is, was);
}

/* What the page says of a family is what the run has shown. */
static void a_family_is_as_the_page_says(void **state)
{
    page fresh, read;
    plant_all(&fresh, *state);
    page_read(&read, LVLM_PLANTED_PAGE);
    for (size_t l = 0; l < LISTS; l++)
        for (const kind *k = lists[l]; k->name != NULL; k++) {
            const page_row *const is = page_find(&fresh, k->name, wanted);
            const page_row *const was = page_find(&read, k->name, wanted);
            if (strcmp(text_of(is), text_of(was)) != 0)
                WRONG("%s: %s: %s; the page says: %s\n", wanted, k->name, text_of(is),
                      text_of(was));
        }
    check_tries(&fresh, &read);
    page_free(&fresh);
    page_free(&read);
    if (n_wrong > 0) fail_msg("%zu differ: see the head of test_planted.c", n_wrong);
}

/* The README tells how many there are. */
static void check_readme(const page *p)
{
    char count[PAGE_CELL];
    char *const text = page_file(LVLM_PLANTED_README);
    (void)snprintf(count, sizeof count, "%zu kinds of errors", page_kinds(p));
    if (strstr(text, count) == NULL) fail_msg("README.md: no '%s'", count);
    free(text);
}

static bool is_kind(const char *name)
{
    for (size_t l = 0; l < LISTS; l++)
        for (const kind *k = lists[l]; k->name != NULL; k++)
            if (strcmp(k->name, name) == 0) return true;
    return false;
}

/* Its figures are those of its rows, and its rows those of the tables. */
static void the_page_is_as_it_was_written(void **state)
{
    page read;
    (void)state;
    page_read(&read, LVLM_PLANTED_PAGE);
    char *const is = page_file(LVLM_PLANTED_PAGE), *const text = page_text(&read);
    assert_string_equal(is, text);
    free(is);
    lvlm_free(text);
    check_readme(&read);
    for (size_t i = 0; i < read.n; i++)
        if (!is_kind(read.rows[i].kind)) fail_msg("no kind %s", read.rows[i].kind);
    for (size_t l = 0; l < LISTS; l++)
        for (const kind *k = lists[l]; k->name != NULL; k++) {
            size_t n = 0;
            for (size_t i = 0; i < FAMILIES; i++)
                n += page_find(&read, k->name, families[i]) != NULL;
            if (n == 0) fail_msg("%s: no family has it", k->name);
        }
    page_free(&read);
}

/* Every setting that config.json may have is planted. */
static void every_setting_is_planted(void **state)
{
    const fixtures *const all = *state;
    for (size_t i = 0; i < all->n; i++) {
        const lvlm_setting *setting;
        plant p;
        plant_open(&p, all->at[i].model);
        lvlm_setting_walk walk = { .config = p.manifest.config,
                                   .table = p.manifest.family->settings };
        while ((setting = lvlm_setting_next(&walk)) != NULL) {
            bool planted = setting->paths == NULL;
            for (const kind *k = setting_kinds; k->name != NULL; k++) {
                const size_t n = strcspn(k->settings, "=*/+<!");
                planted |= strlen(setting->canonical) == n &&
                           strncmp(k->settings, setting->canonical, n) == 0;
            }
            if (!planted) fail_msg("%s: is in no kind", setting->canonical);
        }
        plant_close(&p);
    }
}

static void the_page_is_written(void **state)
{
    page fresh;
    lvlm_error err;
    plant_all(&fresh, *state);
    char *const text = page_text(&fresh);
    if (lvlm_outfile_save(LVLM_PLANTED_PAGE, text, strlen(text), true, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_free(text);
    page_free(&fresh);
    if (n_wrong > 0) fail_msg("%zu are wrong", n_wrong);
}

static int setup(void **state)
{
    static fixtures all;
    fixtures_open(&all);
    *state = &all;
    return 0;
}

static int teardown(void **state)
{
    fixtures_close(*state);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest of_family[] = { cmocka_unit_test(
        a_family_is_as_the_page_says) };
    const struct CMUnitTest of_page[] = {
        cmocka_unit_test(the_page_is_as_it_was_written),
        cmocka_unit_test(every_setting_is_planted),
    };
    const struct CMUnitTest update[] = { cmocka_unit_test(the_page_is_written) };
    wanted = argc > 1 ? argv[1] : NULL;
    if (wanted == NULL && getenv("UPDATE") == NULL) {
        print_error("planted FAMILY|page, or UPDATE=1\n");
        return 2;
    }
    if (wanted == NULL) return cmocka_run_group_tests(update, setup, teardown);
    if (strcmp(wanted, "page") == 0)
        return cmocka_run_group_tests(of_page, setup, teardown);
    return cmocka_run_group_tests(of_family, setup, teardown);
}
