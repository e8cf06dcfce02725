/* test_report_html.c - the page about a replay: verdict, chart, tables; nothing from a
 * file gets out of its quotes. */
#include "tests/verify/report_samples.h"

static void html_says_that_parity_holds(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(5, 5)));
    const char *t = out.text;
    expect(t, "<h1>Parity holds: all 17 stages within their bands</h1>");
    expect(t, "✓ Replay passed");
    expect(t, "models/paligemma.lvlm");
    expect(t, "<dt>behaviour computed</dt><dd>trained</dd>");
    expect(t, "f32, single precision");
    expect(t, "38 of 38 rows");
    expect(t, "2.50e-09");
    expect(t, "Worst tokens of <span class=\"name\">logits</span>");
    expect(t, "<td>[0, 12]</td><td class=\"n\">108</td>");
    expect(t, LVLM_VERSION);
    assert_int_equal(count(t, "class=\"point\""), 2 * 17);    /* wide and narrow */
    assert_int_equal(count(t, "class=\"dot\""), 2 * 16 + 1);  /* and in the legend */
    assert_int_equal(count(t, "class=\"exact\""), 2 * 1 + 1); /* text.embed */
    assert_int_equal(count(t, "class=\"cross\""), 0);
    assert_int_equal(count(t, "<tr class=\"bad\">"), 0);
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_loads_no_other_file(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(5, 5)));
    static const char *const outside[] = { "http",  "url(", "@import", "<script",
                                           "<link", "src=", "href" };
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        expect_not(out.text, outside[i]);
    lvlm_strbuf_free(&out);
}

static void html_lists_versions_sorted_and_digests(void **state)
{
    (void)state;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(make(1, 1)));
    const char *a = strstr(out.text, "<dt>attention</dt><dd>eager</dd>");
    const char *b = strstr(out.text, "<dt>torch</dt><dd>2.13.0+cpu</dd>");
    const char *c = strstr(out.text, "<dt>transformers</dt><dd>5.23.0</dd>");
    assert_true(a != NULL && b != NULL && c != NULL && a < b && b < c);
    expect_not(out.text, "not a string");
    expect(out.text, shared.replay.model_root);
    expect(out.text, shared.replay.recording.sha256);
    lvlm_strbuf_free(&out);
}

static void html_names_the_first_bad_stage(void **state)
{
    (void)state;
    sample *s = make(5, 5);
    break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 1.2e-3);
    break_stage(find(s, "text.blocks.1"), LVLM_VERDICT_OUT, 2e-3);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    expect(t, "First stage out of band: <span class=\"name bad\">text.blocks.0</span>");
    expect(t, "✗ Replay failed");
    expect(t, "error 1.20e-03 is over the band 1e-05 (120 times)");
    expect(t, "2 of 17 stages fail; the 10 before it are within their bands");
    expect(t, "Worst tokens of <span class=\"name\">text.blocks.0</span>");
    expect(t, "257152");
    assert_int_equal(count(t, "<tr class=\"bad\">"), 2);
    assert_int_equal(count(t, "class=\"cross\""), 2 * 2 + 1);
    assert_true(height_of(t, "text.blocks.0", 'M') < height_of(t, "vision.out", 'c'));
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_draws_the_error_of_a_stage_by_itself(void **state)
{
    (void)state;
    sample *s = make(5, 5);
    lvlm_replay_stage *const bad = find(s, "text.blocks.0");
    lvlm_replay_stage *const follower = find(s, "text.blocks.1");
    break_stage(bad, LVLM_VERDICT_OUT, 1.2e-3);
    break_stage(follower, LVLM_VERDICT_OUT, 2e-3);
    bad->share = (lvlm_replay_share){ .known = true, .own = 1.2e-3, .is_cause = true };
    follower->share =
        (lvlm_replay_share){ .known = true, .own = 3e-9, .given = 1.2e-3 };
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "own error 3.00e-09");
    expect(out.text, "its own error, from recorded rows");
    assert_int_equal(count(out.text, "class=\"own\""), 2 * 2 + 1);
    check_coordinates(out.text);
    lvlm_strbuf_free(&out);
}

