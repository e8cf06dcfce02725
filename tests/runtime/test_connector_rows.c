/* test_connector_rows.c - which rows of a tower a connector reads, whatever the tower's
 * order; the expected rows are computed here. */
#include "tests/runtime/combination.h"

/* A weight of the model and its width. */
static const float *weight(const fixture *f, const char *name)
{
    const lvlm_target *const t = lvlm_manifest_find(&f->model.manifest, name);
    assert_non_null(t);
    return (const float *)(const void *)t->here.tensor->data;
}

static void dense(double *y, const fixture *f, const char *name, const double *x,
                  size_t in, size_t out)
{
    char full[64];
    (void)snprintf(full, sizeof full, "connector.%s.weight", name);
    const float *const w = weight(f, full);
    (void)snprintf(full, sizeof full, "connector.%s.bias", name);
    const float *const b = weight(f, full);
    for (size_t o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (size_t i = 0; i < in; i++) y[o] += (double)w[o * in + i] * x[i];
    }
}

/* The merger's output for a square of four rows of the tower. */
static void merge(double *y, const fixture *f, const double *const rows[4])
{
    enum { SQUARE = 4 * WIDTH };
    double x[SQUARE], pre[SQUARE];
    const float *const w = weight(f, "connector.norm.weight");
    const float *const b = weight(f, "connector.norm.bias");
    for (size_t k = 0; k < 4; k++) {
        double mean = 0, square = 0;
        for (size_t c = 0; c < WIDTH; c++) mean += rows[k][c] / WIDTH;
        for (size_t c = 0; c < WIDTH; c++)
            square += (rows[k][c] - mean) * (rows[k][c] - mean) / WIDTH;
        for (size_t c = 0; c < WIDTH; c++)
            x[k * WIDTH + c] =
                (rows[k][c] - mean) / sqrt(square + 1e-6) * (double)w[c] + (double)b[c];
    }
    dense(pre, f, "fc1", x, SQUARE, SQUARE);
    for (size_t i = 0; i < SQUARE; i++) pre[i] *= 0.5 * (1 + erf(pre[i] / sqrt(2)));
    dense(y, f, "fc2", pre, SQUARE, text_width(f));
}

/* Row number k of image i of the text is y. */
static void assert_row(const fixture *f, const lvlm_stage_list *list, size_t i,
                       size_t k, const double *y)
{
    const size_t C = text_width(f);
    const double *const got = stage(list, "text.embed") + (f->at[i] + k) * C;
    for (size_t c = 0; c < C; c++)
        if (!(fabs(got[c] - y[c]) < 1e-9)) /* observed 4e-16 */
            fail_msg("image %zu, row %zu: got %f, expected %f", i, k, got[c], y[c]);
}

/* Which of a tower's rows is the patch (y, x) of image i. Qwen's are ordered by
 * squares. */
static size_t row_of_patch(tower t, size_t i, size_t y, size_t x)
{
    static const size_t place[6] = { 0, 1, 4, 2, 3, 5 }; /* where square q is */
    const size_t columns = i == 0 ? 3 : 2, square = y / 2 * columns + x / 2;
    const size_t windowed = t == QWEN2_5 && i == 0 ? place[square] : square;
    return i * 24 + windowed * 4 + y % 2 * 2 + x % 2;
}

static void linear_reads_patches_row_by_row_whatever_their_order(void **state)
{
    static const tower towers[] = { QWEN2, QWEN2_5 };
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        fixture f;
        make(&f, towers[n], LINEAR, GEMMA, 16);
        lvlm_stage_list list = run(&f);
        const double *const rows = stage(&list, "vision.blocks.1");
        for (size_t i = 0; i < 2; i++)
            for (size_t k = 0; k < f.rows[i]; k++) {
                double y[64];
                const size_t columns = i == 0 ? 6 : 4;
                const size_t from =
                    row_of_patch(towers[n], i, k / columns, k % columns);
                dense(y, &f, "proj", rows + from * WIDTH, WIDTH, text_width(&f));
                assert_row(&f, &list, i, k, y);
            }
        lvlm_stage_list_free(&list);
        unmake(&f);
    }
}

static void merger_reads_squares_from_a_tower_that_gives_rows(void **state)
{
    fixture f;
    (void)state;
    make(&f, SIGLIP, MERGER, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++) {
        const double *const rows = stage(&list, "vision.out") + i * 16 * WIDTH;
        for (size_t k = 0; k < 4; k++) {
            const size_t corner = k / 2 * 8 + k % 2 * 2;
            const double *const square[4] = { rows + corner * WIDTH,
                                              rows + (corner + 1) * WIDTH,
                                              rows + (corner + 4) * WIDTH,
                                              rows + (corner + 5) * WIDTH };
            double y[64];
            merge(y, &f, square);
            assert_row(&f, &list, i, k, y);
        }
    }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* Squares of another side than the tower's own give other numbers of rows. */
static void linear_gives_as_many_rows_as_there_are_patches(void **state)
{
    fixture f;
    (void)state;
    make(&f, OPENCLIP, LINEAR, GEMMA, 24);
    assert_int_equal(f.rows[0], 36);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 36; k++) {
            double y[64];
            dense(y, &f, "proj", stage(&list, "vision.out") + (i * 36 + k) * WIDTH,
                  WIDTH, text_width(&f));
            assert_row(&f, &list, i, k, y);
        }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* y = LN x of one row, weights by `name` */
static void layer_norm(double *y, const fixture *f, const char *name, const double *x,
                       double eps)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *const w = weight(f, full);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const float *const b = weight(f, full);
    double mean = 0, square = 0;
    for (size_t c = 0; c < WIDTH; c++) mean += x[c] / WIDTH;
    for (size_t c = 0; c < WIDTH; c++) square += (x[c] - mean) * (x[c] - mean) / WIDTH;
    for (size_t c = 0; c < WIDTH; c++)
        y[c] = (x[c] - mean) / sqrt(square + eps) * (double)w[c] + (double)b[c];
}

