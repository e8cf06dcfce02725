/* test_shapes.c - shapes are text in the families' tables: every one of them resolves,
 * for every config.json of the fixtures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "formats/family/npz_names.h"

enum { MOST_ROWS = 4096 };

/* Rows of all families that some configuration resolved. */
static struct {
    const lvlm_family *family;
    const lvlm_row *row;
} resolved[MOST_ROWS];
static size_t n_resolved;

static bool is_resolved(const lvlm_family *family, const lvlm_row *row)
{
    for (size_t i = 0; i < n_resolved; i++)
        if (resolved[i].family == family && resolved[i].row == row) return true;
    return false;
}

static void add_resolved(const lvlm_family *family, const lvlm_row *row)
{
    if (is_resolved(family, row)) return;
    assert_true(n_resolved < MOST_ROWS);
    resolved[n_resolved].family = family;
    resolved[n_resolved++].row = row;
}

/* All places of one tensor in an .npz. */
static void resolve_places(const lvlm_manifest *m, const lvlm_target *t,
                           lvlm_arena *arena)
{
    const char *key;
    lvlm_storage place;
    lvlm_error err;
    for (size_t at = 0; m->family->npz != NULL; at++) {
        assert_int_equal(lvlm_npz_place(&key, &place, at, m->family, t->section, t->row,
                                        t->block, m->config, arena, &err),
                         0);
        if (key == NULL) return;
        assert_true(place.shape.n > 0);
    }
}

/* A checkpoint without tensors: everything is missing, but has a shape. */
static void resolve_all(cJSON *hf)
{
    const lvlm_checkpoint empty = { .kind = LVLM_CHECKPOINT_HF,
                                    .path = "empty",
                                    .config = hf };
    lvlm_manifest m;
    lvlm_error err;
    assert_int_equal(lvlm_manifest_build(&m, &empty, &err), 0);
    for (size_t i = 0; i < m.n_targets; i++) {
        add_resolved(m.family, m.targets[i].row);
        resolve_places(&m, &m.targets[i], &m.arena);
    }
    lvlm_manifest_free(&m);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
    lvlm_infile *file;
    cJSON *hf = NULL;
    lvlm_error err;
    (void)st;
    if (type != FTW_F || strcmp(path + at->base, "config.json") != 0) return 0;
    if (strstr(path, "/parts/") != NULL) return 0; /* not of a whole model */
    assert_int_equal(lvlm_infile_open(&file, path, &err), 0);
    assert_int_equal(
        lvlm_json_parse(&hf, (const char *)file->bytes, (size_t)file->n_bytes, &err),
        0);
    resolve_all(hf);
    lvlm_json_free(hf);
    lvlm_infile_close(file);
    return 0;
}

static void check_part(const lvlm_family *family, const lvlm_model_part *part)
{
    for (const lvlm_section *s = part->sections; s->native != NULL; s++)
        for (const lvlm_row *row = s->rows; row->native != NULL; row++) {
            if (!is_resolved(family, row))
                print_error("%s: %s%s: no configuration has it\n", family->name,
                            s->native, row->native);
            assert_true(is_resolved(family, row));
        }
}

static void every_row_resolves(void **state)
{
    (void)state;
    assert_int_equal(nftw(LVLM_FIXTURES, visit, 16, FTW_PHYS), 0);
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++)
        for (const lvlm_root *r = (*f)->roots; r->native != NULL; r++)
            for (const lvlm_model_part *p = r->parts; p->sections != NULL; p++)
                check_part(*f, p);
}

static bool resolves(lvlm_shape *out, const char *text)
{
    static const char json[] =
        "{\"text\":{\"hidden\":12,\"heads\":4294967296,\"name\":\"x\"}}";
    cJSON *config = NULL;
    lvlm_error err;
    assert_int_equal(lvlm_json_parse(&config, json, strlen(json), &err), 0);
    const bool ok = lvlm_shape_resolve(out, text, config);
    lvlm_json_free(config);
    return ok;
}

static void products_and_commas_are_parsed(void **state)
{
    lvlm_shape shape;
    (void)state;
    assert_true(resolves(&shape, "1"));
    assert_true(shape.n == 1 && shape.dims[0] == 1);
    assert_true(resolves(&shape, "3*text.hidden, text.hidden, 2*2*2"));
    assert_int_equal(shape.n, 3);
    assert_true(shape.dims[0] == 36 && shape.dims[1] == 12 && shape.dims[2] == 8);
}

static void shapes_with_a_missing_setting_do_not_resolve(void **state)
{
    lvlm_shape shape;
    (void)state;
    assert_false(resolves(&shape, "text.hidden, text.mlp"));
    assert_false(resolves(&shape, "text.name"));
    assert_false(resolves(&shape, "text.heads*text.heads"));
    assert_false(resolves(&shape, "3 text.hidden")); /* neither '*' nor ',' */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_resolves),
        cmocka_unit_test(products_and_commas_are_parsed),
        cmocka_unit_test(shapes_with_a_missing_setting_do_not_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
