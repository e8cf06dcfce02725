/* test_places.c - a replay names the row that is wrong, in every family.
 *
 *   recording -> one row of every stage changed -> replay -> that row is the
 *   worst one of its stage, by index and by name */
#include <inttypes.h>
#include <stdio.h>

#include "formats/base/text.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"
#include "verify/report/report_words.h"

enum { PATH = 512 };

/* ---- planting ------------------------------------------------------------------- */

static size_t count_rows(const lvlm_shape *shape)
{
    size_t n = 1;
    for (size_t i = 0; i + 1 < shape->n; i++) n *= (size_t)shape->dims[i];
    return n;
}

/* A row that is compared, a different one in each stage. */
static size_t choose_row(const lvlm_recording *rec, const lvlm_tensor *t)
{
    const lvlm_rows rows = lvlm_recording_rows(rec, t);
    const size_t n = count_rows(&t->shape);
    size_t row = 5;
    for (const char *c = t->name; *c != '\0'; c++) row = row * 31 + (unsigned char)*c;
    row %= n;
    while (!lvlm_row_counts(&rows, row)) row = (row + 1) % n;
    return row;
}

/* Make all values of a row large. */
static void spoil(unsigned char *bytes, const lvlm_tensor *t, size_t row)
{
    const size_t C = (size_t)t->shape.dims[t->shape.n - 1];
    unsigned char *const at = bytes + t->offset + row * C * sizeof(double);
    assert_int_equal(t->dtype, LVLM_F64);
    for (size_t i = 0; i < C; i++) {
        double x;
        memcpy(&x, at + i * sizeof x, sizeof x);
        x = 2 * x + 1e3;
        memcpy(at + i * sizeof x, &x, sizeof x);
    }
}

static bool has_rows(const lvlm_tensor *t)
{
    return lvlm_recorded_name(t) != NULL && t->shape.n >= 2 &&
           count_rows(&t->shape) > 0 && t->shape.dims[t->shape.n - 1] > 0;
}

/* A copy of a recording with a wrong row in every stage and gradient. */
static void plant(const char *golden, const char *wrong)
{
    lvlm_recording rec;
    lvlm_error err;
    if (lvlm_recording_open(&rec, golden, NULL, &err) < 0) fail_msg("%s", err.text);
    const lvlm_infile *const map = rec.checkpoint->files[0].map;
    unsigned char *const bytes = malloc((size_t)map->n_bytes);
    assert_non_null(bytes);
    memcpy(bytes, map->bytes, (size_t)map->n_bytes);
    for (size_t i = 0; i < rec.checkpoint->n_tensors; i++) {
        const lvlm_tensor *const t = &rec.checkpoint->tensors[i];
        if (has_rows(t)) spoil(bytes, t, choose_row(&rec, t));
    }
    if (lvlm_outfile_save(wrong, bytes, (size_t)map->n_bytes, true, &err) < 0)
        fail_msg("%s", err.text);
    free(bytes);
    lvlm_recording_close(&rec);
}

/* ---- what is reported ----------------------------------------------------------- */

/* An index for each axis but the last, which together are that row. */
static void check_index(const lvlm_place *index, const char *golden,
                        const lvlm_tensor *t, size_t row)
{
    size_t place = 0;
    assert_int_equal(index->n, t->shape.n - 1);
    for (size_t i = 0; i < index->n; i++) {
        assert_true(index->at[i].index < t->shape.dims[i]);
        place = place * (size_t)t->shape.dims[i] + (size_t)index->at[i].index;
    }
    if (place != row)
        fail_msg("%s: %s: row %zu reported, %zu planted", golden, t->name, place, row);
}

static bool has_axis(const lvlm_place *place, const char *axis)
{
    for (size_t i = 0; i < place->n; i++)
        if (strcmp(place->at[i].axis, axis) == 0) return true;
    return false;
}

