/* test_report.c - the reports of a replay as text and JUnit XML; what they share.
 * The page: test_report_html.c. */
#include "tests/verify/report_samples.h"

/* ---- what the reports share ----------------------------------------------------- */

static const lvlm_difference softcap = { LVLM_FINAL_SOFTCAP, "5.23", NULL, "logits",
                                         "logits pass a cap" };
static const lvlm_difference *softcap_alone[] = { &softcap };

/* A recording of another family and of another reference. */
static const lvlm_replay *make_foreign(void)
{
    sample *s = make(2, 2);
    break_stage(find(s, "logits"), LVLM_VERDICT_OUT, 1.5);
    s->replay.recording.family = "paligemma2";
    s->replay.recording.reference = "transformers-5.23.0";
    s->replay.from_recorded = softcap_alone;
    s->replay.n_from_recorded = 1;
    return finish(s);
}

#define IS_FOREIGN "he recording is of paligemma2, the model is paligemma"
#define SHOWS_OTHER                                                                    \
    "he recording shows transformers-5.23.0, this run computes trained: they differ "  \
    "in final_softcap (seen from logits on)"

static void the_verdict_says_that_the_recording_is_another(void **state)
{
    const lvlm_replay *const r = make_foreign();
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20);
    (void)state;
    lvlm_report_text(&text, r, 400);
    expect(text.text, "\nt" IS_FOREIGN "\n");
    expect(text.text, "\nt" SHOWS_OTHER "\n");
    lvlm_strbuf_free(&text);
    lvlm_strbuf html = write_with(lvlm_report_html, r);
    expect(html.text, "t" IS_FOREIGN ".</p>\n");
    expect(html.text, "t" SHOWS_OTHER ".</p>\n</header>");
    expect(html.text, "<span class=\"name\">logits</span> on: logits pass a cap</li>");
    lvlm_strbuf_free(&html);
    lvlm_strbuf xml = write_with(lvlm_report_junit, r);
    expect(xml.text, "is over the band 1e-05; t" IS_FOREIGN "; t" SHOWS_OTHER "\"");
    lvlm_strbuf_free(&xml);
}

static void reports_say_what_is_unproven(void **state)
{
    static char hostile[] = HOSTILE, video[] = "video: there is none";
    static char *lacks[] = { hostile }, *blind[] = { video };
    sample *s = make(2, 2);
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20);
    (void)state;
    s->replay.not_compared = (lvlm_notes){ .at = lacks, .n = 1 };
    s->replay.not_exercised = (lvlm_notes){ .at = blind, .n = 1 };
    const lvlm_replay *const r = finish(s);
    lvlm_report_text(&text, r, 400);
    expect(text.text, "\nnot compared: a<script>");
    expect(text.text, "\nnot exercised: video: there is none\nall ");
    expect_not(text.text, "\x1b");
    lvlm_strbuf_free(&text);
    lvlm_strbuf html = write_with(lvlm_report_html, r);
    expect(html.text, "<li>video: there is none</li>");
    expect(html.text, "<li>a&lt;script&gt;");
    lvlm_strbuf_free(&html);
    lvlm_strbuf xml = write_with(lvlm_report_junit, r);
    expect(xml.text, "name=\"not_exercised\" value=\"video: there is none\"/>");
    expect(xml.text, "name=\"not_compared\" value=\"a&lt;script&gt;");
    lvlm_strbuf_free(&xml);
}

static void a_vacuous_stage_is_given_its_reason(void **state)
{
    sample *s = make(2, 2);
    lvlm_replay_stage *const out = find(s, "connector.out");
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20);
    (void)state;
    out->verdict = LVLM_VERDICT_VACUOUS;
    out->found.n_same = out->found.n_rows;
    out->found.distance.b2 = 1;
    const lvlm_replay *const r = finish(s);
    lvlm_report_text(&text, r, 400);
    expect(text.text, "every recorded row is the same, which proves nothing");
    expect(text.text, "connector.out (vacuous); 1 of ");
    lvlm_strbuf_free(&text);
    lvlm_strbuf html = write_with(lvlm_report_html, r);
    expect(html.text, "First stage vacuous");
    expect(html.text, "every recorded row is the same, which proves nothing");
    lvlm_strbuf_free(&html);
    out->found.distance.b2 = 0;
    lvlm_strbuf xml = write_with(lvlm_report_junit, r);
    expect(xml.text, "<failure message=\"every recorded value is zero, which proves");
    expect(xml.text, "type=\"vacuous\"");
    lvlm_strbuf_free(&xml);
}

