/* test_slope_causes.c - recorded gradients that differ although every stage agrees:
 * replay names the first that is wrong by itself, and why.
 *
 *   a fixture's recording -> its gradients changed, or those of another loss
 *     -> replayed with gradients
 *
 * A mistake of weights that no stage shows changes gradients as it changes weights, so
 * it is planted in the gradients too. */
#include "tests/replay/slope_plants.h"
#include "verify/cause/cause.h"
#include "verify/report/report.h"

/* ---- what is named --------------------------------------------------------------- */

typedef struct plant {
    const char *fixture;
    void (*change)(recorded *r);
    const loss *loss;     /* instead */
    const char *gradient; /* the first with an error of its own */
    const char *mistake;  /* that is named; NULL: none */
    const char *says;     /* in its sentence, or in a sign */
} plant;

static const loss unshifted = { .label = not_shifted };
static const loss twice_shifted = { .label = shifted_twice };
static const loss every_word = { .label = of_every_word };
static const loss text_lost = { .label = without_text_0 };
static const loss by_text = { .by_text = true };
static const loss capped = { .reference = "trained" };

#define MLP "composed-mlp"
#define MLP_NORM "grad.language_model.model.norm.weight"

// clang-format off
static const plant plants[] = {
    { Q2, halve_one, NULL, LAYER "mlp.up_proj.weight", "factor", "with 0.5 times the gradient of model.layers.1.mlp.up_proj.weight" },
    { Q2, negate_one, NULL, LAYER "mlp.up_proj.weight", "factor", "with -1 times the gradient of" },
    { Q2, negate_one, NULL, LAYER "mlp.up_proj.weight", "factor", "has the other sign" },
    { Q2, clear_tower, NULL, "grad.visual.merger.mlp.2.bias", "frozen", "agrees to 0e+00, and so do 30 others that differ" },
    { Q2, sum_of_losses, NULL, "grad.model.norm.weight", "loss_scale", "with the loss times 29 this gradient agrees" },
    { Q2, sum_of_losses, NULL, "grad.model.norm.weight", "loss_scale", "the loss is a sum over labels, not their mean" },
    { Q2, mean_over_places, NULL, "grad.model.norm.weight", "loss_scale", "the loss is a mean over all places, those without a label too" },
    { Q2, quarter, NULL, "grad.model.norm.weight", "loss_scale", "the loss was divided by 4, as for accumulation" },
    { Q2, scaled_for_f16, NULL, "grad.model.norm.weight", "loss_scale", "a scale of the loss for float16" },
    { Q2, transpose_square, NULL, LAYER "self_attn.o_proj.weight", "transposed", "the recording has gradients transposed" },
    { Q2, transpose_wide, NULL, LAYER "mlp.up_proj.weight", "transposed", "the recording has it transposed" },
    { Q2, exchange_norms, NULL, LAYER "post_attention_layernorm.weight", "exchanged", "the recording has each in the other's place" },
    { "mllama-odd", exchange_head_norms, NULL, CROSS "k_norm.weight", "exchanged", "each holds the other's values, which no stage shows" },
    { "mllama-odd", lengthen, NULL, "grad.language_model.model.embed_tokens.weight", "rows", "has 75 rows, where the reference has 76: rows are missing at its end" },
    { "paligemma2-odd", reverse_all_heads, NULL, GEMMA "self_attn.o_proj.weight", "heads", "q_proj.weight, k_proj.weight, v_proj.weight, o_proj.weight read with the heads in reverse order" },
    { "paligemma2-odd", spoil_head, NULL, GEMMA "self_attn.q_proj.weight", NULL, "only head 1 of 3 is wrong: rows 8 to 15 of language_model.model.layers.0.self_attn.q_proj.weight" },
    { "paligemma2-odd", spoil_column_head, NULL, GEMMA "self_attn.o_proj.weight", NULL, "only head 2 of 3 is wrong: columns 16 to 23 of" },
    { "qwen_vl-odd", spoil_fused_row, NULL, "grad.transformer.h.0.attn.c_attn.weight", NULL, "only head 0 of 2 is wrong: row 133 of transformer.h.0.attn.c_attn.weight" },
    { Q2, add_vector, NULL, LAYER "mlp.up_proj.weight", NULL, "the error is the same vector in every row" },
    { MLP, NULL, &unshifted, MLP_NORM, "labels", "does not shift labels by one" },
    { MLP, NULL, &twice_shifted, MLP_NORM, "labels", "a loss that shifts them again" },
    { MLP, NULL, &every_word, MLP_NORM, "labels", "labels of the prompt are not ignored" },
    { Q2, NULL, &by_text, "grad.model.norm.weight", "texts", "a mean over texts of the mean of each" },
    { Q2, NULL, &text_lost, "grad.model.norm.weight", "texts", "labels of text 0 do not count" },
    { "paligemma2-odd", NULL, &capped, "grad.language_model.model.norm.weight", "reference", "--reference trained differs in" },
    { Q2, not_tied, NULL, "grad.model.embed_tokens.weight", "tied_gradient", "1 times as the embedding and 0 times as the head" },
    { Q2, head_alone, NULL, "grad.model.embed_tokens.weight", "tied_gradient", "did not train the table as an embedding" },
    { Q2, head_twice, NULL, "grad.model.embed_tokens.weight", "tied_gradient", "1 times as the embedding and 2 times as the head" },
};
// clang-format on