static void html_separates_divergence_from_distance(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    lvlm_replay_stage *logits = find(s, "logits");
    logits->verdict = LVLM_VERDICT_OUT;
    logits->found.max_kl = 3.5e-5;
    logits->found.n_top1 = 37;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "There: max KL 3.50e-05 is over the band 1e-06.");
    expect(out.text, "37 of 38 rows");
    lvlm_strbuf_free(&out);
}

static void html_shows_missing_stages_and_wrong_shapes(void **state)
{
    (void)state;
    sample *s = make(2, 2);
    break_stage(find(s, "connector.out"), LVLM_VERDICT_MISSING, (double)INFINITY);
    lvlm_replay_stage *wrong = find(s, "text.blocks.1");
    break_stage(wrong, LVLM_VERDICT_SHAPE, (double)INFINITY);
    wrong->got = (lvlm_shape){ 2, { 38, 64 } };
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    expect(t, "First stage missing: <span class=\"name bad\">connector.out</span>");
    expect(t, "recorded, and this model does not compute it");
    expect(t, "computed in [38, 64]");
    expect(t, "✗ wrong shape");
    assert_int_equal(count(t, "<td class=\"error n soft\">–</td>"), 2);
    assert_int_equal(count(t, "class=\"point\""), 2 * s->replay.n_stages);
    check_coordinates(t);
    lvlm_strbuf_free(&out);
}

static void html_escapes_what_comes_from_files(void **state)
{
    (void)state;
    static const lvlm_difference difference = { .behaviour = LVLM_FINAL_SOFTCAP,
                                                .stage = "logits",
                                                .what = HOSTILE };
    const lvlm_difference *borrowed[] = { &difference };
    sample *s = make(1, 1);
    s->replay.model = s->replay.golden = s->replay.family = s->replay.reference =
        HOSTILE;
    s->replay.differences = borrowed;
    s->replay.from_recorded = borrowed;
    s->replay.n_differences = s->replay.n_from_recorded = 1;
    s->replay.recording.reference = s->replay.recording.family = "<script>";
    cJSON_AddStringToObject(s->metadata, HOSTILE, HOSTILE);
    add(s, HOSTILE, 1e-7);
    add(s, HOSTILE ".blocks.<0>", 1e-7);
    break_stage(find(s, HOSTILE), LVLM_VERDICT_OUT, 1);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect_not(out.text, "<script");
    expect(out.text, "a&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;&quot;"
                     "\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd"
                     "&#10;");
    check_coordinates(out.text);
    lvlm_strbuf_free(&out);
}

static void html_draws_errors_that_have_no_logarithm(void **state)
{
    (void)state;
    sample *s = make(3, 3);
    break_stage(find(s, "vision.out"), LVLM_VERDICT_OUT, (double)INFINITY);
    find(s, "vision.out")->found.distance.n_bad = 3;
    break_stage(find(s, "text.norm"), LVLM_VERDICT_OUT, (double)NAN);
    find(s, "text.norm")->cosine = (double)NAN;
    find(s, "text.norm")->found.distance.max_abs = (double)NAN;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *t = out.text;
    check_coordinates(t);
    expect(t, "error inf is over the band 1e-05; 3 of 2432 values are not finite");
    expect(t, "data-name=\"cosine\">nan</td>");
    expect_not(t, "-nan");
    const double top = height_of(t, "vision.out", 'M');
    const double bottom = height_of(t, "text.embed", 'M');
    assert_true(top == height_of(t, "text.norm", 'M'));
    for (size_t i = 0; i < 3; i++) {
        const double y = height_of(t, s->names[i], 'c');
        assert_true(top < y && y < bottom);
    }
    lvlm_strbuf_free(&out);
}

static void html_draws_extreme_and_equal_values(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    find(s, "vision.patches")->error = 5e-324;
    find(s, "vision.embed")->band = 1e308;
    find(s, "vision.out")->band = 0;
    break_stage(find(s, "vision.out"), LVLM_VERDICT_OUT, 1e300);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    check_coordinates(out.text);
    expect(out.text, ">band 0 to 1e+308</text>");
    lvlm_strbuf_free(&out);

    s = make(2, 2);
    for (size_t i = 0; i < s->replay.n_stages; i++) {
        s->stages[i].error = 0;
        s->stages[i].band = 0;
    }
    out = write_with(lvlm_report_html, finish(s));
    check_coordinates(out.text);
    expect(out.text, "Every value equals the recorded one.");
    assert_int_equal(count(out.text, "class=\"exact\""), 2 * 11 + 1);
    assert_int_equal(count(out.text, "class=\"dot\""), 0);
    lvlm_strbuf_free(&out);
}

