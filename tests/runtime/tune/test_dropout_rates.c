/* test_dropout_rates.c - --dropout: texts, rates by place, what notes say of them. */
#include "runtime/tune/dropout_rates.h"

#include "tests/runtime/prepare/bare_model.h"

static void texts_are_read(void **state)
{
    static const char *const wrong[] = {
        "1", "-0.1", "nan", "inf", "", "0.1x", "Config"
    };
    lvlm_dropout d;
    lvlm_error err;
    (void)state;
    assert_int_equal(lvlm_dropout_parse(&d, NULL, &err), 0);
    assert_false(d.given || d.from_config);
    assert_int_equal(lvlm_dropout_parse(&d, "config", &err), 0);
    assert_true(d.given && d.from_config);
    assert_int_equal(lvlm_dropout_parse(&d, "0.1", &err), 0);
    assert_true(d.given && !d.from_config && d.rate == 0.1);
    assert_int_equal(lvlm_dropout_parse(&d, "0", &err), 0);
    assert_true(d.given && d.rate == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(lvlm_dropout_parse(&d, wrong[i], &err), LVLM_EUSAGE);
        assert_non_null(strstr(err.text, "a number from 0 to below 1, or config"));
    }
}

/* What --dropout `text` makes of a config.json. */
typedef struct dropout_case {
    const char *model, *text, *config;
    double rates[LVLM_N_DROPOUTS];
    const char *notes; /* "; " between two */
} dropout_case;

// clang-format off
#define RATES(vision, embed, attention, branches)                                      \
    { [LVLM_DROPOUT_VISION_ATTENTION] = (vision), [LVLM_DROPOUT_TEXT_EMBED] = (embed), \
      [LVLM_DROPOUT_TEXT_ATTENTION] = (attention),                                     \
      [LVLM_DROPOUT_TEXT_BRANCHES] = (branches) }
// clang-format on
#define NONE RATES(0, 0, 0, 0)
#define OF_TEXT "attention probabilities of the language model"
#define OF_TOWER "attention probabilities of the tower"
#define OF_BRANCHES "what attention and MLP of the language model add"
#define PALIGEMMA "real_sizes/paligemma-3b-224"
#define LLAVA "real_sizes/llava-1.5-7b"
#define QWEN_VL "real_sizes/Qwen-VL"
#define QWEN2_VL "real_sizes/Qwen2-VL-2B"
#define MLLAMA "real_sizes/Llama-3.2-11B-Vision"

static const dropout_case cases[] = {
    /* not given */
    { QWEN2_VL, NULL, "{\"text_config\": {\"attention_dropout\": 0.0}}", NONE, "" },
    { QWEN2_VL, NULL, "{\"text_config\": {\"attention_dropout\": 0.1}}", NONE,
      "config.json: text_config.attention_dropout is not followed: --dropout config "
      "does it" },
    { QWEN2_VL, NULL, "{\"vision_config\": {\"drop_path_rate\": 0.1}}", NONE,
      "config.json: vision_config.drop_path_rate is not followed: training drops only "
      "what --dropout and --lora say" },
    /* a number */
    { PALIGEMMA, "0.1", "{\"text_config\": {\"attention_dropout\": 0.2}}",
      RATES(0, 0, 0, 0.1),
      "config.json: text_config.attention_dropout is not followed: --dropout config "
      "does it; --dropout 0.1: drops " OF_BRANCHES },
    { QWEN_VL, "0.1", "{\"attn_dropout_prob\": 0.2}", RATES(0, 0.1, 0.1, 0),
      "--dropout 0.1: drops looked-up words, " OF_TEXT },
    { LLAVA, "0.1", "{}", RATES(0.1, 0, 0.1, 0),
      "--dropout 0.1: drops " OF_TEXT ", " OF_TOWER },
    { MLLAMA, "0.1", "{}", RATES(0, 0, 0.1, 0), "--dropout 0.1: drops " OF_TEXT },
    { MLLAMA, "0", "{\"text_config\": {\"dropout\": 0.2}}", NONE, "" },
    /* config.json */
    { PALIGEMMA, "config", "{\"vision_config\": {\"attention_dropout\": 0.3}}",
      RATES(0.3, 0, 0, 0),
      "--dropout config: " OF_BRANCHES
      " 0 (not a setting of config.json: --dropout P sets "
      "it), " OF_TEXT " 0 (config.json does not say), " OF_TOWER
      " 0.3 (vision_config.attention_dropout)" },
    { QWEN_VL, "config", "{\"attn_dropout_prob\": 0.2, \"emb_dropout_prob\": 0.1}",
      RATES(0, 0.1, 0.2, 0),
      "--dropout config: looked-up words 0.1 (emb_dropout_prob), " OF_TEXT
      " 0.2 (attn_dropout_prob)" },
    { LLAVA, "config",
      "{\"text_config\": {\"attention_dropout\": 0.1, \"resid_pdrop\": 0.1}, "
      "\"vision_config\": {\"attention_dropout\": null, \"dropout\": 0.4}}",
      RATES(0, 0, 0.1, 0),
      "config.json: text_config.resid_pdrop is not followed: training drops only what "
      "--dropout and --lora say; config.json: vision_config.dropout is not followed: "
      "training drops only what --dropout and --lora say; --dropout config: " OF_TEXT
      " 0.1 (text_config.attention_dropout), " OF_TOWER
      " 0 (config.json does not say)" },
    { QWEN2_VL, "config", "{\"attention_dropout\": 0.25}", RATES(0, 0, 0.25, 0),
      "--dropout config: " OF_TEXT " 0.25 (attention_dropout)" },
    { MLLAMA, "config", "{\"text_config\": {\"dropout\": 0.05}}", RATES(0, 0, 0.05, 0),
      "--dropout config: " OF_TEXT " 0.05 (text_config.dropout)" },
};

static void check(const dropout_case *c)
{
    bare_model m;
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_dropout d;
    double rates[LVLM_N_DROPOUTS];
    char all[1024] = "";
    size_t n = 0;
    bare_model_open(&m, c->model);
    bare_model_add(&m, "config.json", c->config);
    m.checkpoint.notes = &notes;
    assert_int_equal(lvlm_dropout_parse(&d, c->text, NULL), 0);
    assert_int_equal(lvlm_dropout_rates(rates, &d, &m.manifest, NULL), 0);
    for (size_t i = 0; i < notes.n; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n > 0 ? "; " : "",
                              notes.at[i]);
    assert_string_equal(all, c->notes);
    for (size_t i = 0; i < LVLM_N_DROPOUTS; i++) assert_true(rates[i] == c->rates[i]);
    lvlm_notes_free(&notes);
    bare_model_close(&m);
}

static void rates_are_those_of_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

static void a_rate_of_config_json_that_is_none_is_refused(void **state)
{
    static const char *const values[] = { "1", "-0.5", "\"0.1\"", "true", "[]" };
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const lvlm_dropout d = { .given = true, .from_config = true };
        double rates[LVLM_N_DROPOUTS];
        bare_model m;
        char text[64];
        lvlm_error err;
        (void)snprintf(text, sizeof text, "{\"attention_dropout\": %s}", values[i]);
        bare_model_open(&m, QWEN2_VL);
        bare_model_add(&m, "config.json", text);
        assert_int_equal(lvlm_dropout_rates(rates, &d, &m.manifest, &err),
                         LVLM_EFORMAT);
        assert_string_equal(err.text,
                            "config.json: attention_dropout: expected a number "
                            "from 0 to below 1");
        bare_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(rates_are_those_of_places),
        cmocka_unit_test(a_rate_of_config_json_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