static void print(const lvlm_cause *c)
{
    for (size_t i = 0; i < c->n_signs; i++) print_error("  %s\n", c->signs[i]);
    for (size_t i = 0; i < c->n_candidates; i++)
        print_error("  %s: %s\n", c->candidates[i].mistake, c->candidates[i].sentence);
}

static void check(const lvlm_replay *r, const plant *p, size_t number)
{
    const lvlm_cause *const c = r->why;
    const lvlm_cause_candidate *const first =
        c->n_candidates > 0 && c->candidates[0].agrees ? c->candidates : NULL;
    const bool said = list_says(c->signs, c->n_signs, p->says) ||
                      (first != NULL && strstr(first->sentence, p->says) != NULL);
    const bool named = p->mistake == NULL
                           ? first == NULL
                           : first != NULL && strcmp(first->mistake, p->mistake) == 0;
    if (strcmp(r->cause->name, p->gradient) == 0 && said && named) return;
    print(c);
    fail_msg("plant %zu: %s is named, expected %s, %s and '%s'", number, r->cause->name,
             p->gradient, p->mistake != NULL ? p->mistake : "no mistake", p->says);
}

static const lvlm_replay_options in_full = { .threads = 1, .grads = true };

static void replay(lvlm_replay *r, scratch *s, const char *fixture,
                   void (*change)(recorded *r), const loss *l,
                   const lvlm_replay_options *options)
{
    const char *const native = scratch_path(s, "model.lvlm");
    char golden[SCRATCH_PATH];
    recorded rec;
    (void)snprintf(golden, sizeof golden, LVLM_FIXTURES "/%s/golden64.safetensors",
                   fixture);
    recorded_open(&rec, golden);
    if (change != NULL) change(&rec);
    if (l != NULL) plant_loss(&rec, native, scratch_path(s, "inputs.safetensors"), l);
    recorded_save(&rec, scratch_path(s, "golden.safetensors"));
    recorded_close(&rec);
    must_replay(r, native, scratch_path(s, "golden.safetensors"), options);
}

static void convert(scratch *s, const char *fixture)
{
    char model[SCRATCH_PATH];
    (void)snprintf(model, sizeof model, LVLM_FIXTURES "/%s/model", fixture);
    native_convert(model, scratch_path(s, "model.lvlm"));
}

static void every_gradient_that_differs_is_explained(void **state)
{
    const size_t n = sizeof plants / sizeof *plants;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        const plant *const p = &plants[i];
        scratch s;
        lvlm_replay r;
        scratch_make(&s);
        convert(&s, p->fixture);
        replay(&r, &s, p->fixture, p->change, p->loss, &in_full);
        assert_non_null(r.cause);
        assert_non_null(r.why);
        check(&r, p, i);
        assert_true(r.why->n_tensors > 0 && r.why->tensors[0].digest != NULL);
        assert_true(r.why->n_passes >= 1 && r.why->n_passes <= 40);
        lvlm_replay_free(&r);
        scratch_remove(&s);
    }
}

/* All of them; both are as long. */
static void replace_text(const char *path, const char *from, const char *to)
{
    static char text[1 << 14];
    lvlm_error err;
    FILE *const in = fopen(path, "rb");
    assert_non_null(in);
    const size_t n = fread(text, 1, sizeof text - 1, in);
    (void)fclose(in);
    assert_non_null(strstr(text, from));
    for (char *at = text; (at = strstr(at, from)) != NULL;) memcpy(at, to, strlen(to));
    if (lvlm_outfile_save(path, text, n, true, &err) < 0) fail_msg("%s", err.text);
}

/* What a reference drops cannot be undone, but how much that changes is known. */
static void dropout_is_recognised(void **state)
{
    static const loss dropped = { .drops = true };
    static const char off[] = "\"attention_dropout\": 0.0,";
    static const char on[] = "\"attention_dropout\": 0.2,";
    scratch s;
    lvlm_replay r;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LVLM_FIXTURES "/" Q2 "/model", "drops");
    replace_text(scratch_path(&s, "drops/config.json"), off, on);
    native_convert(scratch_path(&s, "drops"), scratch_path(&s, "model.lvlm"));
    replay(&r, &s, Q2, NULL, &dropped, &in_full);
    assert_non_null(r.why);
    assert_int_equal(r.why->n_candidates, 0);
    if (!list_says(r.why->signs, r.why->n_signs, "as much as by dropout")) {
        print(r.why);
        fail_msg("dropout is not named");
    }
    lvlm_replay_free(&r);
    scratch_remove(&s);
}

