/* test_alloc_proof.c - fails allocations as test_alloc.c does, in proofs: audits,
 * cards, reports, merges, comparisons, bands, causes, recorded training. */
#include "formats/base/json.h"
#include "tests/fault/torture_models.h"
#include "tests/support/merged.h"
#include "verify/api/lvlm.h"
#include "verify/compare/compare_sum.h"
#include "verify/compare/merge_proof.h"
#include "verify/replay/calibrate.h"
#include "verify/report/card.h"
#include "verify/report/report.h"

#define TEXT LVLM_FIXTURES "/qwen2_vl-text"
#define STEPS LVLM_FIXTURES "/recorded/steps.safetensors"

/* ---- audits and what is written of them ------------------------------------------ */

typedef void audit_report(lvlm_strbuf *out, const lvlm_audit *audit);

static int write_card(const lvlm_audit *audit, lvlm_error *err)
{
    lvlm_strbuf page = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    cJSON *card = NULL;
    char *printed = NULL;
    int rc = lvlm_card_make(&card, audit, err);
    if (rc == 0) rc = lvlm_json_print_pretty(&printed, card, err);
    if (rc == 0) {
        lvlm_card_markdown(&page, card);
        rc = lvlm_strbuf_check(&page, err);
    }
    lvlm_strbuf_free(&page);
    lvlm_free(printed);
    lvlm_json_free(card);
    return rc;
}

static int write_reports(const lvlm_audit *audit, lvlm_error *err)
{
    static audit_report *const reports[] = { lvlm_report_audit, lvlm_report_audit_html,
                                             lvlm_report_audit_junit,
                                             lvlm_report_audit_github };
    int rc = write_card(audit, err);
    for (size_t i = 0; rc == 0 && i < sizeof reports / sizeof *reports; i++) {
        lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
        reports[i](&text, audit);
        rc = lvlm_strbuf_check(&text, err);
        lvlm_strbuf_free(&text);
    }
    return rc;
}

/* The reports of one recording, which agrees or does not. */
static int audit_one(const char *model, const char *golden, bool agrees,
                     lvlm_error *err)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_audit_options options = { .replay = { .threads = 1, .notes = &notes },
                                         .checksum = { .threads = 1 },
                                         .notes = &notes };
    lvlm_audit audit;
    int rc = lvlm_audit_run(&audit, model, &golden, 1, &options, err);
    if (rc == 0) {
        const lvlm_check *const replay = &audit.checks[audit.n_checks - 1];
        if (replay->state == LVLM_CHECK_ERROR) {
            *err = replay->error;
            rc = (int)err->code;
        } else {
            assert_true((audit.worst == NULL) == agrees);
            rc = write_reports(&audit, err);
        }
        lvlm_audit_free(&audit);
    }
    lvlm_notes_free(&notes);
    return rc;
}

static int audit(scratch *s, lvlm_error *err)
{
    return audit_one(scratch_path(s, "other.lvlm"), RECORDED "/golden.safetensors",
                     true, err);
}

/* Down to the mistake. */
static int find_a_cause(scratch *s, lvlm_error *err)
{
    return audit_one(scratch_path(s, "broken.lvlm"), TEXT "/golden64.safetensors",
                     false, err);
}

/* Through all known mistakes: there are two at once. */
static int find_no_cause(scratch *s, lvlm_error *err)
{
    return audit_one(scratch_path(s, "worse.lvlm"), TEXT "/golden64.safetensors", false,
                     err);
}

static int rederive(scratch *s, lvlm_error *err)
{
    const lvlm_convert_options options = { .threads = 1 };
    lvlm_rederived found;
    const int rc = lvlm_rederive(&found, HUB, scratch_path(s, "model.lvlm"),
                                 scratch_path(s, "again"), &options, err);
    assert_true(rc < 0 || found == LVLM_REDERIVED_FILE);
    return rc;
}

/* ---- two models ------------------------------------------------------------------ */

static void ignore_tensor(void *user, const lvlm_merge_tensor *tensor)
{
    (void)user, (void)tensor;
}

static int prove_a_merge(scratch *s, lvlm_error *err)
{
    const lvlm_merge_options options = { .row = ignore_tensor };
    lvlm_checkpoint *base_file = NULL, *merged_file = NULL;
    lvlm_manifest base = { 0 }, merged = { 0 };
    lvlm_adapter adapter = { 0 };
    lvlm_merge_result result;
    int rc = lvlm_manifest_open(&base, &base_file, scratch_path(s, "adapted.lvlm"),
                                NULL, err);
    if (rc == 0) rc = lvlm_adapter_open(&adapter, ADAPTER, &base, err);
    if (rc == 0)
        rc = lvlm_manifest_open(&merged, &merged_file, scratch_path(s, "merged.lvlm"),
                                NULL, err);
    if (rc == 0)
        rc = lvlm_merge_check(&result, &base, &adapter, &merged, &options, err);
    assert_true(rc < 0 || (result.n_adapted > 0 && result.n_neither == 0));
    lvlm_adapter_free(&adapter);
    lvlm_manifest_free(&base);
    lvlm_manifest_free(&merged);
    lvlm_checkpoint_close(base_file);
    lvlm_checkpoint_close(merged_file);
    return rc;
}