/* The longest line of a text, in characters; all of these are ASCII. */
static size_t longest_line(const char *text)
{
    size_t most = 0;
    for (size_t n; *text != '\0'; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        if (n > most) most = n;
    }
    return most;
}

static void text_fits_its_width(void **state)
{
    static const size_t widths[] = { 0, 40, 60, 79, 80, 100, 200 };
    static const char gradient[] =
        "grad.model.vision_tower.vision_model.encoder.layers.26.self_attn.out_proj.w";
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        sample *s = make(2, 2);
        add(s, gradient, 1e-7)->is_gradient = true;
        lvlm_replay_stage *const wide = add(s, "vision.global_blocks.10", 1e-7);
        wide->shape = (lvlm_shape){ 5, { 128, 1, 4, 1601, 7680 } };
        break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 1.2e-3);
        find(s, "text.blocks.0")->looked_again = true;
        lvlm_strbuf out = LVLM_STRBUF_INIT(1 << 20);
        lvlm_report_text(&out, finish(s), widths[i]);
        const size_t most = widths[i] > 0 ? widths[i] : 80;
        if (longest_line(out.text) > most)
            fail_msg("%zu columns in place of %zu:\n%s", longest_line(out.text), most,
                     out.text);
        expect(out.text, "OUT OF BAND\n");
        expect(out.text, " at [0, 12] (id 257152)\n");
        expect(out.text, widths[i] < 79 && widths[i] > 0 ? "\ngrad.model." : gradient);
        lvlm_strbuf_free(&out);
    }
}

static void figures_are_written_for_people(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    break_stage(find(s, "text.blocks.0"), LVLM_VERDICT_OUT, 0.7);
    lvlm_replay_stage *const loss = add(s, "loss", 1e-3);
    break_stage(loss, LVLM_VERDICT_OUT, 1e-3);
    loss->shape = loss->got = (lvlm_shape){ 0 };
    loss->cosine = 1;
    lvlm_strbuf out = write_with(lvlm_report_html, finish(s));
    const char *const row =
        strstr(out.text, "<tr class=\"bad\"><td class=\"name\">loss");
    expect(out.text, "error 7.00e-01 is over the band 1e-05 (70\u202f000 times)");
    assert_non_null(row);
    expect(row, "data-name=\"\"></td><td class=\"more n soft\" data-name=\"band\">");
    expect_not(row, "cosine");
    lvlm_strbuf_free(&out);
    out = write_with(lvlm_report_junit, &s->replay);
    expect_not(strstr(out.text, "name=\"loss\""), "cosine");
    lvlm_strbuf_free(&out);
}

/* ---- JUnit ---------------------------------------------------------------------- */

