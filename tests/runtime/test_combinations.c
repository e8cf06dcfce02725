/* test_combinations.c - towers, connectors and decoders of different families in one
 * model: the right rows, or a refusal that names both. */
#include "tests/runtime/combination.h"

/* ---- positions and cross-attention ---------------------------------------------- */

static double largest_difference(const lvlm_stage_list *a, const lvlm_stage_list *b,
                                 const char *name, size_t n)
{
    const double *const x = stage(a, name), *const y = stage(b, name);
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i] - y[i]));
    return most;
}

/* The positions that Qwen2-VL gives an image of this many rows and columns. */
static void three_axes_follow_the_rows_of_squares(void **state)
{
    (void)state;
    for (connector c = LINEAR; c < N_CONNECTORS; c++) {
        fixture f;
        int64_t at[3][MOST_TOKENS], next = 0;
        const size_t side = c == LINEAR || c == MLP ? 4 : 2;
        make(&f, SIGLIP, c, QWEN2_TEXT, 16);
        lvlm_stage_list ours = run(&f);
        for (size_t n = 0, i = 0; n < f.n_tokens; i++) {
            const size_t end = i < 2 ? f.at[i] : f.n_tokens;
            for (; n < end; n++) at[0][n] = at[1][n] = at[2][n] = next++;
            for (size_t k = 0; i < 2 && k < side * side; k++, n++) {
                at[0][n] = next;
                at[1][n] = next + (int64_t)(k / side);
                at[2][n] = next + (int64_t)(k % side);
            }
            next += (int64_t)side;
        }
        int64_t given[3 * MOST_TOKENS];
        const lvlm_shape shape = { 3, { 3, 1, f.n_tokens } };
        for (size_t axis = 0; axis < 3; axis++)
            memcpy(given + axis * f.n_tokens, at[axis], f.n_tokens * sizeof *given);
        synthetic_put(&f.batch, "position_ids", LVLM_I64, &shape, given);
        lvlm_stage_list theirs = run(&f);
        assert_true(largest_difference(&ours, &theirs, "logits", f.n_tokens * 60) == 0);
        lvlm_stage_list_free(&theirs);
        lvlm_stage_list_free(&ours);
        unmake(&f);
    }
}

/* A square image is one tile: hiding it by the mask equals leaving it out. */
static void cross_attention_treats_squares_as_tiles(void **state)
{
    const tower towers[] = { SIGLIP, OPENCLIP, CLIP };
    (void)state;
    for (size_t n = 0; n < 3 * N_CONNECTORS; n++) {
        int64_t mask[2 * MOST_TOKENS];
        const lvlm_shape first = { 4, { 1, 3, 16, 16 } };
        fixture f;
        make(&f, towers[n % 3], (connector)(n / 3), LLAMA, 16);
        const lvlm_shape shape = { 4, { 1, f.n_tokens, 2, 1 } };
        const size_t n_logits = f.n_tokens * 60;
        lvlm_stage_list both = run(&f);
        for (size_t i = 0; i < 2 * f.n_tokens; i++) mask[i] = 1;
        synthetic_put(&f.batch, "cross_attention_mask", LVLM_I64, &shape, mask);
        lvlm_stage_list shown = run(&f);
        assert_true(largest_difference(&both, &shown, "logits", n_logits) == 0);
        for (size_t i = 0; i < f.n_tokens; i++) mask[2 * i + 1] = 0;
        synthetic_put(&f.batch, "cross_attention_mask", LVLM_I64, &shape, mask);
        lvlm_stage_list hidden = run(&f);
        assert_true(largest_difference(&both, &hidden, "logits", n_logits) > 1e-6);
        unmake(&f);
        make(&f, towers[n % 3], (connector)(n / 3), LLAMA, 16);
        const lvlm_tensor *const two =
            lvlm_checkpoint_find(&f.batch.checkpoint, "pixel_values");
        synthetic_put(&f.batch, "pixel_values", LVLM_F32, &first, two->data);
        lvlm_stage_list one = run(&f);
        assert_true(largest_difference(&one, &hidden, "logits", n_logits) < 1e-12);
        lvlm_stage_list_free(&one);
        lvlm_stage_list_free(&hidden);
        lvlm_stage_list_free(&shown);
        lvlm_stage_list_free(&both);
        unmake(&f);
    }
}

/* ---- texts that continue --------------------------------------------------------- */