/* Every stage of the forward pass has its own words for its rows. */
static void check_words(const lvlm_place *place, const char *name)
{
    const bool of_images =
        lvlm_starts_with(name, "vision.") || lvlm_starts_with(name, "connector.");
    if (lvlm_starts_with(name, "grad.")) return;
    if (of_images && !has_axis(place, "image") && !has_axis(place, "video"))
        fail_msg("%s: no image", name);
    if (!of_images && (!has_axis(place, "text") || !has_axis(place, "token")))
        fail_msg("%s: no text or token", name);
}

/* How many stages were checked; gradients too, of a main fixture. */
static size_t check_fixture(scratch *s, const fixture *f)
{
    const lvlm_replay_options options = { .threads = 2, .grads = f->is_main };
    const char *const native = scratch_path(s, "model.lvlm");
    const char *const wrong = scratch_path(s, "wrong.safetensors");
    lvlm_recording rec;
    lvlm_replay r;
    lvlm_error err;
    size_t n = 0;
    native_convert(f->model, native);
    plant(f->golden64, wrong);
    if (lvlm_recording_open(&rec, f->golden64, NULL, &err) < 0 ||
        lvlm_replay_run(&r, native, wrong, &options, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < r.n_stages; i++) {
        const lvlm_replay_stage *const stage = &r.stages[i];
        const lvlm_tensor *const t = lvlm_recording_find(&rec, stage->name);
        lvlm_place index, meaning;
        if (!has_rows(t)) continue;
        assert_true(stage->found.n_worst > 0);
        lvlm_report_place(&index, &meaning, &r, stage, &stage->found.worst[0]);
        check_index(&index, f->golden64, t, choose_row(&rec, t));
        check_words(&meaning, stage->name);
        n++;
    }
    lvlm_replay_free(&r);
    lvlm_recording_close(&rec);
    return n;
}

static void the_planted_row_is_named(void **state)
{
    scratch s;
    fixtures all;
    (void)state;
    scratch_make(&s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        const size_t n_stages = check_fixture(&s, &all.at[i]);
        if (n_stages < 6) fail_msg("%s: %zu stages", all.at[i].name, n_stages);
    }
    fixtures_close(&all);
    scratch_remove(&s);
}

/* ---- places in words ------------------------------------------------------------ */

/* Rows and their places, as the reference's own code for windows orders them. */
static const struct {
    const char *fixture, *stage;
    size_t row;
    const char *place;
} known[] = {
    { "paligemma-odd", "vision.blocks.0", 6, "image 1, patch 2" },
    { "paligemma-odd", "connector.out", 11, "image 2, patch 3" },
    { "paligemma-odd", "text.norm", 37, "text 1, token 12" },
    { "qwen_vl-odd", "vision.out", 35, "image 2, patch 3" },
    { "qwen_vl-odd", "connector.attn", 13, "image 1, query 4" },
    { "qwen_vl-odd", "connector.out", 26, "image 2, query 8" },
    { "qwen2_vl-odd", "vision.patches", 39, "image 2, row 1, column 1" },
    { "qwen2_vl-odd", "vision.blocks.0", 73, "image 4, row 4, column 3" },
    { "qwen2_vl-odd", "connector.norm", 7, "image 0, row 1, column 3" },
    { "qwen2_vl-odd", "connector.out", 18, "image 4, row 2, column 1" },
    { "qwen2_vl-video", "vision.blocks.0", 59, "video 1, frame 0, row 1, column 5" },
    { "qwen2_vl-video", "connector.out", 28, "video 2, frame 3, row 0, column 1" },
    { "qwen2_5_vl-odd", "vision.patches", 14, "image 0, row 3, column 0" },
    { "qwen2_5_vl-odd", "vision.blocks.0", 14, "image 0, row 3, column 2" },
    { "qwen2_5_vl-odd", "vision.blocks.3", 17, "image 0, row 0, column 5" },
    { "qwen2_5_vl-odd", "connector.norm", 11, "image 0, row 3, column 1" },
    { "qwen2_5_vl-odd", "connector.out", 4, "image 0, row 0, column 2" },
    { "qwen2_5_vl-video", "vision.patches", 38, "video 0, frame 1, row 3, column 0" },
    { "qwen2_5_vl-video", "vision.blocks.1", 38, "video 0, frame 1, row 3, column 2" },
    { "qwen2_5_vl-video", "connector.out", 16, "video 0, frame 2, row 0, column 2" },
    { "mllama-odd", "vision.patches", 57, "text 1, image 1, tile 2, patch 1" },
    { "mllama-odd", "vision.embed", 63, "text 1, image 1, tile 0, patch 3" },
    { "mllama-odd", "vision.blocks.3", 116, "text 1, image 1, tile 2, patch 4" },
    { "mllama-odd", "vision.global_blocks.1", 33, "text 0, image 1, tile 0, patch 1" },
    { "mllama-odd", "vision.out", 83, "text 2, image 0, tile 0, patch 3" },
    { "mllama-odd", "connector.out", 119, "text 2, image 1, tile 3, patch 4" },
    { "mllama-odd", "text.blocks.1", 23, "text 1, token 3" },
};

static void check_place(const lvlm_replay *r, size_t i)
{
    char text[PATH] = "";
    lvlm_place index, meaning;
    const lvlm_replay_stage *stage = NULL;
    for (size_t k = 0; k < r->n_stages; k++)
        if (strcmp(r->stages[k].name, known[i].stage) == 0) stage = &r->stages[k];
    if (stage == NULL) fail_msg("%s: no %s", known[i].fixture, known[i].stage);
    lvlm_place_of(&index, &meaning, &r->places, stage->name, &stage->got, known[i].row);
    for (size_t k = 0, at = 0; k < meaning.n; k++)
        at += (size_t)snprintf(text + at, PATH - at, "%s%s %" PRIu64, k > 0 ? ", " : "",
                               meaning.at[k].axis, meaning.at[k].index);
    if (strcmp(text, known[i].place) != 0)
        fail_msg("%s: %s: row %zu is at %s, expected %s", known[i].fixture,
                 known[i].stage, known[i].row, text, known[i].place);
}

static void a_row_is_an_image_and_a_place_in_it(void **state)
{
    const lvlm_replay_options options = { .threads = 2 };
    scratch scratch_dir, *const s = &scratch_dir;
    lvlm_replay replay = { .model = NULL };
    (void)state;
    scratch_make(s);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (i == 0 || strcmp(known[i].fixture, known[i - 1].fixture) != 0) {
            char path[PATH];
            lvlm_error err;
            if (i > 0) lvlm_replay_free(&replay);
            (void)snprintf(path, PATH, LVLM_FIXTURES "/%s/model", known[i].fixture);
            native_convert(path, scratch_path(s, "model.lvlm"));
            (void)snprintf(path, PATH, LVLM_FIXTURES "/%s/golden64.safetensors",
                           known[i].fixture);
            if (lvlm_replay_run(&replay, scratch_path(s, "model.lvlm"), path, &options,
                                &err) < 0)
                fail_msg("%s", err.text);
        }
        check_place(&replay, i);
    }
    lvlm_replay_free(&replay);
    scratch_remove(s);
}

/* In a connector that pools the patches of square images. */
static void a_pooled_row_is_not_a_patch(void **state)
{
    static const lvlm_places places = { .form = LVLM_IMAGES_SQUARES, .pools = true };
    static const lvlm_shape shape = { 3, { 2, 4, 8 } };
    static const char *const stages[][2] = { { "vision.out", "patch" },
                                             { "connector.norm", "patch" },
                                             { "connector.out", "row" } };
    (void)state;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        lvlm_place index, meaning;
        lvlm_place_of(&index, &meaning, &places, stages[i][0], &shape, 6);
        assert_int_equal(meaning.n, 2);
        assert_string_equal(meaning.at[0].axis, "image");
        assert_string_equal(meaning.at[1].axis, stages[i][1]);
        assert_int_equal(meaning.at[1].index, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_planted_row_is_named),
        cmocka_unit_test(a_row_is_an_image_and_a_place_in_it),
        cmocka_unit_test(a_pooled_row_is_not_a_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
