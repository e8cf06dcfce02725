/* test_dropout.c - rates of dropout in config.json are noted where a model trains. */
#include "runtime/tune/dropout.h"

#include "tests/runtime/prepare/bare_model.h"

static void rates_above_0_are_noted(void **state)
{
    static const struct {
        const char *config, *note;
    } cases[] = {
        { "{\"text_config\": {\"attention_dropout\": 0.0}, \"emb_dropout_prob\": 0}",
          NULL },
        { "{\"text_config\": {\"attention_dropout\": 0.1}}",
          "config.json: text_config.attention_dropout is not followed: training drops "
          "only what --lora says" },
        { "{\"emb_dropout_prob\": 0.05}",
          "config.json: emb_dropout_prob is not followed" },
        { "{\"vision_config\": {\"drop_path_rate\": 0.1}}",
          "config.json: vision_config.drop_path_rate is not followed" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bare_model m;
        lvlm_notes notes = LVLM_NOTES_INIT;
        bare_model_open(&m, "real_sizes/Qwen2-VL-2B");
        bare_model_add(&m, "config.json", cases[i].config);
        m.checkpoint.notes = &notes;
        assert_int_equal(lvlm_dropout_note(&m.manifest, NULL), 0);
        assert_int_equal(notes.n, cases[i].note != NULL);
        if (notes.n > 0)
            assert_memory_equal(notes.at[0], cases[i].note, strlen(cases[i].note));
        lvlm_notes_free(&notes);
        bare_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_above_0_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