static void mlp_equals_two_maps(void **state)
{
    fixture f;
    (void)state;
    make(&f, SIGLIP, MLP, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 16; k++) {
            double pre[INNER], y[64];
            const size_t row = i * 16 + k;
            const double *const got = stage(&list, "connector.linear_1") + row * INNER;
            dense(pre, &f, "fc1", stage(&list, "vision.out") + row * WIDTH, WIDTH,
                  INNER);
            for (size_t c = 0; c < INNER; c++) {
                assert_true(fabs(got[c] - pre[c]) < 1e-9); /* observed 3e-16 */
                pre[c] *= 0.5 * (1 + erf(pre[c] / sqrt(2)));
            }
            dense(y, &f, "fc2", pre, INNER, text_width(&f));
            assert_row(&f, &list, i, k, y);
        }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* Row r of image i of a stage with 17 rows per image. */
static const double *row_of(const lvlm_stage_list *list, const char *name, size_t i,
                            size_t r)
{
    return stage(list, name) + (i * 17 + r) * WIDTH;
}

static void class_row_is_first_and_may_be_left_out(void **state)
{
    fixture f;
    (void)state;
    make(&f, CLIP, LINEAR, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    const float *const class_row = weight(&f, "vision.class");
    const float *const positions = weight(&f, "vision.positions.weight");
    for (size_t n = 0; n < (size_t)2 * 17; n++) {
        const size_t i = n / 17, r = n % 17;
        const size_t patch = r > 0 ? i * 16 + r - 1 : 0;
        const double *const x = stage(&list, "vision.patches") + patch * WIDTH;
        double e[WIDTH], expected[WIDTH];
        for (size_t c = 0; c < WIDTH; c++)
            e[c] = (r == 0 ? (double)class_row[c] : x[c]) +
                   (double)positions[r * WIDTH + c];
        layer_norm(expected, &f, "vision.norm_pre", e, 1e-6);
        for (size_t c = 0; c < WIDTH; c++) /* observed 9e-16 */
            assert_true(fabs(row_of(&list, "vision.embed", i, r)[c] - expected[c]) <
                        1e-9);
        if (r > 0)
            assert_memory_equal(stage(&list, "vision.out") + (i * 16 + r - 1) * WIDTH,
                                row_of(&list, "vision.blocks.1", i, r),
                                WIDTH * sizeof(double));
    }
    assert_null(lvlm_stage_list_find(&list, "vision.blocks.2"));
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* Two images, each of 17 rows of two states in the text. */
static void states_are_side_by_side_and_class_rows_may_stay(void **state)
{
    fixture f;
    (void)state;
    make(&f, CLIP, LINEAR, GEMMA, 16);
    synthetic_free(&f.batch);
    f.rows[0] = f.rows[1] = 17;
    put_pixels(&f, CLIP, 16);
    put_text(&f, GEMMA);
    composed_settings(f.model.manifest.config,
                      "{\"vision\": {\"select\": [3, 0], \"select_rows\": \"all\","
                      "\"out\": 24}}");
    composed_add(&f.model, "connector.proj.weight",
                 (lvlm_shape){ 2, { text_width(&f), (uint64_t)2 * WIDTH } });
    lvlm_stage_list list = run(&f);
    const float *const w = weight(&f, "connector.proj.weight");
    const float *const b = weight(&f, "connector.proj.bias");
    for (size_t n = 0; n < (size_t)2 * 17; n++) {
        const double *const out = stage(&list, "vision.out") + n * 2 * WIDTH;
        double y[64];
        assert_memory_equal(out, row_of(&list, "vision.blocks.2", 0, n),
                            WIDTH * sizeof *out);
        assert_memory_equal(out + WIDTH, row_of(&list, "vision.embed", 0, n),
                            WIDTH * sizeof *out);
        for (size_t o = 0; o < text_width(&f); o++) {
            y[o] = (double)b[o];
            for (size_t c = 0; c < (size_t)2 * WIDTH; c++)
                y[o] += (double)w[o * 2 * WIDTH + c] * out[c];
        }
        assert_row(&f, &list, n / 17, n % 17, y);
    }
    assert_slope(&f, "vision.", "two states");
    assert_slope(&f, "connector.", "two states");
    lvlm_stage_list_free(&list);
    unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_reads_patches_row_by_row_whatever_their_order),
        cmocka_unit_test(merger_reads_squares_from_a_tower_that_gives_rows),
        cmocka_unit_test(linear_gives_as_many_rows_as_there_are_patches),
        cmocka_unit_test(mlp_equals_two_maps),
        cmocka_unit_test(class_row_is_first_and_may_be_left_out),
        cmocka_unit_test(states_are_side_by_side_and_class_rows_may_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