static void html_draws_any_number_of_stages(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 0, 0 }, { 27, 46 }, { 200, 300 } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sample *s = make(sizes[i][0], sizes[i][1]);
        lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
        assert_int_equal(count(out.text, "class=\"point\""), 2 * s->replay.n_stages);
        check_coordinates(out.text);
        expect(out.text, ">vision</text>");
        expect(out.text, ">connector</text>");
        expect(out.text, ">text</text>");
        lvlm_strbuf_free(&out);
    }
    sample *s = make(0, 0);
    s->replay.n_stages = 1;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "the one stage is within its band");
    lvlm_strbuf_free(&out);
    s->replay.n_stages = 0;
    out = write_with(lvlm_report_html, &s->replay);
    expect(out.text, "Nothing was compared");
    expect_not(out.text, "Parity holds");
    lvlm_strbuf_free(&out);
}

static void html_has_a_second_look(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    lvlm_replay_stage *const stage = find(s, "text.norm");
    break_stage(stage, LVLM_VERDICT_ROUNDING, 2e-5);
    stage->looked_again = true;
    stage->recorded_error = 1.5e-5;
    stage->own_error = 9e-6;
    stage->explained = 3.6e-5;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    expect(out.text, "8 of 9 stages within their bands, 1 beyond by rounding");
    expect(out.text, "<h2>Second look</h2>");
    assert_int_equal(count(out.text, "class=\"ring\""), 2 * 1 + 1); /* in the legend */
    expect(out.text, "</svg>beyond its band by rounding</span>");
    expect(out.text, "text.norm</td><td class=\"n\">1.50e-05</td>"
                     "<td class=\"n\">9.00e-06</td><td class=\"n\">3.60e-05</td>"
                     "<td><span class=\"ok\">rounding");
    lvlm_strbuf_free(&out);
}

/* Global blocks are separate from local ones, and every part has its name at any
 * width. */
static void html_names_the_parts_of_a_long_model(void **state)
{
    (void)state;
    sample *s = make(32, 0);
    s->replay.n_stages -= 5; /* the tower's end and all after it */
    char name[NAME];
    for (size_t i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "vision.global_blocks.%zu", i);
        add(s, name, 1e-7);
    }
    add(s, "vision.out", 3e-7);
    add(s, "connector.out", 2.6e-7);
    add(s, "text.embed", 1e-8);
    add_blocks(s, "text", 4, 3e-7);
    add(s, "text.norm", 1.1e-6);
    add_logits(s, 9e-7);
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    static const char *const labels[] = { ">vision</text>", ">global</text>",
                                          ">connector</text>", ">text</text>",
                                          ">head</text>" };
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        assert_int_equal(count(out.text, labels[i]), 2);
    expect(out.text, "rotate(-90)\" text-anchor=\"end\">patches</text>");
    lvlm_strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_says_that_parity_holds),
        cmocka_unit_test(html_loads_no_other_file),
        cmocka_unit_test(html_lists_versions_sorted_and_digests),
        cmocka_unit_test(html_names_the_first_bad_stage),
        cmocka_unit_test(html_draws_the_error_of_a_stage_by_itself),
        cmocka_unit_test(html_separates_divergence_from_distance),
        cmocka_unit_test(html_shows_missing_stages_and_wrong_shapes),
        cmocka_unit_test(html_escapes_what_comes_from_files),
        cmocka_unit_test(html_draws_errors_that_have_no_logarithm),
        cmocka_unit_test(html_draws_extreme_and_equal_values),
        cmocka_unit_test(html_draws_any_number_of_stages),
        cmocka_unit_test(html_has_a_second_look),
        cmocka_unit_test(html_names_the_parts_of_a_long_model),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