/* Before a norm a factor does not show, but in the gradient; an epsilon of the norm
 * keeps it from being exact. */
static void a_factor_that_a_norm_takes_out_is_found(void **state)
{
    const lvlm_compute compute = LVLM_COMPUTE_F32;
    const lvlm_replay_options options = { .compute = &compute,
                                          .threads = 1,
                                          .grads = true };
    scratch s;
    lvlm_replay r;
    (void)state;
    scratch_make(&s);
    convert(&s, "paligemma2-odd");
    replay(&r, &s, "paligemma2-odd", halve_output, NULL, &options);
    assert_non_null(r.why);
    assert_int_equal(r.why->n_candidates, 1);
    assert_non_null(strstr(r.why->candidates[0].sentence, "what follows takes it out"));
    lvlm_replay_free(&r);
    scratch_remove(&s);
}

static void take_one(unsigned char *bytes, const lvlm_tensor *t)
{
    const size_t n = (size_t)lvlm_tensor_numel(t);
    double *const x = malloc(n * sizeof *x);
    assert_non_null(x);
    lvlm_convert_values(x, LVLM_F64, bytes, t->dtype, n);
    for (size_t i = 0; i < n; i++) x[i] -= 1;
    lvlm_convert_values(bytes, t->dtype, x, LVLM_F64, n);
    free(x);
}

/* A mistake of a stage that is not recorded is tried with gradients. */
static void gradients_judge_where_no_stage_is_recorded(void **state)
{
    const lvlm_replay_options options = { .threads = 1, .grads = true };
    scratch s;
    lvlm_replay r;
    recorded rec;
    (void)state;
    scratch_make(&s);
    convert(&s, MLP);
    native_change(scratch_path(&s, "model.lvlm"), "text.norm.weight", take_one,
                  scratch_path(&s, "wrong.lvlm"));
    recorded_open(&rec, LVLM_FIXTURES "/" MLP "/golden64.safetensors");
    recorded_drop(&rec, "out.[clt]*");
    recorded_save(&rec, scratch_path(&s, "golden.safetensors"));
    recorded_close(&rec);
    must_replay(&r, scratch_path(&s, "wrong.lvlm"),
                scratch_path(&s, "golden.safetensors"), &options);
    assert_non_null(r.why);
    assert_string_equal(r.cause->name, MLP_NORM);
    assert_true(list_says(r.why->signs, r.why->n_signs,
                          "stage text.norm, which is not recorded"));
    assert_true(r.why->n_candidates > 0 && r.why->candidates[0].agrees);
    assert_string_equal(r.why->candidates[0].mistake, "norm_offset");
    lvlm_replay_free(&r);
    scratch_remove(&s);
}

static void report_text(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_report_text(out, r, 1000);
}

/* With the mistake that explains it, or what shows where none does. */
static void every_report_says_it(void **state)
{
    static void (*const reports[])(lvlm_strbuf * out, const lvlm_replay *r) = {
        report_text, lvlm_report_html, lvlm_report_junit, lvlm_report_github
    };
    static const plant said[] = {
        { Q2, sum_of_losses, .gradient = "grad.model.norm.weight",
          .says = "with the loss times 29" },
        { Q2, add_vector, .gradient = LAYER "mlp.up_proj.weight",
          .says = "the error is the same vector in every row" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        scratch s;
        lvlm_replay r;
        char first[256];
        (void)snprintf(first, sizeof first,
                       "first gradient with an error of its own: %s", said[i].gradient);
        scratch_make(&s);
        convert(&s, said[i].fixture);
        replay(&r, &s, said[i].fixture, said[i].change, NULL, &in_full);
        for (size_t k = 0; k < sizeof reports / sizeof *reports; k++) {
            lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20);
            reports[k](&text, &r);
            assert_false(text.failed);
            assert_non_null(strstr(text.text, first));
            assert_non_null(strstr(text.text, said[i].says));
            lvlm_strbuf_free(&text);
        }
        lvlm_replay_free(&r);
        scratch_remove(&s);
    }
}

/* Nothing is tried where only the first gradient is to be found. */
static void a_shallow_replay_tries_nothing(void **state)
{
    const lvlm_replay_options options = { .threads = 1,
                                          .grads = true,
                                          .depth = LVLM_REPLAY_OWN };
    scratch s;
    lvlm_replay r;
    (void)state;
    scratch_make(&s);
    convert(&s, Q2);
    replay(&r, &s, Q2, sum_of_losses, NULL, &options);
    assert_string_equal(r.cause->name, "grad.model.norm.weight");
    assert_int_equal(r.why->n_tried, 0);
    assert_int_equal(r.why->n_passes, 1);
    lvlm_replay_free(&r);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_that_differs_is_explained),
        cmocka_unit_test(dropout_is_recognised),
        cmocka_unit_test(a_factor_that_a_norm_takes_out_is_found),
        cmocka_unit_test(gradients_judge_where_no_stage_is_recorded),
        cmocka_unit_test(every_report_says_it),
        cmocka_unit_test(a_shallow_replay_tries_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