static void sum_up(void *user, const lvlm_comparison *comparison)
{
    lvlm_compare_sum_add(user, comparison);
}

static int compare(scratch *s, lvlm_error *err)
{
    lvlm_compare_sum sum = { 0 };
    const lvlm_compare_options options = { .row = sum_up, .user = &sum };
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_compare_result result;
    lvlm_checkpoint *a = NULL, *b = NULL;
    int rc;
    if ((rc = lvlm_checkpoint_open(&a, scratch_path(s, "adapted.lvlm"), NULL, err)) ==
            0 &&
        (rc = lvlm_checkpoint_open(&b, scratch_path(s, "merged.lvlm"), NULL, err)) ==
            0 &&
        (rc = lvlm_compare(&result, a, b, &options, err)) == 0) {
        lvlm_compare_sum_sentence(&sentence, &sum);
        rc = sum.failed ? lvlm_fail_memory(err) : lvlm_strbuf_check(&sentence, err);
        if (rc == 0) assert_non_null(strstr(sentence.text, "looks like LoRA"));
        lvlm_compare_free(&result);
    }
    lvlm_strbuf_free(&sentence);
    lvlm_compare_sum_free(&sum);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
    return rc;
}

/* ---- replays --------------------------------------------------------------------- */

static int calibrate(scratch *s, lvlm_error *err)
{
    static const char *const goldens[] = { TEXT "/golden.safetensors" };
    const lvlm_replay_options options = { .threads = 1 };
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_calibration c;
    int rc =
        lvlm_calibrate(&c, scratch_path(s, "text.lvlm"), goldens, 1, &options, err);
    if (rc == 0) {
        lvlm_calibration_print(&text, &c);
        rc = lvlm_strbuf_check(&text, err);
        lvlm_calibration_free(&c);
    }
    lvlm_strbuf_free(&text);
    return rc;
}

static int replay(const char *model, const char *golden, bool steps, lvlm_error *err)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_replay_options options = { .threads = 1,
                                          .steps = steps,
                                          .notes = &notes };
    lvlm_replay r;
    const int rc = lvlm_replay_run(&r, model, golden, &options, err);
    if (rc == 0) {
        assert_int_equal(r.n_failed, 0);
        lvlm_replay_free(&r);
    }
    lvlm_notes_free(&notes);
    return rc;
}

static int replay_steps(scratch *s, lvlm_error *err)
{
    return replay(scratch_path(s, "text.lvlm"), STEPS, true, err);
}

static int replay_tokens(scratch *s, lvlm_error *err)
{
    return replay(scratch_path(s, "text.lvlm"), TEXT "/generate.safetensors", false,
                  err);
}

/* ---- all ------------------------------------------------------------------------- */

/* The models besides those of torture_models.h. */
static void make_models(scratch *s)
{
    lvlm_fold_cost cost;
    lvlm_outfile *const merged = open_outfile(scratch_path(s, "merged.lvlm"));
    assert_int_equal(
        merge_adapter(&cost, scratch_path(s, "adapted.lvlm"), ADAPTER, merged, 1, NULL),
        0);
    lvlm_outfile_close(merged);
    assert_int_equal(import(TEXT "/model", scratch_path(s, "text.lvlm"), NULL), 0);
    scratch_copy(s, TEXT "/model", "broken");
    file_replace(scratch_path(s, "broken/config.json"), "\"rope_theta\": 1",
                 "\"rope_theta\": 2");
    assert_int_equal(
        import(scratch_path(s, "broken"), scratch_path(s, "broken.lvlm"), NULL), 0);
    const char *const weights = scratch_path(s, "broken/model.safetensors");
    file_replace(weights, "layers.0.mlp.up_proj.weight", "layers.0.mlp.no_proj.weight");
    file_replace(weights, "layers.1.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight");
    file_replace(weights, "layers.0.mlp.no_proj.weight", "layers.1.mlp.up_proj.weight");
    assert_int_equal(
        import(scratch_path(s, "broken"), scratch_path(s, "worse.lvlm"), NULL), 0);
}

static void no_proof_without_memory(void **state)
{
    static const torture_row all[] = {
        { "audit", audit },
        { "rederive", rederive },
        { "prove_a_merge", prove_a_merge },
        { "compare", compare },
        { "calibrate", calibrate },
        { "replay_steps", replay_steps },
        { "replay_tokens", replay_tokens },
        { "find_a_cause", find_a_cause, .is_long = true },
        { "find_no_cause", find_no_cause, .is_long = true },
    };
    (void)state;
    torture_models(all, sizeof all / sizeof *all, make_models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_proof_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