static void junit_has_a_case_for_every_stage(void **state)
{
    (void)state;
    sample *s = make(5, 5);
    lvlm_replay_stage *bad = find(s, "text.blocks.0");
    break_stage(bad, LVLM_VERDICT_OUT, 1.2e-3);
    lvlm_replay_stage *wrong = find(s, "text.blocks.1");
    break_stage(wrong, LVLM_VERDICT_SHAPE, (double)INFINITY);
    lvlm_strbuf out = write_with(lvlm_report_junit, finish(s));
    const char *t = out.text;
    assert_int_equal(count(t, "<testcase "), 17);
    assert_int_equal(count(t, "<failure "), 2);
    expect(t, "<testsuites tests=\"17\" failures=\"2\">");
    expect(t, "<testsuite name=\"replay\" tests=\"17\" failures=\"2\"");
    expect(t, "<testcase classname=\"paligemma.f32\" name=\"text.blocks.0\">");
    expect(t, "<failure message=\"error 1.20e-03 is over the band 1e-05\"");
    expect(t, "recorded in shape [2, 19, 64], computed in shape [2, 19, 64]");
    expect(t, "<property name=\"golden.torch\" value=\"2.13.0+cpu\"/>");
    expect(t, "<property name=\"lvlm\" value=\"" LVLM_VERSION "\"/>");
    expect(t, s->replay.recording.sha256);
    expect(t, "worst rows, [text, token]:\nrow [0, 12] (id 257152): ");
    lvlm_strbuf_free(&out);
}

static void junit_escapes_what_comes_from_files(void **state)
{
    (void)state;
    sample *s = make(1, 1);
    s->replay.model = s->replay.golden = s->replay.family = s->replay.reference =
        HOSTILE;
    s->replay.compute = LVLM_COMPUTE_F64;
    cJSON_AddStringToObject(s->metadata, HOSTILE, HOSTILE);
    break_stage(add(s, HOSTILE, 0), LVLM_VERDICT_MISSING, (double)INFINITY);
    lvlm_strbuf out = write_with(lvlm_report_junit, finish(s));
    expect_not(out.text, "<script");
    expect(out.text, "&lt;script&gt;alert(&#39;1&#39;)");
    expect(out.text, ".f64\" name=");
    expect(out.text, "message=\"recorded, and this model does not compute it\"");
    lvlm_strbuf_free(&out);
}

static void junit_has_an_error_where_nothing_ran(void **state)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(1 << 16);
    lvlm_error err;
    (void)state;
    lvlm_fail(&err, LVLM_EIO, "<none>: cannot open");
    lvlm_report_junit_error(&out, "<none>", "golden", &err);
    assert_int_equal(lvlm_strbuf_check(&out, NULL), 0);
    expect(out.text, "<testsuites tests=\"1\" failures=\"0\" errors=\"1\">");
    expect(out.text, "<error message=\"&lt;none&gt;: cannot open\"/>");
    expect(out.text, "</testsuites>\n");
    lvlm_strbuf_free(&out);
}

/* ---- both ----------------------------------------------------------------------- */

static void reports_are_equal_bytes_on_every_run(void **state)
{
    (void)state;
    static writer *const writers[] = { lvlm_report_html, lvlm_report_junit };
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        lvlm_strbuf a = write_with(writers[i], finish(make(27, 18)));
        lvlm_strbuf b = write_with(writers[i], finish(make(27, 18)));
        assert_int_equal(a.length, b.length);
        assert_memory_equal(a.text, b.text, a.length);
        lvlm_strbuf_free(&a);
        lvlm_strbuf_free(&b);
    }
}

static void reports_stop_at_the_maximum(void **state)
{
    (void)state;
    const lvlm_replay *r = finish(make(5, 5));
    for (size_t max = 0; max < 12000; max += 997) {
        lvlm_strbuf out = LVLM_STRBUF_INIT(max);
        lvlm_report_html(&out, r);
        lvlm_report_junit(&out, r);
        assert_int_equal(lvlm_strbuf_check(&out, NULL), LVLM_ENOMEM);
        lvlm_strbuf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_verdict_says_that_the_recording_is_another),
        cmocka_unit_test(reports_say_what_is_unproven),
        cmocka_unit_test(a_vacuous_stage_is_given_its_reason),
        cmocka_unit_test(text_fits_its_width),
        cmocka_unit_test(figures_are_written_for_people),
        cmocka_unit_test(junit_has_a_case_for_every_stage),
        cmocka_unit_test(junit_escapes_what_comes_from_files),
        cmocka_unit_test(junit_has_an_error_where_nothing_ran),
        cmocka_unit_test(reports_are_equal_bytes_on_every_run),
        cmocka_unit_test(reports_stop_at_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