/* Reading all tokens except the last, then the last, gives the logits of one pass. */
static void assert_continues(fixture *f, const char *names)
{
    static const char *const of_tokens[] = { "input_ids", "labels", "token_type_ids" };
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 1 };
    const size_t last = f->n_tokens - 1;
    lvlm_model *model = NULL;
    lvlm_session *session = NULL;
    lvlm_error err = { .text = "" };
    int64_t id = 0;
    lvlm_stage_list all = run(f);
    for (size_t i = 0; i < sizeof of_tokens / sizeof *of_tokens; i++) {
        const lvlm_tensor *const t =
            lvlm_checkpoint_find(&f->batch.checkpoint, of_tokens[i]);
        if (t == NULL) continue;
        const int64_t *const values = (const int64_t *)(const void *)t->data;
        if (i == 0) id = values[last];
        synthetic_put_integers(&f->batch, of_tokens[i], 1, last, values);
    }
    if (lvlm_model_bind(&model, &f->model.manifest, &options, &err) < 0 ||
        lvlm_session_begin(&session, model, &f->batch.checkpoint, "", NULL, &err) < 0 ||
        lvlm_session_step(session, id, &err) < 0)
        fail_msg("%s: %s", names, err.text);
    const lvlm_tensor logits = lvlm_session_logits(session);
    const double *const got = (const double *)(const void *)logits.data;
    const double *const expected = stage(&all, "logits") + last * 60;
    for (size_t i = 0; i < 60; i++)
        if (!(fabs(got[i] - expected[i]) < 1e-9)) /* observed 9e-16 */
            fail_msg("%s: got %f, expected %f", names, got[i], expected[i]);
    lvlm_session_end(session);
    lvlm_model_free(model);
    lvlm_stage_list_free(&all);
}

/* ---- windows --------------------------------------------------------------------- */

/* Windows limit trained tokens in the listed blocks. */
static void a_window_is_in_the_blocks_that_have_one(void **state)
{
    static const struct {
        const char *settings;
        bool changes[2]; /* leaving each block */
    } cases[] = {
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": []}}", { 0, 0 } },
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": [1]}}", { 0, 1 } },
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": [0]}}", { 1, 1 } },
        { "{\"text\": {\"sliding_window\": 99, \"window_layers\": [0, 1]}}", { 0, 0 } },
        { "{\"text\": {\"sliding_window\": 3}}", { 1, 1 } }, /* even blocks */
    };
    fixture plain;
    (void)state;
    make(&plain, SIGLIP, LINEAR, GEMMA, 16);
    lvlm_stage_list all = run(&plain);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        make(&f, SIGLIP, LINEAR, GEMMA, 16);
        composed_settings(f.model.manifest.config, cases[i].settings);
        lvlm_stage_list list = run(&f);
        for (size_t b = 0; b < 2; b++) {
            const char *const name = b == 0 ? "text.blocks.0" : "text.blocks.1";
            const double most =
                largest_difference(&list, &all, name, f.n_tokens * text_width(&f));
            if ((most > 1e-6) != cases[i].changes[b])
                fail_msg("case %zu, %s: differs by %g", i, name, most);
        }
        assert_slope(&f, "text.", cases[i].settings);
        assert_continues(&f, cases[i].settings);
        lvlm_stage_list_free(&list);
        unmake(&f);
    }
    lvlm_stage_list_free(&all);
    unmake(&plain);
}

/* ---- all of them ---------------------------------------------------------------- */

static bool computes(tower t, connector c, text x)
{
    if (t == TILES) return (c == LINEAR || c == MLP) && x == LLAMA;
    return !has_grids(t) || (c != RESAMPLER && x != LLAMA);
}

static void every_combination_computes_or_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t n = 0; n < (size_t)N_TOWERS * N_CONNECTORS * N_TEXTS; n++) {
        const tower t = (tower)(n / N_TEXTS / N_CONNECTORS);
        const connector c = (connector)(n / N_TEXTS % N_CONNECTORS);
        const text x = (text)(n % N_TEXTS);
        char names[96];
        fixture f;
        lvlm_model *model = NULL;
        lvlm_error err = { .text = "" };
        (void)snprintf(names, sizeof names, "%s, %s, %s", tower_words[t],
                       connector_words[c], splice_words[x]);
        make(&f, t, c, x, 16);
        if (computes(t, c, x)) {
            assert_slope(&f, "vision.", names);
            assert_slope(&f, "connector.", names);
            assert_slope(&f, "text.", names);
            assert_continues(&f, names);
        } else {
            if (lvlm_model_bind(&model, &f.model.manifest, NULL, &err) != LVLM_EFORMAT)
                fail_msg("%s: is opened", names);
            const bool by_name = strstr(err.text, tower_words[t]) != NULL &&
                                 (strstr(err.text, connector_words[c]) != NULL ||
                                  strstr(err.text, splice_words[x]) != NULL);
            if (!by_name) fail_msg("%s: %s", names, err.text);
        }
        unmake(&f);
    }
}

#define CLIP_WITH "\"tower\": \"clip\", \"grid\": 4, \"rows\": 17, \"out\": 12"
#define CLASS_ROWS(setting) "{\"vision\": {" CLIP_WITH ", " setting "}}"

