/* test_adapter_folder.c - weights next to an adapter are noted; files of a trainer's
 * state are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/adapter/adapter.h"
#include "tests/support/scratch.h"

static void weights_beside_an_adapter_are_noted(void **state)
{
    static const char *const quiet[] = {
        "adapter_model.safetensors",
        "adapter_config.json",
        "training_args.bin",
        "optimizer.pt",
        "optimizer.bin",
        "scheduler.pt",
        "rng_state_0.pth",
        "README.md",
        "tokenizer.json",
    };
    static const char *const noted[] = { "mm_projector.bin",
                                         "new_embeddings.safetensors",
                                         "non_lora_state_dict.bin" };
    scratch s;
    lvlm_notes notes = LVLM_NOTES_INIT;
    (void)state;
    scratch_make(&s);
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        (void)scratch_write(&s, quiet[i], "x", 1);
    assert_int_equal(lvlm_adapter_note_folder(s.dir, &notes, NULL), 0);
    assert_int_equal(notes.n, 0);
    for (size_t i = 0; i < 3; i++) (void)scratch_write(&s, noted[i], "x", 1);
    assert_int_equal(lvlm_adapter_note_folder(s.dir, &notes, NULL), 0);
    assert_int_equal(notes.n, 3);
    for (size_t i = 0; i < 3; i++) assert_non_null(strstr(notes.at[i], noted[i]));
    lvlm_notes_free(&notes);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_beside_an_adapter_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