static const struct {
    const char *vision, *connector, *text, *settings, *said;
} misfits[] = {
    { paligemma, paligemma, paligemma, "{\"vision\": {\"out\": 13}}",
      "the connector 'linear' takes features of width 13, but the tower 'siglip' "
      "gives 12" },
    { mllama, paligemma, mllama, "{\"vision\": {\"out\": 12}}",
      "the connector 'linear' takes features of width 12, but the tower 'tiles' "
      "gives 24" },
    { paligemma, qwen2_vl, paligemma,
      "{\"vision\": {\"merge\": 2, \"image\": 20, \"grid\": 5}}",
      "the connector 'merger' takes squares of 2 x 2 patches, but the tower "
      "'siglip' gives 5 x 5" },
    { paligemma, paligemma, mllama, "{\"text\": {\"splice\": \"image_tokens\"}}",
      "text.splice 'image_tokens' puts images into the text, but the blocks of "
      "text.cross_layers look at them" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"splice\": \"cross_attention\"}}",
      "text.splice 'cross_attention', but text.cross_layers names no block that "
      "looks at images" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"embed_rows\": 99}}",
      "text.embed_rows is 99, but text.embed.weight has 60 rows" },
    { mllama, mllama, mllama, "{\"vision\": {\"taps\": [1]}}",
      "vision.taps names block 1, but the tower has 1" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": [-2]"),
      "vision.select is not a list of at most 64 whole numbers" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": [1, 4]"),
      "vision.select has a number that is not a state of the tower: those of 3 "
      "blocks are 0 to 3" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": []"),
      "vision.select names no state" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": [3, 2]"),
      "the connector 'linear' takes features of width 12, but the tower 'clip' "
      "gives 24" },
    { clip, paligemma, paligemma,
      "{\"vision\": {\"tower\": \"clip\", \"out\": 12, \"grid\": 4, \"rows\": 16}}",
      "vision.rows is not that of 4 x 4 patches and one more" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select_rows\": \"first\""),
      "vision.select_rows is not 'all' or 'patches'" },
    { paligemma, paligemma, paligemma, "{\"vision\": {\"select_rows\": \"patches\"}}",
      "vision.select_rows 'patches', but the tower 'siglip' has no class row that "
      "can be left out, so it must be 'all'" },
    { clip, qwen2_vl, paligemma, CLASS_ROWS("\"merge\": 2"),
      "the connector 'merger' takes squares of patches, but the tower 'clip' gives "
      "class rows among them" },
    { clip, qwen_vl, paligemma, CLASS_ROWS("\"select_rows\": \"all\""),
      "the connector 'resampler' takes squares of patches, but the tower 'clip' "
      "gives class rows among them" },
    { clip, paligemma, qwen2_vl, CLASS_ROWS("\"select_rows\": \"all\""),
      "text.splice 'image_tokens' with positions on three axes takes grids, but "
      "the tower 'clip' gives class rows among them" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"window_layers\": [0, 2]}}",
      "text.window_layers names a block that is not there" },
    { qwen_vl, qwen_vl, qwen_vl, "{\"connector\": {\"queries\": 8}}",
      "connector.queries 8 is not a square number" },
};

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misfits / sizeof *misfits; i++) {
        synthetic s;
        lvlm_model *model = NULL;
        lvlm_error err = { .text = "" };
        composed_model(&s, misfits[i].vision, misfits[i].connector, misfits[i].text,
                       misfits[i].settings);
        assert_int_equal(lvlm_model_bind(&model, &s.manifest, NULL, &err),
                         LVLM_EFORMAT);
        assert_memory_equal(err.text, "configuration: ", 15);
        assert_string_equal(err.text + 15, misfits[i].said);
        synthetic_free(&s);
    }
}

static void videos_without_a_token_are_refused(void **state)
{
    static const int64_t grid[3] = { 1, 4, 4 };
    static const lvlm_shape shape = { 2, { 16, 3 * 2 * PATCH * PATCH } };
    lvlm_model *model = NULL;
    lvlm_stage_list list = { .everything = true };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_error err = { .text = "" };
    uint32_t seed = 1;
    fixture f;
    (void)state;
    make(&f, QWEN2, MERGER, GEMMA, 16);
    synthetic_put_integers(&f.batch, "video_grid_thw", 1, 3, grid);
    synthetic_put_random(&f.batch, "pixel_values_videos", &shape, 1.0f, &seed);
    assert_int_equal(lvlm_model_bind(&model, &f.model.manifest, NULL, &err), 0);
    assert_int_equal(lvlm_model_forward(model, &f.batch.checkpoint, "", &sink, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text,
                        "pixel_values_videos: this model has no token for videos");
    lvlm_model_free(model);
    unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_axes_follow_the_rows_of_squares),
        cmocka_unit_test(cross_attention_treats_squares_as_tiles),
        cmocka_unit_test(a_window_is_in_the_blocks_that_have_one),
        cmocka_unit_test(every_combination_computes_or_is_refused_by_name),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(videos_without_a_token_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
